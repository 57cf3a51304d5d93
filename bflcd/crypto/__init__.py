"""Hashes with domain separation, Ed25519 identities and their keystore."""
