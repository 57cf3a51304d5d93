"""This node's own watch over the models that it takes (ADR 39)."""
