"""Who was put out gets nothing more: its key, in a peer that obeys no rule, at every node and with every request."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import read_key
from bflcd.types import Digest, NodeId
from bflcd.wire.requests import REQUESTS
from tests.border.attack import Victim
from tests.border.raw_peer import raw_peer, until
from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_alliance import alliance, managers, sign
from tests.helpers.daemons import Community, Daemon, community
from tests.helpers.schema import sample, schema_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("KEPT_OUT_SECONDS", "60"))
"""That it tries; a third of it after all others have started anew."""


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Community]:
    with community(tmp_path / "net", 7, "--committee-size", "4") as made:
        made.start()
        made.wait_round(2, START_SECONDS)
        yield made


def victim_of(node: Daemon) -> Victim:
    return Victim(NodeId(bytes.fromhex(node.node_id)), node.address, int(node.address.split("/")[4]))


def asked(chain: Digest, root: Digest) -> list[Any]:
    """One request of each kind, of this chain, and for its newest model where it asks for a payload."""
    found = []
    for kind in REQUESTS:
        names = {field.name for field in fields(kind)}
        made = sample(schema_of(kind))
        found.append(replace(made, **{name: value for name, value in (("chain", chain), ("root", root)) if name in names}))
    return found


async def attempts(identity: Identity, nodes: list[Daemon], chain: Digest, seconds: float) -> tuple[int, list[str]]:
    """How often it tried, and what it got: replies by kind, and gossip."""
    got: list[str] = []
    tried, left = 0, until(seconds)
    root = Digest(bytes.fromhex(nodes[0].status()["model_hash"]))

    def hears(message: bytes) -> None:
        got.append(f"{len(message)} bytes of gossip")

    while left():
        async with raw_peer(identity, hears) as peer:
            for node in nodes:
                tried += 1
                if not await peer.dial(victim_of(node)):
                    continue
                replies = await asyncio.gather(*(peer.ask(victim_of(node), one, 1.0) for one in asked(chain, root)))
                got += [type(one).__name__ for one, reply in zip(asked(chain, root), replies, strict=True) if reply is not None]
    return tried, got


def test_who_was_put_out_in_mid_round_gets_nothing_also_after_restarts(net: Community) -> None:
    """Given a member that is put out while a round runs, when its key tries every request at every node, over connections of its own
    making, then not one connection stands and not a byte is answered; nor after all others have started anew."""
    out, others = net[6], net.nodes[:6]
    assert out.node_id not in {node.node_id for node in managers(net)}, "the last one manages nothing"
    seats = managers(net)
    for manager in seats[:3]:
        sign(net, manager, kind="kick", node=out.node_id, reason="it was stolen")
    for node in others:
        net.wait_for(lambda node=node: list(alliance(node)["former"]), START_SECONDS, f"{node.name} knows")
    net.stop(out)
    identity, chain = read_key(out.datadir / "node.key"), Digest(bytes.fromhex(net.chain_id))
    begun = others[0].round()

    tried, got = asyncio.run(attempts(identity, others, chain, 2 * SECONDS / 3))
    assert tried > 6
    assert got == []
    assert others[0].round() > begun, "rounds went on"

    net.stop(*others)
    net.start(others)
    net.wait_round(begun, START_SECONDS, others)
    tried, got = asyncio.run(attempts(identity, others, chain, SECONDS / 3))
    assert tried > 6
    assert got == []
    net.hashes(others)
