"""The mark file: durable, self-checking, loud; and the rule that follows from it (design 6.3)."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bflcd.core.records import RoundRecords
from bflcd.core.signing_guard import Mark, holds, signing_floor
from bflcd.errors import InvariantError, MachineError, OperatorError
from bflcd.store.marks import FILE_BYTES, SECTOR_BYTES, MarkFile, read
from bflcd.types import Digest, Epoch, Round, View
from bflcd.wire.envelope import payload_digest
from tests.helpers.store import make_vote, own_offer, own_recovery, ref

MARK = Mark(Epoch(1), Round(7), View(2), 34, Digest(b"d" * 32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks"


def written(path: Path, *marks: Mark) -> None:
    file = MarkFile(path)
    for mark in marks:
        file.write_now(mark)
    file.close()
    file.close()


async def test_the_last_mark_is_found_again(path: Path) -> None:
    file = MarkFile(path)
    assert (file.path, file.highest()) == (path, None)
    for view in range(5):
        mark = replace(MARK, view=View(view))
        await file.write(mark)
        assert (file.highest(), read(path)[1]) == (mark, mark)
    file.close()
    assert MarkFile(path).highest() == replace(MARK, view=View(4))


def test_the_same_mark_again_writes_nothing(path: Path) -> None:
    file = MarkFile(path)
    file.write_now(MARK)
    before = path.read_bytes()
    file.write_now(MARK)
    file.close()
    assert path.read_bytes() == before


def test_a_mark_is_forced_to_the_disk_after_its_last_byte(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that only the kernel knows is lost with the power, and its place is signed twice."""
    forced: list[bytes] = []
    file = MarkFile(path)
    monkeypatch.setattr(os, "fdatasync", lambda _: forced.append(path.read_bytes()))
    file.write_now(MARK)
    file.close()
    assert forced == [path.read_bytes()]


@pytest.mark.parametrize("change", [{"round": Round(6)}, {"epoch": Epoch(0)}])
async def test_going_back_is_refused(path: Path, change: dict[str, int]) -> None:
    file = MarkFile(path)
    await file.write(MARK)
    with pytest.raises(InvariantError, match="after one in"):
        await file.write(replace(MARK, **change))
    file.close()
    assert read(path)[1] == MARK


async def test_within_a_round_the_last_signature_counts(path: Path) -> None:
    """A pre-prepare follows the view-change of its view, though its message number is lower."""
    written(path, replace(MARK, phase=36), replace(MARK, phase=33))
    assert read(path)[1] == replace(MARK, phase=33)


def test_a_closed_file_refuses_to_write(path: Path) -> None:
    file = MarkFile(path)
    file.close()
    with pytest.raises(InvariantError, match="closed"):
        file.write_now(MARK)


@pytest.mark.parametrize("marks", [1, 2])
def test_a_flipped_bit_anywhere_loses_nothing(path: Path, marks: int) -> None:
    written(path, *(replace(MARK, view=View(view)) for view in range(marks)))
    whole = path.read_bytes()
    for position in (at + within for at in range(0, FILE_BYTES, SECTOR_BYTES) for within in range(120)):
        spoiled = bytearray(whole)
        spoiled[position] ^= 1 << (position % 8)
        path.write_bytes(spoiled)
        assert read(path)[1] == replace(MARK, view=View(marks - 1)), position


@pytest.mark.parametrize(
    ("cut", "survives"),
    [(0, False), (1, False), (60, False), (SECTOR_BYTES, True), (SECTOR_BYTES + 40, True), (2 * SECTOR_BYTES, True)],
)
def test_a_write_torn_at_any_byte_leaves_the_mark_before_or_after(path: Path, cut: int, survives: bool) -> None:
    later = replace(MARK, view=View(9))
    written(path, MARK)
    before = path.read_bytes()
    written(path, later)
    after = path.read_bytes()
    slot = next(at for at in range(0, FILE_BYTES, 2 * SECTOR_BYTES) if before[at : at + 200] != after[at : at + 200])
    path.write_bytes(before[:slot] + after[slot : slot + cut] + before[slot + cut :])
    assert read(path)[1] == (later if survives else MARK)


def test_a_slot_torn_to_garbage_leaves_the_mark_before(path: Path) -> None:
    written(path, MARK)
    before = path.read_bytes()
    written(path, replace(MARK, view=View(9)))
    after = path.read_bytes()
    slot = next(at for at in range(0, FILE_BYTES, 2 * SECTOR_BYTES) if before[at : at + 200] != after[at : at + 200])
    garbage = b"\xff" * (2 * SECTOR_BYTES)
    path.write_bytes(after[:slot] + garbage + after[slot + len(garbage) :])
    assert read(path)[1] == MARK


@pytest.mark.parametrize(
    "data", [b"", b"x" * FILE_BYTES, bytes(FILE_BYTES), None], ids=["empty", "garbage", "zeros", "one byte short"]
)
def test_a_file_without_an_intact_copy_is_refused(path: Path, data: bytes | None) -> None:
    written(path, MARK)
    path.write_bytes(path.read_bytes()[:-1] if data is None else data)
    for attempt in (read, MarkFile):
        with pytest.raises(MachineError, match="damaged") as caught:
            attempt(path)
        assert caught.value.code == "damaged_mark"


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="absent/marks") as caught:
        MarkFile(tmp_path / "absent" / "marks")
    assert caught.value.code == "bad_path"


@pytest.mark.parametrize(
    ("mark", "head", "has_record", "floor"),
    [
        (None, 0, False, None),
        (None, 5, True, None),
        (MARK, 8, False, None),
        (MARK, 7, True, None),
        (MARK, 7, False, 7),
        (MARK, 6, False, 7),
        (MARK, 6, True, 7),
        (MARK, 0, False, 7),
    ],
)
def test_a_database_behind_the_file_may_not_sign(mark: Mark | None, head: int, has_record: bool, floor: int | None) -> None:
    assert signing_floor(mark, Round(head), has_record=has_record) == floor


def test_a_marks_record_is_recognised() -> None:
    vote, own = make_vote(7, view=2), own_offer(7, ref(b"a"))
    records = RoundRecords((vote,), (), (own,), ())
    of_vote = Mark(vote.epoch, vote.round, vote.view, vote.phase, vote.digest)
    of_own = Mark(own.epoch, own.round, View(0), own.phase, payload_digest(own.envelope))
    assert holds(of_vote, records)
    assert holds(of_own, records)
    for mark in (of_vote, of_own):
        assert not holds(mark, RoundRecords((), (), (), ()))
        for change in ({"epoch": Epoch(9)}, {"round": Round(9)}, {"phase": 99}, {"digest": Digest(b"x" * 32)}):
            assert not holds(replace(mark, **change), records)
    assert not holds(replace(of_vote, view=View(3)), records)


def test_a_managers_recovery_is_recognised_like_an_offer() -> None:
    """It is signed for an epoch above the round's, so its mark keeps votes of the old one from leaving."""
    own = own_recovery(7, epoch=3)
    mark = Mark(own.epoch, own.round, View(0), own.phase, payload_digest(own.envelope))
    assert holds(mark, RoundRecords((), (), (own,), ()))
    assert not holds(mark, RoundRecords((), (), (own_recovery(7, epoch=4), own_offer(7, ref(b"a"))), ()))
    assert signing_floor(mark, Round(7), has_record=False) == 7


async def test_after_a_recovery_was_signed_no_mark_of_a_lower_epoch_is_written(path: Path) -> None:
    vote, own = make_vote(7, epoch=0), own_recovery(7, epoch=3)
    of_own = Mark(own.epoch, own.round, View(0), own.phase, payload_digest(own.envelope))
    file = MarkFile(path)
    await file.write(of_own)
    with pytest.raises(InvariantError, match="epoch 0 after one in round 7, epoch 3"):
        await file.write(Mark(vote.epoch, vote.round, vote.view, vote.phase, vote.digest))
    await file.write(replace(of_own, round=Round(8), epoch=Epoch(0)))
    file.close()
