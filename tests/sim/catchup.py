"""Catching up in virtual time, as `node.following` and `net.sync` do it."""

import asyncio
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bflcd.consensus.certificate import verify_successor
from bflcd.core.events import (
    SegmentFetched,
    SyncChanged,
)
from bflcd.errors import PeerError, RequestError
from bflcd.net.sync import check_segment
from bflcd.node.recovery.reorg import LOOK_BACK, find_superseding, take_back
from bflcd.types import NodeId, Round
from bflcd.wire.blocks import CertifiedHeader, CertifiedSegment, Header, Segment
from bflcd.wire.requests import GetHeaders, GetSegment, Headers, SegmentReply
from tests.sim.disk import run_now

if TYPE_CHECKING:
    pass

from tests.sim.work import Ask, AskAny, Settle


@dataclass(frozen=True, slots=True)
class Given:
    """An exchange that gives the one answer which a peer gave already."""

    reply: Headers

    async def ask(self, _peer: NodeId, _request: GetHeaders, *, deadline: float) -> Headers:
        assert deadline > 0
        return self.reply


class Following:
    """RoundClaims, and the way to what they claim; a part of `SimNode`."""

    def claim(self, peer: NodeId, round_: Round) -> None:
        """A member's word on where it stands."""
        self.claims[peer] = round_
        first = self._first
        heard = self.guard.may_begin(len(self.claims), len(self.world.nodes))
        if first is not None and self.running and not self.looked and heard:
            self._look_done(first)
        self.confirm()
        self._claims_changed()

    def _claims_changed(self) -> None:
        if self.started and not self.following and max(self.claims.values(), default=0) > self.round:
            self.following = True
            self.spawn(2**60, self._follow())

    def _follow(self) -> Generator[Any, Any, None]:
        """As `Follower.run` and `ChainSync.run`."""
        core = self.core
        assert core is not None
        if max(self.claims.values(), default=0) == core.context.round + 1:
            yield int(core.context.params.view_timeout)
        if max(self.claims.values(), default=0) > core.context.round:
            try:
                yield from self._catch_up_run(core.context.head_header)
            except RequestError as error:
                self.world.note(self, "catching up stopped", str(error), b"")
            yield Settle(SyncChanged(active=False))
        self.following = False
        return

    def _catch_up_run(self, head: Header) -> Generator[Any, Any, None]:
        started = head.round
        while True:
            batch = yield from self._headers(head, only_reliable=head.round > started)
            if not batch:
                break
            for certified in batch:
                segment = yield from self._segment(certified, head)
                yield from self._apply(segment)
                head = certified.header
        if head.round > started and head.blob is not None:
            yield from self.fetch(head.blob, lambda: tuple(self.claims))

    def _headers(self, head: Header, *, only_reliable: bool) -> Generator[Any, Any, tuple[CertifiedHeader, ...]]:
        def ahead() -> list[NodeId]:
            reliable = self._catch_up.headers_race.reliable
            nodes = (n for n, round_ in self.claims.items() if round_ > head.round and (reliable(n) or not only_reliable))
            return sorted(nodes, key=lambda n: -self.claims[n])

        unlinked: list[NodeId] = []

        def good(node: NodeId, reply: Headers | Exception) -> tuple[CertifiedHeader, ...]:
            if isinstance(reply, Exception):
                raise reply
            proven, _ = self._catch_up._prove(head, reply.headers)
            if not proven:
                unlinked.append(node)
                raise RequestError("nothing is proven")
            return proven

        request = GetHeaders(self.world.chain, Round(head.round + 1), 256)
        try:
            proven: tuple[CertifiedHeader, ...] = yield AskAny(ahead, request, 15_000, self._catch_up.headers_race, good)
        except RequestError:
            proven = ()
        for node in unlinked:
            yield from self._compare(node)
        return proven

    def _compare(self, peer: NodeId) -> Generator[Any, Any, None]:
        """As `Follower._compare`: take back what a recovery has superseded, and start anew."""
        store, world = self.disk.store, self.world
        first = max(1, self.round - LOOK_BACK + 1)
        ours = run_now(store.headers(Round(first), LOOK_BACK))
        if not ours:
            return
        try:
            reply = yield Ask(peer, GetHeaders(world.chain, Round(first), len(ours)), 15_000)
        except (PeerError, RequestError):
            return
        found = asyncio.run(find_superseding(Given(reply), store, peer, world.genesis, world.verify))  # type: ignore[arg-type]
        if found is None:
            return
        if not self.core.syncing:
            yield Settle(SyncChanged(active=True))
        error = asyncio.run(take_back(store, found))
        world.note(self, "superseded", str(error), found.certificate.digest)
        self.crash(power=False)
        world.after(0, self.start)
        yield 1

    def _segment(self, wanted: CertifiedHeader, previous: Header) -> Generator[Any, Any, CertifiedSegment]:
        round_ = wanted.header.round

        def holders() -> list[NodeId]:
            able = sorted(node for node, claimed in self.claims.items() if claimed >= round_)
            start = round_ % len(able) if able else 0
            return [*able[start:], *able[:start], *sorted(node for node in self.claims if node not in able)]

        def good(_node: NodeId, reply: SegmentReply | Exception) -> Segment:
            if isinstance(reply, Exception):
                raise reply
            check_segment(reply.certified.segment, wanted.header, previous)
            return reply.certified.segment

        segment = yield AskAny(holders, GetSegment(self.world.chain, round_), 30_000, self._catch_up.segments_race, good)
        return CertifiedSegment(segment, wanted.certificate)

    def _apply(self, certified: CertifiedSegment) -> Iterator[Any]:
        core = self.core
        assert core is not None
        wanted = certified.segment.model_header.round
        if not core.syncing:
            yield Settle(SyncChanged(active=True))
        if core.context.round < wanted:
            yield Settle(SegmentFetched(certified, self.id))
        if core.context.round < wanted:
            raise RequestError(f"the segment of round {wanted} was refused by the ledger")

    def _verify_header(self, certified: CertifiedHeader, previous: Header) -> None:
        assert self.core is not None
        context = self.core.context
        verify_successor(previous, certified, context.params, context.head.state.managers, self.world.verify)
