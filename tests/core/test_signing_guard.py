"""What a node may sign after a restart, with a database behind its mark, and with nothing left (design 6.3)."""

from pathlib import Path

import pytest

from bflcd.core.records import OwnRecord, RoundRecords, VoteRecord
from bflcd.core.signing_guard import Mark, SigningGuard, mark_of
from bflcd.store.marks import MarkFile
from bflcd.types import Round
from tests.helpers.store import make_vote, own_card, own_offer, ref

R = Round(7)
VOTE, LATER, CARD = make_vote(7, view=0), make_vote(7, view=2), own_card(7)
NOTHING = RoundRecords((), (), (), ())


def marked(record: VoteRecord | OwnRecord) -> Mark:
    mark = mark_of(record)
    assert mark is not None
    return mark


def records(*stored: VoteRecord | OwnRecord) -> RoundRecords:
    """As a store gives them: `stored` in the order in which they were written."""
    votes = tuple(r for r in stored if isinstance(r, VoteRecord))
    own = tuple(r for r in stored if isinstance(r, OwnRecord))
    return RoundRecords(votes, (), own, (), newest=stored[-1] if stored else None)


WAYS = {
    "new, in round 0": (None, 0, NOTHING, None, True, None),
    "a chain, and neither mark nor record": (None, 7, NOTHING, 8, True, None),
    "killed between its first record and its first mark": (None, 7, records(VOTE), None, False, VOTE),
    "everything there": (VOTE, 7, records(VOTE), None, False, None),
    "the mark's record and an older one": (LATER, 7, records(VOTE, LATER), None, False, None),
    "killed between record and mark": (VOTE, 7, records(VOTE, LATER), None, False, LATER),
    "the newest record is of a lower place": (LATER, 7, records(LATER, CARD), None, False, CARD),
    "the database lost its end": (LATER, 7, records(VOTE), 7, False, None),
    "the database lost the whole round": (VOTE, 6, NOTHING, 7, False, None),
    "the database lost all of its rounds": (VOTE, 0, NOTHING, 7, False, None),
    "the marks round is decided": (VOTE, 8, NOTHING, None, False, None),
    "the marks round is decided, and a record of this one": (VOTE, 8, records(make_vote(8)), None, False, make_vote(8)),
}
"""Mark, head's round, records; then floor, in doubt, overdue."""


@pytest.mark.parametrize(("mark", "head", "held", "floor", "in_doubt", "overdue"), WAYS.values(), ids=WAYS)
def test_what_the_disk_tells_of_what_was_signed(
    mark: VoteRecord | None, head: int, held: RoundRecords, floor: int | None, in_doubt: bool, overdue: VoteRecord | None
) -> None:
    guard = SigningGuard.after_restart(None if mark is None else marked(mark), Round(head), held)
    assert (guard.floor, guard.in_doubt) == (floor, in_doubt)
    assert guard.overdue == (None if overdue is None else marked(overdue))


def test_nothing_is_signed_up_to_the_floor_nor_in_doubt() -> None:
    held = SigningGuard(floor=Round(7))
    assert [held.allows(Round(n)) for n in (6, 7, 8)] == [False, False, True]
    assert [held.forbids(Round(n)) for n in (6, 7, 8)] == [True, True, False]
    assert not SigningGuard(in_doubt=True).allows(Round(3))
    assert SigningGuard().allows(Round(0))


def test_where_nobody_has_closed_a_round_a_node_without_memory_is_new() -> None:
    guard = SigningGuard(in_doubt=True)
    assert guard.confirmed(Round(0)) is False
    assert guard.allows(Round(0))


def test_a_node_without_memory_signs_nothing_before_two_models_past_the_others_head() -> None:
    guard = SigningGuard(in_doubt=True)
    assert guard.confirmed(Round(4)) is True
    assert [guard.allows(Round(n)) for n in (4, 5, 6)] == [False, False, True]


def test_a_floor_is_never_lowered() -> None:
    guard = SigningGuard(floor=Round(9), in_doubt=True)
    guard.confirmed(Round(3))
    assert guard.floor == 9


@pytest.mark.parametrize(("stands", "head", "floor"), [(0, 0, None), (0, 3, None), (4, 4, 5), (4, 5, 5), (4, 6, None)], ids=str)
def test_what_was_heard_need_not_be_heard_again(stands: int, head: int, floor: int | None) -> None:
    """Given a node that only follows and has heard where the others stand, when it starts again and they are gone, then it is in doubt
    no more, and signs nothing up to where it did not before."""
    guard = SigningGuard(in_doubt=True)
    guard.confirmed(Round(stands))
    mark = guard.mark_for(())
    again = SigningGuard.after_restart(mark, Round(head), NOTHING)
    assert (again.in_doubt, again.floor, again.overdue) == (False, floor, None)
    assert guard.mark_for((VOTE,)) == marked(VOTE) if stands == 0 else mark is not None
    guard.marked(())
    assert guard.mark_for(()) is None


def test_what_was_heard_stands_in_no_signatures_way(tmp_path: Path) -> None:
    """Given a node that has heard that nobody has closed a round, when it signs in that round after a restart, in whatever epoch its
    database knows by then, then its mark can be written."""
    guard, file = SigningGuard(in_doubt=True), MarkFile(tmp_path / "marks")
    guard.confirmed(Round(0))
    for mark in (guard.mark_for(()), mark_of(make_vote(0))):
        assert mark is not None
        file.write_now(mark)
    file.close()


@pytest.mark.parametrize(
    ("claims", "seats", "members", "stands"),
    [
        ((), 4, 10, None),
        ((5,), 4, 10, None),
        ((5, 0), 4, 10, 0),
        ((5, 3, 9), 4, 10, 5),
        ((0, 0, 9, 9), 10, 30, 0),
        ((9, 9, 9), 10, 30, None),
        ((2,), 2, 2, 2),
        ((), 1, 1, 0),
        ((1,), 4, 2, 1),
    ],
)
def test_more_than_f_others_settle_where_the_community_stands(
    claims: tuple[int, ...], seats: int, members: int, stands: int | None
) -> None:
    """One of f + 1 is honest; of two members there is one other, and of one none."""
    assert SigningGuard(in_doubt=True).settled_by(tuple(map(Round, claims)), seats, members) == stands


@pytest.mark.parametrize(
    ("in_doubt", "heard", "members", "begins"),
    [(False, 0, 5, False), (False, 1, 5, True), (True, 1, 5, False), (True, 4, 5, True), (False, 0, 1, True), (True, 0, 1, True)],
)
def test_a_node_without_memory_waits_for_everybodys_word(in_doubt: bool, heard: int, members: int, begins: bool) -> None:
    assert SigningGuard(in_doubt=in_doubt).may_begin(heard, members) is begins


def test_only_what_is_signed_for_the_first_time_moves_the_mark() -> None:
    guard = SigningGuard.after_restart(marked(LATER), R, records(VOTE, LATER))
    assert guard.mark_for((VOTE, LATER)) is None
    assert guard.mark_for((VOTE, CARD)) == marked(CARD)
    guard.marked((CARD,))
    assert guard.mark_for((CARD,)) is None


def test_of_several_new_signatures_the_highest_place_is_marked() -> None:
    guard = SigningGuard()
    offer = own_offer(7, ref(b"a"))
    assert guard.mark_for((LATER, VOTE, offer)) == marked(LATER)
    assert guard.mark_for((LATER, make_vote(8))) == marked(make_vote(8))
    assert guard.mark_for(()) is None


def test_marks_of_decided_rounds_are_forgotten() -> None:
    guard = SigningGuard(marked=(marked(VOTE),))
    guard.closed(R)
    assert guard.mark_for((VOTE,)) is None
    guard.closed(Round(8))
    assert guard.mark_for((VOTE,)) == marked(VOTE)
