"""What may be pruned: the pure rule (design 9).

A payload is a model or an update that a block names. The model of round t and the updates of round t both count as round t.
Kept are the payloads of the last `keep` rounds, of every undecided round, and whatever a record pins. One payload may be named
by many blocks (an empty round's model is its parent's): its newest round counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bflcd.types import Digest, Round


@dataclass(frozen=True, slots=True)
class Payload:
    """A blob held in full or in part. `newest`: last round whose block names it, or None; `begun`: round in which it came."""

    root: Digest
    size: int
    newest: Round | None
    begun: Round


@dataclass(frozen=True, slots=True)
class Needs:
    """What a restart, a fallback or the running round needs. `undecided`: rounds that have records; `pinned`: their blobs."""

    head: Round
    undecided: frozenset[Round]
    pinned: frozenset[Digest]


def first_kept(needs: Needs, keep: int) -> Round:
    """First round whose payloads stay: the last `keep` ones, but always those from the oldest undecided round on.

    Raises ValueError if `keep` is below 1: the head's model is what every node trains and restarts from.
    """
    if keep < 1:
        raise ValueError(f"prune keeps at least 1 round, not {keep}: the head's model can't go")
    return Round(max(0, min((needs.head - keep + 1, needs.head, *needs.undecided))))


def may_prune(payload: Payload, needs: Needs, keep: int) -> bool:
    """Whether a prune that keeps `keep` rounds drops this payload: every block that names it is old, and nothing pins it."""
    return payload.newest is not None and payload.newest < first_kept(needs, keep) and payload.root not in needs.pinned


def is_stale(payload: Payload, pinned: frozenset[Digest], round_: Round) -> bool:
    """Whether a blob is an offer that lost: no block names it, no record of `round_` or later pins it, and it came before.

    A blob that came in `round_` itself may be on its way into an offer, a card or a pin.
    """
    return payload.newest is None and payload.root not in pinned and payload.begun < round_


def prunable(payloads: Iterable[Payload], needs: Needs, keep: int) -> tuple[Payload, ...]:
    """Those of `payloads` that a prune drops, oldest first."""
    doomed = (payload for payload in payloads if may_prune(payload, needs, keep))
    return tuple(sorted(doomed, key=lambda payload: (payload.newest or 0, payload.root)))


def keep_for_height(round_: int, places: int, height: int) -> int:
    """Rounds to keep at head `round_` so that the payloads of all whole rounds up to `height` are dropped."""
    first_kept = (height + 1) // (places + 1)
    return round_ - first_kept + 1
