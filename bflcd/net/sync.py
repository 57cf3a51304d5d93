"""Catch-up: certified headers first, then segments from several peers at once, then blobs. Only certificates count (design 8)."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bflcd.errors import OperatorError, PeerError, Rejection, RequestError, UsageError
from bflcd.net.blobs.race import Race
from bflcd.net.exchange import Exchange, OnMisbehaviour
from bflcd.params import BlobRef, Genesis, check_genesis
from bflcd.scheduler import ASYNCIO, Scheduler, Task
from bflcd.types import ZERO_DIGEST, Digest, NodeId, Round, short
from bflcd.wire.blocks import (
    KIND_MODEL,
    KIND_UPDATE,
    CertifiedHeader,
    CertifiedSegment,
    Header,
    ModelBody,
    Segment,
    UpdateBody,
    body_hash,
    chain_id_of,
    header_hash,
)
from bflcd.wire.requests import MAX_HEADERS, GetGenesis, GetHeaders, GetSegment

logger = logging.getLogger(__name__)

VerifyHeader = Callable[[CertifiedHeader, Header], None]
"""Raises PeerError unless the certificate proves the header as successor of that model header. Runs in a thread."""

Apply = Callable[[CertifiedSegment], Awaitable[None]]
"""Verifies and commits the next segment. What it raises ends the catch-up: its bytes were checked before."""

FetchBlob = Callable[[BlobRef, Callable[[], Sequence[NodeId]]], Awaitable[None]]
"""Gets a blob into the store (`BlobFetcher.fetch`)."""

ClaimedRounds = Callable[[], Mapping[NodeId, Round]]
"""Connected peers and the rounds that they say to have reached: whom to ask, never what to believe."""

Prove = Callable[[Header, Sequence[CertifiedHeader]], tuple[tuple[CertifiedHeader, ...], PeerError | None]]
"""The longest beginning of headers that is proven to follow a model header, and why the rest was refused. Runs in a thread."""

Admit = Callable[[Header, tuple[CertifiedHeader, ...], ClaimedRounds, Prove], Coroutine[Any, Any, tuple[CertifiedHeader, ...]]]
"""What of a proven batch after our head may be applied; none if that can't be said yet. What it raises ends the catch-up."""

OnUnlinked = Callable[[NodeId], Awaitable[bool]]
"""Told of a peer that claims to be ahead and proves nothing that follows our head; whether that is explained, so that nobody is
to blame for it. What it raises ends the catch-up."""

OnProgress = Callable[[Round, Round], None]
"""Told the round that we hold now and the round that is certified or, before that, claimed."""


class NotYetJudgedError(PeerError):
    """A header that follows others which are not applied yet carries a recovery, and not by the managers that we know: those
    rounds may have made others. It is asked for again after them, and nobody is to blame."""


@dataclass(frozen=True, slots=True)
class SyncLimits:
    """Deadlines in seconds. `window` segments of up to 24 MB each are in flight or waiting to be applied."""

    headers_deadline: float = 15.0
    segment_deadline: float = 30.0
    patience: float = 5.0
    """After so long without an answer the next peer is asked too."""
    window: int = 4
    batch: int = MAX_HEADERS
    """Headers that are verified before their segments are fetched."""
    keep_rounds: int = 0
    """Rounds before the head whose updates are fetched too; the head's model always is."""


GENESIS_DEADLINE: Final = 30.0


class ChainSync:
    """Brings a node from a head that it trusts to the newest that its peers can prove."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        chain: Digest,
        verify_header: VerifyHeader,
        apply: Apply,
        fetch_blob: FetchBlob,
        on_misbehaviour: OnMisbehaviour,
        on_progress: OnProgress = lambda _done, _target: None,
        on_unlinked: OnUnlinked | None = None,
        admit: Admit | None = None,
        limits: SyncLimits | None = None,
        scheduler: Scheduler = ASYNCIO,
    ) -> None:
        self._exchange = exchange
        self._scheduler = scheduler
        self._chain = chain
        self._verify_header = verify_header
        self._apply = apply
        self._fetch_blob = fetch_blob
        self._on_misbehaviour = on_misbehaviour
        self._on_progress = on_progress
        self._on_unlinked = on_unlinked
        self._admit = admit
        self._limits = SyncLimits() if limits is None else limits
        self.headers_race = Race(self._limits.patience, scheduler=scheduler)
        self.segments_race = Race(self._limits.patience, scheduler=scheduler)
        """Who was late or wrong, over all catch-ups; of headers and segments each, since a peer may have only one of them."""

    async def run(self, head: Header, claims: ClaimedRounds) -> Header:
        """Catch up from `head`, our newest model header; returns the new one, as far as the peers could prove.

        Raises RequestError if a certified segment or the head's model could not be had from anyone, naming who said what.
        """
        recent: deque[tuple[BlobRef, ...]] = deque(maxlen=self._limits.keep_rounds)
        started = head.round
        while True:
            batch = await self._headers(head, claims, only_reliable=head.round > started)
            if self._admit is not None:
                batch = await self._admit(head, batch, claims, self._prove)
            if not batch:
                break
            await self._segments(head, batch, claims, recent)
            head = batch[-1].header
        if head.round > started:
            await self._blobs(head, recent, claims)
        return head

    async def _headers(self, head: Header, claims: ClaimedRounds, *, only_reliable: bool) -> tuple[CertifiedHeader, ...]:
        """The next certified headers after `head` that some peer can prove, verified; none if nobody can.

        `only_reliable`: leave out who failed before. A node that got on returns to its round rather than wait for them.
        """
        unlinked: list[NodeId] = []
        refused: list[tuple[NodeId, PeerError]] = []

        def ahead() -> list[NodeId]:
            claimed = claims()
            nodes = [node for node, round_ in claimed.items() if round_ > head.round]
            if only_reliable:
                nodes = [node for node in nodes if self.headers_race.reliable(node)]
            return sorted(nodes, key=lambda node: -claimed[node])

        async def ask(node: NodeId) -> tuple[CertifiedHeader, ...] | None:
            self._on_progress(head.round, max(claims().values(), default=head.round))
            request = GetHeaders(self._chain, Round(head.round + 1), self._limits.batch)
            try:
                reply = await self._exchange.ask(node, request, deadline=self._limits.headers_deadline)
            except (PeerError, RequestError) as error:
                logger.info("no headers from %s: %s", short(node), error)
                return None
            proven, wrong = await self._scheduler.offload(self._prove, head, reply.headers)
            if not proven:
                unlinked.append(node)
            if wrong is not None:
                refused.append((node, wrong))
            return proven or None

        proven = await self.headers_race.run(ahead, ask) or ()
        await self._blame(refused, unlinked)
        return proven

    async def _blame(self, refused: Sequence[tuple[NodeId, PeerError]], unlinked: Sequence[NodeId]) -> None:
        """Charge those whose headers were refused, but not who stands on another proven history: it may be the right one."""
        explained: set[NodeId] = set()
        if self._on_unlinked is not None:
            for node in unlinked:
                if await self._on_unlinked(node):  # before anybody is blamed: its chain may have superseded ours
                    explained.add(node)
        for node, wrong in refused:
            if node not in explained:
                logger.warning("headers of %s are refused: %s", short(node), wrong)
                self._on_misbehaviour(node, wrong.rejection, str(wrong))

    def _prove(self, head: Header, headers: Sequence[CertifiedHeader]) -> tuple[tuple[CertifiedHeader, ...], PeerError | None]:
        """The longest proven beginning of `headers`, and why the rest was refused."""
        proven: list[CertifiedHeader] = []
        previous = head
        for certified in headers[: self._limits.batch]:
            header = certified.header
            try:
                if header.chain != self._chain:
                    raise PeerError(Rejection.WRONG_CHAIN, f"a header of chain {short(header.chain)}")  # noqa: TRY301 - one handler for all
                if header.kind != KIND_MODEL or header.round != previous.round + 1:
                    raise PeerError(Rejection.BAD_LINK, f"a header of round {header.round} after {previous.round}")  # noqa: TRY301 - as above
                if certified.certificate.digest != header_hash(header):
                    raise PeerError(Rejection.BAD_CERTIFICATE, f"a certificate for another header than {header.round}")  # noqa: TRY301 - as above
                self._verify_header(certified, previous)
            except NotYetJudgedError as error:
                logger.info("headers up to round %d are taken: %s", previous.round, error)
                return tuple(proven), None
            except PeerError as error:
                return tuple(proven), error
            proven.append(certified)
            previous = header
        return tuple(proven), None

    async def _segments(
        self, head: Header, batch: Sequence[CertifiedHeader], claims: ClaimedRounds, recent: deque[tuple[BlobRef, ...]]
    ) -> None:
        """Fetch the segments of proven headers, a window ahead of their application, and apply them in order."""
        previous = (head, *(certified.header for certified in batch))
        target = batch[-1].header.round
        async with self._scheduler.scope() as scope:
            coming: deque[Task[CertifiedSegment]] = deque()
            waiting = deque(zip(batch, previous, strict=False))
            while coming or waiting:
                while waiting and len(coming) < self._limits.window:
                    coming.append(scope.start(self._segment(*waiting.popleft(), claims)))
                certified = await coming.popleft()
                await self._apply(certified)
                recent.append(tuple(header.blob for header in certified.segment.headers if header.blob is not None))
                self._on_progress(certified.segment.model_header.round, target)

    async def _segment(self, wanted: CertifiedHeader, previous: Header, claims: ClaimedRounds) -> CertifiedSegment:
        """One segment from whichever peer gives the right one; rounds start at different peers, to share the work out."""
        round_ = wanted.header.round
        told: list[str] = []

        def holders() -> list[NodeId]:
            claimed = claims()
            able = sorted(node for node, reached in claimed.items() if reached >= round_)
            start = round_ % len(able) if able else 0
            # Claims are as old as the last heartbeat, and the header was proven: those that claim less may well have it by now.
            return [*able[start:], *able[:start], *sorted(node for node in claimed if node not in able)]

        async def ask(node: NodeId) -> Segment | None:
            try:
                reply = await self._exchange.ask(node, GetSegment(self._chain, round_), deadline=self._limits.segment_deadline)
                segment = reply.certified.segment
                await self._scheduler.offload(check_segment, segment, wanted.header, previous)
            except RequestError as error:
                told.append(f"{short(node)}: {error}")
                return None
            except PeerError as error:
                told.append(f"{short(node)}: {error}")
                if error.rejection is Rejection.BAD_LINK and is_cut_off(segment, wanted.header, previous):
                    raise _broken(wanted.header, previous) from error
                if error.rejection in (Rejection.BAD_LINK, Rejection.BAD_SEGMENT):
                    logger.warning("the segment of round %d from %s is refused: %s", round_, short(node), error)
                    self._on_misbehaviour(node, error.rejection, str(error))
                return None
            return segment

        segment = await self.segments_race.run(holders, ask)
        if segment is None:
            raise RequestError(f"nobody gave the segment of round {round_}: {'; '.join(told) or 'no peer is connected'}")
        # The certificate that was proven, not the one that came along: nothing has checked that one.
        return CertifiedSegment(segment, wanted.certificate)

    async def _blobs(self, head: Header, recent: Sequence[tuple[BlobRef, ...]], claims: ClaimedRounds) -> None:
        wanted = [head.blob] if head.blob is not None else []
        wanted += [ref for refs in reversed(recent) for ref in refs]
        for ref in dict.fromkeys(wanted):
            await self._fetch_blob(ref, lambda: tuple(claims()))


def check_segment(segment: Segment, header: Header, previous: Header) -> None:
    """Raise PeerError (BAD_SEGMENT, BAD_LINK) unless `segment` is, down to the last byte, what the proven `header` commits to.

    `previous`: the model header before it. Hashes alone: whether the contents are right was the quorum's to judge (design 4).
    """
    if segment.model_header != header:
        raise PeerError(Rejection.BAD_SEGMENT, f"a segment with another model header than that of round {header.round}")
    if len(segment.headers) != len(segment.updates) + 1:
        raise PeerError(Rejection.BAD_SEGMENT, f"{len(segment.headers)} headers for {len(segment.updates)} updates and a model")
    _check_blocks(segment, header_hash(previous))


def is_cut_off(segment: Segment, header: Header, previous: Header) -> bool:
    """Whether a segment is in all what the proven `header` commits to, and follows another header than `previous`.

    Each block names the one before it by its hash, so whoever gave the segment can't have chosen what it follows.
    """
    whole = segment.model_header == header and len(segment.headers) == len(segment.updates) + 1
    if not whole or segment.headers[0].height != previous.height + 1:
        return False
    try:
        _check_blocks(segment, segment.headers[0].parent)
    except PeerError:
        return False
    return True


def _broken(header: Header, previous: Header) -> OperatorError:
    """Model headers name no model header before them, only certificates do; and those of an old committee can be forged."""
    return OperatorError(
        f"the history that was taken up to round {previous.round} is not the one that round {header.round} follows: "
        "its certificates were made with keys of a committee that are not where they belong",
        hint="nothing was signed on it; start over with a fresh data directory, the same key, privacy.json and judging.json, "
        "connected to several members",
        code="broken_history",
    )


def _check_blocks(segment: Segment, parent: Digest) -> None:
    """Raise PeerError unless the blocks follow each other, the first one `parent`, and have the bodies that they commit to."""
    bodies: tuple[UpdateBody | ModelBody, ...] = (*segment.updates, segment.model)
    for block, body in zip(segment.headers, bodies, strict=True):
        if block.parent != parent:
            raise PeerError(Rejection.BAD_LINK, f"the parent of block {block.height} is not the block before it")
        if block is not segment.headers[-1] and block.kind != KIND_UPDATE:
            raise PeerError(Rejection.BAD_SEGMENT, f"block {block.height} is no update block")
        if body_hash(body) != block.body:
            raise PeerError(Rejection.BAD_SEGMENT, f"the body of block {block.height} is not what its header commits to")
        parent = header_hash(block)


async def fetch_genesis(exchange: Exchange, peer: NodeId, chain: Digest | None, *, deadline: float = GENESIS_DEADLINE) -> Genesis:
    """The genesis that `peer` has, checked against the pinned chain id and against itself (design 8).

    Without a pinned id the peer is trusted for it: that must be one that the operator named. Raises RequestError, PeerError.
    """
    reply = await exchange.ask(peer, GetGenesis(ZERO_DIGEST if chain is None else chain), deadline=deadline)
    genesis = reply.genesis
    found = chain_id_of(genesis)
    if chain is not None and found != chain:
        raise PeerError(Rejection.WRONG_CHAIN, f"{short(peer)} gave the genesis of chain {short(found)}, not {short(chain)}")
    try:
        check_genesis(genesis)
    except UsageError as error:
        raise PeerError(Rejection.MALFORMED, f"the genesis of {short(peer)} can't be used: {error}") from error
    return genesis
