"""The runtime's observer: what happens in the core becomes log lines, events, metrics and peer scores. Nothing here may block."""

import logging
import time
from collections.abc import Callable
from typing import Final

from bflcd.api.event_bus import EventBus
from bflcd.api.metrics import Metrics
from bflcd.core.effects import Blame, Commit, Notice
from bflcd.errors import Rejection
from bflcd.log import LogContext
from bflcd.net.gossip import GossipChannel
from bflcd.net.peers import PeerManager
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.following import RoundClaims
from bflcd.node.views.facts import NodeFacts
from bflcd.types import NodeId, Round, short

logger = logging.getLogger(__name__)

_LOUD: Final = frozenset({"round_opened", "committed", "finished", "sync", "work_failed", "signing_held", "trained", "blob_lost"})
"""Notices that an operator sees without --log-level debug."""

_ALARMING: Final = frozenset({"fork", "unexplained"})
"""Notices that stay among the warnings of `status`."""

_GRAVE: Final = frozenset({"evidence", "recovery", "recovery_refused", "recovered"})
"""Notices that are logged as warnings, since no round that goes well brings them about."""

_HARMLESS: Final = frozenset({Rejection.DUPLICATE, Rejection.WRONG_VIEW, Rejection.WRONG_ROUND})
"""Refusals that honest nodes bring about by being early or late."""


class RuntimeObserver:
    """Implements `ports.Observer`. `on_closed` is told the round that a commit opened."""

    def __init__(
        self,
        *,
        me: NodeId,
        context: LogContext,
        bus: EventBus,
        metrics: Metrics,
        facts: NodeFacts,
        gossip: GossipChannel,
        peers: PeerManager,
        verified: VerifiedEnvelopes,
        claims: RoundClaims,
        on_closed: Callable[[Round], None],
    ) -> None:
        self._me = me.hex()
        self._context = context
        self._bus = bus
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
        """Log and publish."""
        fields = dict(notice.fields)
        round_ = int(fields.pop("round", 0))
        view = fields.get("view")
        if notice.type == "view" and isinstance(view, int):
            self._context.update(round_=round_, view=view)
            if view:
                self._metrics.view_changes.inc()
        if notice.type == "card" and fields.get("node") == self._me:
            self._metrics.validations.inc(int(fields.get("entries", 0)))
        if notice.type == "quorum_of_cards":
            self._cards_at = time.monotonic()
        if notice.type in _ALARMING:
            logger.warning("%s", notice.text)
            self._facts.warn(notice.text)
        else:
            level = logging.WARNING if notice.type in _GRAVE else logging.INFO if notice.type in _LOUD else logging.DEBUG
            logger.log(level, "%s", notice.text)
        self._bus.publish(notice.type, round_, notice.text, **fields)

    def blame(self, blame: Blame) -> None:
        """Count, log, and charge the peer that brought it."""
        self._metrics.refused(blame.rejection)
        if blame.rejection in _HARMLESS or blame.node is None:
            logger.debug("%s", blame.text)
            return
        conflict = blame.rejection is Rejection.CONFLICT
        logger.log(logging.WARNING if conflict else logging.DEBUG, "%s: %s", short(blame.node), blame.text)
        if conflict:
            self._bus.publish("conflict", 0, blame.text, node=blame.node.hex())
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
        self._peers.prefer(commit.state.committee)
        self._verified.fit(len(commit.state.accounts))
        self._context.update(round_=commit.state.round, view=0)
        self._on_closed(commit.state.round)

    def behind(self, round_: Round, peer: NodeId) -> None:
        """A peer brought word of a later round."""
        self._claims.hint(peer, round_)
