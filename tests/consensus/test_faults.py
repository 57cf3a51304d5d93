"""Named faults: each row is one scenario in the simulated world or at one machine; safety is asserted after every effect."""

import pytest

from bflcd.consensus.effects import Broadcast, Refused
from bflcd.consensus.events import CardsReady, Prepared
from bflcd.consensus.timers import timeout
from bflcd.consensus.votes import VIEW_CHANGES_PER_AUTHOR, VOTES_PER_AUTHOR, WINDOW
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.types import Digest, Signature, View
from bflcd.wire.blocks import Certificate
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, open_envelope, seal
from bflcd.wire.messages import Commit, Prepare, PrePrepare, ViewChange
from tests.helpers.consensus import (
    KEYS,
    T0,
    Adversary,
    Equivocator,
    Faults,
    Forger,
    Playbook,
    World,
    body_of,
    digest_of,
    kind_of,
    make_instance,
    make_proposal,
    outer,
    pre_prepare,
    prepared_by,
    view_change,
    vote,
)

I4 = make_instance()
A, B = make_proposal(1), make_proposal(2)
DA, DB = digest_of(A), digest_of(B)
VMAX = 16 * T0
SEEDS = range(10)


def spent(views: int) -> int:
    """S(c): the time of views 0 to c."""
    return sum(timeout(View(view), T0) for view in range(views + 1))


def decided(world: World, until: int) -> World:
    world.run(until)
    assert world.all_decided, [(n.seat, n.machine and n.machine.phase) for n in world.honest]
    return world


def view_of(message) -> int:
    return (
        -1
        if isinstance(message, Certificate)
        else open_envelope(outer(message), (PrePrepare, Prepare, Commit, ViewChange)).body.view
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_row_1_leader_dies_before_proposing(seed):
    assert decided(World(4, seed, Faults(dead=frozenset({0}))), 60_000).last_decision <= spent(1) + T0


@pytest.mark.parametrize("seed", SEEDS)
def test_row_2_leader_dies_after_a_partial_proposal(seed):
    def lost(source, target, message):
        return source == 0 and (kind_of(message) is not PrePrepare or target != 1)

    world = World(4, seed, Faults(heal=4_000, drop=lost))
    world.run(spent(1) + T0)
    assert all(node.certificate is not None for node in world.nodes if node.seat != 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_3_leader_dies_after_a_prepared_quorum(seed):
    """Given all are prepared in view 0 and every commit of it is lost, when the leader is gone, then its segment is decided."""

    def lost(source, target, message):
        return (source == 0 and (kind_of(message) is Commit or view_of(message) > 0)) or (
            kind_of(message) is Commit and view_of(message) == 0
        )

    world = World(4, seed, Faults(heal=4_000, drop=lost))
    world.run(3_900)
    digests = {node.machine.prepared.digest for node in world.nodes if node.machine.prepared is not None}
    assert digests == set(world.decided)
    assert all(node.certificate.view > 0 for node in world.nodes if node.certificate is not None)


@pytest.mark.parametrize("seed", SEEDS)
def test_row_4_leader_dies_after_one_commit_certificate(seed):
    """Given only seat 1 heard the commits of view 0, when the leader is gone, then the same block is decided everywhere."""

    def lost(source, target, message):
        if kind_of(message) is Commit and view_of(message) == 0:
            return target != 1
        return source == 0 and view_of(message) != 0

    world = World(4, seed, Faults(heal=spent(1) + T0, drop=lost, ready=20))
    world.run(spent(1) + T0)
    assert all(node.certificate is not None for node in world.nodes if node.seat != 0)
    assert len(world.decided) == 1


@pytest.mark.parametrize("seed", range(30))
def test_row_5_leader_equivocates(seed):
    world = decided(World(4, seed, byzantine={0: Equivocator()}, gossip=True), 60_000)
    conflicts = [e for e in world.refused if e.rejection is Rejection.CONFLICT]
    assert {e.author for e in conflicts} <= {KEYS[0].node_id}
    assert conflicts, "the double signature is noticed"


@pytest.mark.parametrize("members", [4, 7, 10])
def test_row_6_f_bad_leaders_in_a_row(members):
    f = (members - 1) // 3
    world = decided(World(members, 1, Faults(ready=20), byzantine={seat: Adversary() for seat in range(f)}), 60_000)
    assert world.last_decision <= spent(f) + T0


def test_row_7_f_members_withhold_votes():
    full = decided(World(7, 3, Faults(ready=20, delay=(40, 50))), 60_000)
    withheld = decided(World(7, 3, Faults(ready=20, delay=(40, 50)), byzantine={3: Adversary(), 5: Adversary()}), 60_000)
    assert withheld.last_decision <= 1.5 * full.last_decision


def test_row_8_f_plus_1_withhold_then_resume():
    heal = 20_000
    world = World(4, 2, Faults(heal=heal, drop=lambda source, target, message: source in {2, 3}))
    world.run(heal - 1)
    assert world.decided == {}, "no quorum is ever lowered by a timer"
    assert decided(world, heal + 2 * VMAX).last_decision <= heal + 2 * VMAX


@pytest.mark.parametrize("members", [2, 4, 6, 7, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_row_9_and_53_halves_halt_and_meet(members, seed):
    heal = 20_000
    half = frozenset(range(members // 2))
    world = World(members, seed, Faults(heal=heal, groups=(half, frozenset(range(members)) - half)))
    world.run(heal - 1)
    assert world.decided == {}
    decided(world, heal + 2 * VMAX)


def test_row_53_halves_paused_at_different_views():
    """Given two members timed up to view 5 and two that stand in view 0, when they meet, then they decide within 2 T(vmax)."""
    heal = 10_000
    late = frozenset({2, 3})
    world = World(4, 5, Faults(heal=heal, drop=lambda source, target, message: target in late or source in late))
    for seat in (0, 1):
        world.nodes[seat].disk.votes.append(vote(world.instance, seat, ViewChange, 5))
    decided(world, heal + 2 * VMAX)


def test_row_10_a_cut_off_minority_is_told():
    world = World(7, 1, Faults(heal=5_000, groups=(frozenset({0, 1, 2, 3, 4}), frozenset({5, 6}))))
    world.run(4_999)
    assert {node.seat for node in world.nodes if node.certificate is not None} == {0, 1, 2, 3, 4}
    assert decided(world, 25_000).last_decision <= 25_000


@pytest.mark.parametrize("seed", SEEDS)
def test_row_11_one_way_partition(seed):
    """Given the leader hears everybody and nobody hears it, then the others decide within S(2)."""
    world = World(4, seed, Faults(heal=60_000, one_way=frozenset((0, other) for other in (1, 2, 3))))
    world.run(spent(2))
    assert all(node.certificate is not None for node in world.nodes if node.seat != 0)


def test_row_12_a_fifth_of_all_messages_lost():
    times = []
    for seed in range(20):
        world = World(4, seed, Faults(heal=10**6, loss=0.2))
        world.run(30_000)
        times.append(world)
    assert sum(world.all_decided for world in times) >= len(times) * 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_row_13_duplicates_and_reordering(seed):
    world = decided(World(4, seed, Faults(duplicates=0.9, delay=(0, 300))), 60_000)
    assert world.refused == []


@pytest.mark.parametrize("seed", SEEDS)
def test_row_14_long_delays_then_normal(seed):
    heal = 30_000
    decided(World(4, seed, Faults(heal=heal, slow=(9 * T0, 11 * T0))), heal + 2 * VMAX)


def matrix():
    """Every signed kind with every bound field of another instance, under a true signature."""
    others = {
        Rejection.WRONG_CHAIN: {"chain": make_instance(name=b"other").chain},
        Rejection.WRONG_ROUND: {"round": 1},
        Rejection.WRONG_EPOCH: {"epoch": 1},
        Rejection.WRONG_COMMITTEE: {"committee": make_instance(5).committee_hash},
        Rejection.WRONG_PARENT: {"parent": make_instance(round_=3).parent},
    }
    for rejection, fields in others.items():
        for kind in (PrePrepare, Prepare, Commit, ViewChange):
            yield pytest.param(kind, fields, rejection, id=f"{kind.__name__}-{rejection.value}")


@pytest.mark.parametrize(("kind", "fields", "rejection"), list(matrix()))
def test_rows_28_29_and_35_a_message_of_another_instance_is_refused(kind, fields, rejection):
    play = Playbook(1)
    if kind is ViewChange:
        message = view_change(I4, 2, 1)
        message = type(message)(vote(I4, 2, kind, 1, **fields), (), None)
    elif kind is PrePrepare:
        message = type(pre_prepare(I4, 0, A))(vote(I4, 0, kind, 0, digest=DA, proposal=A, **fields), (), ())
    else:
        message = vote(I4, 2, kind, 0, digest=DA, **fields)
    assert play.refusal(message) is rejection
    assert play.verifier.calls == 0, "no signature is verified before the cheap checks"


def test_row_29_a_prepare_replayed_as_a_commit_is_refused():
    prepare = vote(I4, 2, Prepare, 0, digest=DA)
    replay = Envelope(prepare.author, encode(body_of(I4, Commit, 0, digest=DA)), prepare.signature)
    assert Playbook(1).refusal(replay) is Rejection.BAD_SIGNATURE


def test_row_29_a_vote_replayed_in_another_view_is_refused():
    prepare = vote(I4, 2, Prepare, 0, digest=DA)
    replay = Envelope(prepare.author, encode(body_of(I4, Prepare, 1, digest=DA)), prepare.signature)
    assert Playbook(1).refusal(replay) is Rejection.BAD_SIGNATURE


def test_row_30_stale_views_change_nothing():
    """Given a member in view 3, when messages of lower views come, then nothing is refused, signed or moved."""
    play = Playbook(1)
    play.give_all(view_change(I4, seat, 3) for seat in (0, 2))
    stale = [vote(I4, 2, Prepare, 1, digest=DA), pre_prepare(I4, 0, A), view_change(I4, 3, 2), vote(I4, 2, Prepare, 0, digest=DB)]
    assert play.give_all(stale) == ()
    assert play.machine.view == 3


def test_row_31_future_views_in_bulk_are_bounded_and_move_nothing():
    play = Playbook(1)
    assert play.refusal(vote(I4, 2, Prepare, WINDOW + 1, digest=DA)) is Rejection.WRONG_VIEW
    assert play.refusal(vote(I4, 2, Commit, 2**31, digest=DA)) is Rejection.WRONG_VIEW
    for view in range(1, 200):
        assert play.give(view_change(I4, 2, view)) == ()
    assert play.machine.view == 0
    assert len(play.machine._view_changes._by_author[KEYS[2].node_id]) <= VIEW_CHANGES_PER_AUTHOR
    assert play.machine._view_changes.highest()[KEYS[2].node_id] == 199


def test_row_31_commits_of_one_author_are_bounded():
    play = Playbook(1)
    for view in range(2, 60, 2):
        play.give_all(view_change(I4, seat, view) for seat in (0, 2))
        play.give_all(vote(I4, 3, Commit, view + ahead, digest=DA) for ahead in (0, 1))
    slots = play.machine._commits._slots[KEYS[3].node_id]
    assert len(slots) == VOTES_PER_AUTHOR
    assert max(slots) == 59
    assert len(play.machine._commits._groups) == VOTES_PER_AUTHOR


def prepares_of_another_instance():
    """Proofs of which one prepare is true, for this view and digest, and cast elsewhere: the message around it tells nothing."""
    for name, fields in (
        ("round", {"round": 1}),
        ("epoch", {"epoch": 1}),
        ("chain", {"chain": make_instance(name=b"other").chain}),
    ):
        votes = tuple(vote(I4, seat, Prepare, 0, digest=DA, **(fields if seat == 3 else {})) for seat in (0, 2, 3))
        yield f"a prepare of another {name}", votes
    yield "a stranger's prepare", tuple(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 8))


def justifications():
    changes = [view_change(I4, seat, 1).view_change for seat in range(4)]
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    named = view_change(I4, 3, 1, prepared).view_change
    twice = [changes[2], changes[2], changes[3]]
    forged = Envelope(changes[3].author, changes[3].payload, Signature(bytes(64)))
    stranger = seal(body_of(I4, ViewChange, 1), KEYS[8]).envelope
    other_view = view_change(I4, 3, 2).view_change
    wrong_view = [vote(I4, seat, Prepare, 0 if seat else 1, digest=DA) for seat in (0, 2, 3)]
    wrong_digest = [vote(I4, seat, Prepare, 0, digest=DB if seat == 3 else DA) for seat in (0, 2, 3)]
    good = (changes[1], changes[2], named)
    yield pytest.param(A, changes[1:3], (), id="too few view-changes")
    yield pytest.param(A, twice, (), id="an author twice")
    yield pytest.param(A, [*changes[1:3], forged], (), id="a forged view-change")
    yield pytest.param(A, [*changes[1:3], stranger], (), id="a stranger's view-change")
    yield pytest.param(A, [*changes[1:3], other_view], (), id="a view-change for another view")
    yield pytest.param(A, changes[1:], prepared.prepares, id="a proof for nothing")
    yield pytest.param(B, good, (), id="another segment than the prepared one, without proof")
    yield pytest.param(B, good, prepared.prepares, id="another segment than the prepared one")
    yield pytest.param(A, good, (), id="no prepared proof")
    yield pytest.param(A, good, prepared.prepares[:2], id="too few prepares")
    yield pytest.param(A, good, [prepared.prepares[0]] * 3, id="a prepare thrice")
    yield pytest.param(A, good, wrong_view, id="a prepare of another view")
    yield pytest.param(A, good, wrong_digest, id="a prepare for another digest")
    for name, prepares in prepares_of_another_instance():
        yield pytest.param(A, good, prepares, id=name)
    yield pytest.param(
        A,
        [*changes[1:3], vote(I4, 3, ViewChange, 1, prepared_view=1, prepared_digest=DA)],
        prepared.prepares,
        id="prepared in its own view",
    )


@pytest.mark.parametrize(("proposal", "changes", "prepares"), list(justifications()))
def test_row_33_a_forged_justification_is_refused(proposal, changes, prepares):
    """Given a bad justification under a true pre-prepare, then it is refused, and the good one is still taken afterwards."""
    play = Playbook(0)
    assert play.refusal(pre_prepare(I4, 1, proposal, view_changes=changes, prepares=prepares)) is Rejection.BAD_JUSTIFICATION
    assert play.machine.view == 0
    good = [view_change(I4, seat, 1).view_change for seat in (1, 2, 3)]
    assert play.refusal(pre_prepare(I4, 1, make_proposal(3, view=1), view_changes=good)) is None
    assert play.machine.view == 1


def test_row_33_of_two_prepared_segments_the_later_is_proposed_again():
    """Given view-changes that name A prepared in view 0 and B in view 1, then only B may be proposed in view 2."""
    older, newer = prepared_by(I4, 0, A, [0, 2, 3]), prepared_by(I4, 1, B, [0, 1, 3])
    named = (view_change(I4, 1, 2), view_change(I4, 2, 2, older), view_change(I4, 3, 2, newer))
    changes = [message.view_change for message in named]
    play = Playbook(0)
    wrong = pre_prepare(I4, 2, A, view_changes=changes, prepares=older.prepares)
    assert play.refusal(wrong) is Rejection.BAD_JUSTIFICATION
    assert play.refusal(pre_prepare(I4, 2, B, view_changes=changes, prepares=newer.prepares)) is None


def claims():
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    message = view_change(I4, 2, 1, prepared)
    yield pytest.param(type(message)(message.view_change, (), A), Rejection.BAD_JUSTIFICATION, id="no prepares")
    yield pytest.param(type(message)(message.view_change, message.prepares, None), Rejection.BAD_JUSTIFICATION, id="no proposal")
    yield pytest.param(
        view_change(I4, 2, 1, Prepared(View(0), DA, A, (prepared.prepares[0],) * 3)),
        Rejection.BAD_JUSTIFICATION,
        id="an author thrice",
    )
    yield pytest.param(
        view_change(I4, 2, 1, prepared_by(I4, 1, A, [0, 2, 3])), Rejection.BAD_JUSTIFICATION, id="prepared in its own view"
    )
    for name, prepares in prepares_of_another_instance():
        yield pytest.param(view_change(I4, 2, 1, Prepared(View(0), DA, A, prepares)), Rejection.BAD_JUSTIFICATION, id=name)
    half = vote(I4, 2, ViewChange, 1, prepared_view=0)
    yield pytest.param(type(message)(half, (), None), Rejection.MALFORMED, id="a view without a digest")
    plain = view_change(I4, 2, 1).view_change
    yield pytest.param(type(message)(plain, prepared.prepares, A), Rejection.BAD_JUSTIFICATION, id="a proof that it doesn't name")
    wrong = Envelope(plain.author, plain.payload, Signature(bytes(64)))
    yield pytest.param(type(message)(wrong, (), None), Rejection.BAD_SIGNATURE, id="a wrong signature")


@pytest.mark.parametrize(("message", "rejection"), list(claims()))
def test_row_33_a_view_change_with_a_bad_proof_is_refused(message, rejection):
    play = Playbook(0)
    assert play.refusal(message) is rejection
    assert play.refusal(view_change(I4, 3, 1)) is None
    assert play.machine.view == 0, "f + 1 that count would have moved it"
    assert play.refusal(view_change(I4, 2, 1)) is None
    assert play.machine.view == 1


def test_a_pre_prepare_by_another_than_the_leader_is_refused():
    assert Playbook(1).refusal(pre_prepare(I4, 0, A, seat=2)) is Rejection.NOT_LEADER


def test_a_stranger_is_refused_before_anything_is_decoded():
    assert Playbook(1).refusal(Envelope(KEYS[9].node_id, b"\x00", Signature(bytes(64)))) is Rejection.NOT_COMMITTEE


def test_each_distinct_signature_is_verified_once():
    play = Playbook(1)
    bad = Envelope(KEYS[2].node_id, encode(body_of(I4, Prepare, 0, digest=DA)), Signature(bytes(64)))
    for _ in range(5):
        assert play.refusal(bad) is Rejection.BAD_SIGNATURE
    assert play.verifier.calls == 1
    prepares = [vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 3)]
    play.give_all(prepares)
    play.give_all(view_change(I4, seat, 1, Prepared(View(0), DA, A, tuple(prepares))) for seat in (0, 2, 3))
    assert play.verifier.calls == 1 + 3 + 3, "the same three prepares stand in all three view-changes"


# Bugs that others had


@pytest.mark.parametrize("seed", SEEDS)
def test_no_deadlock_of_locks_without_certificates(seed):
    """Given one member alone is prepared on A, when the others choose freely without it, then it prepares their segment."""

    def lost(source, target, message):
        if kind_of(message) is Prepare and view_of(message) == 0:
            return target != 3
        return source == 3 and view_of(message) <= 1

    world = World(4, seed, Faults(heal=60_000, drop=lost))
    world.run(spent(3))
    assert world.all_decided


def test_a_single_large_view_stalls_nothing():
    """Given f liars that ask for the last view there is, then view 0 decides as if they hadn't."""

    class Shouter(Adversary):
        def begin(self, world, seat):
            for _ in range(5):
                world.send(seat, view_change(world.instance, seat, 2**32))

    world = decided(World(4, 1, byzantine={3: Shouter()}), 10_000)
    assert world.last_decision < T0


def test_messages_of_an_old_view_mean_nothing_after_promotion():
    """Given seat 1 leads view 1, when prepares of view 0 come late, then they are not counted towards its own proposal."""
    play = Playbook(1)
    play.give(CardsReady())
    play.expire()
    play.give_all(view_change(I4, seat, 1) for seat in (2, 3))
    assert play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 3)) == ()
    assert play.machine.prepared is None


def test_back_off_has_a_cap():
    """T(v) doubles to 16 T0, then once in eight views, to 256."""
    factors = {0: 1, 1: 2, 2: 4, 3: 8, 4: 16, 5: 16, 11: 16, 12: 32, 19: 32, 20: 64, 28: 128, 36: 256, 44: 256, 2**32: 256}
    assert {view: timeout(View(view), T0) // T0 for view in factors} == factors


def test_what_heals_waits_a_quarter_of_the_time_for_which_it_stood():
    """No view lasts longer than a quarter of all views before it, or than 16 T0."""
    spent = 0
    for view in map(View, range(200)):
        lasts = timeout(view, T0)
        assert lasts <= max(16 * T0, spent / 4), view
        spent += lasts


def test_keys_and_signatures_of_any_shape_raise_nothing():
    """Given a committee with a key that is no curve point, when its votes come, then they are refused like any bad signature."""
    instance = make_instance(3)
    broken = type(instance)(
        instance.chain, instance.round, instance.epoch, instance.parent, (*instance.committee, bytes([255]) * 32), T0
    )
    play = Playbook(0, instance=broken)
    payload = encode(body_of(broken, Prepare, 0, digest=DA))
    for signature in (bytes(64), bytes([255]) * 64):
        assert play.refusal(Envelope(broken.committee[3], payload, Signature(signature))) is Rejection.BAD_SIGNATURE


def test_commits_of_one_author_never_count_twice():
    play = Playbook(1)
    commit = vote(I4, 2, Commit, 0, digest=DA)
    assert play.give_all([commit] * 5 + [vote(I4, 3, Commit, 0, digest=DA)] * 5) == ()


def test_votes_for_other_digests_or_views_are_not_added_up():
    play = Playbook(1)
    votes = [vote(I4, 0, Commit, 0, digest=DA), vote(I4, 2, Commit, 1, digest=DA), vote(I4, 3, Commit, 0, digest=DB)]
    assert play.give_all(votes) == ()


def test_refusals_name_the_reason_and_the_author():
    (refused,) = Playbook(1).give(vote(I4, 2, Commit, 100, digest=Digest(bytes(32))))
    assert isinstance(refused, Refused)
    assert refused.author == KEYS[2].node_id
    assert "view 100" in refused.text


def test_a_member_outside_the_committee_signs_nothing_that_counts():
    outsider = Identity(bytes([99]) * 32)
    envelope = seal(body_of(I4, Commit, 0, digest=DA), outsider).envelope
    assert Playbook(1).refusal(envelope) is Rejection.NOT_COMMITTEE


def test_a_forger_moves_nobody():
    world = decided(World(7, 11, Faults(heal=3_000, loss=0.2), byzantine={0: Forger(), 4: Forger()}), 100_000)
    assert len(world.decided) == 1
    assert max(node.machine.view for node in world.honest) < 20


def test_broadcasts_are_deterministic():
    assert [e for e in Playbook(1).give_all([CardsReady(), pre_prepare(I4, 0, A)]) if isinstance(e, Broadcast)] == []
    traces = {World(5, 9, Faults(heal=4_000, loss=0.3, crashes=4)).run(60_000).trace.hexdigest() for _ in range(2)}
    assert len(traces) == 1, "the same seed gives the same trace"
