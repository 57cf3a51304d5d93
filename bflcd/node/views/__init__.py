"""What the node shows of itself, by what it looks at."""
