"""Simulated communities whose devices watch the models that they take."""
