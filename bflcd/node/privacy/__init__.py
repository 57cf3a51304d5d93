"""What of this node's rows gets out, and the bounds that hold it."""
