"""The control command: asks a daemon through its API, reads its data directory, draws, prints JSON."""
