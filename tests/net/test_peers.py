import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest

from bflcd.crypto.identity import peer_id_of
from bflcd.errors import DialError, PeerError, Rejection
from bflcd.limits import is_printable
from bflcd.net.dialing.book import Source
from bflcd.net.memory import MemoryNetwork
from bflcd.net.peer import PeerCallbacks, PeerSettings
from bflcd.net.peers import PeerManager
from bflcd.net.session import Session
from bflcd.types import Height, Millis, Round, short
from bflcd.wire.codec import encode, number_of, peek_number
from bflcd.wire.requests import Addresses, GetAddresses, GetStatus, Lane
from bflcd.wire.training import Training
from tests.helpers.network import CHAIN, OTHER_CHAIN, AnyAddress, build_node, identity, real_now, running, status, until

FAST = PeerSettings(
    heartbeat_period=0.05,
    heartbeat_deadline=0.3,
    retry_period=0.02,
    dial_deadline=0.3,
    tick=0.02,
    rest=0.02,
    exchange_period=0.1,
    alone_after=0.1,
    alone_period=0.2,
    stranger_time=0.2,
    max_strangers=2,
)


class Book:
    def __init__(self, known=()):
        self.known = list(known)

    async def addresses(self):
        return tuple(self.known)

    async def remember_address(self, node, address):
        self.known.append((node, address))


class Managed:
    """A node with its peer manager; `events` are its callbacks in order."""

    def __init__(self, network, number, members, *, chain=CHAIN, settings=FAST, known=(), **options):
        self.node = build_node(network, number, members)
        self.events = []
        self.round = number
        self.book = Book(known)
        self.chain = chain
        self.clock = Millis(0)
        self.manager = PeerManager(
            self.node.transport,
            self.node.exchange,
            status=lambda: replace(status(self.round, self.chain), time=self.clock),
            is_member=lambda node: node in members,
            callbacks=PeerCallbacks(
                up=lambda node, _status: self.events.append(("up", node)),
                down=lambda node: self.events.append(("down", node)),
                status=lambda node, heard: self.events.append(("status", node, heard.round)),
            ),
            now=real_now,
            rng=Random(number),
            book=self.book,
            rule=AnyAddress(),
            settings=settings,
            **options,
        )
        self.node.exchange.serve(self.manager.handlers())

    @property
    def id(self):
        return self.node.id

    @property
    def connected(self):
        return set(self.manager.members())

    @property
    def address(self):
        return self.node.address


@asynccontextmanager
async def community(count, network=None, strangers=(), **options):
    hub = network or MemoryNetwork()
    members = {identity(number).node_id for number in range(1, count + 1) if number not in strangers}
    nodes = [Managed(hub, number, members, **options) for number in range(1, count + 1)]
    for managed in nodes:
        await managed.node.transport.start()
    async with running(*(managed.manager.run for managed in nodes)):
        await asyncio.sleep(0)
        try:
            yield nodes
        finally:
            for managed in nodes:
                await managed.node.transport.close()


async def test_peers_find_each_other_through_one_bootstrap_and_address_exchange():
    async with community(6) as nodes:
        for managed in nodes[1:]:
            managed.manager.add_address(nodes[0].address)
        everyone = {managed.id for managed in nodes}
        await until(lambda: all(managed.connected == everyone - {managed.id} for managed in nodes))
        info = {peer.node: peer for peer in nodes[1].manager.peers()}[nodes[0].id]
        assert (info.round, info.height, info.member, info.inbound, info.version, info.score) == (1, 7, True, False, "1", 0.0)
        assert info.latency_ms >= 0
        assert info.last_seen_ms < 1000
        assert (nodes[0].id, nodes[0].address) in nodes[1].book.known
        assert nodes[1].manager.warnings() == ()


async def test_callbacks_tell_up_first_then_each_status_then_down():
    async with community(2) as (a, b):
        b.manager.add_address(a.address)
        await until(lambda: len(b.events) >= 3)
        a.round = 44
        await until(lambda: ("status", a.id, 44) in b.events)
        await a.node.transport.close()
        await until(lambda: ("down", a.id) in b.events)
        assert b.events[:2] == [("up", a.id), ("status", a.id, 1)]
        assert b.events[-1] == ("down", a.id)
        assert b.manager.peers() == ()


async def test_the_address_book_survives_a_restart():
    network = MemoryNetwork()
    address = f"/memory/1/p2p/{peer_id_of(identity(1).node_id)}"
    members = {identity(1).node_id, identity(2).node_id}
    a, b = Managed(network, 1, members), Managed(network, 2, members, known=[(identity(1).node_id, address)])
    for managed in (a, b):
        await managed.node.transport.start()
    async with running(a.manager.run, b.manager.run):
        await until(lambda: a.connected == {b.id})
        for managed in (a, b):
            await managed.node.transport.close()


async def test_a_stopped_process_is_disconnected_after_its_deadline_and_found_again():
    network = MemoryNetwork()
    async with community(2, network) as (a, b):
        b.manager.add_address(a.address)
        await until(lambda: b.connected == {a.id})
        network.freeze(a.id)
        await until(lambda: b.connected == set())
        assert ("down", a.id) in b.events
        await until(lambda: any(a.address in warning for warning in b.manager.warnings()))
        network.heal()
        await until(lambda: b.connected == {a.id})
        assert b.manager.warnings() == ()


async def test_a_slow_answer_within_the_deadline_does_not_flap():
    network = MemoryNetwork()
    async with community(2, network) as (a, b):
        b.manager.add_address(a.address)
        await until(lambda: b.connected == {a.id})
        network.weather.min_delay = network.weather.max_delay = 0.1
        await asyncio.sleep(0.8)
        assert b.connected == {a.id}
        assert ("down", a.id) not in b.events


async def test_a_peer_that_starts_late_is_found_within_moments():
    network = MemoryNetwork()
    members = {identity(1).node_id, identity(2).node_id}
    a, b = Managed(network, 1, members), Managed(network, 2, members)
    await b.node.transport.start()
    b.manager.add_address(f"/memory/1/p2p/{peer_id_of(a.id)}")
    async with running(b.manager.run):
        await asyncio.sleep(0.5)
        assert len(b.manager.warnings()) == 1
        await a.node.transport.start()
        async with running(a.manager.run):
            await until(lambda: b.connected == {a.id}, 1.5)
            for managed in (a, b):
                await managed.node.transport.close()


async def test_being_alone_is_warned_of_with_address_step_and_reason_but_not_too_often(caplog):
    caplog.set_level(logging.WARNING)
    async with community(1) as (a,):
        await until(lambda: a.manager.warnings() != ())
        assert "--bootstrap" in a.manager.warnings()[0]
        address = f"/memory/9/p2p/{peer_id_of(identity(9).node_id)}"
        a.manager.add_address(address)
        await until(lambda: address in a.manager.warnings()[0])
        assert "failed at connect" in a.manager.warnings()[0]
        started = len(caplog.records)
        await asyncio.sleep(0.65)
        assert 2 <= len(caplog.records) - started <= 4
    async with community(1, may_be_alone=lambda: True) as (a,):
        await asyncio.sleep(0.3)
        assert a.manager.warnings() == ()


async def test_a_failed_dial_warns_in_printable_words_whatever_the_other_end_said():
    """Given an address where somebody answers the negotiation with an escape code, then the warning holds none."""
    async with community(1) as (a,):

        async def refuse(address, _deadline, **_check):
            raise DialError(address, "handshake", "expected /noise, got \x1b[31mred\n")

        a.node.transport.dial = refuse
        a.manager.add_address(f"/memory/9/p2p/{peer_id_of(identity(9).node_id)}")
        await until(lambda: any("/noise" in warning for warning in a.manager.warnings()))
        assert all(is_printable(warning) for warning in a.manager.warnings())


async def test_a_peer_on_another_chain_is_not_kept():
    network = MemoryNetwork()
    members = {identity(1).node_id, identity(2).node_id}
    a, b = Managed(network, 1, members), Managed(network, 2, members, chain=OTHER_CHAIN)
    for managed in (a, b):
        await managed.node.transport.start()
    async with running(a.manager.run, b.manager.run):
        b.manager.add_address(a.address)
        await until(lambda: any("is on chain" in text or "hello" in text for text in b.manager.warnings()))
        assert [event for event in a.events + b.events if event[0] == "up"] == []
        for managed in (a, b):
            await managed.node.transport.close()


async def test_misbehaviour_adds_up_to_a_ban_and_the_banned_stay_out():
    async with community(2) as (a, b):
        b.manager.add_address(a.address)
        await until(lambda: a.connected == {b.id})
        for _ in range(3):
            a.manager.punish(b.id, Rejection.BAD_BLOB, "lied")
        await until(lambda: a.connected == set())
        assert not a.manager.allows(b.id)
        assert any("banned" in warning for warning in a.manager.warnings())
        await asyncio.sleep(0.3)
        assert a.connected == set()
        assert len([event for event in a.events if event[0] == "up"]) == 1


async def test_a_banned_stranger_stays_out_and_is_no_warning():
    async with community(1) as (a,):
        stranger = identity(9).node_id
        for _ in range(3):
            a.manager.punish(stranger, Rejection.BAD_BLOB, "lied")
        assert not a.manager.allows(stranger)
        assert not any("banned" in warning for warning in a.manager.warnings())


async def test_only_a_few_strangers_may_stay_and_they_learn_the_status_and_nothing_else():
    async with community(5, strangers=(3, 4, 5), settings=replace(FAST, stranger_time=60.0)) as (a, b, *strangers):
        b.manager.add_address(a.address)
        await until(lambda: a.connected == {b.id})
        for stranger in strangers:
            await stranger.node.transport.dial(a.address, 1.0)
        await asyncio.sleep(0.2)
        kept = [s for s in strangers if a.id in {c.peer for c in s.node.transport.connections()}]
        assert kept == strangers[:2]
        asker = kept[0].node.exchange
        assert await asker.ask(a.id, GetStatus(CHAIN, Round(0), Height(0), CHAIN, (), Training.TRAINS), deadline=1.0) == status(1)
        with pytest.raises(PeerError) as caught:
            await asker.ask(a.id, GetAddresses(CHAIN), deadline=1.0)
        assert caught.value.rejection is Rejection.NOT_MEMBER
        assert a.connected == {b.id}


async def test_a_stranger_has_little_time():
    async with community(2, strangers=(2,)) as (a, stranger):
        await stranger.node.transport.dial(a.address, 1.0)
        await until(lambda: [peer.member for peer in a.manager.peers()] == [False])
        await until(lambda: a.manager.peers() == (), 2.0)
        assert a.events == []


async def test_a_strangers_claim_sets_nothing_in_motion_until_it_is_a_member():
    network = MemoryNetwork()
    members = {identity(1).node_id}
    a, b = Managed(network, 1, members, settings=replace(FAST, stranger_time=60.0)), Managed(network, 2, {identity(1).node_id})
    for managed in (a, b):
        await managed.node.transport.start()
    async with running(a.manager.run, b.manager.run):
        b.manager.add_address(a.address)
        await until(lambda: [peer.round for peer in a.manager.peers()] == [2])
        assert a.events == []
        members.add(b.id)
        await until(lambda: a.events[:2] == [("up", b.id), ("status", b.id, 2)])
        for managed in (a, b):
            await managed.node.transport.close()


async def test_a_member_that_is_kicked_is_disconnected_and_reported_down():
    network = MemoryNetwork()
    members = {identity(1).node_id, identity(2).node_id}
    a, b = Managed(network, 1, members), Managed(network, 2, {identity(1).node_id, identity(2).node_id})
    for managed in (a, b):
        await managed.node.transport.start()
    async with running(a.manager.run, b.manager.run):
        b.manager.add_address(a.address)
        await until(lambda: a.connected == {b.id})
        a.node.members.discard(b.id)
        members.discard(b.id)
        await until(lambda: ("down", b.id) in a.events)
        for managed in (a, b):
            await managed.node.transport.close()


async def test_a_large_community_is_sparse_but_everyone_reaches_the_committee():
    async with community(24) as nodes:
        committee = {managed.id for managed in nodes[:2]}
        for managed in nodes:
            managed.manager.prefer(committee)
            if managed is not nodes[0]:
                managed.manager.add_address(nodes[0].address)
        await until(lambda: all(committee - {m.id} <= m.connected and len(m.connected) >= 6 for m in nodes), 15)
        degrees = [len(managed.connected) for managed in nodes[2:]]
        assert sum(degrees) / len(degrees) < 20


async def test_hearsay_about_strangers_and_garbage_is_not_dialled():
    async with community(2) as (a, b):
        stranger = identity(50).node_id

        async def lie(_peer, _payload):
            return encode(
                Addresses(
                    (
                        (stranger, f"/memory/50/p2p/{peer_id_of(stranger)}"),
                        (a.id, f"/memory/50/p2p/{peer_id_of(stranger)}"),
                        (a.id, "garbage\n"),
                    )
                )
            )

        honest = a.node.transport._services[Lane.SMALL.value]

        async def answer(peer, payload):
            return await (lie if peek_number(payload) == number_of(GetAddresses) else honest.handler)(peer, payload)

        a.node.transport._services[Lane.SMALL.value] = replace(honest, handler=answer)
        b.manager.add_address(a.address)
        await until(lambda: b.connected == {a.id})
        await asyncio.sleep(0.3)
        assert len(b.manager._dials) == 1


async def test_an_address_that_names_nobody_is_refused_at_once():
    manager = Managed(MemoryNetwork(), 1, set()).manager
    with pytest.raises(ValueError, match="/p2p/ID"):
        manager.add_address("/ip4/127.0.0.1/tcp/4001")


async def test_hearsay_counts_once_for_each_member_that_tells_it():
    """Given members of whom one names a place of a node, again and again, then a node that knows more of them does not go there."""
    async with community(6) as nodes:
        liar, victim = nodes[1], nodes[0]
        absent = identity(50).node_id
        liar.node.members.add(absent)
        place = f"/memory/50/p2p/{peer_id_of(absent)}"
        for managed in nodes[1:]:
            managed.manager.add_address(victim.address)
        await until(lambda: len(victim.manager._tellers) >= 4)
        liar.manager._dials.add(place, Source.OWN_WORD, node=absent)
        await until(lambda: absent in victim.manager._dials._targets)
        dialled = []
        victim.node.transport.dial, real = (
            lambda address, *_, **__: dialled.append(address) or real(address, 1.0),
            victim.node.transport.dial,
        )
        await asyncio.sleep(0.4)
        assert place not in dialled
        nodes[2].manager._dials.add(place, Source.OWN_WORD, node=absent)
        await until(lambda: place in dialled)


async def test_a_wrong_clock_is_warned_of_by_its_own_node_and_by_the_others(caplog):
    """Given five nodes, one of whose clocks is an hour behind / When they have greeted / Then its operator, and the others', are told."""
    async with community(5) as nodes:
        for managed in nodes[:4]:
            managed.clock = Millis(3_600_000)
        late = nodes[4]
        for managed in nodes[1:]:
            managed.manager.add_address(nodes[0].address)
        await until(lambda: all(len(managed.manager.warnings()) == 1 for managed in nodes))
        assert late.manager.warnings()[0].startswith("this machine's clock is 3600 s behind those of its peers (median of ")
        told = f"the clock of {short(late.id)} is 3600 s behind those of the others: its operator has to set it"
        assert [managed.manager.warnings() for managed in nodes[:4]] == [(told,)] * 4
        (info,) = [peer for peer in nodes[0].manager.peers() if peer.node == late.id]
        assert info.clock_ahead_ms == pytest.approx(-3_600_000, abs=1_000)
        await until(lambda: told in caplog.messages)
        late.clock = nodes[0].clock
        await until(lambda: all(managed.manager.warnings() == () for managed in nodes))


def test_a_peers_own_heartbeat_relieves_us_of_ours_unless_we_have_news_of_ourselves():
    """Given a peer whose heartbeat has just told what ours would ask, then ours waits, but not if it must hear whether we train."""
    session = Session(identity(2).node_id, "/memory/2", inbound=False, connected=Millis(0), seen=Millis(0))
    session.answered(status(1), 0.0, Millis(0), Millis(0))
    session.told(GetStatus(CHAIN, Round(1), Height(7), CHAIN, (), Training.TASK), Millis(0))
    session.asked_addresses, session.exchanges, session.knows = Millis(0), 10, Training.TRAINS
    assert session.relieved(PeerSettings(), Millis(0), Training.TRAINS) is None, "we have not greeted it"
    session.up = True
    assert session.relieved(PeerSettings(), Millis(0), Training.TRAINS) == 7.5
    assert session.relieved(PeerSettings(), Millis(0), Training.DATA) is None
    assert session.info(member=True, score=0.0, now=Millis(0)).training is Training.TASK


@pytest.mark.parametrize(
    ("clock", "elapsed", "ahead"),
    [(100_000, 0.0, 0), (100_000, 12_000.0, 0), (112_000, 12_000.0, 0), (113_000, 12_000.0, 1_000), (99_000, 12_000.0, -1_000)],
)
def test_an_answer_that_took_long_makes_no_clock_wrong(clock, elapsed, ahead):
    """Given a peer that answered 12 s after it was asked, when its clock shows a moment between the two, then it is right."""
    session = Session(identity(2).node_id, "/memory/2", inbound=False, connected=Millis(0), seen=Millis(0))
    session.answered(replace(status(1), time=Millis(clock)), elapsed, Millis(0), Millis(100_000))
    assert session.ahead == ahead


@pytest.mark.parametrize(("peers", "times"), [(0, 1), (12, 1), (24, 2), (31, 31 / 12), (128, 6)])
def test_of_many_peers_each_is_asked_less_often_so_that_a_node_asks_no_more_a_second(peers, times):
    settings = PeerSettings()
    assert settings.among(peers) == replace(settings, heartbeat_period=5.0 * times, exchange_period=60.0 * times)


async def test_who_judges_is_asked_as_often_as_in_a_small_community():
    """Given a node with three peers that holds one for many, When one of them judges, Then that one is asked more often."""
    async with community(4, settings=replace(FAST, close_peers=1)) as nodes:
        first, judge, *others = nodes
        first.manager.prefer({judge.id})
        asked = []
        ask = first.node.exchange.ask

        async def counted(peer, request, *, deadline):
            asked.extend([peer] * isinstance(request, GetStatus))
            return await ask(peer, request, deadline=deadline)

        first.node.exchange.ask = counted
        for other in (judge, *others):
            first.manager.add_address(other.address)
        await until(lambda: first.connected == {judge.id, *(other.id for other in others)})
        asked.clear()
        await until(lambda: asked.count(judge.id) >= 20)
        assert all(asked.count(other.id) < asked.count(judge.id) for other in others)


async def test_who_knows_nobody_new_is_asked_for_addresses_at_pauses_that_grow_twice_as_fast():
    async with community(2, settings=replace(FAST, exchange_period=60.0)) as nodes:
        asked = []
        ask = nodes[1].node.exchange.ask

        async def counted(peer, request, *, deadline):
            asked.extend([request] * isinstance(request, GetAddresses))
            return await ask(peer, request, deadline=deadline)

        nodes[1].node.exchange.ask = counted
        nodes[1].manager.add_address(nodes[0].address)
        await until(lambda: nodes[0].id in nodes[1].connected)
        session = nodes[1].manager._peers[nodes[0].id]
        await until(lambda: session.exchanges == 2)
        assert len(asked) == 1
        assert session.exchange_pause(nodes[1].manager._settings) == 4_000
