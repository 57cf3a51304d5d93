"""What a node is to its peers: a newcomer until it knows the genesis, from then on a node of its chain."""

from typing import Any, Protocol

from bflcd.core.core import Core
from bflcd.core.relaying import Standpoint
from bflcd.crypto.identity import peer_id_of
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.state import account_of
from bflcd.net.sizes import MAX_AHEAD, Community, largest_reply
from bflcd.node.following import RoundClaims
from bflcd.node.load.overload import Overload
from bflcd.node.maintenance import Maintenance
from bflcd.node.runtime.clock import wall_clock
from bflcd.node.services import ChainService
from bflcd.node.training_words import TrainingWords
from bflcd.node.views.facts import Measures
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import MAX_COMMITTEE, ZERO_DIGEST, Digest, Epoch, Height, NodeId, Round
from bflcd.version import __version__
from bflcd.wire.codec import limit_of
from bflcd.wire.messages import ClosedBy
from bflcd.wire.requests import Request, Status
from bflcd.wire.training import Training


class Standing(Protocol):
    """Asked by the transport, the channels and the peer manager. Nothing of it may block."""

    @property
    def chain(self) -> Digest:
        """Id of the chain, zero while there is none."""
        ...

    def standpoint(self) -> Standpoint:
        """Chain, round, number of members, whether it judges, whether it is overloaded."""
        ...

    def is_catching_up(self) -> bool:
        """Whether no part is taken in the running round until what was missed is here."""
        ...

    def is_member(self, node: NodeId) -> bool:
        """Whether a node belongs to the community now."""
        ...

    def is_barred(self, node: NodeId) -> bool:
        """Whether a node was put out, so that it gets no connection."""
        ...

    def was_member(self, node: NodeId) -> bool:
        """Whether a node belonged to the community once: it may not know yet that it does no more."""
        ...

    def is_alone(self) -> bool:
        """Whether the community has one member only."""
        ...

    def largest(self, reply: type) -> int:
        """Bytes that a reply of this kind has at most."""
        ...

    def status(self) -> Status:
        """What peers are told."""
        ...

    def may_serve(self, peer: NodeId, root: Digest, closed: ClosedBy) -> bool:
        """Whether a peer may have a payload; `closed`: who takes no further offers, as it shows."""
        ...

    def sheds(self, request: Request[Any]) -> bool:
        """Whether this node is overloaded, and others can answer too."""
        ...

    async def answer(self, peer: NodeId, request: Request[Any]) -> object:
        """The reply to a request about the chain. Raises PeerError."""
        ...

    def heard_of(self, node: NodeId, status: Status) -> None:
        """A peer says where it stands."""
        ...

    def lost(self, node: NodeId) -> None:
        """A peer is gone."""
        ...

    def damaged(self, root: Digest, error: DamagedBlobError) -> None:
        """A payload that was to be served is damaged on the disk."""
        ...


class Newcomer:
    """On no chain yet: it has nothing, believes nobody, and says so."""

    chain = ZERO_DIGEST

    def standpoint(self) -> Standpoint:
        """See `Standing`."""
        return Standpoint(ZERO_DIGEST, Round(0), 0)

    def is_catching_up(self) -> bool:
        """See `Standing`."""
        return True

    def is_member(self, _: NodeId) -> bool:
        """See `Standing`."""
        return False

    def is_barred(self, _: NodeId) -> bool:
        """See `Standing`."""
        return False

    def was_member(self, _: NodeId) -> bool:
        """See `Standing`."""
        return False

    def is_alone(self) -> bool:
        """See `Standing`."""
        return False

    def largest(self, reply: type) -> int:
        """See `Standing`."""
        return limit_of(reply)

    def status(self) -> Status:
        """See `Standing`."""
        return Status(
            ZERO_DIGEST, Round(0), Height(0), ZERO_DIGEST, Epoch(0), Round(0), __version__, wall_clock(), Training.TRAINS
        )

    def may_serve(self, _: NodeId, __: Digest, ___: ClosedBy) -> bool:
        """See `Standing`."""
        return False

    def sheds(self, _: Request[Any]) -> bool:
        """See `Standing`."""
        return False

    async def answer(self, _: NodeId, __: Request[Any]) -> object:
        """See `Standing`."""
        raise PeerError(Rejection.UNAVAILABLE, "this node has no genesis yet")

    def heard_of(self, _: NodeId, __: Status) -> None:
        """See `Standing`."""

    def lost(self, _: NodeId) -> None:
        """See `Standing`."""

    def damaged(self, _: Digest, __: DamagedBlobError) -> None:
        """See `Standing`."""


class NodeOfChain:
    """On a chain, as its ledger stands now."""

    def __init__(
        self,
        core: Core,
        service: ChainService,
        claims: RoundClaims,
        maintenance: Maintenance,
        measures: Measures,
        *,
        training: TrainingWords,
        overload: Overload,
        sponsors: frozenset[str],
    ) -> None:
        """`sponsors`: peer ids that the operator named. Those that our ledger does not know are taken for members: it may be
        behind, as a newcomer's is, or that of who was away while all others rotated. They get no payload."""
        self._core = core
        self._sponsors = sponsors
        self._service = service
        self._claims = claims
        self._training = training
        self._overload = overload
        self._maintenance = maintenance
        self._measures = measures
        self._handlers = service.handlers()

    @property
    def chain(self) -> Digest:
        """See `Standing`."""
        return self._core.context.state.chain

    def standpoint(self) -> Standpoint:
        """See `Standing`."""
        context = self._core.context
        return Standpoint(
            context.state.chain,
            context.round,
            len(context.members),
            judges=context.judges,
            overloaded=self._overload.is_on,
        )

    def is_catching_up(self) -> bool:
        """See `Standing`."""
        return self._core.syncing

    def is_member(self, node: NodeId) -> bool:
        """See `Standing`."""
        context = self._core.context
        if node in context.members or not self._sponsors or peer_id_of(node) not in self._sponsors:
            return node in context.members
        return context.me not in context.members or account_of(context.state, node) is None

    def is_barred(self, node: NodeId) -> bool:
        """See `Standing`."""
        return node in self._core.context.barred

    def was_member(self, node: NodeId) -> bool:
        """See `Standing`."""
        context = self._core.context
        return node not in context.members and account_of(context.state, node) is not None

    def is_alone(self) -> bool:
        """See `Standing`."""
        return len(self._core.context.members) == 1

    def largest(self, reply: type) -> int:
        """See `Standing`."""
        context = self._core.context
        params, members = context.params, len(context.state.accounts) + MAX_AHEAD
        community = Community(members, params.places, MAX_COMMITTEE, params.committee_size)  # managers may have been appointed
        return largest_reply(reply, community)

    def status(self) -> Status:
        """See `Standing`."""
        context = self._core.context
        return Status(
            chain=context.state.chain,
            round=context.round,
            height=context.head_header.height,
            head=context.head_hash,
            epoch=context.state.epoch,
            oldest_payload=self._measures.stats.oldest_payload,
            version=__version__,
            time=wall_clock(),
            training=self._training.own,
        )

    def may_serve(self, peer: NodeId, root: Digest, closed: ClosedBy) -> bool:
        """See `Standing`."""
        return peer in self._core.context.members and self._service.may_serve(peer, root, closed)

    def sheds(self, request: Request[Any]) -> bool:
        """See `Standing`."""
        return self._overload.is_on and self._service.others_can_answer(request)

    async def answer(self, peer: NodeId, request: Request[Any]) -> object:
        """See `Standing`."""
        return await self._handlers[type(request)](peer, request)

    def heard_of(self, node: NodeId, status: Status) -> None:
        """See `Standing`."""
        if status.chain == self.chain and self.is_member(node):
            self._claims.note(node, status.round)
            self._training.note(node, status.training)

    def lost(self, node: NodeId) -> None:
        """See `Standing`."""
        self._claims.forget(node)
        self._training.forget(node)

    def damaged(self, root: Digest, error: DamagedBlobError) -> None:
        """See `Standing`."""
        self._maintenance.damaged(root, error)
