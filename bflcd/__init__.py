"""Committee-consensus federated learning: a daemon, its parts, and the contracts between them."""
