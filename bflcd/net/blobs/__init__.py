"""Payloads over the network: who holds one, fetching its chunks from several, serving them (design 8)."""
