"""The replicated state and its transition: pure functions of parent state and blocks."""
