"""How some attacks make what they offer: rows from the tail of a class, and offers that judges just bear."""
