"""What a card gives away of its author's rows, measured by the best questions that this project knows to ask."""
