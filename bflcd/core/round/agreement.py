"""A judge's part in the decision of one round: the PBFT machine, and the segments that it asks for.

Translates between the two pure machines below (`consensus.pbft`, `core.round.segments`) and the node's effects. It closes nothing
itself: that the round is decided, and which segments were found right, are facts that it tells the core.
"""

from dataclasses import replace

from bflcd.consensus.effects import Broadcast, Build, Check, Decided, PersistPrepared, PersistVote, Refused, Relay, ViewEntered
from bflcd.consensus.effects import Effect as PbftEffect
from bflcd.consensus.events import Built, CardsReady, Checked, Journal, Received
from bflcd.consensus.pbft import Pbft
from bflcd.consensus.status import Phase
from bflcd.core.effects import Blame, Effect, Persist, Send, notice
from bflcd.core.events import Aggregated, BlobMissing, Instant
from bflcd.core.facts import EvidenceFound, Fact, RoundDecided, SegmentRight, Step
from bflcd.core.node_events import EventKind
from bflcd.core.operation_pool import OperationPool
from bflcd.core.records import PreparedRecord, ProposalRecord, VoteRecord
from bflcd.core.round.collection import Collection
from bflcd.core.round.context import RoundContext
from bflcd.core.round.old_models import OldModels
from bflcd.core.round.retransmission import Retransmissions
from bflcd.core.round.segments import SegmentCandidate, SegmentCandidates
from bflcd.crypto.identity import Signer
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.ledger.lot import lot_input
from bflcd.ledger.operations.application import operation_ids
from bflcd.ledger.transition import check_time, proposal_time
from bflcd.types import Digest, Millis, NodeId, View, short
from bflcd.wire.blocks import Segment
from bflcd.wire.codec import peek_number
from bflcd.wire.envelope import Envelope, Signed, Verify, open_envelope, payload_digest
from bflcd.wire.messages import Commit, JustifiedPrePrepare, JustifiedViewChange, Prepare, PrePrepare, ScoreCard, ViewChange, Vote
from bflcd.wire.proposal import Proposal


class Agreement:
    """One round's agreement, for a node that holds a seat in it. Every method returns effects, to be carried out in order."""

    def __init__(
        self,
        context: RoundContext,
        collection: Collection,
        operations: OperationPool,
        models: OldModels,
        retransmissions: Retransmissions,
        *,
        signer: Signer | None,
        verify: Verify,
        journal: Journal,
    ) -> None:
        """`signer` None: follows and signs nothing. `journal`: the votes that this node signed before a restart."""
        self._context = context
        self._signer = signer
        self._collection = collection
        self._models = models
        self._retransmissions = retransmissions
        self._candidates = SegmentCandidates(context, collection, operations, models)
        self._evidence_found: list[Fact] = []
        self._facts: list[Fact] = []
        self._cards_told = False
        self.pbft = Pbft(context.instance, signer, verify, journal)

    def segment_of(self, digest: Digest) -> Segment | None:
        """The segment of this digest, if it was found right and is durable here."""
        candidate = self._candidates.by_digest(digest)
        return None if candidate is None else candidate.segment

    def deadline(self) -> Millis | None:
        """When `tick` or `walk` wants to run, at the latest."""
        times = [time for time in (self.pbft.deadline(), self._candidates.retry_at(), self._waits_until()) if time is not None]
        return Millis(min(times)) if times else None

    # -- what happens -------------------------------------------------------------------------------------------------

    def tick(self, now: Instant) -> Step:
        """Let time pass."""
        return self._step(self._translate(self.pbft.tick(now.mono), now))

    def received(self, message: Envelope | JustifiedPrePrepare | JustifiedViewChange, now: Instant) -> Step:
        """Take a vote from the network; nothing of it is verified yet."""
        return self._step(self._translate(self.pbft.handle(Received(message), now.mono), now))

    def blob_missing(self, event: BlobMissing) -> None:
        """Note what nobody can give, since it is broken."""
        if event.refused and event.label is not None:
            self._candidates.is_broken(event.root, event.label)

    def aggregated(self, event: Aggregated) -> None:
        """Note the answer to `Aggregate`."""
        self._candidates.aggregated(event)

    def restore(self, record: ProposalRecord) -> None:
        """Take up a segment that was found right before a restart; its cards and offers are held again."""
        candidate = self._candidates.restore(record)
        if candidate is not None:
            candidate.expected.add(record.digest)

    def walk(self, now: Instant) -> Step:
        """Go on with whatever is held now: tell the machine of q cards, bring segments on."""
        effects: list[Effect] = []
        context = self._context
        if context.bound and not self._cards_told:  # nothing is collected: what is to be decided is known
            self._cards_told = True
            effects += self._translate(self.pbft.handle(CardsReady(), now.mono), now)
        if len(self._collection.first_cards) >= context.q and not self._cards_told and not self._waits(now):
            self._cards_told = True
            effects.append(notice(context.round, EventKind.QUORUM_OF_CARDS, f"{context.q} score cards are held"))
            effects += self._candidates.precompute_aggregate(self._chosen_cards())
            effects += self._translate(self.pbft.handle(CardsReady(), now.mono), now)
            self._pass_on_cards(self.pbft.leader, now)  # of a later view, if that was entered before
        return self._step(effects + self._walk_candidates(now))

    def _waits_until(self) -> Millis | None:
        """Until when we wait for q cards that were sealed in time: only if we lead view 0, and nobody could lead before."""
        leads = self.pbft.view == 0 and self.pbft.leader == self._context.me and self._signer is not None
        return self._collection.sealing.leader_waits_until() if leads and not self._cards_told else None

    def _waits(self, now: Instant) -> bool:
        until = self._waits_until()
        return until is not None and now.mono < until

    def _pass_on_cards(self, leader: NodeId, now: Instant) -> None:
        """Let the leader of a view have the cards by which it is timed here, if it has not proposed T0 / 2 later: a liar that
        shows its card to some alone, and has others wait for its offer, would make that view fail (design 6.7)."""
        others = (card for author, card in self._collection.first_cards.items() if author not in (self._context.me, leader))
        if leader != self._context.me:
            self._retransmissions.pass_on((card.envelope for card in others), leader, now.mono)

    def _step(self, effects: list[Effect]) -> Step:
        """The effects with what was found out on the way; what convicts somebody comes first."""
        if self.pbft.phase is not Phase.PROPOSING:
            self._retransmissions.pass_on_nothing()
        facts = self._evidence_found + self._facts
        self._evidence_found, self._facts = [], []
        return effects, facts

    # -- segments -----------------------------------------------------------------------------------------------------

    def _walk_candidates(self, now: Instant) -> list[Effect]:
        effects, finished = self._candidates.advance(now.mono)
        for candidate in finished:
            if candidate.segment is not None:
                self._facts.append(SegmentRight(candidate.segment))
            effects += self._answer(candidate, now)
        return effects

    def _answer(self, candidate: SegmentCandidate, now: Instant) -> list[Effect]:
        """Answer every request that waits for a candidate; not yet, if it is not done."""
        if not candidate.done:
            return self._walk_candidates(now)
        answers: list[Built | Checked] = []
        if candidate.building and candidate.digest is not None:
            answers.append(Built(candidate.proposal.view, candidate.proposal, candidate.digest))
        for expected in sorted(candidate.expected):
            refused = None if candidate.digest == expected else candidate.refused or Rejection.BAD_SEGMENT
            answers.append(Checked(candidate.proposal, expected, refused))
        candidate.building = False  # before anybody is answered, who may ask again
        candidate.expected.clear()
        return [effect for answer in answers for effect in self._translate(self.pbft.handle(answer, now.mono), now)]

    def _chosen_cards(self) -> tuple[Signed[ScoreCard], ...]:
        """The q cards that we would propose, sorted by author."""
        return tuple(sorted(self._collection.ready_cards()[: self._context.q], key=lambda card: card.author))

    # -- what the machine asks for ------------------------------------------------------------------------------------

    def _translate(self, wanted: tuple[PbftEffect, ...], now: Instant) -> list[Effect]:
        return [effect for wish in wanted for effect in self._one(wish, now)]

    def _one(self, wish: PbftEffect, now: Instant) -> list[Effect]:
        context = self._context
        match wish:
            case Build(view):
                return self._build(view, now)
            case Check():
                return self._check(wish, now)
            case PersistVote(vote):
                return [Persist((vote_record(vote),))]
            case PersistPrepared(prepared):
                self._candidates.prepared = prepared.digest
                return [Persist((PreparedRecord(context.round, context.state.epoch, prepared),))]
            case Broadcast(message) | Relay(message):
                return [Send(message, context.judges_but_me)]
            case Decided(certificate):
                self._facts.append(RoundDecided(replace(certificate, recovery=context.recovery), ()))
                return []
            case ViewEntered(view, leader):
                self._pass_on_cards(leader, now)
                text = f"view {view} of round {context.round}, led by {short(leader)}"
                return [notice(context.round, EventKind.VIEW, text, view=view, leader=leader.hex())]
            case Refused(author, rejection, text, proven, evidence):
                self._evidence_found += [EvidenceFound(evidence)] if evidence is not None else []
                return [Blame(author if proven else None, rejection, text)]

    def _build(self, view: View, now: Instant) -> list[Effect]:
        context, state = self._context, self._context.state
        if self._signer is None:
            raise InvariantError(f"asked to lead view {view} of round {context.round} without a key to sign with")
        proof = self._signer.prove(lot_input(state.chain, state.round, state.lot))
        time = proposal_time(now.wall, state.time)
        cards = tuple(card.digest for card in self._chosen_cards())
        operations = operation_ids(self._models.chosen(state, view))
        candidate = self._candidates.add(Proposal(state.epoch, view, proof, time, cards, operations))
        if candidate is None:
            return [notice(context.round, EventKind.TOO_MANY_CANDIDATES, "no more proposals are worked on in this round")]
        candidate.building = True
        return self._answer(candidate, now)

    def _check(self, wish: Check, now: Instant) -> list[Effect]:
        try:
            if not wish.reproposal:
                check_time(wish.proposal.time, now.wall, self._context.state.time)
        except PeerError as error:
            answer = Checked(wish.proposal, wish.digest, error.rejection)
            blame = Blame(wish.source, error.rejection, str(error))
            return [blame, *self._translate(self.pbft.handle(answer, now.mono), now)]
        candidate = self._candidates.add(wish.proposal)
        if candidate is None:
            answer = Checked(wish.proposal, wish.digest, Rejection.BUSY)
            return self._translate(self.pbft.handle(answer, now.mono), now)
        candidate.expected.add(wish.digest)
        recovery = self._context.recovery
        preparers = recovery.proof.prepares if recovery is not None and recovery.proof is not None else ()
        for source in (wish.source, *(author for author, _ in preparers)):
            if source not in candidate.sources:
                candidate.sources.append(source)
        return self._answer(candidate, now)


def vote_record(vote: Envelope) -> VoteRecord:
    """A vote with its place, for the store."""
    signed: Signed[Vote] = open_envelope(vote, (PrePrepare, Prepare, Commit, ViewChange))
    body = signed.body
    said = payload_digest(vote) if isinstance(body, ViewChange) else body.digest
    return VoteRecord(body.round, body.epoch, body.view, peek_number(vote.payload), said, vote)
