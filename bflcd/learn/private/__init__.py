"""Training under differential privacy: each row's gradient clipped, noise on every step, and what that adds up to."""
