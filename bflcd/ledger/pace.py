"""How long a community waits: T0 and the collect deadline, as often doubled as its own rounds have needed it (design 6.7).

What is measured is on the chain, so all members wait alike, a newcomer and one that has just restarted too: each card says in
which view its author holds the parent block to be decided, the median of q cards lies between two honest ones, and whether
anybody offered follows from the cards as well. A node's own clock moves nothing, and nor does a liar's card.

T0 grows when almost every round needs later views, whoever leads: f members that lead badly, or not at all, are a third of the
leaders at most. The collect deadline grows when nobody's training ends before it. Either shrinks by a step after a long calm, so
that a step too short costs a few rounds in some hundreds.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Final

from bflcd.ledger.medians import lower_median
from bflcd.limits import Between, Size
from bflcd.params import Params
from bflcd.types import Millis

WINDOW: Final = 16
"""Rounds that are looked at together."""

LATE: Final = 12
"""Of these were decided in a later view before T0 grows. Where a third of the leaders fails and T0 is long enough, so many of
sixteen come together once in 3,400 rounds; where a quarter does, once in 45,000 (docs/adr/0023-pace.md)."""

MOST_DOUBLINGS: Final = 4
"""T0 and the collect deadline grow to sixteen times what the community has set."""

CALM: Final = 256
"""Rounds without a step up after which a step down is tried: 12 late rounds or an empty one follow if it was too soon."""

MAX_SAID_VIEW: Final = 31
"""Later views are noted as this one: what decides nothing in so many needs no more than the longest T0 at first."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What the last rounds have shown. `views`: in which ones they were decided, oldest first, since T0 last changed.

    `doublings`: of T0; `calm`: rounds since it changed. `stretches`: doublings of the collect deadline; `heard`: rounds since
    that changed, or since nobody offered.
    """

    views: Annotated[tuple[Annotated[int, Between(0, MAX_SAID_VIEW)], ...], Size(0, WINDOW)] = ()
    doublings: Annotated[int, Between(0, MOST_DOUBLINGS)] = 0
    calm: Annotated[int, Between(0, CALM)] = 0
    stretches: Annotated[int, Between(0, MOST_DOUBLINGS)] = 0
    heard: Annotated[int, Between(0, CALM)] = 0


def view_timeout(params: Params, pace: Pace) -> Millis:
    """T0 as it is now, milliseconds."""
    return Millis(params.view_timeout << pace.doublings)


def collect_deadline(params: Params, pace: Pace) -> Millis:
    """How long a card waits for a first offer now, milliseconds; `core.round.waiting` says what it waits for else."""
    return Millis(params.collect_deadline << pace.stretches)


def pace_after(pace: Pace, view: int, *, offered: bool | None) -> Pace:
    """The pace after one more round: its cards say that its parent was decided in `view`; `offered`: whether anybody did of whom
    it could be expected, None where that was nobody: then the round says nothing of training.

    The first view that is said after T0 has changed is one of before, and says nothing either.
    """
    said = (*pace.views, min(view, MAX_SAID_VIEW))[-WINDOW:] if pace.calm else pace.views
    views, doublings, calm = _patience_after(said, pace.doublings, pace.calm + 1)
    stretches, heard = pace.stretches, pace.heard
    if offered is not None:
        stretches, heard = _stretched_after(stretches, heard + 1, offered=offered)
    return Pace(views, doublings, calm, stretches, heard)


def too_short(pace: Pace) -> bool:
    """Whether the collect deadline has grown to its bound, and nobody offered in the last round all the same."""
    return pace.stretches == MOST_DOUBLINGS and pace.heard == 0


def begun_anew(pace: Pace, parameter: str) -> Pace:
    """The pace once managers have set a parameter: of the time that they chose it is not known yet whether it is too short."""
    match parameter:
        case "view_timeout":
            return replace(pace, views=(), doublings=0, calm=0)
        case "collect_deadline":
            return replace(pace, stretches=0, heard=0)
        case _:
            return pace


def _patience_after(views: tuple[int, ...], doublings: int, calm: int) -> tuple[tuple[int, ...], int, int]:
    """More patience if most were late, by as many doublings as the lower median of the later views had; less after a calm."""
    late = [view for view in views if view > 0]
    if len(late) >= LATE:
        return (), min(doublings + lower_median(late), MOST_DOUBLINGS), 0
    return ((), max(doublings - 1, 0), 0) if calm >= CALM else (views, doublings, calm)


def _stretched_after(stretches: int, heard: int, *, offered: bool) -> tuple[int, int]:
    if not offered:
        return min(stretches + 1, MOST_DOUBLINGS), 0
    return (max(stretches - 1, 0), 0) if heard >= CALM else (stretches, heard)
