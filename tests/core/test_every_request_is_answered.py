"""The machine asks, the round's segments answer: whoever asks is answered, also for what was asked before in another view."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bflcd.consensus.effects import Build, Check
from bflcd.consensus.events import Built, Checked
from bflcd.consensus.events import Event as PbftEvent
from bflcd.core.effects import Send
from bflcd.core.events import Instant
from bflcd.core.round.agreement import Agreement
from bflcd.core.round.segments import MAX_CANDIDATES
from bflcd.errors import Rejection
from bflcd.types import Digest, Millis, View
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope, open_envelope
from bflcd.wire.messages import JustifiedPrePrepare, Prepare, PrePrepare, Proposal
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.world import EPOCH_WALL, World

WRONG = Digest(bytes(32))


class Asking:
    """In the machine's place: asks what a test wants, and keeps the answers."""

    def __init__(self, agreement: Agreement, now: Instant) -> None:
        self.agreement, self.now = agreement, now
        self.answers: list[PbftEvent] = []
        agreement.pbft = self  # type: ignore[assignment]

    def handle(self, event: PbftEvent, _: Millis) -> tuple[()]:
        self.answers.append(event)
        return ()

    def ask(self, *wishes: Build | Check) -> list[PbftEvent]:
        """What is answered to these at once, and to what was asked before."""
        before = len(self.answers)
        self.agreement._translate(wishes, self.now)
        return self.answers[before:]

    def walk(self) -> list[PbftEvent]:
        """What is answered once more is held."""
        before = len(self.answers)
        self.agreement.walk(self.now)
        return self.answers[before:]


def decided_once() -> tuple[World, Proposal, Digest]:
    """A committee that holds all cards of round 1, before it has decided; its leader's proposal, and the digest of that."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    world = World(genesis, identities)
    proposals: list[PrePrepare] = []
    answer = world.answer

    def deaf(node, effect):
        """Nobody hears a prepare; the leader's proposal is kept."""
        if isinstance(effect, Send) and isinstance(effect.message, JustifiedPrePrepare):
            proposals.append(open_envelope(effect.message.pre_prepare, (PrePrepare,)).body)
        if not (isinstance(effect, Send) and is_prepare(effect.message)):
            yield from answer(node, effect)

    world.answer = deaf
    world.start_all()
    assert world.run_until(lambda: bool(proposals), 60_000)
    world.run_until(lambda: False, 300)
    return world, proposals[0].proposal, proposals[0].digest


def is_prepare(message: object) -> bool:
    return isinstance(message, Envelope) and peek_number(message.payload) == number_of(Prepare)


@pytest.fixture(scope="module")
def scene() -> tuple[World, Proposal, Digest]:
    return decided_once()


def asking(scene: tuple[World, Proposal, Digest]) -> Asking:
    """The leader of every fourth view, which has found the proposal right, asked anew; its clock is an hour behind the block
    before."""
    world, _, digest = scene
    core = next(core for core in world.cores.values() if core.context.me == core.context.committee[0])
    agreement = round_of(core).agreement
    assert agreement is not None
    assert agreement.segment_of(digest) is not None
    return Asking(agreement, Instant(Millis(world.now), Millis(EPOCH_WALL - 3_600_000)))


WISHES = st.lists(st.tuples(st.sampled_from(["build", "right", "wrong"]), st.integers(0, 5)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(wishes=WISHES)
def test_whoever_asks_is_answered_whoever_asked_before(
    scene: tuple[World, Proposal, Digest], wishes: list[tuple[str, int]]
) -> None:
    """Given a segment that is finished, when it is asked for again and again, then each time is answered at once."""
    _, proposal, digest = scene
    node = asking(scene)
    for what, view in wishes:
        if what == "build":
            (built,) = node.ask(Build(View(4 * view)))
            assert isinstance(built, Built)
            assert (built.view, built.proposal.view) == (4 * view, 4 * view)
            continue
        wanted = digest if what == "right" else WRONG
        refused = None if what == "right" else Rejection.BAD_SEGMENT
        leader = node.agreement._context.committee[0]
        answers = node.ask(Check(proposal, wanted, View(view), leader, reproposal=True))
        assert answers == [Checked(proposal, wanted, refused)]


def test_what_makes_room_for_another_is_answered(scene: tuple[World, Proposal, Digest]) -> None:
    """Given as many proposals as are worked on, all of them unfinished, when one more comes, then the oldest is answered."""
    _, proposal, _ = scene
    node = asking(scene)
    leader = node.agreement._context.committee[0]
    strange = [replace(proposal, cards=(Digest(bytes([number]) * 32),)) for number in range(1, MAX_CANDIDATES + 2)]
    held = [candidate for candidate in node.agreement._candidates if not candidate.done]
    assert not held
    answers = [node.ask(Check(other, WRONG, View(1), leader, reproposal=True)) for other in strange]
    assert answers[:-1] == [[]] * MAX_CANDIDATES
    assert answers[-1] == [Checked(strange[0], WRONG, Rejection.BUSY)]


def test_a_round_closes_in_its_second_view_though_clocks_are_behind() -> None:
    """Given clocks behind the parent block, when view 0 is lost, then the next leader's proposal has the same time and cards and
    its own draw, and it is built."""
    genesis, identities = make_genesis(nodes=10, committee=4, places=6)
    world = World(replace(genesis, time=Millis(EPOCH_WALL + 3_600_000)), identities)
    answer = world.answer

    def lossy(node, effect):
        """No prepare of the first view arrives."""
        if isinstance(effect, Send) and is_prepare(effect.message) and view_of(effect.message) == 0:
            return
        yield from answer(node, effect)

    world.answer = lossy
    world.start_all()
    assert world.run_until(lambda: min(world.rounds()) >= 1, 60_000)
    assert world.disks[identities[0].node_id].segments[1].certificate.view == 1


def view_of(message: object) -> int:
    assert isinstance(message, Envelope)
    return open_envelope(message, (Prepare,)).body.view
