"""The simulated world itself: its promises, the seeds that once failed, and that it finds what is planted."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bflcd.ledger import quorum
from bflcd.ledger.state import NEVER, member_of
from bflcd.params import ELECTIONS
from tests.sim.profiles import PROFILES, Scene
from tests.sim.recording import record, recorded
from tests.sim.run import make_world, run_seed, run_world
from tests.sim.strategies import STRATEGIES, Liar

ROOT = Path(__file__).parents[2]

FIXED = [
    (1, "calm", 4),
    (2, "halves", 6),
    (3, "power_loss", 5),
    (4, "torn_log", 4),
    (5, "liars", 7),
    (6, "liars_and_halves", 6),
    (7, "crash_storm", 4),
    (8, "lossy", 1),
    (9, "mixed", 3),
    (10, "gone", 5),
    (12, "gone", 7),
]
"""Seed, profile, nodes: a few of every kind."""

LOSING = (35, 53, 45, *range(20))
"""Among them are some in which a seat commits alone and returns."""

FOUND = [
    pytest.param(1021, "mixed", 7, id="a payload that was dropped as damaged is needed by another job"),
    pytest.param(30039, "wiped", 5, id="a lost disk hears one peer only"),
    pytest.param(60344, "mixed", 6, id="a third offer is held against who passed it on"),
    pytest.param(30057, "wiped", 6, id="a lost disk that is one round behind"),
    pytest.param(195224461, "liars_and_crashes", 1, id="a small community's judge forgets its own offer over a restart"),
    pytest.param(195224385, "liars_and_network", 5, id="a third offer is blamed on who passed it on"),
    pytest.param(732755163, "power_loss", 7, id="a vote stored again takes the mark back from a later one"),
    pytest.param(330881347, "mixed", 4, id="a lost disk, and nobody's word within the first look"),
    pytest.param(732758078, "mixed", 4, id="an offer that cards name is lost with its author and a power loss"),
    pytest.param(513, "power_loss", None, id="a restart marks the highest place and not the last record"),
    pytest.param(80, "gone", None, id="in round 0 those declared gone are waited for"),
    pytest.param(135, "gone", None, id="a restart in a new epoch dies of what the old one had proposed"),
    pytest.param(7010, "gone", None, id="a manager votes in the epoch that it had ended, after a restart"),
    pytest.param(574179494, "liars_and_halves", None, id="a peer that answers nothing holds up every segment of a catch-up"),
]
"""Seeds that failed once, all with elections by score; docs/measurements/defects.md says what was found."""


@pytest.mark.parametrize(("seed", "profile", "nodes"), FIXED)
def test_a_seed_holds(seed: int, profile: str, nodes: int) -> None:
    assert run_seed(seed, profile=profile, nodes=nodes, changing=False).violations == ()


@pytest.mark.parametrize(("seed", "profile", "nodes"), FOUND)
def test_a_seed_that_failed_once_holds(seed: int, profile: str | None, nodes: int | None) -> None:
    assert run_seed(seed, profile=profile, nodes=nodes, election="score", changing=False).violations == ()


def test_who_is_left_of_a_community_that_died_as_it_started_can_sign_no_recovery_and_none_is_asked_of_it() -> None:
    """Three of four are gone before the fourth, the only manager, has heard f + 1 others: it looks as if it had lost its disk."""
    result = run_seed(856003718)
    assert (result.profile, result.out_of_contract, result.violations) == ("gone", True, ())


@pytest.mark.parametrize("seed", [441850811, 892653592])
def test_a_payload_that_two_offer_counts_for_who_made_it_alone(seed: int) -> None:
    """Given a liar that offers another's payload as its own, then a judge that fetches it for both at once keeps it, and nobody
    packs it as the liar's."""
    assert run_seed(seed).violations == ()


@pytest.mark.parametrize("seed", range(7, 267, 13))
def test_a_recorded_seed_says_and_decides_what_it_did(seed: int) -> None:
    """A change that only moves code changes no byte; for one that must, `python -m tests.sim.recording write` and say why."""
    assert record(seed) == recorded()[seed]


@pytest.mark.parametrize("election", ELECTIONS)
def test_liars_and_crashes_hold_whatever_the_election(election: str) -> None:
    assert run_seed(40, profile="liars_and_crashes", nodes=7, election=election).violations == ()


def test_the_draw_of_the_election_moves_nothing_else_and_each_rule_is_drawn() -> None:
    setups = {seed: make_world(seed)[0].setup for seed in range(40)}
    assert {setup.election for setup in setups.values()} == set(ELECTIONS)
    for seed, setup in setups.items():
        assert make_world(seed, election="score")[0].setup == replace(setup, election="score")


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    """Given two processes whose sets and dictionaries hash differently, when both run a seed, then their traces are one."""
    program = "from tests.sim.run import run_seed; print(run_seed(11, profile='liars_and_network', nodes=5).trace_hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": number, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for number in ("1", "2")
    }
    assert len(hashes) == 1


def test_another_seed_gives_another_trace_and_reading_along_changes_nothing() -> None:
    first = run_seed(21, profile="calm", nodes=4)
    again = run_seed(21, profile="calm", nodes=4, readable=True)
    assert again.trace_hash == first.trace_hash
    assert any("COMMITS" in line for line in again.lines)
    assert run_seed(22, profile="calm", nodes=4).trace_hash != first.trace_hash


def test_a_quorum_of_2f_plus_1_is_found_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given quorums of 2f + 1, when six members are cut in halves, then two of them decide two things."""
    monkeypatch.setattr("bflcd.ledger.quorum.quorum", _too_small)
    for module in ("consensus.events", "ledger.judgement", "ledger.transition", "core.round.context"):
        monkeypatch.setattr(f"bflcd.{module}.quorum", _too_small)
    found = (run_seed(seed, profile="halves", nodes=6).violations for seed in range(30))
    assert any(violations for violations in found)


def _too_small(members: int) -> int:
    return 2 * quorum.faults(members) + 1


def test_votes_that_are_not_durable_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a node that persists nothing, when it speaks, then it is caught before anything comes of it."""
    monkeypatch.setattr("tests.sim.disk.Disk.persist", lambda _self, _records, _relies_on: None)
    assert "not durable" in run_seed(1, profile="calm", nodes=4).violations[0]


def test_a_journal_that_is_ignored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a core that forgets at a restart what it signed, when everybody loses power, then somebody contradicts itself."""
    monkeypatch.setattr("bflcd.core.records.RoundRecords.journal", _nothing)
    found = (run_seed(seed, profile="power_loss", nodes=4, election="score").violations for seed in (16, *range(40)))
    assert any(violations for violations in found)


def test_evidence_that_no_leader_takes_up_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given leaders who leave evidence out, when a liar signs two offers, then it is missed that no block punishes it."""
    monkeypatch.setattr("bflcd.core.operation_pool.OperationPool.chosen", lambda *_: ())

    def missed(seed: int) -> bool:
        world, _ = make_world(seed, profile="calm", nodes=5, changing=False)
        world.nodes[0].liar = Liar(world.nodes[0], ["two_offers"], Random("two_offers"))
        return any("no block does" in text for text in world.run(heal_at=4_000, heal_rounds=3).violations)

    assert any(missed(seed) for seed in (33, *range(36, 42)))  # the liar has to be drawn to train


def test_managers_who_miss_what_was_prepared_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given managers to whom nobody shows a proof, when one seat has committed and left, then a block that they saw is lost."""
    monkeypatch.setattr("tests.sim.operators.highest_proof", lambda _state, _records: None)
    found = (run_seed(seed, profile="gone", nodes=5, election="score").violations for seed in LOSING)
    assert any("LOST" in text for violations in found for text in violations)


def _nothing(_self: object, _epoch: int) -> object:
    from bflcd.consensus.events import Journal

    return Journal()


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_can_be_drawn(name: str) -> None:
    world, scene = make_world(5, profile=name, nodes=5)
    assert isinstance(scene, Scene)
    assert world.profile == name


@pytest.mark.parametrize("election", ELECTIONS)
def test_who_only_follows_is_never_seated(election: str) -> None:
    """Given members that follow only, whatever else goes wrong, then none of them is ever packed, present, or on a seat."""
    observing = 0
    for seed in range(6):
        world, scene = make_world(seed, profile="observers", nodes=7 + seed % 4, election=election, changing=False)
        assert run_world(world, scene).violations == ()
        ahead = max(world.nodes, key=lambda node: node.round)
        accounts = {account.node: account for account in ahead.disk.head.state.accounts}
        for node in (node for node in world.nodes if node.observes):
            observing += 1
            assert node.round >= world.goal
            account = accounts[node.id]
            assert (account.seat_round, account.packed_round, account.availability) == (NEVER, NEVER, 0)
    assert observing > 5


def test_at_most_f_lie_forget_or_leave() -> None:
    for seed in range(60):
        world, scene = make_world(seed)
        liars = sum(not node.honest for node in world.nodes)
        assert liars <= world.setup.f + 1
        assert scene.budget >= 0


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_runs_and_harms_nobody(name: str) -> None:
    """Given one liar among five with one strategy, when ten seconds pass, then everything held."""
    world, _ = make_world(31, profile="calm", nodes=5, changing=False)
    liar = world.nodes[0]
    liar.liar = Liar(liar, [name], Random(name))
    assert world.run(heal_at=4_000, heal_rounds=3).violations == ()


@pytest.mark.parametrize("seed", range(1000, 1008))
def test_members_come_and_go_whatever_goes_wrong(seed: int) -> None:
    result = run_seed(seed, changing=True)
    assert result.violations == ()


def test_a_voucher_that_admits_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a ledger that keeps a voucher after its use, when two have the invitation, then the second one that joins is noticed."""
    monkeypatch.setattr("bflcd.ledger.operations.vouching.without_voucher", lambda state, _key: state)
    found = (run_seed(seed, profile="calm", changing=True).violations for seed in (89, *range(60)))
    assert any("admits a second node" in text for violations in found for text in violations)


@pytest.mark.parametrize(
    ("seed", "kind"), [(1003, "join"), (1064, "join"), (1019, "replace"), (1021, "rotate"), (1047, "rotate")]
)
def test_keys_and_vouchers_hold_whatever_goes_wrong(seed: int, kind: str) -> None:
    """Given worlds in which somebody joins by a voucher, or a key takes another's place, then all holds, and who rotated its key is at
    work under the new one in the end."""
    world, scene = make_world(seed, changing=True)
    result = run_world(world, scene)
    assert result.violations == ()
    assert (result.carried or {})[kind] > 0
    for node in world.living:
        assert any(member_of(node.disk.head.state, key.node_id) is not None for key in node.keys)
        assert len(node.keys) == 1 or member_of(node.before.state, node.id) is not None


def test_in_a_third_of_the_seeds_somebody_comes_or_goes_and_the_draw_moves_nothing_else() -> None:
    drawn = [make_world(seed)[0].setup.strangers > 0 for seed in range(60)]
    assert 60 // 3 < sum(drawn) < 60
    for seed in range(12):
        still, moving = (make_world(seed, profile="calm", changing=changing)[0].setup for changing in (False, True))
        assert moving == replace(still, nodes=moving.nodes, strangers=moving.nodes - still.nodes, terms=moving.terms)
    found = [run_seed(seed, profile="calm", changing=True) for seed in range(4)]
    assert sum(result.changes for result in found) > 0
    assert len({kind for result in found for kind in result.carried or ()}) >= 5
