"""Operations: what changes the ledger besides learning, each kind a module here (ADR 14).

`base` is what a kind is, `registry` lists those that blocks carry, `application` holds a block's operations against the rules
that are the same for all. A recovery is an operation of the same form that no block can carry, since without it there would be
none.
"""
