"""What a node keeps of its own words beyond a round: what its cards told of its rows, which of its offers were canaries."""
