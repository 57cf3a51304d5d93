"""A node's own watch over the models that it takes: what each gets wrong on its own rows, class by class (ADR 39)."""
