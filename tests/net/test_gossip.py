import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.core.relaying import chain_of_payload
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.gossip import FORWARDED, INVALID, NOT_NOW, PUSH, ForwardedMessage, GossipChannel
from bflcd.net.inbox import Inbox, Waiting
from bflcd.net.memory import MemoryNetwork, MemoryTransport
from bflcd.net.protocol import MAX_GOSSIP_BYTES
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.params import BlobRef
from bflcd.types import Epoch, Millis, Round, Signature, View
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import encode, number_of
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import (
    Announcement,
    Beacon,
    Commit,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    Prepare,
    PrePrepare,
    Proposal,
    ScoreCard,
    ViewChange,
)
from bflcd.wire.requests import GetAddresses
from tests.helpers.ledger import NO_PROOF
from tests.helpers.network import CHAIN, OTHER_CHAIN, ManualClock, identity

PLACE = {"chain": CHAIN, "round": Round(3), "epoch": Epoch(0), "parent": CHAIN, "committee": CHAIN}
VOTE = {**PLACE, "view": View(1), "digest": CHAIN}
BODIES = [
    Beacon(**PLACE),
    Offer(**PLACE, blob=BlobRef(CHAIN, 10), samples=3),
    ScoreCard(**PLACE, base_loss=None, base_accuracy=None, entries=(), present=()),
    Prepare(**VOTE, proposal=CHAIN),
    Commit(**VOTE),
]
PRE_PREPARE = PrePrepare(**VOTE, proposal=Proposal(Epoch(0), View(0), NO_PROOF, Millis(5), (CHAIN,)))
VIEW_CHANGE = ViewChange(**PLACE, view=View(2), prepared_view=None, prepared_digest=None)
ALICE, BOB, EVE = identity(1), identity(2), identity(66)
CERTIFICATE = Certificate(**VOTE, signatures=((ALICE.node_id, Signature(bytes(64))),))


def beacon(author=ALICE, round_=3, chain=CHAIN):
    return seal(Beacon(**{**PLACE, "round": Round(round_), "chain": chain}), author).envelope


class Listener:
    """A channel whose transport is driven by hand: `hear` is what the transport would call."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.faults = []
        self.published = []
        self.requested = []
        self.channel = GossipChannel(
            self,
            chain=lambda: CHAIN,
            is_member={ALICE.node_id, BOB.node_id}.__contains__,
            now=self.clock,
            on_misbehaviour=lambda peer, rejection, _text: self.faults.append((peer, rejection)),
            **options,
        )

    @property
    def waiting(self):
        return len(self.channel._inbox)

    def subscribe(self, _topic, handler, *, relays, on_flood):
        self.handler, self.relays, self.flood = handler, relays, on_flood

    def serve(self, protocol, handler, *, max_request, max_concurrent):
        assert (protocol, max_request) == (PUSH, MAX_GOSSIP_BYTES)
        self.pushed = handler

    async def request(self, peer, protocol, payload, *, deadline, max_response):
        self.requested.append((peer, protocol, payload))
        return b""

    async def publish(self, _topic, message):
        self.published.append(message)

    def hear(self, message, forwarder=BOB):
        return self.handler(forwarder.node_id, message if isinstance(message, bytes) else encode(message))


@pytest.mark.parametrize("body", [*BODIES, PRE_PREPARE, VIEW_CHANGE], ids=lambda body: type(body).__name__)
def test_every_signed_body_has_its_chain_at_the_fixed_place(body):
    assert chain_of_payload(encode(body), (number_of(type(body)),)) == CHAIN


@pytest.mark.parametrize(
    "message",
    [
        *(seal(body, ALICE).envelope for body in BODIES),
        JustifiedPrePrepare(seal(PRE_PREPARE, ALICE).envelope, (), ()),
        JustifiedViewChange(seal(VIEW_CHANGE, ALICE).envelope, (), None),
    ],
)
async def test_gossip_of_members_arrives_with_author_and_forwarder(message):
    listener = Listener()
    assert listener.hear(message)
    assert await listener.channel.receive() == ForwardedMessage(BOB.node_id, ALICE.node_id, message)


async def test_an_announcement_stands_on_its_certificate_so_its_forwarder_answers_for_it():
    listener = Listener()
    assert listener.hear(Announcement(CERTIFICATE))
    assert await listener.channel.receive() == ForwardedMessage(BOB.node_id, BOB.node_id, Announcement(CERTIFICATE))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 64,
        b"\xdd\xff\xff\xff\xff",
        bytes(MAX_GOSSIP_BYTES + 1),
        encode(beacon())[:-1],
        encode(GetAddresses(CHAIN)),
        encode(beacon(EVE)),
        encode(beacon(chain=OTHER_CHAIN)),
        encode(seal(PRE_PREPARE, ALICE).envelope),
        encode(Envelope(ALICE.node_id, b"\x93\x01\x1e", Signature(bytes(64)))),
        encode(Envelope(ALICE.node_id, b"\x97\x01\x1e\xc4\x10" + bytes(60), Signature(bytes(64)))),
    ],
    ids=[
        "empty",
        "garbage",
        "lying length",
        "oversize",
        "cut",
        "a request",
        "no member",
        "other chain",
        "a bare pre-prepare",
        "short payload",
        "no chain",
    ],
)
def test_what_fails_a_cheap_check_is_not_queued(data):
    listener = Listener()
    assert not listener.hear(data)
    too_large = len(data) > MAX_GOSSIP_BYTES  # the one thing that is not forgiven at all
    assert (listener.waiting, listener.faults) == (0, [(BOB.node_id, Rejection.TOO_LARGE)] if too_large else [])


@given(st.binary(max_size=300), st.integers(0, 60))
@settings(max_examples=300, deadline=None)
def test_whatever_bytes_arrive_nothing_breaks(garbage, kept):
    listener = Listener()
    assert not listener.hear(garbage)
    assert not listener.hear(encode(beacon())[:kept] + garbage)
    assert listener.waiting == 0


def test_invalid_messages_cost_their_forwarder_only_above_its_allowance():
    """Given an honest forwarder passes on a few forgeries; Then nothing; When it goes on for long; Then it is reported."""
    listener = Listener()
    for _ in range(int(INVALID.burst)):
        assert not listener.hear(b"garbage")
    assert listener.faults == []
    assert not listener.hear(b"garbage")
    assert listener.faults == [(BOB.node_id, Rejection.MALFORMED)]
    listener.channel.invalid(ALICE.node_id, Rejection.BAD_SIGNATURE, "checked by a machine")
    assert len(listener.faults) == 1
    listener.clock.time += 1000
    listener.channel.invalid(BOB.node_id, Rejection.BAD_SIGNATURE, "paid for by a second of patience")
    assert len(listener.faults) == 1


def test_a_flood_through_one_forwarder_is_cut_and_another_still_passes():
    listener = Listener()
    heard = [listener.hear(beacon(round_=number)) for number in range(int(FORWARDED.burst) + 10)]
    assert heard == [True] * int(FORWARDED.burst) + [False] * 10
    assert listener.hear(beacon(BOB), forwarder=ALICE)
    assert listener.waiting <= 1024 + 1


async def test_channels_talk_over_a_network():
    network = MemoryNetwork()
    members = {ALICE.node_id, BOB.node_id}
    transports = [MemoryTransport(network, key, lambda _peer: True) for key in (ALICE, BOB)]
    channels = [
        GossipChannel(
            transport,
            chain=lambda: CHAIN,
            is_member=members.__contains__,
            now=ManualClock(),
            on_misbehaviour=lambda *_: pytest.fail("nobody misbehaves"),
        )
        for transport in transports
    ]
    for transport in transports:
        await transport.start()
    await transports[0].dial(transports[1].addresses()[0], 1.0)
    await channels[0].publish(beacon())
    heard = await asyncio.wait_for(channels[1].receive(), 2.0)
    assert heard == ForwardedMessage(ALICE.node_id, ALICE.node_id, beacon())
    assert channels[1].verify_once(heard.message)
    for transport in transports:
        await transport.close()


def item(forwarder, author, number, size=10):
    return Waiting(forwarder.node_id, author.node_id, number, size, Millis(number))


async def drained(inbox):
    return [(await inbox.get()).message for _ in range(len(inbox))]


async def test_one_author_cannot_fill_the_inbox_and_its_newest_messages_win():
    inbox = Inbox(per_author=3)
    for number in range(10):
        inbox.put(item(BOB, EVE, number))
        inbox.put(item(BOB, ALICE, 100 + number) if number < 2 else item(BOB, EVE, 50 + number))
    assert await drained(inbox) == [100, 101, 58, 9, 59]


async def test_a_forger_evicts_only_what_it_forwarded_itself():
    """Given a vote of Alice through Bob; When Eve forwards garbage in Alice's name; Then the vote is still there, and comes in turn."""
    inbox = Inbox(per_author=4)
    inbox.put(item(BOB, ALICE, 1))
    for number in range(100):
        inbox.put(item(EVE, ALICE, 1000 + number))
    assert 1 in (await drained(inbox))[:2]


async def test_forwarders_take_turns():
    inbox = Inbox()
    for number in range(3):
        inbox.put(item(EVE, EVE, number))
    inbox.put(item(BOB, ALICE, 10))
    assert await drained(inbox) == [0, 10, 1, 2]


async def test_the_inbox_is_bounded_in_messages_of_a_forwarder_and_in_bytes():
    inbox = Inbox(per_forwarder=5, max_bytes=1000)
    for number in range(20):
        inbox.put(item(EVE, identity(100 + number), number, size=1))
    inbox.put(item(BOB, ALICE, 77, size=600))
    inbox.put(item(BOB, BOB, 78, size=600))
    assert sorted(await drained(inbox)) == [15, 16, 17, 18, 19, 78]
    assert inbox._size == 0


async def test_a_waiting_reader_is_woken_and_may_be_cancelled():
    inbox = Inbox()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inbox.get(), 0.01)
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put(item(BOB, ALICE, 5))
    assert reader.result().message == 5


def test_an_envelope_is_verified_once_and_a_forged_one_is_never_remembered(monkeypatch):
    checked = []

    def verify(envelope):
        checked.append(envelope)
        return envelope.author == ALICE.node_id

    monkeypatch.setattr("bflcd.net.verified.verify_envelope", verify)
    verified = VerifiedEnvelopes(limit=2)
    good, forged = beacon(), Envelope(BOB.node_id, beacon().payload, beacon().signature)
    assert [verified.verify_once(envelope) for envelope in (good, good, forged, forged)] == [True, True, False, False]
    assert checked == [good, forged, forged]
    for round_ in (10, 11):
        assert verified.verify_once(beacon(round_=round_))
    assert len(verified) == 2
    assert verified.verify_once(good)
    assert checked[-1] == good


def test_verification_is_the_real_one():
    verified = VerifiedEnvelopes()
    good = beacon()
    assert verified.verify_once(good)
    assert not verified.verify_once(Envelope(good.author, good.payload, Signature(bytes(64))))
    assert not verified.verify_once(Envelope(BOB.node_id, good.payload, good.signature))


async def test_a_push_is_answered_and_checked_like_gossip():
    listener = Listener()
    message = beacon(ALICE)
    assert await listener.pushed(BOB.node_id, encode(message)) == b""
    assert (await listener.channel.receive()).message == message
    assert await listener.pushed(BOB.node_id, b"garbage") == b""
    assert listener.waiting == 0


async def test_who_catches_up_takes_a_push_in_and_wants_it_again():
    listener = Listener(is_busy=lambda: True)
    assert await listener.pushed(BOB.node_id, encode(beacon(ALICE))) == NOT_NOW
    assert listener.waiting == 1


async def test_a_push_displaces_nothing_that_waits():
    listener = Listener(inbox=Inbox(per_author=1))
    first, second = beacon(ALICE), seal(BODIES[1], ALICE).envelope
    assert await listener.pushed(BOB.node_id, encode(first)) == b""
    assert await listener.pushed(BOB.node_id, encode(second)) == NOT_NOW
    assert (await listener.channel.receive()).message == first
    assert await listener.pushed(BOB.node_id, encode(second)) == b""


async def test_who_pushed_learns_whether_it_was_taken_in():
    listener = Listener()
    assert await listener.channel.push(BOB.node_id, beacon(ALICE))

    async def not_now(*_args, max_response, **_options):
        assert max_response == len(NOT_NOW)
        return NOT_NOW

    listener.request = not_now
    assert not await listener.channel.push(BOB.node_id, beacon(ALICE))


async def test_a_stranger_may_not_push():
    listener = Listener()
    with pytest.raises(PeerError) as refused:
        await listener.pushed(EVE.node_id, encode(beacon(ALICE)))
    assert refused.value.rejection is Rejection.NOT_MEMBER
    assert listener.waiting == 0


async def test_a_push_goes_to_one_peer():
    listener = Listener()
    await listener.channel.push(BOB.node_id, beacon(ALICE))
    assert listener.requested == [(BOB.node_id, PUSH, encode(beacon(ALICE)))]


async def test_traffic_is_counted_by_direction_kind_and_way():
    counted = []
    listener = Listener(
        on_traffic=lambda **seen: counted.append(tuple(seen[key] for key in ("outgoing", "kind", "way", "size", "again")))
    )
    message = beacon(ALICE)
    await listener.channel.publish(message)
    await listener.channel.push(BOB.node_id, message)
    assert listener.hear(Announcement(CERTIFICATE))
    for _ in range(2):
        await listener.pushed(BOB.node_id, encode(message))
    await listener.channel.push(ALICE.node_id, message)
    await listener.channel.push(BOB.node_id, message)
    size, other = len(encode(message)), len(encode(Announcement(CERTIFICATE)))
    assert counted == [
        (True, "Beacon", "gossip", size, False),
        (True, "Beacon", "push", size, False),
        (False, "Announcement", "gossip", other, False),
        (False, "Beacon", "push", size, False),
        (False, "Beacon", "push", size, True),
        (True, "Beacon", "push", size, False),
        (True, "Beacon", "push", size, True),
    ]


async def test_what_did_not_arrive_or_is_no_message_is_not_counted():
    counted = []
    listener = Listener(on_traffic=lambda **seen: counted.append(seen))

    async def lost(*_args, **_options):
        raise RequestError("no answer")

    listener.request = lost
    with pytest.raises(RequestError):
        await listener.channel.push(BOB.node_id, beacon(ALICE))
    assert not listener.hear(b"garbage")
    assert counted == []
