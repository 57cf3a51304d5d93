"""A deterministic world for the PBFT machine: one seeded event heap, virtual time, a faulty network, disks that survive a crash."""

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b

from bflcd.consensus.certificate import verify_certificate
from bflcd.consensus.effects import (
    Broadcast,
    Build,
    Check,
    Decided,
    Effect,
    PersistPrepared,
    PersistVote,
    Refused,
)
from bflcd.consensus.events import Built, CardsReady, Checked, Event, Instance, Journal, Prepared, Received
from bflcd.consensus.pbft import Pbft
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.ledger.lot import checked_draw, first_lot, lot_input
from bflcd.types import Digest, Epoch, Millis, NodeId, Proof, Round, View
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import decode, encode
from bflcd.wire.envelope import Envelope, Signed, open_envelope, seal, verify_envelope
from bflcd.wire.messages import (
    Commit,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
    Vote,
)
from bflcd.wire.proposal import proposal_id
from tests.helpers.ledger import NO_PROOF

T0 = Millis(1_000)
"""View timeout of every test instance, milliseconds of virtual time."""

VOTES = (PrePrepare, Prepare, Commit, ViewChange)

KEYS = tuple(Identity(bytes([index]) * 32) for index in range(1, 17))
"""Members' keys, from fixed seeds; `KEYS[i]` has seat i."""

_KEY_OF = {key.node_id: key for key in KEYS}


@cache
def lot_after(chain: Digest, proposers: tuple[NodeId, ...]) -> tuple[Proof | None, Digest]:
    """The proof of the last block and the lot after it, of a chain whose rounds from 0 on these proposed in view 0."""
    if not proposers:
        return None, first_lot(chain)
    round_, (_, before) = Round(len(proposers) - 1), lot_after(chain, proposers[:-1])
    proof = _KEY_OF[proposers[-1]].prove(lot_input(chain, round_, before))
    return proof, checked_draw(chain, round_, before, proposer=proposers[-1], view=View(0), proof=proof).lot


Message = Envelope | JustifiedPrePrepare | JustifiedViewChange | Certificate


def make_instance(members: int = 4, *, round_: int = 0, epoch: int = 0, t0: Millis = T0, name: bytes = b"chain") -> Instance:
    """An instance whose seat i belongs to KEYS[i], and view 0 of round 0 to seat 0."""
    return Instance(
        chain=digest(Domain.CHAIN, name),
        round=Round(round_),
        epoch=Epoch(epoch),
        parent=digest(Domain.HEADER, integer(round_)),
        committee=tuple(key.node_id for key in KEYS[:members]),
        view_timeout=t0,
    )


def make_proposal(seed: int | bytes, *, time: int = 1, view: int = 0) -> Proposal:
    """A proposal; the same seed, time and view give the same one."""
    part = seed if isinstance(seed, bytes) else integer(seed)
    return Proposal(Epoch(0), View(view), NO_PROOF, Millis(time), (digest(Domain.TIE, part),))


GIVES: dict[Digest, Digest] = {}
"""By segment, the id of the proposal that gives it."""


def digest_of(proposal: Proposal) -> Digest:
    """Stands for the function of the cards: the one digest that this proposal gives."""
    segment = digest(Domain.HEADER, integer(proposal.view), integer(proposal.time), *proposal.cards)
    GIVES[segment] = proposal_id(proposal)
    return segment


def body_of(instance: Instance, kind: type, view: int, **fields: object) -> Vote:
    """A vote's body for this instance; keyword arguments override its fields.

    A prepare names the proposal that gives its segment.
    """
    common: dict[str, object] = {
        "chain": instance.chain,
        "round": instance.round,
        "epoch": instance.epoch,
        "view": View(view),
        "parent": instance.parent,
        "committee": instance.committee_hash,
    }
    if kind is ViewChange:
        common |= {"prepared_view": None, "prepared_digest": None}
    if kind is Prepare:
        segment = fields["digest"]
        assert isinstance(segment, bytes)
        common |= {"proposal": GIVES.get(Digest(segment), Digest(segment))}
    return kind(**(common | fields))


def vote(instance: Instance, seat: int, kind: type, view: int, **fields: object) -> Envelope:
    """A vote signed by the holder of a seat."""
    return seal(body_of(instance, kind, view, **fields), KEYS[seat]).envelope


def pre_prepare(
    instance: Instance,
    view: int,
    proposal: Proposal,
    *,
    view_changes: Iterable[Envelope] = (),
    prepares: Iterable[Envelope] = (),
    seat: int | None = None,
    segment: Digest | None = None,
) -> JustifiedPrePrepare:
    """A pre-prepare by the view's leader (or another seat) with its justification."""
    if seat is None:
        seat = instance.committee.index(instance.leader(View(view)))
    envelope = vote(instance, seat, PrePrepare, view, digest=segment or digest_of(proposal), proposal=proposal)
    return JustifiedPrePrepare(envelope, tuple(view_changes), tuple(prepares))


def view_change(instance: Instance, seat: int, view: int, prepared: Prepared | None = None) -> JustifiedViewChange:
    """A view-change that names `prepared`, with its proof."""
    if prepared is None:
        return JustifiedViewChange(vote(instance, seat, ViewChange, view), (), None)
    envelope = vote(instance, seat, ViewChange, view, prepared_view=prepared.view, prepared_digest=prepared.digest)
    return JustifiedViewChange(envelope, prepared.prepares, prepared.proposal)


def prepared_by(instance: Instance, view: int, proposal: Proposal, seats: Iterable[int]) -> Prepared:
    """A prepared certificate with these seats' prepares."""
    segment = digest_of(proposal)
    return Prepared(View(view), segment, proposal, tuple(vote(instance, s, Prepare, view, digest=segment) for s in seats))


class Verifier:
    """Real verification, counted; each distinct signature is computed once for all machines of a world."""

    def __init__(self) -> None:
        self.calls = 0
        self._known: dict[Envelope, bool] = {}

    def __call__(self, envelope: Envelope) -> bool:
        self.calls += 1
        if envelope not in self._known:
            self._known[envelope] = verify_envelope(envelope)
        return self._known[envelope]


class Playbook:
    """One machine, driven by hand: inputs and the exact effects that they must have."""

    def __init__(self, seat: int | None, *, instance: Instance | None = None, journal: Journal | None = None) -> None:
        self.instance = instance or make_instance()
        self.verifier = Verifier()
        self.now = Millis(0)
        signer = None if seat is None else KEYS[seat]
        self.machine = Pbft(self.instance, signer, self.verifier, journal or Journal())

    def give(self, event: Event | Envelope | JustifiedPrePrepare | JustifiedViewChange) -> tuple[Effect, ...]:
        """Hand in an event, or a message as received."""
        if isinstance(event, Envelope | JustifiedPrePrepare | JustifiedViewChange):
            event = Received(event)
        return self.machine.handle(event, self.now)

    def give_all(self, events: Iterable[Event | Envelope | JustifiedPrePrepare | JustifiedViewChange]) -> tuple[Effect, ...]:
        """Hand in several, and return all effects."""
        return tuple(effect for event in events for effect in self.give(event))

    def right(self, proposal: Proposal) -> tuple[Effect, ...]:
        """Answer Check: the segment is right and durable."""
        return self.give(Checked(proposal, digest_of(proposal), None))

    def wait(self, millis: int) -> tuple[Effect, ...]:
        """Let time pass and tick at its end."""
        self.now = Millis(self.now + millis)
        return self.machine.tick(self.now)

    def expire(self) -> tuple[Effect, ...]:
        """Tick at every deadline until the view has changed; the effects of that last tick."""
        view = self.machine.view
        for _ in range(100):
            due = self.machine.deadline()
            assert due is not None, "nothing is timed"
            self.now = max(self.now, due)
            effects = self.machine.tick(self.now)
            if self.machine.view != view:
                return effects
        raise AssertionError("the view never expired")

    def refusal(self, message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> Rejection | None:
        """Why a message is refused; None if it isn't. It must have no other effect when it is."""
        effects = self.give(message)
        refused = [effect for effect in effects if isinstance(effect, Refused)]
        assert not refused or len(effects) == 1, effects
        return refused[0].rejection if refused else None


@dataclass(frozen=True)
class Faults:
    """A fault profile: what happens to messages and machines before `heal` (milliseconds of virtual time)."""

    heal: int = 0
    delay: tuple[int, int] = (5, 50)
    slow: tuple[int, int] | None = None
    """Delay before the heal, if it differs."""
    loss: float = 0.0
    duplicates: float = 0.0
    groups: tuple[frozenset[int], ...] = ()
    """Before the heal, messages pass only within a group; no groups: everywhere."""
    one_way: frozenset[tuple[int, int]] = frozenset()
    """Before the heal, (from, to) pairs whose messages are lost."""
    crashes: int = 0
    """Crashes at random effect boundaries before the heal, each followed by a restart."""
    dead: frozenset[int] = frozenset()
    """Seats that never start."""
    ready: int = 200
    """CardsReady reaches each member at a random time up to this."""
    drop: Callable[[int, int, Message], bool] | None = None
    """Before the heal, messages (from, to, message) for which this holds are lost."""
    clock_jumps: frozenset[int] = frozenset()
    """Seats whose clock jumps back and forth by up to an hour before the heal; a jump forward ends a view early."""


@dataclass
class Disk:
    """What survives a crash."""

    votes: list[Envelope] = field(default_factory=list)
    prepared: Prepared | None = None
    segments: dict[Digest, Proposal] = field(default_factory=dict)


@dataclass
class Node:
    """A member's process: its machine while it runs, its disk always."""

    seat: int
    machine: Pbft | None = None
    disk: Disk = field(default_factory=Disk)
    life: int = 0
    offset: int = 0
    certificate: Certificate | None = None
    decided_at: int | None = None
    wake: int | None = None
    seen: set[Message] = field(default_factory=set)


class World:
    """N members, of whom `byzantine` seats are driven by an adversary. Safety is asserted after every effect."""

    def __init__(
        self,
        members: int,
        seed: int,
        faults: Faults = Faults(),
        *,
        byzantine: "dict[int, Adversary] | None" = None,
        lying_disk: bool = False,
        round_: int = 0,
        gossip: bool = False,
    ) -> None:
        """`gossip`: honest members pass on what they accepted, once; else everybody only hears what is sent to it."""
        self.instance = make_instance(members, round_=round_)
        self.gossip = gossip
        self.random = random.Random(f"{seed}/{members}")
        self.faults = faults
        self.byzantine = byzantine or {}
        self.lying_disk = lying_disk
        self.verify = Verifier()
        self.now = 0
        self.nodes = [Node(seat) for seat in range(members)]
        self.decided: dict[Digest, int] = {}
        self.signed: dict[tuple[int, int, type], bytes] = {}
        self.refused: list[Refused] = []
        self.crashes_left = faults.crashes
        self.trace = blake2b()
        self.messages = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        for node in self.nodes:
            if node.seat in faults.dead or node.seat in self.byzantine:
                continue
            self.at(self.random.randint(0, 20), lambda node=node: self.start(node))
        for seat, adversary in self.byzantine.items():
            self.at(self.random.randint(0, 50), lambda a=adversary, s=seat: a.begin(self, s))

    # Time

    def at(self, time: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time, self._sequence, action))

    def after(self, low: int, high: int, action: Callable[[], None]) -> None:
        self.at(self.now + self.random.randint(low, high), action)

    def run(self, until: int) -> "World":
        """Run until every honest member that lives has decided and nothing can start again, or the time is over."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, action = heapq.heappop(self._heap)
            action()
            if self.all_decided and self.now >= self.faults.heal:
                break
        return self

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.seat not in self.byzantine and node.seat not in self.faults.dead]

    @property
    def all_decided(self) -> bool:
        return all(node.certificate is not None for node in self.honest)

    @property
    def last_decision(self) -> int:
        return max(node.decided_at for node in self.honest if node.decided_at is not None)

    # Members

    def start(self, node: Node) -> None:
        node.life += 1
        node.wake = None
        journal = Journal(tuple(node.disk.votes), node.disk.prepared)
        node.machine = Pbft(self.instance, KEYS[node.seat], self.verify, journal)
        self._schedule(node)
        life = node.life
        for segment, proposal in list(node.disk.segments.items()):
            self._give(node, life, Checked(proposal, segment, None))
        self.after(0, self.faults.ready, lambda: self._give(node, life, CardsReady()))

    def crash(self, node: Node) -> None:
        node.machine = None
        node.life += 1
        if self.lying_disk:
            node.disk.votes.clear()
            node.disk.prepared = None
        self.after(10, 3_000, lambda: self.start(node))

    def _clock(self, node: Node) -> Millis:
        if self.now < self.faults.heal and node.seat in self.faults.clock_jumps and self.random.random() < 0.1:
            node.offset = self.random.randint(-3_600_000, 3_600_000)
        return Millis(max(0, 10_000_000 + self.now + node.offset))

    def _give(self, node: Node, life: int, event: Event, source: int | None = None) -> None:
        if node.machine is None or node.life != life or node.certificate is not None:
            return
        effects = node.machine.handle(event, self._clock(node))
        if self.gossip and isinstance(event, Received) and event.message not in node.seen:
            node.seen.add(event.message)
            if not any(isinstance(effect, Refused) for effect in effects):
                self.send(node.seat, event.message)
        self._execute(node, effects, source)

    def _tick(self, node: Node, life: int, due: int) -> None:
        if node.machine is None or node.life != life or node.wake != due:
            return
        node.wake = None
        self._execute(node, node.machine.tick(self._clock(node)), None)

    def _schedule(self, node: Node) -> None:
        if node.machine is None:
            return
        deadline = node.machine.deadline()
        if deadline is None:
            return
        due = self.now + max(0, deadline - (10_000_000 + self.now + node.offset))
        if node.wake is None or due < node.wake:
            node.wake = due
            life = node.life
            self.at(due, lambda: self._tick(node, life, due))

    def _execute(self, node: Node, effects: tuple[Effect, ...], source: int | None) -> None:
        for effect in effects:
            self.trace.update(repr((self.now, node.seat, effect)).encode())
            self._carry_out(node, effect, source)
            if self.crashes_left and self.now < self.faults.heal and self.random.random() < 0.03:
                self.crashes_left -= 1
                self.crash(node)
                return
        self._schedule(node)

    def _carry_out(self, node: Node, effect: Effect, source: int | None) -> None:
        life = node.life
        match effect:
            case PersistVote(envelope):
                if envelope not in node.disk.votes:
                    node.disk.votes.append(envelope)
            case PersistPrepared(prepared):
                node.disk.prepared = prepared
            case Broadcast(message):
                self._check_signed(node, message)
                self.send(node.seat, message)
            case Build(view):
                proposal = make_proposal(node.seat, time=1 + self.now, view=view)
                self.after(10, 60, lambda: self._built(node, life, view, proposal))
            case Check(proposal=proposal, digest=segment):
                self.after(10, 60, lambda: self._checked(node, life, proposal, segment))
            case Decided(certificate, proposal):
                assert proposal is None or node.disk.segments.get(certificate.digest) == proposal
                self._settle(node, certificate)
            case Refused():
                self.refused.append(effect)
                self._check_blame(effect, source)
            case _:
                pass

    def _check_blame(self, refused: Refused, source: int | None) -> None:
        """Whom a refusal costs, as `Refused` says, is never an honest member."""
        liars = {KEYS[seat].node_id for seat in self.byzantine}
        if refused.proven:
            assert refused.author in liars, f"an honest author is blamed: {refused}"
        elif refused.rejection is not Rejection.WRONG_VIEW and not self.gossip:
            assert source in self.byzantine, f"a message that an honest member made is refused: {refused}"

    def _built(self, node: Node, life: int, view: View, proposal: Proposal) -> None:
        if node.life == life:
            node.disk.segments[digest_of(proposal)] = proposal
            self._give(node, life, Built(view, proposal, digest_of(proposal)))

    def _checked(self, node: Node, life: int, proposal: Proposal, segment: Digest) -> None:
        if node.life != life:
            return
        right = digest_of(proposal) == segment
        if right:
            node.disk.segments[segment] = proposal
        self._give(node, life, Checked(proposal, segment, None if right else Rejection.BAD_SEGMENT))

    def _check_signed(self, node: Node, message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> None:
        """Nothing leaves before it is durable, and no place ever takes a second message, whatever was restarted between."""
        envelope = outer(message)
        assert envelope.author == KEYS[node.seat].node_id
        assert envelope in node.disk.votes, "sent before it was durable"
        body = open_envelope(envelope, VOTES).body
        place = (node.seat, body.view, type(body))
        assert self.signed.setdefault(place, envelope.payload) == envelope.payload, f"signed twice differently: {place}"

    def _settle(self, node: Node, certificate: Certificate) -> None:
        verify_certificate(certificate, self.instance, self.verify)
        if node.certificate is None:
            node.certificate, node.decided_at = certificate, self.now
            self.decided.setdefault(certificate.digest, self.now)
            assert len(self.decided) == 1, "two segments were decided: a fork"
            self.send(node.seat, certificate)

    # Network

    def send(self, source: int, message: Message, targets: Iterable[int] | None = None) -> None:
        for target in range(len(self.nodes)) if targets is None else targets:
            if target != source:
                self._transmit(source, target, message)

    def _transmit(self, source: int, target: int, message: Message) -> None:
        faults, faulty = self.faults, self.now < self.faults.heal
        if faulty and (self._cut(source, target) or self.random.random() < faults.loss):
            return
        if faulty and faults.drop is not None and faults.drop(source, target, message):
            return
        copies = 2 if self.random.random() < faults.duplicates else 1
        low, high = faults.slow if faulty and faults.slow else faults.delay
        for _ in range(copies):
            self.messages += 1
            self.after(low, high, lambda: self._deliver(source, target, message))

    def _cut(self, source: int, target: int) -> bool:
        groups = self.faults.groups
        return (source, target) in self.faults.one_way or bool(
            groups and not any(source in group and target in group for group in groups)
        )

    def _deliver(self, source: int, target: int, message: Message) -> None:
        if target in self.byzantine:
            author = None if isinstance(message, Certificate) else outer(message).author
            liars = {KEYS[seat].node_id for seat in self.byzantine}
            if source not in self.byzantine and author not in liars:  # liars answering each other would never end
                self.byzantine[target].receive(self, target, message)
            return
        node = self.nodes[target]
        if node.certificate is not None:
            if not isinstance(message, Certificate) and source not in self.byzantine:
                self._transmit(target, source, node.certificate)
        elif isinstance(message, Certificate):
            if node.machine is not None:
                self._settle(node, message)
        else:
            self._give(node, node.life, Received(message), source)


def kind_of(message: Message) -> type:
    """What a message is about: PrePrepare, Prepare, Commit, ViewChange or Certificate."""
    return Certificate if isinstance(message, Certificate) else type(open_envelope(outer(message), VOTES).body)


def outer(message: Envelope | JustifiedPrePrepare | JustifiedViewChange) -> Envelope:
    """The vote that a gossiped message is about."""
    if isinstance(message, JustifiedPrePrepare):
        return message.pre_prepare
    return message.view_change if isinstance(message, JustifiedViewChange) else message


class Adversary:
    """A Byzantine member: silent. Subclasses speak."""

    def begin(self, world: World, seat: int) -> None:
        """Called once at the start."""

    def receive(self, world: World, seat: int, message: Message) -> None:
        """Called for every message that reaches the seat."""


class Equivocator(Adversary):
    """Leads with two proposals, one for each half, and prepares and commits whatever it hears of, to each half its own."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, Digest]] = set()
        self.view_changes: dict[int, dict[NodeId, JustifiedViewChange]] = {}
        self.led: set[int] = set()

    def begin(self, world: World, seat: int) -> None:
        if world.instance.leader(View(0)) == KEYS[seat].node_id:
            self.lead(world, seat, 0, (), None)

    def lead(self, world: World, seat: int, view: int, proofs: tuple[Envelope, ...], prepared: Prepared | None) -> None:
        self.led.add(view)
        members = list(range(len(world.nodes)))
        world.random.shuffle(members)
        half = len(members) // 2
        for number, targets in enumerate((members[:half], members[half:])):
            proposal = make_proposal(1000 + number, time=1 + world.now, view=view)
            prepares: tuple[Envelope, ...] = ()
            if prepared is not None and number == 0:
                proposal, prepares = prepared.proposal, prepared.prepares
            message = pre_prepare(world.instance, view, proposal, view_changes=proofs, prepares=prepares, seat=seat)
            world.send(seat, message, targets)
            self.support(world, seat, view, digest_of(proposal), targets)

    def support(self, world: World, seat: int, view: int, segment: Digest, targets: Iterable[int] | None) -> None:
        self.seen.add((view, segment))
        for kind in (Prepare, Commit):
            world.send(seat, vote(world.instance, seat, kind, view, digest=segment), targets)

    def receive(self, world: World, seat: int, message: Message) -> None:
        if isinstance(message, JustifiedViewChange):
            self.consider(world, seat, message)
        if isinstance(message, Certificate):
            return
        body = open_envelope(outer(message), VOTES).body
        if not isinstance(body, ViewChange) and (body.view, body.digest) not in self.seen:
            self.support(world, seat, body.view, body.digest, None)

    def consider(self, world: World, seat: int, message: JustifiedViewChange) -> None:
        body = open_envelope(message.view_change, (ViewChange,)).body
        held = self.view_changes.setdefault(body.view, {})
        if message.view_change.author not in held:
            held[message.view_change.author] = message
            own = view_change(world.instance, seat, body.view)
            world.send(seat, own)
            held[KEYS[seat].node_id] = own
        leads = world.instance.leader(body.view) == KEYS[seat].node_id
        if leads and body.view not in self.led and len(held) >= world.instance.q:
            chosen = sorted(held.values(), key=lambda m: m.proposal is not None)[: world.instance.q]
            best: Prepared | None = None
            for claim in chosen:
                claimed = open_envelope(claim.view_change, (ViewChange,)).body
                if claim.proposal is not None and (best is None or claimed.prepared_view > best.view):
                    best = Prepared(claimed.prepared_view, claimed.prepared_digest, claim.proposal, claim.prepares)
            self.lead(world, seat, body.view, tuple(m.view_change for m in chosen), best)


class Forger(Equivocator):
    """An equivocator that also replays across kinds and views, forges justifications and proofs, and shouts high views."""

    def receive(self, world: World, seat: int, message: Message) -> None:
        if isinstance(message, Certificate):
            return
        envelope = outer(message)
        body = open_envelope(envelope, VOTES).body
        super().receive(world, seat, message)
        if world.random.random() > 0.25:
            return
        view = body.view + world.random.randint(0, 3)
        choice = world.random.randrange(6)
        if choice == 0 and isinstance(body, Prepare):
            payload = encode(body_of(world.instance, Commit, body.view, digest=body.digest))
            world.send(seat, Envelope(envelope.author, payload, envelope.signature))
        elif choice == 1 and isinstance(body, Prepare | Commit):
            payload = encode(body_of(world.instance, type(body), view + 1, digest=body.digest))
            world.send(seat, Envelope(envelope.author, payload, envelope.signature))
        elif choice == 2:
            same = [view_change(world.instance, seat, view + 1).view_change] * world.instance.q
            fake = pre_prepare(world.instance, view + 1, make_proposal(7, time=world.now + 1), view_changes=same, seat=seat)
            world.send(seat, fake)
        elif choice == 3:
            world.send(seat, view_change(world.instance, seat, world.random.choice([view + 1, view + 50, 2**32])))
        elif choice == 4:
            lie = make_proposal(9, time=world.now + 1)
            proof = Prepared(View(view), digest_of(lie), lie, prepared_by(world.instance, view, lie, [seat]).prepares)
            world.send(seat, view_change(world.instance, seat, view + 1, proof))
        elif choice == 5 and isinstance(message, JustifiedViewChange) and message.proposal is not None:
            # A true proof under a false proposal: it names the digest, but nobody can build it from this.
            claimed = open_envelope(message.view_change, (ViewChange,)).body
            lie = Prepared(claimed.prepared_view, claimed.prepared_digest, make_proposal(11), message.prepares)
            world.send(seat, view_change(world.instance, seat, body.view, lie))


def round_trip(message: JustifiedPrePrepare | JustifiedViewChange | Envelope) -> bool:
    """Whether the message survives the wire."""
    return decode(encode(message), type(message)) == message


def signed_commits(instance: Instance, seats: Iterable[int], segment: Digest, view: int = 0) -> list[Signed[Commit]]:
    """Commits of these seats."""
    return [seal(body_of(instance, Commit, view, digest=segment), KEYS[seat]) for seat in seats]
