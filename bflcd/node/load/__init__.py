"""Whether this node is behind with what it is told, and what it then leaves to others."""
