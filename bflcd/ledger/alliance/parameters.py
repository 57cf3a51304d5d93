"""What a community works by: its genesis' parameters, and what its managers have set since (design 7).

`in_force` is the one place where the two meet. Whoever works on a round asks it with that round's ledger, so members, newcomers
and verifiers compute alike; applied twice it changes nothing.
"""

from bisect import bisect_left
from dataclasses import fields, replace
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from bflcd.ledger.alliance.fees import under_terms
from bflcd.ledger.pace import begun_anew
from bflcd.ledger.state import State
from bflcd.limits import Between
from bflcd.params import Params, Terms

SETTABLE: Final = (
    "active_fraction",
    "collect_deadline",
    "copy_likeness",
    "last_round",
    "norm_clip",
    "reward_share",
    "score_margin",
    "score_rows",
    "view_timeout",
)
"""Of `Params`, sorted. What sizes, tasks, rules of aggregation and election follow from stays as it was; so does
`validation_fraction`, since rows that were trained on can't be held out afterwards."""


def _bounds(cls: type, names: tuple[str, ...]) -> dict[str, Between]:
    """The limits that the fields' own annotations name."""
    hints = get_type_hints(cls, include_extras=True)
    found = {name: [item for item in get_args(hints[name])[1:] if isinstance(item, Between)] for name in names}
    return {name: limits[0] for name, limits in found.items() if get_origin(hints[name]) is Annotated and limits}


_TERMS: Final = _bounds(Terms, tuple(field.name for field in fields(Terms)))

BOUNDS: Final[dict[str, Between]] = dict(sorted((_bounds(Params, SETTABLE) | _TERMS).items()))
"""What managers may set, and within which limits: those of the genesis."""


def in_force(params: Params, state: State) -> Params:
    """The parameters of the round that `state` opens; `params`: the genesis', or these already."""
    return replace(params, **_typed(dict(state.changed))) if state.changed else params


def value_of(state: State, name: str) -> int | None:
    """What a name of `BOUNDS` stands for in the ledger; None while it is as the genesis has it, which no ledger repeats."""
    return int(getattr(state.terms, name)) if name in _TERMS else dict(state.changed).get(name)


def with_value(state: State, name: str, value: int) -> State:
    """`state` with another value, of a name of `BOUNDS` and within its limits; it holds from the next round on."""
    if name in _TERMS:
        return under_terms(state, replace(state.terms, **_typed({name: value})))
    others = [pair for pair in state.changed if pair[0] != name]
    others.insert(bisect_left(others, (name, value)), (name, value))
    return replace(state, changed=tuple(others), pace=begun_anew(state.pace, name))


def changes(state: State, terms: Terms) -> tuple[tuple[str, int], ...]:
    """All that differs from the genesis by name; `terms`: the genesis'."""
    new = [(name, int(getattr(state.terms, name))) for name in _TERMS if getattr(state.terms, name) != getattr(terms, name)]
    return tuple(sorted((*state.changed, *new)))


def _typed(values: dict[str, int]) -> dict[str, Any]:
    """Their types differ at the checker's alone."""
    return dict(values)
