"""The runtime's observer: what happens in the core becomes events, metrics and peer scores. Nothing here may block."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from bflcd.api.metrics import Metrics
from bflcd.core.effects import Blame, Commit, Notice
from bflcd.core.node_events import EventKind
from bflcd.errors import Rejection
from bflcd.log import LogContext
from bflcd.net.gossip import GossipChannel
from bflcd.net.peers import PeerManager
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.following import RoundClaims
from bflcd.node.reporter import Tell
from bflcd.node.views.facts import NodeFacts
from bflcd.types import NodeId, Round, short

logger = logging.getLogger(__name__)

_HARMLESS: Final = frozenset({Rejection.DUPLICATE, Rejection.WRONG_VIEW, Rejection.WRONG_ROUND})
"""Refusals that honest nodes bring about by being early or late."""


class RuntimeObserver:
    """Implements `ports.Observer`. `on_closed` is told of each."""

    def __init__(
        self,
        *,
        me: NodeId,
        context: LogContext,
        tell: Tell,
        metrics: Metrics,
        facts: NodeFacts,
        gossip: GossipChannel,
        peers: PeerManager,
        verified: VerifiedEnvelopes,
        claims: RoundClaims,
        on_closed: Callable[[Commit], None],
    ) -> None:
        self._me = me.hex()
        self._context = context
        self._tell = tell
        self._metrics = metrics
        self._facts = facts
        self._gossip = gossip
        self._peers = peers
        self._verified = verified
        self._claims = claims
        self._on_closed = on_closed
        self._last_commit = time.monotonic()
        self._cards_at: float | None = None

    def notice(self, notice: Notice) -> None:
        """Measure and tell."""
        fields = dict(notice.fields)
        round_ = int(fields.pop("round", 0))
        self._measure(notice.type, round_, fields)
        self._tell(notice.type, round_, notice.text, **fields)

    def _measure(self, kind: EventKind, round_: int, fields: Mapping[str, str | int]) -> None:
        if kind is EventKind.VIEW:
            view = int(fields["view"])
            self._context.update(round_=round_, view=view)
            if view:
                self._metrics.view_changes.inc()
        elif kind is EventKind.CARD and fields["node"] == self._me:
            self._metrics.validations.inc(int(fields["entries"]))
        elif kind is EventKind.QUORUM_OF_CARDS:
            self._cards_at = time.monotonic()

    def blame(self, blame: Blame) -> None:
        """Count, log, and charge the peer that brought it."""
        self._metrics.refused(blame.rejection)
        if blame.rejection in _HARMLESS or blame.node is None:
            logger.debug("%s", blame.text)
            return
        text = f"{short(blame.node)}: {blame.text}"
        if blame.rejection is Rejection.CONFLICT:
            self._tell(EventKind.CONFLICT, self._context.round or 0, text, node=blame.node.hex())
        else:
            logger.debug("%s", text)
        self._gossip.invalid(blame.node, blame.rejection, blame.text)

    def committed(self, commit: Commit) -> None:
        """A round is closed and durable."""
        segment, now = commit.certified.segment, time.monotonic()
        self._metrics.committed(sum(update.offer is not None for update in segment.updates), now - self._last_commit)
        self._last_commit = self._facts.measures.committed_at = now
        if self._cards_at is not None:
            self._metrics.decision_seconds.observe(now - self._cards_at)
            self._cards_at = None
        self._facts.measures.note_accuracy(commit.certified)
        self._facts.measures.left_out.closed(commit.certified)
        self._peers.prefer(commit.state.committee)
        self._verified.fit(len(commit.state.accounts))
        self._context.update(round_=commit.state.round, view=0)
        self._on_closed(commit)

    def behind(self, round_: Round, peer: NodeId) -> None:
        """A peer brought word of a later round."""
        self._claims.hint(peer, round_)
