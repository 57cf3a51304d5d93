"""Carries out the core's effects and brings their answers back."""
