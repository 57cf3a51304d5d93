"""The peer manager: whom to be connected to, who is alive, who is banned (design 8)."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Final

from bflcd.errors import DialError, PeerError, Rejection, RequestError
from bflcd.net.clocks import ClockWatch, clock_warnings
from bflcd.net.dialing.book import Attempt, DialBook, Source, at_seen_host, vouchers_needed
from bflcd.net.dialing.solitude import Solitude
from bflcd.net.exchange import Exchange, Handlers, printable
from bflcd.net.limits import Clock
from bflcd.net.peer import AddressBook, AddressRule, PeerCallbacks, PeerInfo, PeerSettings, PeerTransport
from bflcd.net.protocol import Connected, PeerEvent, anywhere
from bflcd.net.scores import PeerScores
from bflcd.net.session import Session
from bflcd.types import ZERO_DIGEST, Millis, NodeId, short
from bflcd.wire.requests import MAX_ADDRESSES, Addresses, GetAddresses, GetStatus, Status

logger = logging.getLogger(__name__)

STEADY: Final = 10.0
"""Seconds; a connection that lasts longer counts as a success: its loss is answered by dialling at once. Others back off."""

MAX_OWN_ADDRESSES: Final = 16
"""Addresses that GetStatus may carry."""

MAX_DIALS: Final = 8
"""Dials at a time."""


class PeerManager:
    """Keeps connections to members. Build it before the transport starts (it registers itself), then `run` it.

    `status` gives our own standing; `is_member` who belongs; `book` remembers addresses, `rule` says which ones are dialled on
    the word of others. `addresses` gives what we announce of ourselves, by default what the transport listens on. `may_be_alone`
    silences the warning in a community of one.
    """

    def __init__(
        self,
        transport: PeerTransport,
        exchange: Exchange,
        *,
        status: Callable[[], Status],
        is_member: Callable[[NodeId], bool],
        callbacks: PeerCallbacks,
        now: Clock,
        rng: Random,
        book: AddressBook,
        rule: AddressRule,
        scores: PeerScores | None = None,
        settings: PeerSettings | None = None,
        addresses: Callable[[], tuple[str, ...]] | None = None,
        may_be_alone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._transport = transport
        self._exchange = exchange
        self._status = status
        self._is_member = is_member
        self._callbacks = callbacks
        self._now = now
        self._rng = rng
        self._book = book
        self._rule = rule
        self._scores = PeerScores(now, is_member) if scores is None else scores
        self._settings = PeerSettings() if settings is None else settings
        self._addresses = transport.addresses if addresses is None else addresses
        self._may_be_alone = may_be_alone
        self._dials = DialBook(transport.node_id, rng)
        self._tellers: set[NodeId] = set()
        self._peers: dict[NodeId, Session] = {}
        self._dialling: set[NodeId] = set()
        self._preferred: frozenset[NodeId] = frozenset()
        self._group: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._solitude = Solitude(self._settings, self._dials, now())
        self._clock_watch = ClockWatch()
        transport.on_peer_event(self._on_event)

    # What others ask of it

    def add_address(self, address: str) -> None:
        """An operator's address (bootstrap); never forgotten. Raises ValueError if it can't be dialled."""
        self._dials.add(address, Source.CONFIGURED)
        self._wake.set()

    def renamed(self, before: NodeId, now: NodeId) -> None:
        """A member goes on under another key: it is dialled as that one."""
        self._dials.rename(before, now)

    def prefer(self, nodes: Iterable[NodeId]) -> None:
        """The nodes to be connected to in any case: this round's committee."""
        self._preferred = frozenset(nodes)
        self._wake.set()

    def punish(self, peer: NodeId, rejection: Rejection, text: str) -> None:
        """Charge a peer for misbehaviour (`OnMisbehaviour`); disconnects and bans it when it has done too much."""
        if self._scores.punish(peer, rejection):
            logger.warning("peer %s is banned for a while; its last fault: %s", short(peer), printable(text))
            self.drop(peer)

    def allows(self, peer: NodeId) -> bool:
        """The transport's gate: whether a peer may connect. Safe in any thread."""
        return not self._scores.is_banned(peer)

    def drop(self, peer: NodeId) -> None:
        """Disconnect a peer."""
        if self._group is not None:
            self._group.create_task(self._disconnect(peer))

    def say_anew(self) -> None:
        """Whether we train has changed: every peer that was told otherwise hears it now, and not with its next heartbeat."""
        self._news.set()
        self._news = asyncio.Event()

    def peers(self) -> tuple[PeerInfo, ...]:
        """Connected peers, those with the best score and latency first."""
        now, score, member = self._now(), self._scores.score, self._is_member
        told = (peer.info(member=member(peer.node), score=score(peer.node), now=now) for peer in self._peers.values())
        return tuple(sorted(told, key=lambda info: (-info.score, info.latency_ms or 1e9)))

    def members(self) -> tuple[NodeId, ...]:
        """Connected members that have said hello, in no order that means anything."""
        return tuple(peer.node for peer in self._peers.values() if peer.status is not None and self._is_member(peer.node))

    def connection(self, node: NodeId) -> int | None:
        """A number of the connection to a member that has said hello: each connection to it has another."""
        peer = self._peers.get(node)
        return peer.number if peer is not None and peer.status is not None and self._is_member(node) else None

    def warnings(self) -> tuple[str, ...]:
        """What the operator should know: that this node is alone and why, that it has banned someone, whose clock is wrong."""
        found = [self._solitude.text()] if self._solitude.lasts(self._now(), accompanied=self._is_accompanied()) else []
        # Strangers are banned by the hundred if somebody likes it so; nobody has to know their names.
        banned = [peer for peer in self._scores.banned() if self._is_member(peer) or peer in self._dials]
        found += [f"peer {short(peer)} is banned for misbehaviour" for peer in banned]
        return (*found, *clock_warnings(self._clocks()))

    def handlers(self) -> Handlers:
        """Answers to GetStatus and GetAddresses, for `Exchange.serve`."""
        return {GetStatus: self._answer_status, GetAddresses: self._answer_addresses}

    async def run(self) -> None:
        """Dial, greet and watch until cancelled."""
        for node, address in await self._book.addresses():
            # The node's own word and no more: what was announced is written down too, and nobody has been there.
            self._learn(address, Source.OWN_WORD, node, self._rule.kept)
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for connection in self._transport.connections():
                    self._on_event(Connected(connection.peer, connection.address, connection.inbound))
                await self._tend(group)
            finally:
                self._group = None

    # Dialling

    async def _tend(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            busy = {*self._peers, *self._dialling, *self._scores.banned()}
            # whoever has not said hello yet counts too: where hellos are slow, a node would dial for each of them
            connected = sum(map(self._is_member, self._peers)) + len(self._dialling)
            due = self._dials.due(
                self._now(),
                busy=busy,
                connected=connected,
                vouchers=vouchers_needed(len(self._tellers), len(self._preferred)),
                preferred=self._preferred,
                is_member=self._is_member,
            )
            for attempt in due[: MAX_DIALS - len(self._dialling)]:
                self._dialling.add(attempt.node)
                group.create_task(self._dial(attempt))
            self._solitude.mind(self._now(), accompanied=self._is_accompanied())
            self._clock_watch.look(self._clocks())
            try:
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(self._settings.rest if self._dials.all_among(busy) else self._settings.tick):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _dial(self, attempt: Attempt) -> None:
        check = anywhere if attempt.trusted else self._rule.connecting
        try:
            await self._transport.dial(attempt.address, self._settings.dial_deadline, check=check)
        except DialError as error:
            logger.debug("%s", error)
            # The library's errors quote what the other end sent before it was anybody's message.
            self._dials.failed(attempt.node, printable(str(error)), self._now())
            if error.step in ("handshake", "identity"):
                self._dials.answered_by_another(attempt.node, attempt.address, self._now())
        finally:
            self._dialling.discard(attempt.node)

    def _learn(
        self, address: str, source: Source, node: NodeId, rule: Callable[[str], str], *, teller: NodeId | None = None
    ) -> bool:
        """Take an address that somebody names of `node`, unless the rule is against it."""
        try:
            refusal = rule(address)
            if not refusal:
                self._dials.add(address, source, node=node, teller=teller)
        except ValueError as error:
            logger.debug("an address is not kept: %s", printable(str(error)))
            return False
        if refusal:
            self._solitude.refused(node, f"{printable(address)} of {short(node)} is not dialled: {refusal}")
        return not refusal

    # Sessions

    def _on_event(self, event: PeerEvent) -> None:
        if not isinstance(event, Connected):
            self._ended(event.peer)
        elif self._group is not None and event.peer not in self._peers:
            peer = Session(event.peer, event.address, event.inbound, connected=self._now(), seen=self._now())
            refusal = self._refusal(peer)
            self._peers[peer.node] = peer
            if refusal:
                logger.debug("%s is turned away: %s", short(peer.node), refusal)
                self.drop(peer.node)
            else:
                peer.task = self._group.create_task(self._session(peer))

    def _refusal(self, peer: Session) -> str:
        """Why a new connection is not wanted, or nothing."""
        if self._scores.is_banned(peer.node):
            return "it is banned"
        if not peer.inbound or peer.node in self._preferred:
            return ""
        if len(self._peers) >= self._settings.max_peers:
            return f"{self._settings.max_peers} peers are connected"
        strangers = sum(1 for other in self._peers.values() if other.inbound and not self._is_member(other.node))
        full = not self._is_member(peer.node) and strangers >= self._settings.max_strangers
        return f"{strangers} strangers are connected" if full else ""

    async def _session(self, peer: Session) -> None:
        """Heartbeats of one peer, until it falls silent, turns out to be of another chain, or is a stranger for too long."""
        was_member = self._is_member(peer.node)
        while True:
            member = self._is_member(peer.node)
            if not member and (was_member or (peer.inbound and peer.lasts(self._now(), self._settings.stranger_time))):
                self.drop(peer.node)
                return
            was_member = member
            news = self._news  # taken before we speak: what changes meanwhile is not slept over
            settings = self._settings_for(peer)
            pause = peer.relieved(settings, self._now(), self._status().training) or await self._heartbeat(peer, settings)
            if pause is None:
                self.drop(peer.node)
                return
            try:
                async with asyncio.timeout(pause * self._rng.uniform(0.8, 1.2)):
                    await news.wait()
            except TimeoutError:
                continue

    def _settings_for(self, peer: Session) -> PeerSettings:
        """How often a peer is asked: who judges now, as if there were few."""
        return self._settings if peer.node in self._preferred else self._settings.among(len(self._peers))

    async def _heartbeat(self, peer: Session, settings: PeerSettings) -> float | None:
        """Ask for the status; returns the seconds until the next heartbeat, or None if the peer is given up."""
        own, started = self._status(), self._now()
        addresses = self._addresses()[:MAX_OWN_ADDRESSES]
        request = GetStatus(own.chain, own.round, own.height, own.head, addresses, own.training)
        try:
            status = await self._exchange.ask(peer.node, request, deadline=settings.heartbeat_deadline)
        except RequestError as error:
            if self._now() - peer.seen >= settings.heartbeat_deadline * 1000:
                logger.info("peer %s has fallen silent and is disconnected: %s", short(peer.node), error)
                return None
            return settings.retry_period
        except PeerError as error:
            peer.seen = self._now()
            logger.debug("%s gives no status: %s", short(peer.node), error)
            return settings.heartbeat_period
        if ZERO_DIGEST not in (own.chain, status.chain) and status.chain != own.chain:
            text = f"{peer.address}: failed at hello: it is on chain {short(status.chain)}, we are on {short(own.chain)}"
            self.punish(peer.node, Rejection.WRONG_CHAIN, text)
            logger.warning("%s", text)
            return None
        peer.knows = own.training
        self._greeted(peer, status, self._now() - started, own.time)
        await self._remember(peer)
        await self._exchange_addresses(peer, settings)
        return min(settings.heartbeat_period, peer.exchange_pause(settings) / 1000)

    def _greeted(self, peer: Session, status: Status, elapsed: float, asked: Millis) -> None:
        peer.answered(status, elapsed, self._now(), asked)
        if peer.inbound and not self._is_member(peer.node):
            return  # A stranger's word about its height must not set anything in motion.
        if not peer.up:
            peer.up = True
            if not peer.inbound:
                self._dials.confirm(peer.node, peer.address)
            self._callbacks.up(peer.node, status)
        self._callbacks.status(peer.node, status)

    async def _remember(self, peer: Session) -> None:
        """Write down where a member is, once a connection."""
        addresses = peer.announced if peer.inbound else (peer.address,)
        if peer.asked_addresses is None and addresses and self._is_member(peer.node):
            await self._book.remember_address(peer.node, addresses[0])

    async def _exchange_addresses(self, peer: Session, settings: PeerSettings) -> None:
        now, last = self._now(), peer.asked_addresses
        if last is not None and now - last < peer.exchange_pause(settings):
            return
        peer.asked_addresses = now
        peer.exchanges += 1
        if not self._is_member(peer.node):
            return
        try:
            reply = await self._exchange.ask(peer.node, GetAddresses(self._status().chain), deadline=settings.heartbeat_deadline)
        except (RequestError, PeerError) as error:
            logger.debug("%s gives no addresses: %s", short(peer.node), error)
            return
        self._tellers.add(peer.node)
        known = len(self._dials)
        for node, address in reply.addresses:
            if self._is_member(node):
                self._learn(address, Source.HEARSAY, node, self._rule.hearsay, teller=peer.node)
        peer.exchanges += len(self._dials) == known  # it knows nobody whom we don't: the pause grows twice as fast
        self._wake.set()

    def _ended(self, node: NodeId) -> None:
        peer = self._peers.pop(node, None)
        if peer is None:
            return
        if peer.task is not None:
            peer.task.cancel()
        if peer.status is not None and peer.lasts(self._now(), STEADY):
            self._dials.steady(node)
        else:
            self._dials.failed(node, f"{peer.address}: failed at hello: the connection was closed", self._now())
        if peer.up:
            self._callbacks.down(node)
        self._wake.set()

    async def _disconnect(self, node: NodeId) -> None:
        await self._transport.disconnect(node)
        if all(connection.peer != node for connection in self._transport.connections()):
            self._ended(node)

    # Answers

    async def _answer_status(self, node: NodeId, request: GetStatus) -> Status:
        own = self._status()
        peer = self._peers.get(node)
        if peer is not None:
            peer.seen = self._now()
            if self._is_member(node) and request.chain == own.chain:
                self._tell(peer, request)
        return own

    def _tell(self, peer: Session, request: GetStatus) -> None:
        """Take what a member's heartbeat says of itself, as if it had answered ours."""
        if request.addresses != peer.said:
            peer.said = request.addresses
            peer.announced = tuple(kept for address in request.addresses if (kept := self._announced(peer, address)))
        status = peer.told(request, self._now())
        if status is not None and peer.up:
            self._callbacks.status(peer.node, status)

    def _announced(self, peer: Session, address: str) -> str:
        """Learn where a peer says that it is, or else its port at the host where it is seen; returns what is kept, or nothing."""
        rule = partial(self._rule.own_word, seen=peer.address)
        try:
            place = at_seen_host(address, peer.address)
            if self._learn(place, Source.OWN_WORD, peer.node, rule):
                return place
            place = at_seen_host(address, peer.address, always=True)
        except ValueError as error:
            logger.debug("%s announces an address that can't be read: %s", short(peer.node), printable(str(error)))
            return ""
        return place if self._learn(place, Source.OWN_WORD, peer.node, rule) else ""

    async def _answer_addresses(self, node: NodeId, request: GetAddresses) -> Addresses:
        if request.chain != self._status().chain:
            raise PeerError(Rejection.WRONG_CHAIN, f"this node is on chain {short(self._status().chain)}")
        known = [entry for entry in self._dials.known(at_least=Source.OWN_WORD) if entry[0] != node and self._is_member(entry[0])]
        return Addresses(tuple(self._rng.sample(known, min(MAX_ADDRESSES, len(known)))))

    # Views

    def _is_accompanied(self) -> bool:
        return bool(self.members()) or self._may_be_alone()

    def _clocks(self) -> dict[NodeId, int]:
        """By how much the connected members' clocks are ahead of ours."""
        return {peer.node: peer.ahead for peer in self._peers.values() if peer.ahead is not None and self._is_member(peer.node)}
