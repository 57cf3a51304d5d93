"""What of others' gossip is passed on, and what an author may say (docs/network.md)."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.core.relaying import Standpoint, decode_gossip, is_passed_on
from bflcd.errors import Rejection
from bflcd.net.libp2p import Libp2pTransport
from bflcd.net.libp2p.budget import FORWARDED_MESSAGES, PUBLISHED_MESSAGES, now
from bflcd.net.libp2p.gossip import _signed_bytes
from bflcd.net.libp2p.heard import MAX_SAME, SAME_S, Told
from bflcd.net.libp2p.library import rpc_pb2
from bflcd.net.libp2p.surroundings import peer_of
from bflcd.net.limits import PeerBuckets, Rate
from bflcd.net.scores import BAN_SCORE, COSTS
from bflcd.types import MAX_MEMBERS, ZERO_DIGEST, Digest, Epoch, MicroNats, PartsPerMillion, Round, Signature
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import encode, limit_of
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import MAX_ENTRIES, Announcement, CardEntry, JustifiedPrePrepare, JustifiedViewChange, ScoreCard
from bflcd.wire.operation import Operation
from bflcd.wire.recovery import Recovery, RecoveryCertificate
from tests.helpers.network import CHAIN, OTHER_CHAIN
from tests.helpers.transports import LOOPBACK, SECONDS, TOPIC, Community, Member, community, eventually
from tests.net.test_gossip import ALICE, BOB, BODIES, PLACE, PRE_PREPARE, VIEW_CHANGE, VOTE, Listener

RUNNING = 3
HERE = Standpoint(CHAIN, Round(RUNNING), 10)
FORGED = ((ALICE.node_id, Signature(bytes(64))),)


def said(round_: int, chain: Digest = CHAIN) -> dict[str, bytes]:
    """One message of a round of each kind that only its round needs."""
    of = {"round": Round(round_), "chain": chain}
    bare = {type(body).__name__: seal(replace(body, **of), ALICE).envelope for body in BODIES}
    others = {
        "PrePrepare": JustifiedPrePrepare(seal(replace(PRE_PREPARE, **of), ALICE).envelope, (), ()),
        "ViewChange": JustifiedViewChange(seal(replace(VIEW_CHANGE, **of), ALICE).envelope, (), None),
    }
    return {name: encode(message) for name, message in (bare | others).items()}


def proofs(round_: int, chain: Digest = CHAIN) -> dict[str, bytes]:
    """What shows where the community stands, whoever says it."""
    place = {"chain": chain, "round": Round(round_), "parent": CHAIN, "epoch": Epoch(1)}
    certificate = Certificate(**{**VOTE, **place}, signatures=FORGED)
    recovery = Recovery(**place, committee=(ALICE.node_id,), retired=(), prepared=None)
    messages = {"Announcement": Announcement(certificate), "Recovery": RecoveryCertificate(recovery, None, FORGED)}
    return {name: encode(message) for name, message in messages.items()}


@pytest.mark.parametrize("name", said(RUNNING))
def test_a_message_of_the_running_round_or_the_next_is_passed_on_and_no_other(name: str) -> None:
    rounds = {
        round_: is_passed_on(said(round_)[name], HERE) for round_ in (0, RUNNING - 1, RUNNING, RUNNING + 1, RUNNING + 2, 10**9)
    }
    assert [round_ for round_, onward in rounds.items() if onward] == [RUNNING, RUNNING + 1]


@pytest.mark.parametrize("running", [0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 2**32 - 1, 2**32, 2**52])
def test_the_round_is_read_whatever_its_size(running: int) -> None:
    stands = replace(HERE, round=Round(running))
    assert all(is_passed_on(data, stands) for data in said(running).values())
    assert not any(is_passed_on(data, stands) for data in said(running - 1).values())


@pytest.mark.parametrize("name", proofs(RUNNING))
def test_what_proves_the_round_just_closed_or_a_later_one_is_passed_on_and_what_is_long_over_is_not(name: str) -> None:
    """A node that has closed its round by its own votes still passes its certificate on to those behind it."""
    rounds = {n: is_passed_on(proofs(n)[name], HERE) for n in (0, RUNNING - 2, RUNNING - 1, RUNNING, RUNNING + 2, 10**9)}
    assert [n for n, onward in rounds.items() if onward] == [RUNNING - 1, RUNNING, RUNNING + 2, 10**9]


def test_an_operation_is_passed_on_in_every_round() -> None:
    pair = tuple(seal(replace(BODIES[1], samples=samples), ALICE).envelope for samples in (1, 2))
    data = encode(Operation("evidence", pair))
    assert all(is_passed_on(data, replace(HERE, round=Round(round_))) for round_ in (0, 3, 1000))


def test_who_knows_no_chain_passes_all_on() -> None:
    assert is_passed_on(b"whatever", replace(HERE, chain=ZERO_DIGEST))
    assert is_passed_on(b"whatever", None)


@pytest.mark.parametrize("data", [b"", b"whatever", encode(Envelope(ALICE.node_id, b"x" * 37, Signature(bytes(64))))])
def test_what_is_no_message_is_not_passed_on(data: bytes) -> None:
    assert not is_passed_on(data, HERE)


def test_another_chains_messages_are_not_passed_on() -> None:
    assert not any(is_passed_on(data, HERE) for data in (said(RUNNING, OTHER_CHAIN) | proofs(RUNNING, OTHER_CHAIN)).values())


def a_card(members: int, each: int = 2) -> bytes:
    """A card about `members`, so many entries about each, every number at its largest."""
    nodes = tuple(sorted(Digest(number.to_bytes(32, "big")) for number in range(members)))
    entries = tuple(
        CardEntry(node, Digest(bytes([n]) * 32), node, MicroNats(-(2**53)), PartsPerMillion(10**6), 2**22, 2**32 - 1)  # type: ignore[arg-type]
        for node in nodes
        for n in range(each)
    )[:MAX_ENTRIES]
    base = {"base_loss": MicroNats(2**53), "base_accuracy": PartsPerMillion(10**6)}
    return encode(seal(ScoreCard(**PLACE, **base, entries=entries, present=nodes), ALICE).envelope)


@pytest.mark.parametrize("members", [1, 5, 10, 100, 1_000])
def test_a_card_about_all_members_is_passed_on_and_one_about_more_is_too_large(members: int) -> None:
    """Row 10: cards of 328 kB from a community of seven."""
    stands = replace(HERE, members=members)
    assert is_passed_on(a_card(members), stands)
    assert not is_passed_on(a_card(3 * members + 20), stands)


def test_a_message_larger_than_the_community_can_fill_costs_its_author_at_once() -> None:
    """Given a community of ten, when a member says a card of a hundred, pushed or gossiped, then it is not looked at, and each counts."""
    listener = Listener(stands=lambda: HERE)
    for _ in range(5):
        assert not listener.hear(a_card(100), forwarder=ALICE)
    assert listener.faults == [(ALICE.node_id, Rejection.TOO_LARGE)] * 5
    assert listener.waiting == 0
    assert 5 * COSTS[Rejection.TOO_LARGE] > -BAN_SCORE


def test_the_largest_community_has_the_largest_messages() -> None:
    data = a_card(MAX_ENTRIES, 1)
    assert decode_gossip(data, replace(HERE, members=MAX_MEMBERS))
    assert len(data) <= limit_of(Envelope)


# -- real sockets ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def line():
    """Three nodes in a line, of which the middle one passes on what begins with `on`; each of the others hears only it."""
    async with community("libp2p") as members:
        first, middle, last = [await started(members, number) for number in (1, 2, 3)]
        for end in (first, last):
            await end.transport.dial(middle.address, SECONDS)
        yield first, middle, last


async def started(members: Community, number: int) -> Member:
    own = members.identity(number)
    member = Member(own, Libp2pTransport(own, (LOOPBACK,), lambda peer: peer not in member.barred))
    member.transport.on_peer_event(member.events.append)
    member.floods = []  # type: ignore[attr-defined]
    member.transport.subscribe(
        TOPIC,
        lambda peer, message: member.gossip.append((peer, message)) is None,
        relays=lambda message: message.startswith(b"on"),
        on_flood=member.floods.append,  # type: ignore[attr-defined]
    )
    members._members.append(member)
    await member.transport.start()
    return member


async def said_until_heard(author: Member, message: bytes, *hearers: Member) -> None:
    async with asyncio.timeout(4 * SECONDS):
        while not all((author.node_id, message) in hearer.gossip for hearer in hearers):
            await author.transport.publish(TOPIC, message)
            await asyncio.sleep(0.1)


async def test_what_is_not_worth_passing_on_is_heard_of_its_author_alone(line: tuple[Member, Member, Member]) -> None:
    first, middle, last = line
    await said_until_heard(first, b"onward", middle, last)
    await said_until_heard(first, b"stale", middle)
    await said_until_heard(first, b"onward again", last)
    assert (first.node_id, b"stale") not in last.gossip


async def test_an_author_that_says_too_much_is_told_of_and_goes_no_further(line: tuple[Member, Member, Member]) -> None:
    """Given an author above its allowance, then those that hear it blame it, not who passed it on, and hear little of it."""
    first, middle, last = line
    await said_until_heard(first, b"onward", middle, last)
    for node in (middle, last):
        allowances = node.transport._node._gossip._allowances  # type: ignore[attr-defined]
        allowances._published = PeerBuckets(Rate(per_second=0.1, burst=20), now)
    for number in range(60):
        await first.transport.publish(TOPIC, b"on %d" % number)
    await eventually(lambda: len(middle.floods) == 40)  # type: ignore[attr-defined]
    await said_until_heard(middle, b"on from the middle", last)
    assert set(middle.floods) == {first.node_id}  # type: ignore[attr-defined]
    assert last.floods == []  # type: ignore[attr-defined]
    assert sum(message.startswith(b"on ") for peer, message in last.gossip if peer == first.node_id) == 20
    assert {info.peer for info in middle.transport.connections()} == {first.node_id, last.node_id}


async def test_who_brings_false_signatures_is_told_of_and_its_victim_is_not(line: tuple[Member, Member, Member]) -> None:
    """Given messages in another's name, then whoever passes them on is held to account, the named one is heard as before."""
    first, middle, last = line
    await said_until_heard(last, b"onward", middle, first)
    forged = rpc_pb2.Message(data=b"on and on", topicIDs=[TOPIC], from_id=peer_of(last.node_id).to_bytes(), signature=bytes(64))
    gossip = middle.transport._node._gossip  # type: ignore[attr-defined]

    async def receive() -> None:
        for number in range(30):
            forged.seqno = number.to_bytes(8, "big")
            await gossip._receive(first.node_id, peer_of(first.node_id), forged)

    await middle.transport._bridge.call(receive)  # type: ignore[attr-defined]
    await eventually(lambda: len(middle.floods) == 30)  # type: ignore[attr-defined]
    assert set(middle.floods) == {first.node_id}  # type: ignore[attr-defined]
    assert (last.node_id, b"on and on") not in middle.gossip
    await said_until_heard(last, b"onward still", middle)


async def test_an_authors_old_words_said_again_by_others_are_not_heard(line: tuple[Member, Member, Member]) -> None:
    """Given what an author signed, of a round that is over, when another passes it on, then it is not heard, takes nothing of what the
    author may say, and costs nobody; when the author says it itself, it is heard."""
    first, middle, last = line
    await said_until_heard(last, b"onward", middle, first)
    gossip = middle.transport._node._gossip  # type: ignore[attr-defined]
    gossip._allowances._published = PeerBuckets(Rate(per_second=0.001, burst=1), now)
    old = rpc_pb2.Message(data=b"stale", topicIDs=[TOPIC], from_id=peer_of(last.node_id).to_bytes(), seqno=bytes(8))
    old.signature = last.identity.sign(_signed_bytes(old))

    async def passed_on_by(neighbour: Member) -> int:
        await gossip._receive(neighbour.node_id, peer_of(neighbour.node_id), old)
        return len(gossip._strikes)

    for neighbour, heard in ((first, 0), (last, 1)):
        assert await middle.transport._bridge.call(passed_on_by, neighbour) == 0  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        assert middle.gossip.count((last.node_id, b"stale")) == heard
    assert middle.floods == []  # type: ignore[attr-defined]


async def test_what_another_has_just_said_is_neither_heard_nor_passed_on_again(line: tuple[Member, Member, Member]) -> None:
    """Given a certificate that two seats announce, then the second goes no further; what its author says again does."""
    first, middle, last = line
    await said_until_heard(first, b"onward", middle, last)
    for node in line:
        node.transport._node._gossip._told = Told(lambda: 0.0)  # type: ignore[attr-defined]
    await first.transport.publish(TOPIC, b"on: the certificate")
    await eventually(lambda: (first.node_id, b"on: the certificate") in last.gossip)
    await middle.transport.publish(TOPIC, b"on: the certificate")
    await first.transport.publish(TOPIC, b"on: the certificate")
    await said_until_heard(middle, b"on from the middle", last)
    await said_until_heard(first, b"on from the first", last)
    assert last.gossip.count((first.node_id, b"on: the certificate")) == 2
    assert (middle.node_id, b"on: the certificate") not in last.gossip


def test_the_same_said_by_another_is_heard_after_a_pause_and_the_oldest_is_forgotten() -> None:
    clock = [0.0]
    told = Told(lambda: clock[0])
    assert not told.by_another(ALICE.node_id, b"x")
    assert not told.by_another(ALICE.node_id, b"x")
    assert told.by_another(BOB.node_id, b"x")
    assert not told.by_another(BOB.node_id, b"y")
    clock[0] = SAME_S
    assert told.by_another(BOB.node_id, b"x")
    clock[0] = SAME_S + 0.1
    assert not told.by_another(BOB.node_id, b"x")
    assert told.by_another(ALICE.node_id, b"x")
    for number in range(MAX_SAME):
        told.by_another(ALICE.node_id, b"%d" % number)
    assert not told.by_another(ALICE.node_id, b"x")


async def test_a_neighbour_that_asks_for_the_same_messages_again_and_again_gets_them_a_few_times(
    line: tuple[Member, Member, Member],
) -> None:
    """Given messages of 300 bytes that are held and a neighbour with 1,000 bytes to ask for, when it asks for two of them again and
    again, and for one that nobody has, then three are left to be sent, and another neighbour may ask for its own."""
    first, middle, last = line
    gossip = middle.transport._node._gossip  # type: ignore[attr-defined]
    gossip._allowances._wanted = PeerBuckets(Rate(per_second=0.001, burst=1_000), now)
    messages = [rpc_pb2.Message(data=bytes(300), topicIDs=[TOPIC], from_id=b"f%d" % number, seqno=bytes(8)) for number in (1, 2)]
    ids = [(message.from_id + message.seqno).hex().encode() for message in messages]

    async def asked(neighbour: Member, times: int) -> list[list[bytes]]:
        for message in messages:
            gossip.router.mcache.put(message)
        wanted = []
        for _ in range(times):
            control = rpc_pb2.ControlMessage(iwant=[rpc_pb2.ControlIWant(messageIDs=[*ids, b"ff" * 16])])
            gossip._bound_wanted(neighbour.node_id, control)
            wanted.append(list(control.iwant[0].messageIDs))
        return wanted

    assert await middle.transport._bridge.call(asked, first, 3) == [ids, ids[:1], []]  # type: ignore[attr-defined]
    assert await middle.transport._bridge.call(asked, last, 1) == [ids]  # type: ignore[attr-defined]


def test_what_sixteen_authors_may_say_comes_through_one_neighbour() -> None:
    assert FORWARDED_MESSAGES.per_second == 16 * PUBLISHED_MESSAGES.per_second
    assert FORWARDED_MESSAGES.burst == 16 * PUBLISHED_MESSAGES.burst


def test_a_flood_is_held_against_its_author() -> None:
    listener = Listener()
    for _ in range(200):
        listener.flood(ALICE.node_id)
    assert listener.faults == [(ALICE.node_id, Rejection.BUSY)] * 200


@given(st.binary(max_size=400), st.sampled_from([*said(RUNNING).values(), *proofs(RUNNING).values()]), st.integers(0, 400))
def test_whatever_bytes_come_are_judged(noise: bytes, message: bytes, at: int) -> None:
    """The network's thread asks: nothing that a peer sends may raise there."""
    spoiled = message[:at] + noise + message[at + len(noise) :]
    assert is_passed_on(noise, HERE) in (True, False)
    assert is_passed_on(spoiled, HERE) in (True, False)


def test_an_operation_of_an_unknown_kind_is_not_passed_on() -> None:
    pair = tuple(seal(replace(BODIES[1], samples=samples), ALICE).envelope for samples in (1, 2))
    assert not is_passed_on(encode(Operation("nobody-knows", pair)), HERE)
