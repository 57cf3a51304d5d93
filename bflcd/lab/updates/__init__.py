"""What published updates tell of the rows that they were trained on: membership, label counts, the rows themselves."""
