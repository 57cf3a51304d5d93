"""What a node holds against its peers, before and after it knows its chain."""

from types import SimpleNamespace
from typing import Any

import pytest

from bflcd.errors import Rejection
from bflcd.node.peer_side import PeerSide
from bflcd.types import ZERO_DIGEST, Digest, NodeId

PEER = NodeId(bytes([7]) * 32)


def punished(chain: Digest, rejection: Rejection, *, former: bool = False) -> list[Any]:
    charged: list[Any] = []
    side = SimpleNamespace(
        _chain=lambda: chain,
        _metrics=SimpleNamespace(refused=lambda _: None),
        standing=SimpleNamespace(was_member=lambda _: former),
        peers=SimpleNamespace(punish=lambda *what: charged.append(what)),
    )
    PeerSide.punish(side, PEER, rejection, "why")  # type: ignore[arg-type]
    return charged


@pytest.mark.parametrize(
    ("chain", "rejection", "charged"),
    [
        (ZERO_DIGEST, Rejection.NOT_MEMBER, False),
        (ZERO_DIGEST, Rejection.MALFORMED, True),
        (Digest(bytes([1]) * 32), Rejection.NOT_MEMBER, True),
    ],
    ids=["a newcomer knows no members", "garbage is garbage", "on its chain"],
)
def test_a_newcomer_holds_it_against_nobody_that_it_knows_no_members(chain: Digest, rejection: Rejection, charged: bool) -> None:
    assert bool(punished(chain, rejection)) is charged


def test_who_was_a_member_may_not_know_yet_that_it_is_none() -> None:
    assert punished(Digest(bytes([1]) * 32), Rejection.NOT_MEMBER, former=True) == []
    assert len(punished(Digest(bytes([1]) * 32), Rejection.MALFORMED, former=True)) == 1
