"""What is said goes to whom it concerns until each has confirmed it; gossip is the last way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bflcd.core.effects import Send
from bflcd.core.events import Instant
from bflcd.core.round.retransmission import Retransmissions
from bflcd.node.runtime.delivery import MAX_PUSHES, MOST_PATIENT, MOST_PATIENT_TRAINING, PATIENT, TRUSTED, Delivery
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.pace import Pace
from bflcd.node.runtime.ports import Pushed
from bflcd.scheduler import ASYNCIO
from bflcd.types import Millis, NodeId, Signature
from bflcd.wire.codec import WIRE_VERSION, number_of
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Gossip, Offer

T0 = Millis(1_000)
ANN, BOB, CEM, DAN = (NodeId(letter * 32) for letter in (b"a", b"b", b"c", b"d"))
JUDGES = (ANN, BOB, CEM)
SAID = Envelope(NodeId(bytes(32)), b"what was signed", Signature(bytes(64)))
OTHER = Envelope(SAID.author, b"another thing", SAID.signature)
OFFER = Envelope(SAID.author, bytes((0x90, WIRE_VERSION, number_of(Offer))), SAID.signature)


class Net:
    """Peers with connections, who confirm what is pushed to them, lose it, or say that they have no use for it now."""

    def __init__(self) -> None:
        self.connections = {peer: number for number, peer in enumerate(JUDGES)}
        self.loses: set[NodeId] = set()
        self.defers: set[NodeId] = set()
        self.slow: set[NodeId] = set(JUDGES)
        self.loses_nothing_of: set[Gossip] = set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.pushed: list[tuple[NodeId, Gossip]] = []
        self.published: list[Gossip] = []
        self.now = Millis(0)

    def __call__(self) -> Instant:
        return Instant(self.now, self.now)

    def connected(self) -> tuple[NodeId, ...]:
        return tuple(self.connections)

    def connection(self, peer: NodeId) -> int | None:
        return self.connections.get(peer)

    async def publish(self, message: Gossip) -> None:
        self.published.append(message)

    async def push(self, message: Gossip, peer: NodeId) -> Pushed:
        self.pushed.append((peer, message))
        kept = message not in self.loses_nothing_of
        if peer in self.slow and kept:
            await self.answers.wait()
        if peer in self.loses and kept:
            return Pushed.LOST
        return Pushed.NOT_NOW if peer in self.defers else Pushed.TAKEN_IN


class Sender:
    """A delivery over a net. `say` returns to whom it was pushed, once nothing is left to do."""

    def __init__(self, net: Net, delivery: Delivery) -> None:
        self.net = net
        self.delivery = delivery

    async def say(self, to: tuple[NodeId, ...] = JUDGES, message: Gossip = SAID) -> tuple[NodeId, ...]:
        before = len(self.net.pushed)
        await self.delivery.send(Send(message, to))
        for _ in range(5):
            await asyncio.sleep(0)
        return tuple(peer for peer, _ in self.net.pushed[before:])


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    net, jobs = Net(), Jobs(ASYNCIO)
    async with jobs.opened():
        yield Sender(net, Delivery(net, jobs, net, lambda: T0))


async def test_what_concerns_all_is_gossiped(sender: Sender) -> None:
    assert await sender.say(()) == ()
    assert sender.net.published == [SAID]


async def test_who_has_confirmed_gets_it_no_second_time_but_one_in_turn(sender: Sender) -> None:
    assert await sender.say() == JUDGES
    assert [await sender.say() for _ in range(3)] == [(BOB,), (CEM,), (ANN,)]
    assert sender.net.published == []


async def test_only_who_has_not_confirmed_gets_it_again(sender: Sender) -> None:
    sender.net.defers = {BOB}
    assert await sender.say() == JUDGES
    assert await sender.say() == (BOB,)
    sender.net.defers = set()
    assert await sender.say() == (BOB,)
    assert len(await sender.say()) == 1
    assert sender.net.published == [], "who has no use for it now would have none for gossip"


async def test_what_no_answer_came_to_is_gossiped_when_it_is_said_again(sender: Sender) -> None:
    sender.net.loses = {CEM}
    assert await sender.say() == JUDGES
    assert sender.net.published == []
    assert await sender.say() == (CEM,)
    assert sender.net.published == [SAID]
    sender.net.loses = set()
    assert await sender.say() == (CEM,)
    assert len(await sender.say()) == 1
    assert sender.net.published == [SAID, SAID], "it was silent up to then"
    sender.net.defers = {CEM}
    assert [await sender.say(message=OTHER) for _ in range(2)] == [JUDGES, (CEM,)]
    assert sender.net.published == [SAID, SAID], "it has answered since"


async def test_who_has_answered_meanwhile_is_slow_and_not_silent(sender: Sender) -> None:
    """Given a push without an answer, When the peer answered another one while it was awaited, Then nobody else is bothered."""
    sender.net.loses, sender.net.slow = {CEM}, {CEM}
    sender.net.answers.clear()
    await sender.say()
    sender.net.loses_nothing_of = {OTHER}
    sender.net.now = Millis(1)
    await sender.say(message=OTHER)
    sender.net.answers.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await sender.say() == (CEM,)
    assert sender.net.published == []


async def test_who_is_silent_gets_one_message_each_t0_and_holds_few(sender: Sender) -> None:
    """Given a judge that lets pushes go unanswered, when more is said for long, then it is tried each T0 and holds at most four."""
    sender.net.loses = {CEM}
    await sender.say()
    sender.net.answers.clear()
    tried = []
    for half in range(12):
        sender.net.now = Millis(T0 + half * T0 // 2)
        tried.append(CEM in await sender.say(message=Envelope(SAID.author, bytes([half]), SAID.signature)))
    assert tried == [True, False] * 4 + [False] * 4


async def test_who_is_silent_gets_one_message_at_once(sender: Sender) -> None:
    """Given a judge that lets pushes go unanswered, When more is said, Then it holds one of them, and the others lose nothing by it."""
    sender.net.loses = {CEM}
    await sender.say()
    sender.net.answers.clear()
    assert await sender.say(message=OTHER) == JUDGES
    third = Envelope(SAID.author, b"a third thing", SAID.signature)
    assert await sender.say(message=third) == (ANN, BOB)
    sender.net.loses = set()
    sender.net.answers.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await sender.say(message=third) == (CEM,), "it has answered"
    assert sender.delivery.under_way == 0


async def test_who_is_not_connected_is_reached_by_gossip_when_it_is_said_again(sender: Sender) -> None:
    del sender.net.connections[ANN]
    assert await sender.say() == (BOB, CEM)
    assert sender.net.published == []
    assert await sender.say() == ()
    assert sender.net.published == [SAID]


async def test_who_is_connected_meanwhile_needs_no_gossip(sender: Sender) -> None:
    number = sender.net.connections.pop(ANN)
    await sender.say()
    sender.net.connections[ANN] = number
    assert await sender.say() == (ANN,)
    assert sender.net.published == []


@pytest.mark.parametrize("why", ["nobody is connected", "nobody answers"])
async def test_where_nobody_can_be_reached_straight_it_is_gossiped_at_once(sender: Sender, why: str) -> None:
    if why == "nobody answers":
        sender.net.loses = set(JUDGES)
        await sender.say()
    else:
        sender.net.connections.clear()
    await sender.say(message=OTHER)
    assert sender.net.published == [OTHER]


async def settled() -> None:
    """Let what can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_where_all_are_slow_gossip_waits_a_few_times_as_long_as_their_answers_take(sender: Sender) -> None:
    """Given judges whose answers took 400 ms and then none, When one of them is not connected, Then gossip waits for it so long."""
    net = sender.net
    net.answers.clear()
    await sender.say(message=OTHER)
    net.now = begun = Millis(400)
    net.answers.set()
    await settled()
    sender.delivery.round_closed()
    del net.connections[CEM]
    await sender.say()
    for later in (100, PATIENT * 300 - 1):
        net.now = Millis(begun + later)
        await sender.say()
        assert net.published == [], later
    net.now = Millis(begun + PATIENT * 300)
    await sender.say()
    assert net.published == [SAID]


async def test_answers_that_are_still_awaited_count_as_slow(sender: Sender) -> None:
    """Given judges that have answered nothing for 300 ms, When pushes to them are given up, Then it is not gossiped at once."""
    net = sender.net
    net.loses = set(JUDGES)
    net.answers.clear()
    await sender.say()
    net.now = Millis(300)
    assert await sender.say(message=OTHER) == JUDGES
    net.answers.set()
    await settled()
    assert await sender.say() == JUDGES
    assert net.published == []
    net.now = Millis(PATIENT * 300)
    await sender.say()
    assert net.published == [SAID]


@pytest.mark.parametrize(("message", "most"), [(SAID, MOST_PATIENT), (OFFER, MOST_PATIENT_TRAINING)])
async def test_gossip_waits_no_longer_than_its_bound_however_slow_all_are(sender: Sender, message: Gossip, most: int) -> None:
    net = sender.net
    net.answers.clear()
    await sender.say(message=OTHER)
    net.now = begun = Millis(100 * T0)
    net.answers.set()
    await settled()
    del net.connections[CEM]
    await sender.say(message=message)
    net.now = Millis(begun + most * T0 - 1)
    await sender.say(message=message)
    assert net.published == []
    net.now = Millis(begun + most * T0)
    await sender.say(message=message)
    assert net.published == [message]


async def test_one_judge_of_three_that_is_slow_holds_up_no_gossip(sender: Sender) -> None:
    net = sender.net
    net.answers.clear()
    net.slow = {ANN}
    await sender.say(message=OTHER)
    net.now = Millis(5_000)
    del net.connections[CEM]
    await sender.say()
    await sender.say()
    assert net.published == [SAID]


async def test_one_judge_of_four_that_is_gone_makes_no_trainer_gossip_before_the_bound(sender: Sender) -> None:
    """Given four judges, one of whom is not connected, When an offer is said again, Then it waits; a card does not."""
    net, four = sender.net, (*JUDGES, DAN)
    assert await sender.say(four, OFFER) == JUDGES
    assert await sender.say(four, SAID) == JUDGES
    net.now = Millis(T0)
    await sender.say(four, OFFER)
    assert net.published == []
    await sender.say(four, SAID)
    assert net.published == [SAID]
    net.now = Millis(MOST_PATIENT_TRAINING * T0)
    await sender.say(four, OFFER)
    assert net.published == [SAID, OFFER]


@pytest.mark.parametrize("message", [SAID, OFFER])
async def test_where_no_judge_is_connected_it_is_gossiped_at_once_however_slow_others_are(
    sender: Sender, message: Gossip
) -> None:
    net = sender.net
    net.answers.clear()
    await sender.say((ANN,), OTHER)
    net.now = Millis(3_000)
    net.answers.set()
    await settled()
    await sender.say((DAN,), message)
    assert net.published == [message]


async def test_an_offer_that_two_judges_of_four_lack_is_gossiped_when_it_is_said_again(sender: Sender) -> None:
    net, four = sender.net, (*JUDGES, DAN)
    del net.connections[CEM]
    assert await sender.say(four, OFFER) == (ANN, BOB)
    assert net.published == []
    await sender.say(four, OFFER)
    assert net.published == [OFFER]


async def test_where_answers_are_slow_nobody_who_has_it_is_asked_again_before_its_time(sender: Sender) -> None:
    net = sender.net
    net.answers.clear()
    await sender.say(message=OTHER)
    net.now = begun = Millis(400)
    net.answers.set()
    await settled()
    await sender.say()
    for later, asked in ((100, 0), (PATIENT * 300 - 1, 0), (PATIENT * 300, 1)):
        net.now = Millis(begun + later)
        assert len(await sender.say()) == asked, later


def test_the_pace_is_the_lower_median_of_what_answers_take_with_what_is_awaited() -> None:
    pace = Pace()
    assert pace.of(JUDGES, Millis(0)) == 0
    for peer, took in zip(JUDGES, (100, 400, 900), strict=True):
        pace.begun(peer, Millis(0))
        pace.ended(peer, Millis(0), Millis(took), answered=True)
    assert pace.of(JUDGES, Millis(900)) == 400
    assert pace.of((ANN, BOB), Millis(900)) == 100, "the lower of two middles"
    assert pace.of((NodeId(bytes(32)),), Millis(900)) == 400, "nothing is known of it: as all others"
    pace.begun(ANN, Millis(1_000))
    assert pace.of((ANN,), Millis(1_050)) == 100
    assert pace.of((ANN,), Millis(1_700)) == 700
    pace.ended(ANN, Millis(1_000), Millis(1_900), answered=True)
    assert pace.of((ANN,), Millis(1_900)) == 300, "an answer moves it by a quarter"
    pace.begun(BOB, Millis(2_000))
    pace.ended(BOB, Millis(2_000), Millis(2_001), answered=False)
    assert pace.of((BOB,), Millis(2_001)) == 400, "that nothing came says that nothing came sooner"
    pace.begun(BOB, Millis(3_000))
    pace.ended(BOB, Millis(3_000), Millis(6_000), answered=False)
    assert pace.of((BOB,), Millis(6_000)) == 3_000
    pace.forget_but({ANN}.__contains__)
    assert pace.of((BOB,), Millis(6_000)) == 300


async def test_over_a_new_connection_it_goes_again(sender: Sender) -> None:
    await sender.say()
    sender.net.connections[BOB] = 77
    assert await sender.say() == (BOB,)


async def test_a_confirmation_counts_for_some_time_only(sender: Sender) -> None:
    await sender.say()
    sender.net.now = Millis(TRUSTED * T0 - 1)
    assert len(await sender.say()) == 1
    sender.net.now = Millis(TRUSTED * T0)
    assert set(await sender.say()) >= {ANN, CEM}


async def test_what_is_under_way_is_not_sent_beside(sender: Sender) -> None:
    sender.net.answers.clear()
    assert await sender.say() == JUDGES
    assert await sender.say() == ()
    sender.net.answers.set()
    await asyncio.sleep(0)
    assert sender.net.published == []


async def test_one_that_takes_long_keeps_nobody_from_being_asked_again(sender: Sender) -> None:
    """Given two that say "not now" at once and one whose answer takes long, When it is said again, Then the two get it."""
    sender.net.defers = {ANN, BOB}
    sender.net.slow = {CEM}
    sender.net.answers.clear()
    assert await sender.say() == JUDGES
    assert await sender.say() == (ANN, BOB)


async def test_what_was_lost_of_a_round_that_is_over_is_not_gossiped(sender: Sender) -> None:
    sender.net.loses = {CEM}
    await sender.say()
    sender.delivery.round_closed()
    assert await sender.say() == JUDGES, "in the next round it is another matter"
    assert sender.net.published == []


async def test_with_too_much_under_way_what_is_new_is_gossiped_and_what_is_said_again_waits(sender: Sender) -> None:
    sender.net.answers.clear()
    fitting = [Envelope(SAID.author, b"thing %d" % number, SAID.signature) for number in range(MAX_PUSHES // len(JUDGES))]
    for message in fitting:
        assert await sender.say(message=message) == JUDGES
    assert await sender.say() == ()
    assert sender.net.published == [SAID]
    sender.net.connections = dict.fromkeys(JUDGES, 99)
    assert await sender.say() == ()
    assert sender.net.published == [SAID]
    sender.net.answers.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await sender.say() == JUDGES
    assert sender.delivery.under_way == 0


@pytest.mark.parametrize("gone", [True, False], ids=["not connected", "mute"])
async def test_what_is_passed_on_for_others_is_never_gossiped(sender: Sender, gone: bool) -> None:
    """Given q cards of others that a judge passes on to a leader which is not connected, or answers nothing, then no member but the
    leader hears them from it again: they are `passed on to those alone`, and each card has been said by its author."""
    resends = Retransmissions(T0, judges=True)
    cards = [Envelope(NodeId(bytes([number]) * 32), b"a card", SAID.signature) for number in range(1, 43)]
    resends.pass_on(cards, ANN, Millis(0))
    if gone:
        del sender.net.connections[ANN]
    sender.net.loses = {ANN}
    for now in range(0, 9_000, 500):
        sender.net.now = Millis(now)
        for said in resends.due(Millis(now)):
            await sender.delivery.send(said)
    assert len(sender.net.published) == 0
