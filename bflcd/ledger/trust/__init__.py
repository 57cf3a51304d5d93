"""Rules that keep judges and trainers honest: what is noticed of them, and what follows."""
