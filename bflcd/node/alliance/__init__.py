"""Membership as an operator meets it: what its node signs, and what a newcomer does until it is admitted (design 7)."""
