"""Offers that ask: updates by whose reception a trainer learns of its judges' private rows."""
