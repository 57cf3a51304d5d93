"""Tasks, data, training, scoring and aggregation. Only this package's worker process imports torch."""
