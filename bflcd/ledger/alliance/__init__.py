"""What the ledger says of members: how they stand, which keys they have, what they owe, and what their managers have set."""
