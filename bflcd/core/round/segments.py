"""Segments on their way from a proposal to "right, durable and pinned": the path that builders and checkers share.

A proposal names q cards, a time, and epoch, view and draw of its first proposer; all else is a function of the parent state. A
candidate walks, as far as what is held allows: draw -> cards -> outcome -> offers -> blobs -> aggregate (or the older model that
managers go back to) -> segment. What is missing is asked for, again after a pause, each time of another holder. A candidate never
changes its mind: `ready` and `refused` are final.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Protocol

from bflcd.core.effects import Aggregate, Effect, FetchBlob, FetchEnvelopes, FetchOperations, Persist
from bflcd.core.events import Aggregated
from bflcd.core.records import Pin, ProposalRecord
from bflcd.core.round.context import RoundContext, update_label_of
from bflcd.core.round.old_models import OldModels
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.judgement import Judgement, judge
from bflcd.ledger.lot import Draw
from bflcd.ledger.quorum import quorum
from bflcd.ledger.transition import Outcome, Selection, build_segment, decide, draw_of, select
from bflcd.params import BlobRef
from bflcd.types import MAX_COMMITTEE, Digest, Millis, NodeId, short
from bflcd.wire.blocks import Segment, segment_digest
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import Offer, ScoreCard
from bflcd.wire.operation import Operation
from bflcd.wire.proposal import Proposal, proposal_id

MAX_CANDIDATES: Final = 16
"""Proposals that are worked on in one round: one a view within the window that the PBFT machine keeps."""

RETRY: Final = Millis(300)
"""Pause before something missing is asked for again, of the next holder."""


class Holdings(Protocol):
    """What the round holds so far: cards and offers by payload digest, complete blobs."""

    @property
    def cards(self) -> Mapping[Digest, Signed[ScoreCard]]:
        """Verified cards."""
        ...

    @property
    def offers(self) -> Mapping[Digest, Signed[Offer]]:
        """Verified offers."""
        ...

    @property
    def blobs(self) -> AbstractSet[Digest]:
        """Complete payloads that met their specification."""
        ...


@dataclass(slots=True)
class SegmentCandidate:
    """One proposal and how far it has come."""

    proposal: Proposal
    key: Digest
    building: bool = False
    """Whether the `Build` of its view waits for this."""
    expected: set[Digest] = field(default_factory=set)
    """Digests that a `Check` stated for it and waits for."""
    sources: list[NodeId] = field(default_factory=list)
    draw: Draw | None = None
    judgement: Judgement | None = None
    outcome: Outcome | None = None
    model: BlobRef | None = None
    segment: Segment | None = None
    digest: Digest | None = None
    refused: Rejection | None = None
    text: str = ""
    asked_at: dict[bytes, Millis] = field(default_factory=dict)
    """When what is missing was asked for last."""
    missing: set[bytes] = field(default_factory=set)
    """What the last walk had to ask for."""
    attempts: int = 0
    reported: bool = False

    @property
    def done(self) -> bool:
        """Ready or refused, for good."""
        return self.digest is not None or self.refused is not None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.building or bool(self.expected)


class SegmentCandidates:
    """All candidates of one round. Pure: what it holds is given, what it wants is returned as effects."""

    def __init__(
        self, context: RoundContext, holdings: Holdings, operations: Mapping[Digest, Operation], models: OldModels
    ) -> None:
        """`operations`: what is held of them, by id; all of them verified."""
        self._context = context
        self._holdings = holdings
        self._operations = operations
        self._models = models
        self._all: dict[Digest, SegmentCandidate] = {}
        self._dropped: list[SegmentCandidate] = []
        """What made room and still has to be answered."""
        self._aggregates: dict[Digest, BlobRef | str | None] = {}
        """By the step's limit, and the weights, roots and authors of the updates; None while it is being computed, a text if one
        of them breaks the specification."""
        self._broken: set[tuple[Digest, str]] = set()
        """Roots and labels under which what is stored there breaks the specification."""
        self.prepared: Digest | None = None
        """The segment that this member holds prepared: its candidate stays."""

    def __iter__(self) -> Iterator[SegmentCandidate]:
        return iter(tuple(self._all.values()))

    def by_digest(self, segment: Digest) -> SegmentCandidate | None:
        """The ready candidate of this digest."""
        return next((c for c in self._all.values() if c.digest == segment), None)

    def add(self, proposal: Proposal) -> SegmentCandidate | None:
        """The candidate of a proposal, new or known.

        When there are too many, the oldest makes room; first those that nobody waits for, never the one that is prepared.
        """
        key = proposal_id(proposal)
        candidate = self._all.get(key)
        if candidate is None:
            if len(self._all) >= MAX_CANDIDATES and not self._make_room():
                return None
            candidate = self._all[key] = SegmentCandidate(proposal, key)
        return candidate

    def _make_room(self) -> bool:
        free = [c for c in self._all.values() if c.digest is None or c.digest != self.prepared]
        oldest = min(free, key=lambda candidate: candidate.awaited, default=None)
        if oldest is None:
            return False
        del self._all[oldest.key]
        if not oldest.done:
            oldest.refused = Rejection.BUSY
            self._dropped.append(oldest)
        return True

    def restore(self, record: ProposalRecord) -> SegmentCandidate | None:
        """A candidate that was ready before a restart; its aggregate is not computed again."""
        candidate = self.add(record.proposal)
        if candidate is not None:
            candidate.model = record.model
        return candidate

    def is_broken(self, root: Digest, label: str) -> None:
        """What is stored under `root` breaks the specification under `label`: nothing that packs it so is right."""
        self._broken.add((root, label))

    def aggregated(self, event: Aggregated) -> None:
        """Note the answer to `Aggregate`."""
        if event.key in self._aggregates:
            self._aggregates[event.key] = event.model or event.text

    def advance(self, now: Millis) -> tuple[list[Effect], list[SegmentCandidate]]:
        """Walk every candidate as far as it goes; returns what is wanted, and those newly done."""
        effects: list[Effect] = []
        finished, self._dropped = self._dropped, []
        for candidate in tuple(self._all.values()):
            if not candidate.done:
                candidate.missing.clear()
                try:
                    effects += self._walk(candidate, now)
                except PeerError as error:
                    candidate.refused, candidate.text = error.rejection, str(error)
            if candidate.done and not candidate.reported:
                candidate.reported = True
                finished.append(candidate)
        return effects, finished

    def _walk(self, candidate: SegmentCandidate, now: Millis) -> list[Effect]:
        if candidate.draw is None:
            proposal = candidate.proposal
            candidate.draw = draw_of(self._context.state_of(proposal.epoch), proposal.view, proposal.proof)
        cards, wanted = self._cards(candidate, now)
        if cards is None:
            return wanted
        if candidate.judgement is None:
            context = self._context
            candidate.judgement = judge(context.params, context.state_of(candidate.proposal.epoch), cards)
        outcome, wanted = self._outcome(candidate, cards, now)
        if outcome is None:
            return wanted
        model, wanted = self._model(candidate, outcome, cards, now)
        if model is None:
            return wanted
        return self._finish(candidate, outcome, model)

    def _cards(self, candidate: SegmentCandidate, now: Millis) -> tuple[tuple[Signed[ScoreCard], ...] | None, list[Effect]]:
        held = self._holdings.cards
        missing = tuple(d for d in candidate.proposal.cards if d not in held)
        if missing:
            return None, self._ask_envelopes(candidate, missing, candidate.sources, now)
        cards = tuple(held[d] for d in candidate.proposal.cards)
        q = quorum(len(self._context.state_of(candidate.proposal.epoch).committee))
        authors = [card.author for card in cards]
        if len(cards) != q or authors != sorted(set(authors)):
            raise PeerError(
                Rejection.BAD_SEGMENT, f"the proposal names {len(cards)} cards; {q} of distinct members, sorted, are needed"
            )
        return cards, []

    def _outcome(
        self, candidate: SegmentCandidate, cards: tuple[Signed[ScoreCard], ...], now: Millis
    ) -> tuple[Outcome | None, list[Effect]]:
        if candidate.outcome is not None:
            return candidate.outcome, []
        assert candidate.judgement is not None
        assert candidate.draw is not None
        missing = tuple(p.offer for p in candidate.judgement.packed if p.offer not in self._holdings.offers)
        if missing:
            return None, self._ask_envelopes(candidate, missing[:MAX_COMMITTEE], [card.author for card in cards], now)
        named = candidate.proposal.operations
        unknown = tuple(id_ for id_ in named if id_ not in self._operations)
        if unknown:
            return None, self._ask_operations(candidate, unknown, now)
        operations = tuple(self._operations[id_] for id_ in named)
        known, wanted = self._models.check(operations)
        if not known:
            return None, wanted
        context = self._context
        candidate.outcome = decide(
            context.params,
            context.state_of(candidate.proposal.epoch),
            context.head_hash,
            cards,
            self._holdings.offers,
            draw=candidate.draw,
            time=candidate.proposal.time,
            operations=operations,
        )
        return candidate.outcome, []

    def _model(
        self, candidate: SegmentCandidate, outcome: Outcome, cards: tuple[Signed[ScoreCard], ...], now: Millis
    ) -> tuple[BlobRef | None, list[Effect]]:
        context = self._context
        if candidate.model is not None:
            return candidate.model, []
        older = outcome.rollback
        if older is None and context.head_blob.root not in self._holdings.blobs:
            return None, []  # on its way since the round opened: its arrival walks every candidate on
        if older is None and not outcome.packed:
            return context.head_blob, []
        wanted: list[Effect] = []
        lacks_older = older is not None and older.root not in self._holdings.blobs
        if older is not None and lacks_older and self._may_ask(candidate, older.root, now):
            wanted.append(FetchBlob(older, tuple(candidate.sources), context.round, None, anyone=True))
        missing = [offer for packed in outcome.packed if (offer := packed.offer).body.blob.root not in self._holdings.blobs]
        for offer in missing:
            blob = offer.body.blob
            label = update_label_of(context, offer.author)
            if (blob.root, label) in self._broken:
                raise PeerError(Rejection.BAD_SEGMENT, f"it packs an update that breaks the specification: {short(blob.root)}")
            if self._may_ask(candidate, blob.root, now):
                scorers = tuple(card.author for card in cards if any(e.root == blob.root for e in card.body.entries))
                holders = tuple(node for node in (*scorers, offer.author) if node != context.me)
                wanted.append(FetchBlob(blob, holders, context.round, label, anyone=False))
        if missing or lacks_older:
            return None, wanted
        return self._aggregate(outcome) if older is None else (older, [])

    def _aggregate(self, chosen: Selection) -> tuple[BlobRef | None, list[Effect]]:
        """The aggregate of the packed updates, computed once whichever proposals share it.

        Other cards may pack the same with the same weights and another limit: then it is another model.
        """
        context, limit = self._context, chosen.step_limit
        entries = (integer(p.weight) + p.offer.body.blob.root + p.offer.author for p in chosen.packed)
        key = digest(Domain.MESSAGE, integer(limit or 0), *entries)
        if key in self._aggregates:
            found = self._aggregates[key]
            if isinstance(found, str):
                raise PeerError(Rejection.BAD_SEGMENT, f"it packs an update that can't be aggregated: {found}")
            return found, []
        self._aggregates[key] = None
        updates = tuple((p.weight, p.offer.body.blob, update_label_of(context, p.offer.author)) for p in chosen.packed)
        return None, [Aggregate(key, context.round, context.params.aggregation, context.head_blob, updates, limit)]

    def precompute_aggregate(self, cards: tuple[Signed[ScoreCard], ...]) -> list[Effect]:
        """Begin with the aggregate that these q cards give: the leader's proposal will most likely want the same one.

        Changes nothing else; what is missing for it is not asked for.
        """
        context, holdings = self._context, self._holdings
        offers = holdings.offers
        packed = judge(context.params, context.state, cards).packed
        if not packed or context.head_blob.root not in holdings.blobs:
            return []
        if any(p.offer not in offers or p.root not in holdings.blobs for p in packed):
            return []
        try:
            return self._aggregate(select(context.params, context.state, context.head_hash, cards, offers))[1]
        except PeerError:
            return []  # whoever proposes these cards is told why

    def _finish(self, candidate: SegmentCandidate, outcome: Outcome, model: BlobRef) -> list[Effect]:
        context = self._context
        state = context.state_of(candidate.proposal.epoch)
        segment = build_segment(context.params, state, context.head_header, outcome, model)
        candidate.segment, candidate.model = segment, model
        candidate.digest = segment_digest(segment)
        blobs = {blob.root: blob for blob in (model, *(p.offer.body.blob for p in outcome.packed))}
        record = ProposalRecord(
            round=context.round,
            digest=candidate.digest,
            proposal=candidate.proposal,
            cards=tuple(card.envelope for card in outcome.cards),
            offers=tuple(packed.offer.envelope for packed in outcome.packed),
            model=model,
            operations=outcome.operations,
        )
        return [Persist((record, *(Pin(root, context.round) for root in sorted(blobs))), tuple(blobs.values()))]

    def _ask_envelopes(
        self, candidate: SegmentCandidate, digests: tuple[Digest, ...], holders: list[NodeId], now: Millis
    ) -> list[Effect]:
        source = self._whom_to_ask(candidate, digests[0], holders, now)
        return [] if source is None else [FetchEnvelopes(self._context.round, digests, source)]

    def _ask_operations(self, candidate: SegmentCandidate, ids: tuple[Digest, ...], now: Millis) -> list[Effect]:
        source = self._whom_to_ask(candidate, ids[0], candidate.sources, now)
        return [] if source is None else [FetchOperations(self._context.round, ids, source)]

    def _whom_to_ask(self, candidate: SegmentCandidate, what: Digest, holders: list[NodeId], now: Millis) -> NodeId | None:
        """Each time another one of those that should have it, then of the committee; None while the last question is young."""
        order = list(dict.fromkeys(node for node in (*holders, *self._context.committee) if node != self._context.me))
        if not order or not self._may_ask(candidate, what, now):
            return None
        candidate.attempts += 1
        return order[(candidate.attempts - 1) % len(order)]

    def _may_ask(self, candidate: SegmentCandidate, what: bytes, now: Millis) -> bool:
        candidate.missing.add(what)
        last = candidate.asked_at.get(what)
        if last is not None and now - last < RETRY:
            return False
        candidate.asked_at[what] = now
        return True

    def retry_at(self) -> Millis | None:
        """When an unfinished candidate wants to ask again."""
        waits = [c.asked_at[what] + RETRY for c in self._all.values() if not c.done for what in c.missing]
        return Millis(min(waits)) if waits else None
