"""The shipped tasks. Only the compute worker and the laboratory import them."""
