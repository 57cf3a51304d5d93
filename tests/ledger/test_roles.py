"""Membership, the round's seed and its active trainers (design 5.1)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.roles import is_active, may_train, seed, seed_of, trainers
from bflcd.ledger.state import account_of
from bflcd.types import Digest, NodeId, Round
from tests.helpers.ledger import make_community, play_gains

CHAIN, HEADER = Digest(b"c" * 32), Digest(b"h" * 32)


@pytest.mark.parametrize(("round_", "source"), [(0, CHAIN), (1, CHAIN), (2, HEADER), (3, HEADER)])
def test_the_seed_covers_the_model_header_two_rounds_back_and_before_that_the_chain(round_: int, source: Digest) -> None:
    assert seed(CHAIN, Round(round_), HEADER) == digest(Domain.SEED, CHAIN, integer(round_), source)


def test_a_model_block_first_moves_the_seed_of_the_second_round_after_its_own() -> None:
    """Given two ways to close round 0, then the seeds of rounds 1 and 2 are the same, and round 3's differ."""
    start = make_community()
    ways = [play_gains(start, {start.outsiders[0]: gain}).after for gain in (100, 200)]
    heads = [way.head for way in ways]
    assert heads[0] != heads[1]
    for _ in range(2):
        assert seed_of(ways[0].state) == seed_of(ways[1].state)
        ways = [play_gains(way, {way.outsiders[0]: 100}).after for way in ways]
    assert [way.state.grandparent for way in ways] == heads
    assert seed_of(ways[0].state) != seed_of(ways[1].state)


@pytest.mark.parametrize("share", [1, 250_000, 500_000, 999_999, 1_000_000])
def test_about_the_active_fraction_of_many_nodes_is_active(share: int) -> None:
    params = replace(make_community().params, active_fraction=share)
    active = sum(is_active(params, CHAIN, NodeId(number.to_bytes(32, "big"))) for number in range(4000))
    assert abs(active / 4000 - share / 1_000_000) < 0.03
    assert share < 1_000_000 or active == 4000


def test_activity_is_drawn_anew_each_round() -> None:
    params = replace(make_community().params, active_fraction=500_000)
    nodes = [NodeId(number.to_bytes(32, "big")) for number in range(64)]
    assert [is_active(params, CHAIN, n) for n in nodes] != [is_active(params, HEADER, n) for n in nodes]


def test_a_seat_keeps_from_training_unless_the_community_is_small() -> None:
    common, small = make_community(10, 4), make_community(3, 3, 3)
    assert trainers(common.params, common.state) == frozenset(common.outsiders)
    assert trainers(small.params, small.state) == frozenset(small.members)


@given(st.integers(1, 1_000_000))
def test_one_node_and_all_nodes_are_judged_alike(share: int) -> None:
    community = make_community(active_fraction=share)
    everybody = (*community.members, NodeId(b"s" * 32))
    alone = {node for node in everybody if may_train(community.params, community.state, node)}
    assert alone == trainers(community.params, community.state)


def test_every_member_has_its_account_and_a_stranger_has_none() -> None:
    community = make_community(7, 4)
    for account in community.state.accounts:
        assert account_of(community.state, account.node) == account
    for stranger in (bytes(32), b"\x80" * 32, b"\xff" * 32):
        assert account_of(community.state, NodeId(stranger)) is None
