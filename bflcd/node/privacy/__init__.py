"""What this node's updates tell of its rows: the budget for life, kept over restarts, and what is refused once it is spent."""
