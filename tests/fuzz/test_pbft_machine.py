"""The PBFT machine under Hypothesis: liars say anything in any order, the rest what honest members say (catalogue 26, 31, 33)."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from bflcd.consensus.effects import Build, Check, Decided, PersistPrepared, PersistVote
from bflcd.consensus.events import Built, CardsReady, Checked, Journal, Prepared, Received
from bflcd.consensus.pbft import MAX_RIGHT, Pbft
from bflcd.consensus.votes import VIEW_CHANGES_PER_AUTHOR, VOTES_PER_AUTHOR
from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, Millis, View
from bflcd.wire.codec import decode_any, encode
from bflcd.wire.envelope import Envelope, open_envelope, verify_envelope
from bflcd.wire.messages import Commit, JustifiedPrePrepare, JustifiedViewChange, Prepare, PrePrepare, ViewChange
from tests.helpers.consensus import KEYS, VOTES, Verifier, digest_of, make_instance, make_proposal, vote
from tests.helpers.hostile import held

MEMBERS = 7
LIARS = (0, 4)
"""f of seven; seat 0 leads view 0."""
HONEST = (1, 2, 3, 5)
"""They speak as members do; seat 6 is the machine."""
ME = 6

INSTANCE = make_instance(MEMBERS)
PROPOSALS = tuple(make_proposal(number) for number in range(3))
DIGESTS = tuple(digest_of(proposal) for proposal in PROPOSALS)
MESSAGES = (Envelope, JustifiedPrePrepare, JustifiedViewChange)

views = st.one_of(st.integers(0, 4), st.integers(0, 40), st.sampled_from((2**31, 2**32 - 1, 2**32)))
which = st.integers(0, 2)
liars = st.sampled_from(LIARS)
some = st.lists(st.integers(0, 10_000), max_size=8)

VERIFY = Verifier()

LARGEST = {
    "._prepares._slots[]": VOTES_PER_AUTHOR,
    "._commits._slots[]": VOTES_PER_AUTHOR,
    "._view_changes._by_author[]": VIEW_CHANGES_PER_AUTHOR,
    "._right": MAX_RIGHT,
    "._auth._true": 1024,
    "._auth._false": 1024,
}

OTHERWISE = 2 * MEMBERS * VOTES_PER_AUTHOR
"""No other container in the machine may hold more."""


class Speaking(RuleBasedStateMachine):
    """What every machine below does: it keeps all messages ever sent, and watches what the real one signs."""

    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.machine = Pbft(INSTANCE, KEYS[ME], VERIFY, Journal())
        self.now = 0
        self.signed: dict[tuple[int, type], bytes] = {}
        self.everything: list[Envelope] = []
        self.builds: list[View] = []
        self.checks: list[Check] = []
        self.prepared: list[Prepared] = []
        self.decided: list[Digest] = []
        self.timeouts = 0

    def give(self, message: object) -> object:
        self.take(self.machine.handle(Received(message), Millis(self.now)))  # type: ignore[arg-type]
        return message

    def take(self, effects: tuple[object, ...]) -> None:
        for effect in effects:
            match effect:
                case PersistVote(envelope):
                    body = open_envelope(envelope, VOTES).body
                    place = (body.view, type(body))
                    assert self.signed.setdefault(place, envelope.payload) == envelope.payload, f"two messages in {place}"
                    assert envelope.author == KEYS[ME].node_id
                    self.everything.append(envelope)
                case Build(view):
                    self.builds.append(view)
                case Check():
                    self.checks.append(effect)
                case PersistPrepared(prepared):
                    self.prepared.append(prepared)
                case Decided(certificate):
                    self.decided.append(certificate.digest)

    def keep(self, envelope: Envelope) -> Envelope:
        self.everything.append(envelope)
        return envelope

    def picked(self, numbers: list[int], kind: type) -> tuple[Envelope, ...]:
        """Some of the messages ever sent, of one kind mostly."""
        if not self.everything:
            return ()
        chosen = [self.everything[number % len(self.everything)] for number in numbers]
        kept = [e for n, e in zip(numbers, chosen, strict=True) if n % 5 == 0 or isinstance(open_envelope(e, VOTES).body, kind)]
        return tuple(kept)

    # Liars

    @rule(target=sent, seat=liars, kind=st.sampled_from((Prepare, Commit)), view=views, number=which)
    def liar_votes(self, seat, kind, view, number):
        return self.give(self.keep(vote(INSTANCE, seat, kind, view, digest=DIGESTS[number])))

    @rule(target=sent, seat=liars, view=views, number=which, prepared=st.none() | views, parts=some, carried=st.booleans())
    def liar_asks_for_a_view(self, seat, view, number, prepared, parts, carried):
        fields = {"prepared_view": prepared, "prepared_digest": None if prepared is None else DIGESTS[number]}
        envelope = self.keep(vote(INSTANCE, seat, ViewChange, max(1, view), **fields))
        return self.give(JustifiedViewChange(envelope, self.picked(parts, Prepare), PROPOSALS[number] if carried else None))

    @rule(target=sent, seat=liars, view=views, number=which, other=which, view_changes=some, prepares=some)
    def liar_proposes(self, seat, view, number, other, view_changes, prepares):
        envelope = self.keep(vote(INSTANCE, seat, PrePrepare, view, digest=DIGESTS[number], proposal=PROPOSALS[other]))
        justification = self.picked(view_changes, ViewChange), self.picked(prepares, Prepare)
        return self.give(JustifiedPrePrepare(envelope, *justification))

    @rule(message=sent, place=st.integers(0, 5_000), bit=st.integers(0, 7))
    def garbled(self, message, place, bit):
        """One bit of an earlier message is flipped; if it still decodes, it is a message of a liar."""
        data = bytearray(encode(message))
        data[place % len(data)] ^= 1 << bit
        try:
            changed = decode_any(bytes(data), MESSAGES)
        except PeerError:
            return
        self.give(changed)

    @rule(message=sent)
    def repeated(self, message):
        self.give(message)

    @rule(message=consumes(sent), author=st.sampled_from(range(MEMBERS)))
    def in_anothers_name(self, message, author):
        if isinstance(message, Envelope):
            self.give(Envelope(KEYS[author].node_id, message.payload, message.signature))

    # Time and answers

    @rule(millis=st.sampled_from((1, 300, 1_000, 20_000, -5_000)))
    def time_passes(self, millis):
        view = self.machine.view
        self.now = max(0, self.now + millis)
        self.take(self.machine.tick(Millis(self.now)))
        self.timeouts += self.machine.view > view

    @rule()
    def cards_are_ready(self):
        self.take(self.machine.handle(CardsReady(), Millis(self.now)))

    @rule(right=st.booleans())
    def answers(self, right):
        """The caller's side: a check tells the truth about which proposal gives which digest."""
        for check in self.checks:
            true = digest_of(check.proposal) == check.digest and right
            answer = Checked(check.proposal, check.digest, None if true else Rejection.BAD_SEGMENT)
            self.take(self.machine.handle(answer, Millis(self.now)))
        self.checks.clear()
        for view in self.builds:
            self.take(self.machine.handle(Built(view, PROPOSALS[0], DIGESTS[0]), Millis(self.now)))
        self.builds.clear()

    @invariant()
    def nothing_grows(self):
        for path, size in held(self.machine).items():
            assert size <= LARGEST.get(path, OTHERWISE), (path, size)

    @invariant()
    def what_is_shown_can_be_shown(self):
        assert self.machine.phase is not None
        assert set(self.machine.missing) <= set(INSTANCE.committee)
        self.machine.deadline()


class LiarsAlone(Speaking):
    """Only liars speak: nothing is prepared, nothing decided, and no view moves but by the machine's own clock."""

    @invariant()
    def nothing_moves(self):
        assert not self.decided
        assert not self.prepared
        assert self.machine.view <= 1, "without q view-changes only the first view runs out"
        assert self.machine.view <= self.timeouts


class AmongHonest(Speaking):
    """Honest members answer as members do, one message a place; at most one segment is decided, and it was prepared by q."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[tuple[int, int, type], Envelope] = {}

    @initialize(view=st.integers(0, 3))
    def honest_members_build(self, view):
        """The segment that they vote for is first proposed in this view."""
        self.home, self.proposal = view, make_proposal(0, view=view)
        self.digest = digest_of(self.proposal)

    def honest(self, seat: int, kind: type, view: int, **fields: object) -> Envelope:
        place = (seat, view, kind)
        if place not in self.said:
            self.said[place] = self.keep(vote(INSTANCE, seat, kind, view, **fields))
        return self.said[place]

    @rule(seat=st.sampled_from(HONEST), view=st.integers(0, 3))
    def honest_prepares(self, seat, view):
        self.give(self.honest(seat, Prepare, view, digest=self.digest))

    @rule(seat=st.sampled_from(HONEST), view=st.integers(0, 3))
    def honest_commits(self, seat, view):
        self.give(self.honest(seat, Commit, view, digest=self.digest))

    @rule(seat=st.sampled_from(HONEST), view=st.integers(1, 4))
    def honest_asks_for_a_view(self, seat, view):
        fields = {"prepared_view": None, "prepared_digest": None}
        self.give(JustifiedViewChange(self.honest(seat, ViewChange, view, **fields), (), None))

    @rule()
    def honest_proposes(self):
        view = self.home
        leader = INSTANCE.committee.index(INSTANCE.leader(View(view)))
        asked = tuple(e for (_, v, kind), e in self.said.items() if kind is ViewChange and v == view)
        if leader in HONEST and (view == 0 or len(asked) >= INSTANCE.q):
            envelope = self.honest(leader, PrePrepare, view, digest=self.digest, proposal=self.proposal)
            self.give(JustifiedPrePrepare(envelope, asked if view else (), ()))

    @invariant()
    def only_what_honest_members_vote_for_is_decided(self):
        assert not self.decided or set(self.decided) == {self.digest}
        assert len(self.decided) <= 1
        for prepared in self.prepared:
            authors = {envelope.author for envelope in prepared.prepares}
            assert len(authors) == INSTANCE.q
            assert all(verify_envelope(envelope) for envelope in prepared.prepares)


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

TestLiarsAlone = LiarsAlone.TestCase
TestLiarsAlone.settings = settings(max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=CHECKS)
TestAmongHonest = AmongHonest.TestCase
TestAmongHonest.settings = settings(max_examples=15, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS)


def test_a_flood_of_views_and_votes_is_bounded_and_moves_nothing():
    """Catalogue 31: Given f liars that send votes and view-changes for thousands of views, Then the machine stands where it stood."""
    machine = Pbft(INSTANCE, KEYS[ME], lambda _: True, Journal())
    machine.handle(CardsReady(), Millis(0))
    for number in range(500):
        for seat in LIARS:
            view = 1 + number * 8_589_934
            for kind in (Prepare, Commit):
                machine.handle(Received(vote(INSTANCE, seat, kind, number % 50, digest=DIGESTS[number % 3])), Millis(number))
            machine.handle(Received(JustifiedViewChange(vote(INSTANCE, seat, ViewChange, view), (), None)), Millis(0))
    assert machine.view == 0
    for path, size in held(machine).items():
        assert size <= LARGEST.get(path, OTHERWISE), (path, size)
