"""What runs simulations to their ends: one, many side by side, many on other machines; and what they leave on disk."""
