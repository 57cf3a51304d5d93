"""Membership, the round's seed and its active trainers (design 5.1)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.ledger.roles import is_active, may_train, seed, seed_of, trainers
from bflcd.ledger.state import account_of
from bflcd.types import Digest, NodeId, Round
from tests.helpers.ledger import make_community

CHAIN, HEADER = Digest(b"c" * 32), Digest(b"h" * 32)


def test_the_seed_covers_chain_round_and_lot_and_nothing_else() -> None:
    assert seed(CHAIN, Round(3), HEADER) == digest(Domain.SEED, CHAIN, integer(3), HEADER)
    start = make_community().state
    assert seed_of(start) == seed(start.chain, start.round, start.lot)


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
