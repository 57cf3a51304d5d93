"""The node as a pure machine: one round after the other, events in, effects out."""
