"""The attacks, each a function in one of these modules."""
