"""What is made before a node runs: genesis, data directories, testnets."""
