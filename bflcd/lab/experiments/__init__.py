"""The experiments, one file each: what is simulated, and how the results are told."""
