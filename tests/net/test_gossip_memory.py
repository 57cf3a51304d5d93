"""What gossip remembers of messages is bounded, by number or by time, in our part and in the library's."""

import asyncio
from collections.abc import Iterator, Sized
from typing import Any

import pytest
import trio

from bflcd.net.libp2p.heard import MAX_SEEN, SEEN_S, Seen
from bflcd.net.verified import MIN_VERIFIED, VERIFIED_PER_MEMBER, VerifiedEnvelopes
from tests.helpers.transports import TOPIC, Community, community, eventually

MESSAGES = 1500

LIBRARY_KEEPS = 1000
"""Messages after which the library's heartbeat cuts its record of authors and numbers to the newest 500."""

HEARTBEATS_S = 20.0


@pytest.fixture
async def net():
    async with community("libp2p") as members:
        yield members


def containers(owner: Any) -> Iterator[tuple[str, int]]:
    """Names and sizes of what an object's attributes hold; a container of containers counts what those hold."""
    for name, value in vars(owner).items():
        inner = value.values() if isinstance(value, dict) else ()
        nested = sum(len(item) for item in inner if isinstance(item, Sized) and not isinstance(item, bytes | str))
        if isinstance(value, Sized):
            yield name, max(len(value), nested)


async def test_the_library_keeps_nothing_of_old_messages(net: Community) -> None:
    """Given two peers, When many messages have been gossiped both ways, Then no record in the router or its owner has grown with them."""
    first, second = await net.start(1), await net.start(2)
    await first.transport.dial(second.address, 5.0)
    await asyncio.sleep(1.5)  # a heartbeat grafts the mesh
    for number in range(MESSAGES):
        sender = (first, second)[number % 2]
        await sender.transport.publish(TOPIC, number.to_bytes(4, "big"))
    await eventually(lambda: len(first.gossip) > MESSAGES // 4 < len(second.gossip), HEARTBEATS_S)

    for member in (first, second):
        gossip = member.transport._node._gossip

        async def grown(gossip: Any = gossip) -> list[tuple[str, int]]:
            await trio.lowlevel.checkpoint()
            return [found for part in (gossip, gossip.router) for found in containers(part) if found[1] > LIBRARY_KEEPS]

        found = [("nothing yet", 0)]
        for _ in range(int(HEARTBEATS_S)):
            found = await member.transport._bridge.call(grown)
            if not found:
                break
            await asyncio.sleep(1)
        assert found == []


def test_message_ids_are_forgotten_in_time_and_in_number() -> None:
    now = 0.0
    seen = Seen(lambda: now)
    assert seen.add(b"first")
    now = SEEN_S
    assert not seen.add(b"first")
    assert seen.add(b"second")
    assert seen.has(b"first")
    now = SEEN_S + 1
    assert seen.add(b"third")
    assert not seen.has(b"first")
    assert seen.has(b"second")

    for number in range(MAX_SEEN):
        seen.add(number.to_bytes(4, "big"))
    assert len(seen._ids) == MAX_SEEN


def test_a_small_community_remembers_few_envelopes() -> None:
    limits = []
    for members in (2, 6, 100, 1000):
        verified = VerifiedEnvelopes()
        verified.fit(members)
        limits.append(verified._limit)

    assert limits == [MIN_VERIFIED, MIN_VERIFIED, 100 * VERIFIED_PER_MEMBER, 16_384]
    assert VERIFIED_PER_MEMBER >= 10 * 5, "ten rounds and more of everyone"
    small = VerifiedEnvelopes(limit=2)
    small.fit(1000)
    assert small._limit == 2
