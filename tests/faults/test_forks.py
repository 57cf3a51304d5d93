"""More than f Byzantine members (row 25): a fork can't be prevented; it is seen, the guilty are named, nobody else is."""

import pytest

from bflcd.consensus.certificate import certificate_of, verify_certificate
from bflcd.consensus.forks import Fork, fork_of
from bflcd.types import View
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Envelope, open_envelope, verify_envelope
from bflcd.wire.messages import Commit, JustifiedViewChange, Prepare, ViewChange
from tests.helpers.consensus import (
    KEYS,
    Adversary,
    Faults,
    Message,
    Node,
    World,
    digest_of,
    make_instance,
    make_proposal,
    pre_prepare,
    signed_commits,
    view_change,
    vote,
)
from tests.helpers.scenes import Figure

DA, DB = digest_of(make_proposal(1)), digest_of(make_proposal(2))


class ForkWorld(World):
    """A world that may fork: it keeps what honest members decided instead of asserting that it is one."""

    def _settle(self, node: Node, certificate: Certificate) -> None:
        verify_certificate(certificate, self.instance, self.verify)
        if node.certificate is None:
            node.certificate, node.decided_at = certificate, self.now
            self.decided.setdefault(certificate.digest, self.now)
            self.send(node.seat, certificate)

    def forks(self) -> list[Fork]:
        """What honest members see as soon as they show each other what they committed."""
        held = [node.certificate for node in self.honest if node.certificate is not None]
        return [fork for ours in held for other in held if (fork := fork_of(ours, other)) is not None]


class Forker(Adversary):
    """One of several liars who show A to one half of the honest members, in view 0, and B to the other, in `view`."""

    def __init__(self, liars: list[int], halves: tuple[list[int], list[int]], view: int) -> None:
        self.liars, self.halves, self.view = liars, halves, view
        self.asked: dict[int, Envelope] = {}

    def begin(self, world: World, seat: int) -> None:
        self.support(world, seat, 0, 0)
        if self.view == 0:
            self.support(world, seat, 1, 0)

    def support(self, world: World, seat: int, half: int, view: int, proofs: tuple[Envelope, ...] = ()) -> None:
        proposal, targets = make_proposal(1 + half, view=view), self.halves[half]
        if world.instance.leader(View(view)) == KEYS[seat].node_id:
            world.send(seat, pre_prepare(world.instance, view, proposal, view_changes=proofs), targets)
        for kind in (Prepare, Commit):
            world.send(seat, vote(world.instance, seat, kind, view, digest=digest_of(proposal)), targets)

    def receive(self, world: World, seat: int, message: Message) -> None:
        if not isinstance(message, JustifiedViewChange) or self.view == 0:
            return
        author = next(s for s, key in enumerate(KEYS) if key.node_id == message.view_change.author)
        body = open_envelope(message.view_change, (ViewChange,)).body
        if author not in self.halves[1] or body.view != self.view or author in self.asked:
            return
        self.asked[author] = message.view_change
        own = [view_change(world.instance, s, self.view).view_change for s in self.liars]
        if len(own) + len(self.asked) >= world.instance.q:
            proofs = (*self.asked.values(), *own)[: world.instance.q]
            self.support(world, seat, 1, self.view, proofs)
        world.send(seat, view_change(world.instance, seat, self.view), self.halves[1])


@pytest.mark.parametrize("view", [0, 1], ids=["in one view", "in two views"])
@pytest.mark.parametrize(("members", "liars"), [(4, 2), (7, 3), (7, 4)])
def test_row_25_forks_are_found_and_only_liars_are_blamed(members: int, liars: int, view: int, figure: Figure) -> None:
    """Given more than f members that show two halves two blocks, then the fork is seen, and whoever is named did sign twice."""
    forks = convictions = innocents = 0
    for seed in range(4):
        seats = list(range(liars))  # they lead views 0 and 1
        honest = list(range(liars, members))
        halves = (honest[: (len(honest) + 1) // 2], honest[(len(honest) + 1) // 2 :]) if liars < members - 1 else (honest, [])
        if liars + min(map(len, halves)) < make_instance(members).q:
            halves = (honest, honest[:0])
        forkers = {seat: Forker(seats, halves, view) for seat in seats}
        faults = Faults(heal=60_000, groups=tuple(frozenset(seats) | frozenset(half) for half in halves))
        world = ForkWorld(members, seed, faults, byzantine=dict(forkers))
        world.run(20_000)
        guilty = {KEYS[seat].node_id for seat in seats}
        found = world.forks()
        assert bool(found) == (len(world.decided) > 1), "a fork is seen exactly if there is one"
        forks += bool(found)
        for fork in found:
            innocents += len(set(fork.liars) - guilty)
            convictions += len(fork.liars) > (members - 1) // 3
            for liar in fork.liars:
                assert all(verify_envelope(envelope) and envelope.author == liar for envelope in fork.proof(liar))
    if liars + (members - liars) // 2 >= make_instance(members).q:
        assert forks, "the adversary is strong enough to fork"
        assert (convictions > 0) == (view == 0), "within one view more than f are named; between views nobody can be"
    figure(25, innocents, 0, "innocents blamed")


def a_certificate(seats, digest, view=0, **instance):
    return certificate_of(signed_commits(make_instance(**instance), seats, digest, view))


def test_row_25_the_signers_of_both_certificates_of_one_view_are_named_with_proof() -> None:
    fork = fork_of(a_certificate([0, 1, 2], DA), a_certificate([1, 2, 3], DB))
    assert fork is not None
    assert set(fork.liars) == {KEYS[1].node_id, KEYS[2].node_id}
    for liar in fork.liars:
        first, second = (open_envelope(envelope, (Commit,)).body for envelope in fork.proof(liar))
        assert (first.digest, second.digest) == (DA, DB)
        assert (first.round, first.epoch, first.view, first.parent) == (second.round, second.epoch, second.view, second.parent)
    with pytest.raises(KeyError):
        fork.proof(KEYS[0].node_id)


def test_row_25_in_two_views_an_honest_member_may_have_signed_both_and_nobody_is_named() -> None:
    fork = fork_of(a_certificate([0, 1, 2], DA), a_certificate([1, 2, 3], DB, view=1))
    assert fork is not None
    assert fork.liars == ()


def test_row_25_what_can_stand_side_by_side_is_no_fork() -> None:
    ours = a_certificate([0, 1, 2], DA)
    assert fork_of(ours, ours) is None
    assert fork_of(ours, a_certificate([1, 2, 3], DA, view=2)) is None, "the same block, decided in two views"
    assert fork_of(ours, a_certificate([0, 1, 2], DB, round_=1)) is None
    assert fork_of(ours, a_certificate([0, 1, 2], DB, epoch=1)) is None, "of two epochs the lower is dead"
    assert fork_of(ours, a_certificate([0, 1, 2], DB, name=b"other")) is None
