"""What must hold after every event, whatever the faults: forks 0, contradictions 0, losses 0, innocents harmed 0."""

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.recovery import instance_of
from bflcd.core.early_messages import MAX_EARLY, MAX_EARLY_EACH
from bflcd.core.effects import Blame, Commit
from bflcd.core.records import Head, OperationRecord, Record
from bflcd.core.round.context import RoundContext
from bflcd.core.round.segments import MAX_CANDIDATES
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.alliance.keys import last_of
from bflcd.ledger.operations.application import select_operations
from bflcd.ledger.operations.evidence import EVIDENCE
from bflcd.ledger.operations.recovery import judged_from
from bflcd.ledger.operations.vouching import JOIN
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.state import NEVER, State, members_of, state_hash
from bflcd.ledger.transition import validate_segment
from bflcd.store.records import pins_of
from bflcd.types import Digest, NodeId, short
from bflcd.wire.blocks import header_hash, segment_digest
from bflcd.wire.codec import decode_any, encode, number_of, peek_number
from bflcd.wire.envelope import Envelope, payload_digest, sealed_digest
from bflcd.wire.messages import Announcement, Beacon, CardSeal, Offer, OffersClosed, Prepare, PrePrepare, ScoreCard, ViewChange
from bflcd.wire.messages import Commit as CommitVote
from bflcd.wire.operation import Operation, operation_id
from bflcd.wire.recovery import Recovery, RecoveryCertificate
from tests.helpers.inside import pool_of, round_of
from tests.sim.trace import signed_part

if TYPE_CHECKING:
    from tests.sim.node import SimNode
    from tests.sim.world import World

SIGNED: Final = (Beacon, Offer, OffersClosed, CardSeal, ScoreCard, PrePrepare, Prepare, CommitVote, ViewChange)

OWN: Final = (Offer, OffersClosed, CardSeal, ScoreCard, Recovery)

MAX_RESENDS: Final = 6
"""Beacon, offer, word that offers are closed, seal, card: what a round says again, and one to spare; beside them the recoveries that a manager signed."""

MAX_SLOTS_EACH: Final = 32
"""Offers, or cards, of one author that may be held: two or three of its own accord, and what each proposal needs."""


SPENDING: Final = frozenset({"transfer", "pay"})
"""Operations by which a member gives away units of its own."""

CALM_MS: Final = 1_000
"""After so long everybody has committed what one has, where nothing goes wrong: nobody waits for a heartbeat."""


class Safety:
    """Watches every honest node. `violations` are texts; the first one ends the run."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[str] = []
        self.first_commit: dict[int, int] = {}
        """When the first honest node committed a round."""
        self.decided: dict[tuple[int, int], Digest] = {}
        """By round of the model and epoch of its certificate."""
        self.seen_prepared: dict[tuple[int, int], set[Digest]] = {}
        """By the running round and the epoch that managers gave it: what those they could ask held prepared when they looked."""
        self.superseded: set[Digest] = set()
        """Committed blocks that a recovery undid, though nobody who could be asked had prepared them (design 6.8)."""
        self.recoveries: list[int] = []
        self._complete: set[Recovery] = set()
        self.heads: dict[Digest, Head] = {world.genesis_head.hash: world.genesis_head}
        self.out_of_contract = False
        self.blames: Counter[str] = Counter()
        self.noted: dict[NodeId, int] = {}
        """The round in which an honest node first held evidence against a member."""
        self.punished: set[NodeId] = set()
        """Whose lies a block has proved."""
        self._signed: dict[tuple[int, int, int, int, int], bytes] = {}
        self._checked: set[tuple[Digest, bytes]] = set()
        self._closed: dict[tuple[int, int], set[NodeId]] = {}
        """By round and epoch, the honest seats that have said, or shown, that they take no further offers."""
        self.out: frozenset[NodeId] = frozenset(set(world.keyring.signers) - {member.node for member in world.genesis.members})
        """Nodes that are no members by the newest ledger that was decided."""
        self.changes = 0
        """Blocks by which somebody came or went."""
        self.used: set[NodeId] = set()
        """Vouchers by which somebody has joined."""
        self.carried: Counter[str] = Counter()
        """Operations in blocks, by kind."""
        self.held_by_all: set[Digest] = set()
        """Operations that all held at the heal, and any block might carry."""
        self.excused: set[NodeId] = set()
        """Honest nodes whose disk forgot more than the mark file can tell (design 6.3): both were lost."""

    def violate(self, text: str) -> None:
        if not self.out_of_contract:
            self.violations.append(f"at {self.world.now} ms: {text}")
            self.world.line(None, f"VIOLATION: {text}")

    # -- what is said -------------------------------------------------------------------------------------------------

    def said(self, node: "SimNode", message: Any) -> None:
        """An honest node says one thing in one place, and nothing that is not durable."""
        if isinstance(message, Announcement):
            certificate = message.certificate
            if self.decided.get((certificate.round + 1, certificate.epoch), certificate.digest) != certificate.digest:
                self.violate(f"{node.name} announces another block than the one decided in round {certificate.round}")
            return
        if isinstance(message, RecoveryCertificate):
            self._recovery_said(node, message)
            return
        envelope = signed_part(message)
        if envelope is None or envelope.author != node.id:
            return
        number = peek_number(envelope.payload)
        body: Any = decode_any(envelope.payload, SIGNED)
        place = (node.index, body.round, body.epoch, number, getattr(body, "view", 0))  # whichever of its keys it signs with
        if place not in self._signed:
            self._relied(node, body)
        held = self._signed.setdefault(place, envelope.payload)
        if held != envelope.payload and node.id not in self.excused:
            self.violate(f"{node.name} signs a second {type(body).__name__} in round {body.round}, view {place[4]}")
        if isinstance(body, OffersClosed | CardSeal | ScoreCard):
            self._closed.setdefault((body.round, body.epoch), set()).add(node.id)
        if not isinstance(body, Beacon):
            self._durable(node, body, envelope)
        if isinstance(body, ScoreCard) and self.world.setup.sealed_cards and body.round == node.round:
            self._bound(node, body, envelope)

    def served(self, node: "SimNode", peer: NodeId, root: Digest) -> None:
        """An honest node gives an update that no block names to seats alone; where it is served late, once honest seats have closed: all
        of q that are not liars."""
        core = node.core
        if core is None or node.engine is None or node.engine.unpublished.round_of(root) is None:
            return
        context = core.context
        if peer not in context.committee:
            self.violate(f"{node.name} gives an update of round {context.round} to {short(peer)}, which has no seat")
        if not self.world.setup.late_serving or context.bound:
            return
        closed = self._closed.get((context.round, context.state.epoch), set())
        liars = sum(not self.world.by_id[seat].honest for seat in context.committee)
        if len(closed) < context.q - liars:
            self.violate(f"{node.name} gives an update of round {context.round} away when {len(closed)} honest seats had closed")

    def _relied(self, node: "SimNode", body: Any) -> None:
        """Whoever signs an offer, a card or a prepare has made durable what it says that it holds."""
        match body:
            case Offer():
                named = {body.blob.root}
            case ScoreCard():
                named = {entry.root for entry in body.entries}
            case Prepare() if body.round == node.round:
                found = [record for record in node.disk.records(body.round).proposals if record.digest == body.digest]
                named = frozenset[Digest]().union(*map(pins_of, found))
            case _:
                return
        lacking = named - node.disk.payloads.relied_on
        if lacking:
            text = f"{node.name} signs a {type(body).__name__} of round {body.round} that relies on payloads that are not durable"
            self.violate(f"{text}: {', '.join(map(short, sorted(lacking)))}")

    def _bound(self, node: "SimNode", card: ScoreCard, envelope: Envelope) -> None:
        """Whoever shows its card has sealed it before, and no honest card is shown while fewer than q seats are bound."""
        own = [decode_any(record.envelope.payload, OWN) for record in node.disk.records(card.round).own]
        seals = [body.card for body in own if isinstance(body, CardSeal) and body.epoch == card.epoch]
        if seals != [sealed_digest(envelope)]:
            self.violate(f"{node.name} shows a card of round {card.round} that it did not seal")
        core = node.core
        if core is None or (core.context.round, core.context.state.epoch) != (card.round, card.epoch):
            return  # a committee of one has gone on by then
        collection, context = round_of(core).collection, core.context
        bound, shown = {*collection.sealing.seals, *collection.first_cards}, len(collection.first_cards)
        late = node.mono() - collection.opened >= context.collect_deadline
        if not late and len(bound) < context.q and shown <= context.f + 1:
            self.violate(f"{node.name} shows its card of round {card.round} before a quorum is bound")

    def _recovery_said(self, node: "SimNode", certificate: RecoveryCertificate) -> None:
        """A manager signs one recovery an epoch, and its own signature is durable first."""
        recovery = certificate.recovery
        if node.id in dict(certificate.signatures):
            held = self._signed.setdefault((node.index, recovery.round, recovery.epoch, number_of(Recovery), 0), encode(recovery))
            if held != encode(recovery):
                self.violate(f"{node.name} signs a second recovery for epoch {recovery.epoch} of round {recovery.round}")
            own = node.disk.records(recovery.round).own
            if recovery.round == node.round and not any(
                r.epoch == recovery.epoch and r.phase == number_of(Recovery) for r in own
            ):
                self.violate(f"{node.name} says a recovery of round {recovery.round} that is not durable")
        complete = len(certificate.signatures) >= quorum(len(self.world.genesis.managers))
        if complete and recovery not in self._complete and self.world.on_recovery is not None:
            self._complete.add(recovery)
            self.world.on_recovery(recovery)

    def _compare_epochs(self, round_: int) -> None:
        """A block of a lower epoch may be lost only if nobody who could be asked had prepared it when managers looked."""
        found = sorted((epoch, hash_) for (of, epoch), hash_ in self.decided.items() if of == round_)
        for (_, lower), (epoch, higher) in pairwise(found):
            if lower == higher or lower in self.superseded:
                continue
            if lower in self.seen_prepared.get((round_ - 1, epoch), ()):
                self.violate(
                    f"LOST: round {round_} was {short(lower)}, managers saw it prepared, and epoch {epoch} decides {short(higher)}"
                )
            self.superseded.add(lower)
            self.world.note(None, "superseded", f"{short(lower)} of round {round_} by epoch {epoch}", lower)

    def check_chains(self) -> None:
        """At the end: everybody alive is on one chain."""
        living = self.world.living
        for round_ in range(1, min((node.round for node in living), default=0) + 1):
            hashes = {segment_digest(found.segment) for node in living if (found := node.disk.segment(round_)) is not None}
            if len(hashes) > 1:
                self.violate(f"at the end two blocks of round {round_} are held: {', '.join(map(short, sorted(hashes)))}")

    def stored(self, node: "SimNode", records: tuple[Record, ...]) -> None:
        """Evidence is known from the moment it is durable."""
        for record in records:
            if isinstance(record, OperationRecord) and record.operation.kind == EVIDENCE.name:
                self.noted.setdefault(record.operation.author, node.round)

    def unpunished(self, before: int) -> set[NodeId]:
        """Whom honest nodes have been able to convict since a round before `before`, and no block does."""
        for node in self.world.living:
            for piece in _evidence_of(node):
                self.noted.setdefault(piece.author, node.round)
        return {accused for accused in self.convicted() if self.noted[accused] <= before}

    def waiting(self) -> set[Digest]:
        """Operations that all living nodes hold and the next block may carry."""
        cores = [node.core for node in self.world.living if node.core is not None]
        if not cores:
            return set()
        newest = max((core.context.state for core in cores), key=lambda state: state.round)
        pools = [pool_of(core).values() for core in cores]
        everywhere = set.intersection(*(set(map(operation_id, pool)) for pool in pools))
        return {operation_id(one) for one in select_operations(newest, pools[0])} & everywhere

    def convicted(self) -> set[NodeId]:
        """Against whom somebody honest holds evidence that is in no block yet."""
        held = map(_evidence_of, self.world.living)
        return {piece.author for pieces in held for piece in pieces if piece.author not in self.punished}

    def _durable(self, node: "SimNode", body: Any, envelope: Envelope) -> None:
        if body.round != node.round:
            if body.round > node.round:
                self.violate(f"{node.name} signs in round {body.round} and its disk holds the head of round {node.round}")
            return
        said = (
            payload_digest(envelope)
            if isinstance(body, Offer | OffersClosed | CardSeal | ScoreCard | ViewChange)
            else body.digest
        )
        if not node.disk.holds_record(body.round, said):
            self.violate(f"{node.name} says a {type(body).__name__} of round {body.round} that is not durable")
        elif node.disk.mark is None or (node.disk.mark.round, node.disk.mark.epoch) < (body.round, body.epoch):
            self.violate(f"{node.name} says a {type(body).__name__} of round {body.round} that its mark file does not know")
        elif node.disk.mark.round == body.round and node.disk.mark not in node.disk.newest and round_of(node.core).may_sign:
            self.violate(
                f"{node.name} says a {type(body).__name__} of round {body.round} and its mark is not of its newest record"
            )

    # -- what is committed --------------------------------------------------------------------------------------------

    def committed(self, node: "SimNode", before: Head, effect: Commit) -> None:
        """One block a round everywhere, proven and right by an examination of our own; nobody robbed."""
        certified, state = effect.certified, effect.state
        header = certified.segment.model_header
        hash_ = header_hash(header)
        world = self.world
        world.commits += 1
        if not node.honest:
            return
        epoch = certified.certificate.epoch
        known = self.decided.setdefault((state.round, epoch), hash_)
        if known != hash_:
            self.violate(f"FORK in round {state.round}: {node.name} commits {short(hash_)}, {short(known)} was decided")
            return
        self._compare_epochs(state.round)
        waited = world.now - self.first_commit.setdefault(state.round, world.now)
        if world.profile == "calm" and waited > CALM_MS and all(other.honest for other in world.nodes):
            self.violate(f"{node.name} commits round {state.round} {waited} ms after the first, though nothing goes wrong")
        if state.round != before.state.round + 1 or before.hash not in self.heads:
            self.violate(f"{node.name} commits round {state.round} after round {before.state.round}")
            return
        self._examine(node, before, effect, hash_)
        if hash_ not in self.heads:
            self.heads[hash_] = Head(header, hash_, state)
            self._nobody_robbed(before, effect)
            self._members_changed(effect.state, before.state)
            self._vouchers_used(effect)
            self.carried.update(operation.kind for operation in effect.certified.segment.model.operations)
            self._contract(state.committee)
            world.newest(state.round)
        world.advanced(node)

    def _examine(self, node: "SimNode", before: Head, effect: Commit, hash_: Digest) -> None:
        certificate = effect.certified.certificate
        key = (hash_, repr((certificate.view, [author for author, _ in certificate.signatures])).encode())
        if key in self._checked:
            if state_hash(effect.state) != self.heads[hash_].header.model.state:  # type: ignore[union-attr]
                self.violate(f"{node.name} has another state after round {effect.state.round}")
            return
        self._checked.add(key)
        world = self.world
        try:
            first = RoundContext(world.genesis, before, node.id).first_instance
            verify_certificate(certificate, instance_of(certificate, first, before.state.managers, world.verify), world.verify)
            judged = judged_from(before.state, effect.certified)
            outcome = validate_segment(world.genesis.params, judged, before.header, effect.certified.segment, world.verify)
        except PeerError as error:
            self.violate(f"{node.name} commits what does not check: {error}")
            return
        if outcome.state != effect.state:
            self.violate(f"{node.name} has another state after round {effect.state.round} than the ledger gives")
        total = (
            sum(account.balance + account.deposit for account in outcome.state.accounts)
            + outcome.state.pool
            + outcome.state.burnt
        )
        if total != before.state.supply or outcome.state.supply != before.state.supply:
            self.violate(f"the ledger of round {outcome.state.round} holds {total} of {before.state.supply}")

    def _nobody_robbed(self, before: Head, effect: Commit) -> None:
        held = {account.node: account.balance for account in before.state.accounts}
        spent = {one.author for one in effect.certified.segment.model.operations if one.kind in SPENDING}
        leaving = {account.node for account in before.state.accounts if account.heir is not None}  # what they had goes to an heir
        now = {account.node: account for account in effect.state.accounts}
        for account in effect.state.accounts:
            node = self.world.by_id[account.node]
            if account.node in spent or account.node in leaving:
                continue
            holder = now[last_of(effect.state, account.node)]
            if node.honest and holder.balance < held.get(account.node, 0) and account.node not in self.excused:
                self.violate(f"{node.name} is honest and lost {held[account.node] - holder.balance} units")
            if account.punished_round == effect.state.round - 1:
                if node.honest and account.node not in self.excused:
                    self.violate(f"{node.name} is honest and was punished in round {account.punished_round}")
                self.punished.add(account.node)
        out = {account.node for account in effect.state.accounts if account.punished_round != NEVER}
        kept = {account.node for account in before.state.accounts if account.punished_round != NEVER}
        packed = {update.offer.author for update in effect.certified.segment.updates if update.offer is not None}
        for node_id in (out & set(effect.state.committee)) | (kept & packed):
            self.violate(
                f"{self.world.by_id[node_id].name} is punished, and has a seat or an update in round {effect.state.round}"
            )

    def _vouchers_used(self, effect: Commit) -> None:
        """Each admits one node."""
        for operation in effect.certified.segment.model.operations:
            if operation.kind == JOIN.name:
                key = JOIN.body(operation).voucher
                if key in self.used:
                    self.violate(f"the voucher {short(key)} admits a second node in round {effect.state.round - 1}")
                self.used.add(key)

    def _members_changed(self, state: State, before: State) -> None:
        there, then = ({account.node for account in members_of(one)} for one in (state, before))
        self.changes += there != then
        if newest := state.round > self.world.top:
            self.out = frozenset(set(self.world.by_id) - there)
        strangers = set(state.committee) - there
        if newest and strangers:
            self.violate(f"{', '.join(map(self.world.name, strangers))} has a seat in round {state.round}, and is no member")

    def _contract(self, committee: tuple[NodeId, ...]) -> None:
        """At most f of a committee may lie; a draw that gives more is no fair test."""
        liars = sum(not self.world.by_id[node].honest for node in committee)
        if liars > faults(len(committee)):
            self.out_of_contract = True
            self.world.note(None, "out of contract", f"{liars} liars in a committee of {len(committee)}", b"")

    # -- what is said of others ---------------------------------------------------------------------------------------

    def blamed(self, node: "SimNode", blame: Blame) -> None:
        """Nobody honest is ever said to have signed two things in one place."""
        if not node.honest or blame.node is None:
            return
        accused = self.world.by_id.get(blame.node)
        if accused is None or not accused.honest:
            return
        self.blames[blame.rejection.value] += 1
        if blame.rejection is Rejection.CONFLICT and blame.node not in self.excused:
            self.violate(f"{node.name} blames {accused.name}, who is honest, for a conflict: {blame.text}")

    # -- what is held -------------------------------------------------------------------------------------------------

    def check_bounds(self, node: "SimNode") -> None:
        """Whatever liars send, buffers stay bounded."""
        core = node.core
        if core is None:
            return
        self._check_jobs(node)
        if len(core._early) > MAX_EARLY:
            self.violate(f"{node.name} keeps {len(core._early)} early messages")
        signed = sum(node.id in dict(held.signatures) for held in round_of(core).recoveries.held())
        entries = round_of(core).retransmissions._entries
        ours = sum(entry.ours for entry in entries)
        if ours > MAX_RESENDS + signed or len(entries) - ours > max(0, len(core.context.committee) - 2):
            self.violate(f"{node.name} says {ours} things of its own and {len(entries) - ours} of others again and again")
        collection, members = round_of(core).collection, len(self.world.nodes)
        if len(collection.offers) > MAX_SLOTS_EACH * members or len(collection.cards) > MAX_SLOTS_EACH * members:
            self.violate(f"{node.name} holds {len(collection.offers)} offers and {len(collection.cards)} cards")
        if round_of(core).agreement is not None:
            if sum(1 for _ in round_of(core).agreement._candidates) > MAX_CANDIDATES:
                self.violate(f"{node.name} works on more than {MAX_CANDIDATES} proposals")
            self._check_votes(node, round_of(core).agreement.pbft)

    def _check_jobs(self, node: "SimNode") -> None:
        """What runs for a round ends with it; what is counted as under way is under way."""
        jobs, round_ = node.runtime._jobs._running, node.round
        old = [job for job in jobs if job.round < round_ and job.task.alive]
        if old:
            self.violate(f"{node.name} works for round {old[0].round}, in round {round_}")
        known = {id(job.task) for job in jobs}
        if node.runtime._jobs._scope is not None:
            pushing = sum(f.alive and f.work.__name__ == "_push" for f in node.runtime._jobs._scope.fibers)
            if node.runtime._delivery.under_way != pushing:
                self.violate(f"{node.name} counts {node.runtime._delivery.under_way} pushes, {pushing} are under way")
            lost = [f for f in node.runtime._jobs._scope.fibers if f.alive and f.work.__name__ == "_later" and id(f) not in known]
            if lost:
                self.violate(f"{node.name} has {len(lost)} jobs that nothing would cancel")

    def _check_votes(self, node: "SimNode", pbft: Any) -> None:
        for buffer in (pbft._prepares, pbft._commits):
            if any(len(slots) > 16 for slots in buffer._slots.values()):
                self.violate(f"{node.name} keeps more than 16 votes of one member")
        if any(len(claims) > 4 for claims in pbft._view_changes._by_author.values()):
            self.violate(f"{node.name} keeps more than 4 view-changes of one member")

    def check_early(self, node: "SimNode") -> None:
        """At the end: no author had more than its share of the early messages."""
        if node.core is None:
            return
        counts = node.core._early.by_author()
        if any(count > MAX_EARLY_EACH for count in counts.values()):
            self.violate(f"{node.name} keeps more than {MAX_EARLY_EACH} early messages of one author")


def _evidence_of(node: "SimNode") -> list[Operation]:
    """What a node holds against members."""
    return [] if node.core is None else [one for one in pool_of(node.core).values() if one.kind == EVIDENCE.name]
