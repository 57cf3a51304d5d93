"""Which addresses are dialled, and when: pure."""
