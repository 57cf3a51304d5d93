"""Whose history a newcomer takes: none before more than f members have shown the same, or the operator's trusted head is in it.

Certificates prove a history only as long as the keys of its old committees are where they belong. Whoever has q keys of one can
prove another history from there on, and no signature tells a newcomer which is the community's. So a node whose head is not a
recent one stays outside its rounds and compares, before it applies anything, what all connected members prove (design 8).
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bflcd.errors import OperatorError, PeerError, RequestError
from bflcd.ledger.quorum import faults
from bflcd.ledger.state import genesis_header
from bflcd.net.exchange import Exchange, OnMisbehaviour
from bflcd.net.sync import ClaimedRounds, Prove
from bflcd.params import Genesis
from bflcd.scheduler import Scheduler, Task
from bflcd.store.protocol import ChainStore
from bflcd.types import MAX_COMMITTEE, Digest, Millis, NodeId, Round, short
from bflcd.wire.blocks import CertifiedHeader, Header, header_hash
from bflcd.wire.requests import MAX_HEADERS, GetHeaders

logger = logging.getLogger(__name__)

RECENT: Final = Millis(24 * 3600 * 1000)
"""Age of a head, by this node's clock, up to which its committee's keys are trusted as they are in a running round."""

LATE: Final = 1
"""Rounds that a member may be behind our head and still say that it is the newest: where all stopped at once, some had closed
their round and some had not."""

MOST_FAULTS: Final = faults(MAX_COMMITTEE)
"""f of the largest committee: in larger communities no more than one member above it has to be asked."""

MOST_ASKED: Final = 2 * (MOST_FAULTS + 1)
"""Members that are asked for one batch of headers, at most."""

ASKED_AT_ONCE: Final = 4
"""Questions under way: an answer may take tens of MB."""

ASK_SECONDS: Final = 5.0
"""What a member may take to give the headers that are compared."""


class TwoHistoriesError(OperatorError):
    """Two histories of one chain are proved: no software can say which is the community's, so the operator has to."""


@dataclass(frozen=True, slots=True)
class TrustedHead:
    """A model header that the operator knows to be the community's: its round and its hash."""

    round: Round
    hash: Digest

    @classmethod
    def parse(cls, text: str) -> "TrustedHead | None":
        """From `ROUND:HASH`, as the configuration has checked it; None from an empty text."""
        if not text:
            return None
        round_, _, hexadecimal = text.partition(":")
        return cls(Round(int(round_)), Digest(bytes.fromhex(hexadecimal)))

    def __str__(self) -> str:
        return f"{self.round}:{self.hash.hex()}"


def witnesses_needed(members: int) -> int:
    """Members beside ourselves that have to show the same history: more than f of all, so that one of them is honest.

    f of the members, not of the committee that we know: the keys that prove another history need not hold seats any more.
    """
    return min(min(faults(members), MOST_FAULTS) + 1, members - 1)


class HistoryGuard:
    """Whether this node still has to be shown that its head is the community's, and by how many. It never closes again.

    It is held from the start if its head is old, if it got its genesis over the network and has no block yet, or if the
    operator's trusted head is still ahead. It is let go once it stands on the trusted head; or on a recent head that more than f
    members have shown; or once more than f members say that they stand where it does, or one round behind, and nobody proves
    more. Who is further behind was away itself, and can't know whether there is more.
    """

    def __init__(
        self, head: Header, members: int, *, fetched_genesis: bool, trusted: TrustedHead | None, now: Callable[[], Millis]
    ) -> None:
        """`members`: in the ledger at `head`; `now`: the wall clock.

        A trusted head below `head` says nothing of what follows, and the genesis' nothing that the chain id does not say.
        """
        self.needed = witnesses_needed(members)
        self.trusted = None if trusted is None or trusted.round < max(head.round, 1) else trusted
        self.lacking = ""
        """What is missed before anything can be applied; empty while nothing is."""
        self.proven_ahead = False
        """Whether somebody has proved rounds after our head that are not applied: then those who claim less don't count."""
        self._now = now
        self._witnessed = False
        unseen = head.round == 0 and fetched_genesis
        self.held = self.needed > 0 and (unseen or not self._is_recent(head) or self.is_ahead(head))
        self.look(head, {})

    def is_ahead(self, head: Header) -> bool:
        """Whether the trusted head is still to come."""
        return self.trusted is not None and head.round < self.trusted.round

    def look(self, head: Header, claims: Mapping[NodeId, Round]) -> bool:
        """Whether the node, now at `head`, is still held. `claims`: where members say that they stand."""
        if not self.held or self.is_ahead(head):
            return self.held
        beside = 0 if self.proven_ahead else sum(1 for round_ in claims.values() if head.round - LATE <= round_ <= head.round)
        reached = self.trusted is not None and head.round >= self.trusted.round
        if reached or beside >= self.needed or (self._witnessed and self._is_recent(head)):
            self.held, self.lacking = False, ""
        elif not self.proven_ahead:
            self.lacking = self._too_few("stand where this node does", beside)
        return self.held

    def confirmed(self, counts: Sequence[int]) -> int:
        """How many headers of a batch may be applied: as many as `needed` members have shown. `counts`: what each has shown."""
        shown = sorted(counts, reverse=True)
        allowed = shown[self.needed - 1] if len(shown) >= self.needed else 0
        self.lacking = "" if allowed else self._too_few("show the same history", sum(1 for count in counts if count))
        self._witnessed = self._witnessed or allowed > 0
        return allowed

    def _too_few(self, what: str, members: int) -> str:
        return (
            f"nothing is applied and no part is taken: {members} members {what}, {self.needed} have to; wait until more are "
            "connected, or start with --trusted-head ROUND:HASH, as `bflc-cli status` of a member that you trust shows it"
        )

    def _is_recent(self, head: Header) -> bool:
        return self._now() - head.time <= RECENT


@dataclass(frozen=True, slots=True)
class Witness:
    """What a member shows beside a batch: the first `agrees` headers alike, and `other`, proven, in the place of the next."""

    node: NodeId
    agrees: int
    other: CertifiedHeader | None


class Witnesses:
    """Compares a batch of proven headers with what the other members prove, before any of it is applied."""

    def __init__(
        self, exchange: Exchange, chain: Digest, guard: HistoryGuard, *, on_misbehaviour: OnMisbehaviour, scheduler: Scheduler
    ) -> None:
        self._exchange = exchange
        self._chain = chain
        self._guard = guard
        self._on_misbehaviour = on_misbehaviour
        self._scheduler = scheduler
        self._path: dict[Round, Digest] = {}
        """Hashes of a proven history up to the trusted head, by round."""
        self._guide: NodeId | None = None
        """Who gave that history."""
        self._aside: set[NodeId] = set()
        """Who proves a history without the trusted head: neither asked again nor blamed."""

    def asked(self, claims: Mapping[NodeId, Round]) -> dict[NodeId, Round]:
        """Of the members that say where they stand those that may be asked."""
        return {node: round_ for node, round_ in claims.items() if node not in self._aside}

    async def admit(
        self, head: Header, batch: tuple[CertifiedHeader, ...], claims: ClaimedRounds, prove: Prove
    ) -> tuple[CertifiedHeader, ...]:
        """What of `batch`, proven headers that follow `head`, may be applied now; see `HistoryGuard`.

        Raises TwoHistoriesError if members prove two histories; nobody is blamed for either.
        """
        self._guard.proven_ahead = bool(batch)
        if not batch or not self._guard.look(head, claims()):
            return batch
        if self._guard.is_ahead(head):
            return await self._toward_trusted(head, batch, claims, prove)
        for _ in range(len(claims()) + 1):
            witnesses = await self._ask(head, batch, claims, prove)
            newer = next((witness for witness in witnesses if _supersedes(witness, batch)), None)
            if newer is None:
                check_one_history(batch, witnesses)
                return batch[: self._guard.confirmed([witness.agrees for witness in witnesses])]
            # A recovery has given that round to another committee (design 6.8): its history is compared instead.
            batch = await self._headers(newer.node, head, len(batch), prove)
            if not batch:
                break
        return ()

    async def _ask(
        self, head: Header, batch: Sequence[CertifiedHeader], claims: ClaimedRounds, prove: Prove
    ) -> tuple[Witness, ...]:
        waiting = deque([node for node, round_ in claims().items() if round_ > head.round][:MOST_ASKED])
        coming: deque[Task[Witness | None]] = deque()
        found = []
        async with self._scheduler.scope() as scope:
            while coming or waiting:
                while waiting and len(coming) < ASKED_AT_ONCE:
                    coming.append(scope.start(self._witness(waiting.popleft(), head, batch, prove)))
                found.append(await coming.popleft())
        return tuple(witness for witness in found if witness is not None)

    async def _witness(self, node: NodeId, head: Header, batch: Sequence[CertifiedHeader], prove: Prove) -> Witness | None:
        """What `node` shows; None if it shows nothing now, or something that it can't prove, which costs it.

        What differs is left out where only the ledger of the rounds before can say whether it is proved.
        """
        theirs = await self._reply(node, Round(head.round + 1), len(batch))
        if theirs is None:
            return None
        pairs = zip(batch, theirs, strict=False)
        agrees = next((i for i, (ours, other) in enumerate(pairs) if ours.header != other.header), min(len(batch), len(theirs)))
        if agrees == min(len(batch), len(theirs)):
            return Witness(node, agrees, None)
        before = batch[agrees - 1].header if agrees else head
        proven, wrong = await self._scheduler.offload(prove, before, (theirs[agrees],))
        if wrong is not None:
            self._refuse(node, wrong)
            return None
        return Witness(node, agrees, proven[0] if proven else None)

    async def _toward_trusted(
        self, head: Header, batch: tuple[CertifiedHeader, ...], claims: ClaimedRounds, prove: Prove
    ) -> tuple[CertifiedHeader, ...]:
        """The next headers of a history that contains the trusted head; none as long as no member proves one."""
        trusted = self._guard.trusted
        assert trusted is not None
        if not self._path and not await self._find_path(head, claims, prove):
            self._guard.lacking = (
                f"nothing is applied: no connected member proves a history that contains the trusted head {trusted}; wait until "
                "one is connected that does, or check --trusted-head against several members"
            )
            return ()
        self._guard.lacking = ""
        if not self._is_on_path(batch) and self._guide is not None:
            batch = await self._headers(self._guide, head, len(batch), prove)
        if not self._is_on_path(batch):
            self._path = {}  # who gave it is gone, or gives another one now
            return ()
        batch = batch[: trusted.round - head.round]
        for witness in await self._ask(head, batch, claims, prove):
            if witness.other is not None:
                await self._look_at(witness, head, batch, prove)
        return batch

    async def _look_at(self, witness: Witness, head: Header, batch: Sequence[CertifiedHeader], prove: Prove) -> None:
        """Set a member aside that proves other headers than those on the path. Raises TwoHistoriesError if both are on one."""
        trusted, other = self._guard.trusted, witness.other
        assert trusted is not None
        assert other is not None
        path = await self._walk(witness.node, head, trusted.round, prove)
        if path.get(trusted.round) == trusted.hash and self._guide is not None:
            raise two_histories(batch[witness.agrees].header, (self._guide,), other.header, (witness.node,))
        self._set_aside(witness.node)

    def _set_aside(self, node: NodeId) -> None:
        logger.warning("the history of %s does not contain the trusted head: it is not taken", short(node))
        self._aside.add(node)

    def _is_on_path(self, batch: Sequence[CertifiedHeader]) -> bool:
        last = max(self._path)
        return all(header_hash(c.header) == self._path.get(c.header.round) for c in batch if c.header.round <= last)

    async def _find_path(self, head: Header, claims: ClaimedRounds, prove: Prove) -> bool:
        trusted = self._guard.trusted
        assert trusted is not None
        for node in [node for node, round_ in claims().items() if round_ >= trusted.round]:
            path = await self._walk(node, head, trusted.round, prove)
            if path.get(trusted.round) == trusted.hash:
                self._path, self._guide = path, node
                return True
            if trusted.round in path:
                self._set_aside(node)
        return False

    async def _walk(self, node: NodeId, head: Header, until: Round, prove: Prove) -> dict[Round, Digest]:
        """Hashes of the headers that `node` proves from `head` to round `until`; fewer if it can't."""
        path: dict[Round, Digest] = {}
        while head.round < until:
            proven = await self._headers(node, head, min(MAX_HEADERS, until - head.round), prove)
            if not proven:
                break
            path |= {certified.header.round: header_hash(certified.header) for certified in proven}
            head = proven[-1].header
        return path

    async def _headers(self, node: NodeId, head: Header, count: int, prove: Prove) -> tuple[CertifiedHeader, ...]:
        theirs = await self._reply(node, Round(head.round + 1), count)
        return () if theirs is None else await self._proven(node, head, theirs, prove)

    async def _reply(self, node: NodeId, first: Round, count: int) -> tuple[CertifiedHeader, ...] | None:
        try:
            reply = await self._exchange.ask(node, GetHeaders(self._chain, first, count), deadline=ASK_SECONDS)
        except (PeerError, RequestError) as error:
            logger.info("%s shows no headers to compare: %s", short(node), error)
            return None
        return reply.headers

    async def _proven(
        self, node: NodeId, head: Header, headers: Sequence[CertifiedHeader], prove: Prove
    ) -> tuple[CertifiedHeader, ...]:
        proven, wrong = await self._scheduler.offload(prove, head, headers)
        if wrong is not None:
            self._refuse(node, wrong)
        return proven

    def _refuse(self, node: NodeId, wrong: PeerError) -> None:
        logger.warning("headers of %s are refused: %s", short(node), wrong)
        self._on_misbehaviour(node, wrong.rejection, str(wrong))


async def check_trusted(store: ChainStore, head: Header, trusted: TrustedHead | None, genesis: Genesis) -> None:
    """Raise OperatorError (`other_history`) if the chain in `store`, up to `head`, differs from the trusted head in its place."""
    if trusted is None or trusted.round > head.round:
        return
    own = genesis_header(genesis) if trusted.round == 0 else (await store.headers(trusted.round, 1))[0].header
    if header_hash(own) != trusted.hash:
        raise OperatorError(
            f"this data directory has {TrustedHead(trusted.round, header_hash(own))}, --trusted-head says {trusted}",
            hint="ask several members which one they have; if this one is wrong, start over in a fresh directory with the key, "
            "privacy.json and judging.json",
            code="other_history",
        )


def _supersedes(witness: Witness, batch: Sequence[CertifiedHeader]) -> bool:
    other = witness.other
    return other is not None and other.certificate.epoch > batch[witness.agrees].certificate.epoch


def check_one_history(batch: Sequence[CertifiedHeader], witnesses: Sequence[Witness]) -> None:
    """Raise TwoHistoriesError if a witness proves another header of the same epoch in the place of one that others show.

    Of different epochs the higher one counts (design 6.8); what only one peer has shown, and does not show any more, is nobody's.
    """
    for witness in witnesses:
        place, other = witness.agrees, witness.other
        if other is None or other.certificate.epoch < batch[place].certificate.epoch:
            continue
        ours = [w.node for w in witnesses if w.agrees > place]
        theirs = [w.node for w in witnesses if w.agrees == place and w.other is not None and w.other.header == other.header]
        if ours:
            raise two_histories(batch[place].header, ours, other.header, theirs)


def two_histories(first: Header, first_by: Sequence[NodeId], second: Header, second_by: Sequence[NodeId]) -> TwoHistoriesError:
    """Names both, and who gave which. An empty `first_by` stands for this node itself."""
    named = [", ".join(short(node) for node in nodes) or "this node" for nodes in (first_by, second_by)]
    return TwoHistoriesError(
        f"two histories of chain {short(first.chain)} are proved, and differ at round {first.round}: "
        f"{TrustedHead(first.round, header_hash(first))} (given by {named[0]}) and "
        f"{TrustedHead(second.round, header_hash(second))} (given by {named[1]}); nothing more is applied, and nobody is banned",
        hint="somebody has keys of a committee that is not theirs: ask operators of several members which they have (hash in "
        f"bflc-cli --json history --from {first.round} --count 1), and start again with --trusted-head as the status of one "
        "on the right one prints it",
        code="two_histories",
    )
