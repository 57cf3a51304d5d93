"""PBFT as a pure machine: events in, effects out."""
