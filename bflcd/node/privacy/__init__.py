"""What of this node's rows gets out by its updates and its score cards: the bounds, the budgets for life."""
