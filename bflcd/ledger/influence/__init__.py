"""How far an update moves the model, and a round: what is usual among norms, weights, the limit of a step."""
