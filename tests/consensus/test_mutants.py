"""The worlds of these tests can fail: each planted mistake is caught by the same safety checks within a few seeds."""

from collections.abc import Callable

import pytest

from bflcd.consensus import events, pbft, votes
from bflcd.consensus.justification import Justification, read_view_changes
from bflcd.errors import BflcError
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import open_envelope
from bflcd.wire.messages import Commit
from tests.helpers.consensus import Equivocator, Faults, Message, World, kind_of

SEEDS = 20

HALVES = Faults(heal=15_000, groups=(frozenset({0, 1, 2}), frozenset({3, 4, 5})))


def halves(seed: int) -> World:
    return World(6, seed, HALVES)


def one_decides(seed: int) -> World:
    """Only seat 3 hears the commits of view 0, and nobody hears of its decision: the others must find that segment again."""

    def lost(source: int, target: int, message: Message) -> bool:
        if kind_of(message) is Certificate:
            return True
        first = kind_of(message) is Commit and open_envelope(message, (Commit,)).body.view == 0
        return first and (target != 3 or source == 3)

    return World(4, seed, Faults(heal=8_000, drop=lost))


def crashing(seed: int) -> World:
    return World(4, seed, Faults(heal=10_000, crashes=8), lying_disk=True)


def duplicating(seed: int) -> World:
    return World(4, seed, Faults(heal=5_000, duplicates=0.8), byzantine={1: Equivocator()})


def wide_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    """2f + 1 where M isn't 3f + 1."""
    monkeypatch.setattr(events, "quorum", lambda members: 2 * ((members - 1) // 3) + 1)


def no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """View-changes are counted, but what they name as prepared is neither followed nor asked for."""

    def choose(claims, q, usable):
        envelopes = tuple(claim.view_change.envelope for claim in claims[:q])
        return Justification(envelopes, None) if len(claims) >= q else None

    def check(message, body, q, auth):
        if body.view > 0:
            read_view_changes(message.view_changes, body.view, q, auth)
        return False

    monkeypatch.setattr(pbft, "choose", choose)
    monkeypatch.setattr(pbft, "check_pre_prepare", check)


def duplicates_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every copy of a vote counts, whoever its author is."""
    copies: dict[tuple[int, object], int] = {}
    real_collect = pbft.Pbft._collect

    def collect(self, buffer, vote):
        if buffer.held(vote.author, vote.body.view) is not None:
            key = (id(buffer), vote.body)
            copies[key] = copies.get(key, 0) + 1
        real_collect(self, buffer, vote)

    def quorum(self, q):
        extra = {(vote.view, vote.digest): n for (owner, vote), n in copies.items() if owner == id(self)}
        return next((key for key in self._groups if self.count(*key) + extra.get(key, 0) >= q), None)

    monkeypatch.setattr(pbft.Pbft, "_collect", collect)
    monkeypatch.setattr(votes.VoteBuffer, "quorum", quorum)


def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mistake."""


def caught(world: Callable[[int], World]) -> list[str]:
    """What went wrong in which seed."""
    found = []
    for seed in range(SEEDS):
        try:
            world(seed).run(120_000)
        except (AssertionError, BflcError) as error:
            found.append(f"{seed}: {error}")
    return found


@pytest.mark.parametrize(
    ("mutant", "world"),
    [(wide_quorum, halves), (no_lock, one_decides), (duplicates_count, duplicating), (nothing, crashing)],
    ids=["quorum 2f+1 at M=6", "no lock on the prepared segment", "a commit counted twice", "no durable vote"],
)
def test_a_mutant_is_caught(monkeypatch, mutant, world):
    mutant(monkeypatch)
    found = caught(world)
    assert found


@pytest.mark.parametrize("world", [halves, one_decides, duplicating])
def test_the_same_worlds_find_nothing_in_the_machine_itself(world):
    assert caught(world) == []
