"""What a member can do with its key alone, without a daemon: say large things to all, ask without a pause, be there and do nothing."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bflcd.crypto.identity import Identity
from bflcd.errors import BflcError
from bflcd.net.gossip import TOPIC
from bflcd.types import ZERO_DIGEST, Digest, Epoch, Height, MicroNats, NodeId, PartsPerMillion, Round
from bflcd.wire.blocks import committee_hash, header_hash
from bflcd.wire.codec import encode
from bflcd.wire.envelope import seal
from bflcd.wire.messages import MAX_ENTRIES, Beacon, CardEntry, ScoreCard
from bflcd.wire.requests import GetHeaders, GetSegment, GetStatus
from bflcd.wire.training import Training
from tests.border.attack import Net, Victim, attack
from tests.border.raw_peer import RawPeer, raw_peer, until

ASKED_AT_ONCE = 16

CARDS_A_SECOND = 50
"""Of a third of a megabyte each: sixteen megabytes a second, more than any link of the committee is lent."""


@dataclass(slots=True)
class Place:
    """The running round, as the victims tell it."""

    round: Round = Round(0)
    epoch: Epoch = Epoch(0)
    parent: Digest = ZERO_DIGEST
    committee: Digest = ZERO_DIGEST

    def fields(self, net: Net) -> dict[str, Any]:
        """What every signed message of it begins with."""
        return {"chain": net.chain, "round": self.round, "epoch": self.epoch, "parent": self.parent, "committee": self.committee}

    async def follow(self, net: Net, peer: RawPeer, left: Callable[[], bool], pause: float = 0.1) -> None:
        """Stay connected to every node that lets us, and know the round."""
        while left():
            for victim in net.running:
                if await peer.dial(victim):
                    await self._ask(net, peer, victim)
            await asyncio.sleep(pause)

    async def _ask(self, net: Net, peer: RawPeer, victim: Victim) -> None:
        status = await peer.ask(victim, GetStatus(net.chain, Round(0), Height(0), ZERO_DIGEST, (), Training.TRAINS), 2.0)
        if status is None or status.head == self.parent:
            return
        reply = await peer.ask(victim, GetHeaders(net.chain, Round(max(1, status.round - 1)), 2), 2.0)
        if reply is not None and reply.headers and (model := reply.headers[-1].header).model is not None:
            self.round, self.epoch, self.parent = model.round, status.epoch, header_hash(model)
            self.committee = committee_hash(status.epoch, model.model.committee)


def stuffed_card(net: Net, place: Place, signer: Identity) -> bytes:
    """As many invented entries as a card holds."""
    uploaders = [victim.node_id for victim in net.running]
    entries = [_invented(uploaders[number % len(uploaders)]) for number in range(MAX_ENTRIES)]
    card = ScoreCard(
        **place.fields(net),
        base_loss=MicroNats(1),
        base_accuracy=PartsPerMillion(1),
        entries=tuple(sorted(entries, key=lambda one: (one.uploader, one.offer, one.root))),
        present=tuple(sorted(uploaders)),
    )
    return encode(seal(card, signer).envelope)


def _invented(uploader: NodeId) -> CardEntry:
    offer, root = Digest(os.urandom(32)), Digest(os.urandom(32))
    return CardEntry(uploader, offer, root, MicroNats(-(2**50)), PartsPerMillion(999_999), 2**22 - 1, 2**32 - 1)


async def _publish(peer: RawPeer, left: Callable[[], bool], make: Callable[[], bytes], pause: float) -> None:
    while left():
        with suppress(BflcError):
            await peer.transport.publish(TOPIC, await asyncio.to_thread(make))
        await asyncio.sleep(pause)


@attack("heavy-cards", row=10, who="member", what="gossips stuffed cards of a third of a megabyte without a pause")
async def heavy_cards(net: Net, seconds: float) -> list[str]:
    left, place, signer = until(seconds), Place(), net.member()
    async with raw_peer(signer) as peer, asyncio.TaskGroup() as group:
        group.create_task(place.follow(net, peer, left))
        group.create_task(_publish(peer, left, lambda: stuffed_card(net, place, signer), 1 / CARDS_A_SECOND))
    return []


@attack("silent-trainer", row=8, who="member", what="is present in every round, and never offers an update")
async def silent(net: Net, seconds: float) -> list[str]:
    left, place, signer = until(seconds), Place(), net.member()
    async with raw_peer(signer) as peer, asyncio.TaskGroup() as group:
        group.create_task(place.follow(net, peer, left))
        group.create_task(_publish(peer, left, lambda: encode(seal(Beacon(**place.fields(net)), signer).envelope), 0.1))
    return []


@attack("asking-member", row=0, who="member", what="asks every node for segments, sixteen at a time, without a pause")
async def asking(net: Net, seconds: float) -> list[str]:
    left, place = until(seconds), Place()

    async def ask(peer: RawPeer, number: int) -> None:
        victim = net.running[number % len(net.running)]
        while left():
            request: Any = GetSegment(net.chain, Round(1 + number % max(1, place.round)))
            if await peer.ask(victim, request, 5.0) is None:
                await asyncio.sleep(0.05)

    async with raw_peer(net.member()) as peer, asyncio.TaskGroup() as group:
        group.create_task(place.follow(net, peer, left, 0.5))
        for number in range(ASKED_AT_ONCE * len(net.running)):
            group.create_task(ask(peer, number))
    return []
