"""What this node may sign, from what its disk knows of what it signed before (design 6.3). Pure.

An honest node signs one message in each place, also across kill -9, a log that lost its end, and a disk that lost everything.
Two things on the disk tell what was signed: the records in the database, written first, and a mark beside it, the place of the
newest signature, written next and before the message leaves. Records are appended in order, so of the three ways in which a node
can come back each shows:

- The mark's record is in the database: everything signed is known, and what is signed again is the same bytes.
- The mark's record is missing, or the mark is of a later round: the database lost its end, or its last blocks were taken back
  because a recovery had superseded them. Nothing is signed up to the mark's round; a mark of an earlier round than the head
  belongs to a decided one and forbids nothing.
- There is neither mark nor record: the node is new, or it lost both. It signs nothing before more than f others have said where
  they stand. If one of them is past the genesis, it signs nothing before two model blocks after that head: in the rounds until
  then it may have signed what it no longer knows. A chain without a mark was taken over by a node in that state, killed again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from bflcd.core.records import OwnRecord, Record, RoundRecords, VoteRecord
from bflcd.ledger.quorum import faults
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Round, View
from bflcd.wire.envelope import payload_digest

SETTLED: Final = 0
"""The phase of a mark that stands for no signature: no message has this number."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The place and digest of a signed vote, offer, card or recovery; view 0 for what belongs to no view."""

    epoch: Epoch
    round: Round
    view: View
    phase: int
    digest: Digest

    @classmethod
    def settled(cls, floor: Round | None) -> Self:
        """A node without memory has heard up to where it signs nothing, and has signed nothing since; floor None: nowhere.

        Of the lowest epoch, since marks never go back: the recovery that gave the round another may yet be lost.
        """
        return cls(Epoch(0), floor or Round(0), View(0), SETTLED, ZERO_DIGEST)


def mark_of(record: Record) -> Mark | None:
    """The mark of a record that stands for a signature."""
    if isinstance(record, VoteRecord):
        return Mark(record.epoch, record.round, record.view, record.phase, record.digest)
    if isinstance(record, OwnRecord):
        return Mark(record.epoch, record.round, View(0), record.phase, payload_digest(record.envelope))
    return None


def _marks_of(records: Iterable[Record]) -> set[Mark]:
    return {mark for record in records if (mark := mark_of(record)) is not None}


def holds(mark: Mark, records: RoundRecords) -> bool:
    """Whether the records of the mark's round contain what the mark was written for."""
    return mark in _marks_of((*records.votes, *records.own))


def signing_floor(mark: Mark | None, head: Round, *, has_record: bool) -> Round | None:
    """The last round in which nothing may be signed by a node whose database may be behind its mark; None if it is not.

    `head`: the round that the database stands in; `has_record`: whether it holds the mark's own record (`holds`).
    """
    if mark is None or mark == Mark.settled(None):
        return None
    if mark.round < head or (mark.round == head and has_record):
        return None
    return mark.round


def newest_of(records: RoundRecords) -> Mark | None:
    """The mark of what a round's records show as signed last, if anything.

    Not of the highest place: a card may follow a vote of a later view, and whatever the log loses, it loses from its end.
    """
    return None if records.newest is None else mark_of(records.newest)


class SigningGuard:
    """Asked before anything is signed, and told of every mark that was written."""

    def __init__(self, *, floor: Round | None = None, in_doubt: bool = False, marked: Iterable[Mark] = ()) -> None:
        """`floor`: last round in which nothing is signed; `in_doubt`: nothing is, before `confirmed`; `marked`: known marks."""
        self._floor = floor
        self._in_doubt = in_doubt
        self._marked = set(marked)
        self._settled: Mark | None = None
        self._overdue: Mark | None = None

    @classmethod
    def after_restart(cls, mark: Mark | None, head: Round, records: RoundRecords) -> Self:
        """The guard of a node that starts with this mark and these records of the round that its head opens."""
        signed: tuple[Record, ...] = (*records.votes, *records.own)
        floor = signing_floor(mark, head, has_record=mark is not None and holds(mark, records))
        in_doubt = mark is None and not signed
        guard = cls(
            floor=Round(head + 1) if in_doubt and head > 0 else floor,
            in_doubt=in_doubt,
            marked=_marks_of(signed),
        )
        newest = newest_of(records)
        guard._overdue = newest if floor is None and newest != mark else None
        return guard

    # -- what may be signed -------------------------------------------------------------------------------------------

    @property
    def floor(self) -> Round | None:
        """The last round in which nothing is signed, whatever else holds."""
        return self._floor

    @property
    def in_doubt(self) -> bool:
        """Whether the others have to say first where they stand."""
        return self._in_doubt

    def allows(self, round_: Round) -> bool:
        """Whether messages of this round may be signed."""
        return not self._in_doubt and not self.forbids(round_)

    def forbids(self, round_: Round) -> bool:
        """Whether what was signed in this round may be unknown here."""
        return self._floor is not None and round_ <= self._floor

    # -- a node without memory ----------------------------------------------------------------------------------------

    def may_begin(self, heard: int, members: int) -> bool:
        """Whether so many others have said where they stand that a starting node need not wait for more of them."""
        others = members - 1
        return heard >= (others if self._in_doubt else min(1, others))

    def settled_by(self, claims: Sequence[Round], seats: int, members: int) -> Round | None:
        """The highest round that an honest member claims to stand in, once more than f of `seats` have said so; None before.

        `claims`: where each other member says to stand. That so many are asked for takes nothing from a community: without them
        it has no quorum either. Alone in its community a node has nobody to ask.
        """
        needed = min(faults(seats) + 1, members - 1)
        if len(claims) < needed:
            return None
        return sorted(claims, reverse=True)[needed - 1] if needed else Round(0)

    def confirmed(self, stands: Round) -> bool:
        """An honest member stands at `stands` (or we do): whether something may have been signed here that is not known any more.

        A community in which nobody has closed a round yet has nothing to forget. The next mark says what was heard: after a
        restart it need not be heard again, perhaps from members that are gone by then.
        """
        self._in_doubt = False
        if stands > 0:
            self._floor = Round(max(self._floor or 0, stands + 1))
        self._settled = Mark.settled(self._floor)
        return stands > 0

    # -- the mark beside the database ---------------------------------------------------------------------------------

    @property
    def overdue(self) -> Mark | None:
        """What the mark file must name before anything is said again: the process was killed between database and mark."""
        return self._overdue

    def mark_for(self, records: Sequence[Record]) -> Mark | None:
        """What the mark file must name before the records' messages leave: of what is signed now for the first time, the highest
        place. What the journal stores again after a restart changes nothing, so it must not take the mark back from a later
        signature: a log that then lost that one would look whole."""
        marks = _marks_of(records) - self._marked
        if self._settled is not None:
            marks.add(self._settled)
        return max(marks, key=lambda mark: (mark.round, mark.epoch, mark.view, mark.phase), default=None)

    def marked(self, records: Sequence[Record]) -> None:
        """These records are stored, and the mark that they asked for is written."""
        self._marked |= _marks_of(records)
        self._settled = None

    def closed(self, round_: Round) -> None:
        """Rounds before `round_` are decided: nothing of them is signed any more."""
        self._marked = {mark for mark in self._marked if mark.round >= round_}
