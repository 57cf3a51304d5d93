"""The block store: one protocol, SQLite and memory behind it, and the rule of what may be pruned."""
