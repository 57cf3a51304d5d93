"""Commands of `lab` that have files of their own."""
