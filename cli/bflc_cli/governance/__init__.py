"""Commands for what the community decides about itself: who belongs to it, and who judges a round that stands still."""
