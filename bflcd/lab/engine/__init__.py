"""Training and scoring of many simulated devices at once, in the way that is fastest on the machine's device."""
