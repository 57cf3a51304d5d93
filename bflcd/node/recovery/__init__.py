"""What managers need when a committee is gone, and what becomes of blocks that a recovery superseded (design 6.8)."""
