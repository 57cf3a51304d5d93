"""The network: one transport protocol, its libp2p and in-memory implementations, and what is built on it."""
