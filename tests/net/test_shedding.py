"""What an overloaded node leaves of messages and requests, before anything of them is worked on (design 8, Waits)."""

from dataclasses import replace
from typing import Any

import pytest

from bflcd.core.relaying import Standpoint
from bflcd.core.shedding import Shed, shed_of
from bflcd.errors import PeerError, Rejection
from bflcd.net.exchange import PATIENCE, SPARED
from bflcd.net.gossip import NOT_NOW, OVER
from bflcd.types import Millis, NodeId, Round
from bflcd.wire.codec import decode_any
from bflcd.wire.messages import GOSSIP, Gossip
from bflcd.wire.requests import GetHeaders, GetStatus, Headers, Request
from tests.helpers.network import CHAIN, ManualClock, Node, clique, status
from tests.net.test_exchange import ASKED, refused_with
from tests.net.test_gossip import ALICE, BOB, Listener
from tests.net.test_relaying import proofs, said

RUNNING = 5
SEATED = Standpoint(CHAIN, Round(RUNNING), 10, judges=True, overloaded=True)
SEATLESS = replace(SEATED, judges=False)
TRAINERS = {"Beacon", "Offer"}


def message(data: bytes) -> Gossip:
    return decode_any(data, GOSSIP)


def left(stands: Standpoint, round_: int) -> dict[str, Shed]:
    """What is left of all that can be said of a round, by kind."""
    everything = said(round_) | proofs(round_)
    return {name: shed for name, data in everything.items() if (shed := shed_of(message(data), stands)) is not None}


@pytest.mark.parametrize("ahead", [0, 1, 2, 10**6])
def test_of_a_round_that_runs_or_is_to_come_a_seat_leaves_nothing(ahead: int) -> None:
    """Votes, cards, pre-prepares, view-changes, certificates, recoveries: what a proof of liveness rests on; beacons and offers too."""
    assert left(SEATED, RUNNING + ahead) == {}


@pytest.mark.parametrize(("ahead", "kinds"), [(0, TRAINERS), (1, set()), (2, set())])
def test_who_has_no_seat_leaves_beacons_and_offers_of_the_running_round_alone(ahead: int, kinds: set[str]) -> None:
    assert left(SEATLESS, RUNNING + ahead) == dict.fromkeys(kinds, Shed.SAID_AGAIN)


@pytest.mark.parametrize("stands", [SEATED, SEATLESS])
@pytest.mark.parametrize("round_", [0, RUNNING - 2, RUNNING - 1])
def test_of_a_decided_round_all_is_left_but_what_proves(stands: Standpoint, round_: int) -> None:
    assert left(stands, round_) == dict.fromkeys(said(round_), Shed.OVER)


class Overloaded(Listener):
    """A channel of a node in round 5 that is overloaded, and what it left."""

    def __init__(self, stands: Standpoint = SEATLESS) -> None:
        self.stands = stands
        self.left: list[str] = []
        super().__init__(stands=lambda: self.stands, on_shed=self.left.append)


@pytest.mark.parametrize("name", sorted(said(RUNNING)))
async def test_what_is_left_has_to_come_again_and_waits_nowhere(name: str) -> None:
    """Given no seat, when messages of the running round are pushed and gossiped, then beacons and offers are left, and told to come
    again; all else waits for the core. Once it keeps up, or has a seat, all of it does."""
    data, listener = said(RUNNING)[name], Overloaded()
    leaves = name in TRAINERS
    assert await listener.pushed(ALICE.node_id, data) == (NOT_NOW if leaves else b"")
    assert listener.hear(data, forwarder=ALICE)
    assert (listener.waiting, listener.left) == ((0, [name, name]) if leaves else (2, []))
    for stands in (replace(SEATLESS, overloaded=False), SEATED):
        listener.stands = stands
        before = listener.waiting
        assert await listener.pushed(ALICE.node_id, data) == b""
        assert listener.waiting == before + 1
    assert listener.faults == []


async def test_of_a_decided_round_a_few_messages_of_each_member_are_looked_at() -> None:
    """Given a member that says a hundred messages of a round that is over, then as many wait for the core as it takes to answer it,
    and the rest of them are taken in and forgotten; another member, votes of the running round and a later moment are as ever."""
    listener, few = Overloaded(SEATED), int(OVER.burst)
    old, live = said(RUNNING - 1)["Prepare"], said(RUNNING)["Prepare"]
    answers = {await listener.pushed(ALICE.node_id, old) for _ in range(100)}
    assert (answers, listener.waiting, len(listener.left)) == ({b""}, few, 100 - few)
    assert listener.hear(old, forwarder=BOB)
    assert [await listener.pushed(ALICE.node_id, live) for _ in range(30)] == [b""] * 30
    assert listener.waiting == few + 1 + 30
    listener.clock.time += 1_000
    for _ in range(10):
        listener.hear(old, forwarder=ALICE)
    assert listener.waiting == few + 31 + OVER.per_second
    assert listener.faults == []


async def test_a_node_that_keeps_up_leaves_nothing() -> None:
    listener = Overloaded(replace(SEATLESS, overloaded=False))
    for round_ in (RUNNING - 1, RUNNING):
        for data in said(round_).values():
            for _ in range(3):
                assert listener.hear(data, forwarder=ALICE)
    assert (listener.waiting, listener.left) == (2 * 3 * len(said(RUNNING)), [])


def test_the_queue_knows_since_when_its_oldest_message_waits() -> None:
    listener = Overloaded(SEATED)
    assert listener.channel.oldest() is None
    for at, forwarder in ((7, ALICE), (9, BOB), (30, ALICE)):
        listener.clock.time = at
        listener.hear(said(RUNNING)["Commit"], forwarder=forwarder)
    assert listener.channel.oldest() == 7


# -- requests --------------------------------------------------------------------------------------------------------------------


def overload(node: Node, clock: ManualClock, sheds: set[type[Request[Any]]]) -> list[str]:
    """Have a node refuse these beyond its allowance, by a clock of its own; what it left."""
    found: list[str] = []
    node.exchange._sheds = lambda request: type(request) in sheds
    node.exchange._on_shed = found.append
    node.exchange._spared._now = clock
    return found


async def test_what_others_can_answer_too_is_refused_before_it_is_worked_on_beyond_a_few() -> None:
    """Given an overloaded node, when a member asks for history again and again, then a few are answered and the rest refused, no
    handler having run; it is asked to come later, blamed for nothing, and has its few again later. What runs is answered always."""
    handled: list[NodeId] = []

    async def answer(peer: NodeId, _request: object) -> Headers:
        handled.append(peer)
        return Headers(())

    async def heartbeat(_peer: NodeId, _request: object) -> object:
        return status(3)

    clock, few = ManualClock(), int(SPARED.burst)
    async with clique([{GetHeaders: answer, GetStatus: heartbeat}, {}, {}]) as (a, b, other):
        found = overload(a, clock, {GetHeaders})
        for _ in range(few):
            await b.exchange.ask(a.id, ASKED[GetHeaders], deadline=2.0)
        for _ in range(5):
            assert (await refused_with(b, a, ASKED[GetHeaders])).rejection is Rejection.BUSY
        assert (handled, found) == ([b.id] * few, ["GetHeaders"] * 5)
        await other.exchange.ask(a.id, ASKED[GetHeaders], deadline=2.0)
        for _ in range(2 * few):
            await b.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0)
        clock.time += int(1_000 / SPARED.per_second)
        await b.exchange.ask(a.id, ASKED[GetHeaders], deadline=2.0)
        assert (await refused_with(b, a, ASKED[GetHeaders])).rejection is Rejection.BUSY
        assert handled[few:] == [other.id, b.id]
        assert a.faults == b.faults == []


async def test_strangers_have_one_allowance_together() -> None:
    async def heartbeat(_peer: NodeId, _request: object) -> object:
        return status(3)

    async with clique([{GetStatus: heartbeat}, {}, {}]) as (a, b, other):
        overload(a, ManualClock(), {GetStatus})
        a.members.clear()
        for asker in [b, other] * (int(SPARED.burst) // 2):
            await asker.exchange.ask(a.id, ASKED[GetStatus], deadline=2.0)
        for asker in (b, other):
            assert (await refused_with(asker, a, ASKED[GetStatus])).rejection is Rejection.BUSY


async def test_a_request_whose_turn_comes_when_hardly_anybody_waits_any_more_is_not_worked_on() -> None:
    """Given a request that came long ago, when its turn comes, then it is refused and no handler runs."""
    clock, handled = ManualClock(), []

    async def slow(peer: NodeId, _request: object) -> object:
        handled.append(peer)
        return status(3)

    async with clique([{GetStatus: slow}, {}], now=clock) as (a, b):
        payload, lane = ASKED[GetStatus], GetStatus.lane
        clock.time = int(PATIENCE * 1000) + 1
        with pytest.raises(PeerError) as caught:
            await a.exchange._in_turn(lane, b.id, payload, Millis(0))
        assert (caught.value.rejection, handled) == (Rejection.BUSY, [])
        assert await a.exchange._in_turn(lane, b.id, payload, Millis(1)) == status(3)
