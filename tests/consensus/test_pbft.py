"""Step tables: one machine, one input, exactly these effects."""

from dataclasses import replace

import pytest

from bflcd.consensus.certificate import certificate_of
from bflcd.consensus.effects import (
    Broadcast,
    Build,
    Check,
    Decided,
    PersistPrepared,
    PersistVote,
    Refused,
    Relay,
    ViewEntered,
)
from bflcd.consensus.events import Built, CardsReady, Checked, Prepared
from bflcd.consensus.pbft import MAX_VIEW, Pbft
from bflcd.consensus.status import Phase
from bflcd.errors import InvariantError, Rejection
from bflcd.ledger.operations.evidence import evidence_of
from bflcd.types import Millis, View
from bflcd.wire.messages import Commit, JustifiedViewChange, Prepare, PrePrepare, ViewChange
from bflcd.wire.proposal import proposal_id
from tests.helpers.consensus import (
    KEYS,
    T0,
    Playbook,
    digest_of,
    make_instance,
    make_proposal,
    pre_prepare,
    prepared_by,
    round_trip,
    signed_commits,
    view_change,
    vote,
)

A, B = make_proposal(1), make_proposal(2)
DA, DB = digest_of(A), digest_of(B)
I4 = make_instance()


def in_view_1(seat: int) -> Playbook:
    """A member that asked for view 1 after its own time in view 0 was over."""
    play = Playbook(seat)
    play.give(CardsReady())
    play.expire()
    return play


def sent(envelope):
    return (PersistVote(envelope), Broadcast(envelope))


def test_the_leader_builds_proposes_and_prepares():
    play = Playbook(0)
    assert play.give(CardsReady()) == (ViewEntered(View(0), KEYS[0].node_id), Build(View(0)))
    message = pre_prepare(I4, 0, A)
    assert play.give(Built(View(0), A, DA)) == (
        PersistVote(message.pre_prepare),
        Broadcast(message),
        *sent(vote(I4, 0, Prepare, 0, digest=DA)),
    )
    assert round_trip(message)


def test_cards_ready_twice_builds_once_and_starts_the_timer_once():
    play = Playbook(0)
    play.give(CardsReady())
    deadline = play.machine.deadline()
    play.now = Millis(500)
    assert play.give(CardsReady()) == ()
    assert play.machine.deadline() == deadline == T0


def test_a_member_checks_then_prepares_then_commits_then_decides():
    play = Playbook(1)
    play.give(CardsReady())
    assert play.give(pre_prepare(I4, 0, A)) == (Check(A, DA, View(0), KEYS[0].node_id),)
    assert play.machine.phase is Phase.CHECKING
    assert play.right(A) == sent(vote(I4, 1, Prepare, 0, digest=DA))
    assert (play.machine.phase, play.machine.missing) == (Phase.PREPARING, (KEYS[0].node_id, KEYS[2].node_id, KEYS[3].node_id))
    assert play.give(vote(I4, 0, Prepare, 0, digest=DA)) == ()
    prepared = Prepared(View(0), DA, A, tuple(sorted(prepared_by(I4, 0, A, [0, 1, 3]).prepares, key=lambda e: e.author)))
    assert play.give(vote(I4, 3, Prepare, 0, digest=DA)) == (
        PersistPrepared(prepared),
        *sent(vote(I4, 1, Commit, 0, digest=DA)),
    )
    assert (play.machine.phase, play.machine.missing) == (Phase.COMMITTING, (KEYS[0].node_id, KEYS[2].node_id, KEYS[3].node_id))
    assert play.give(vote(I4, 2, Commit, 0, digest=DA)) == ()
    certificate = certificate_of(signed_commits(I4, [0, 1, 2], DA))
    assert play.give(vote(I4, 0, Commit, 0, digest=DA)) == (Decided(certificate, A),)
    assert play.machine.phase is Phase.DECIDED
    assert play.machine.deadline() is None
    assert play.give(vote(I4, 3, Commit, 0, digest=DA)) == ()
    assert play.wait(100_000) == ()


def test_no_commit_before_the_segment_is_durable_here():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    assert play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 3)) == ()
    kinds = [type(effect) for effect in play.right(A)]
    assert kinds == [PersistVote, Broadcast, PersistPrepared, PersistVote, Broadcast]


def test_a_quorum_of_commits_decides_without_the_segment():
    play = Playbook(1)
    effects = play.give_all(vote(I4, seat, Commit, 0, digest=DA) for seat in (0, 2, 3))
    assert effects == (Decided(certificate_of(signed_commits(I4, [0, 2, 3], DA)), None),)


def test_commits_of_a_view_that_was_left_still_decide():
    play = in_view_1(1)
    effects = play.give_all(vote(I4, seat, Commit, 0, digest=DA) for seat in (0, 2, 3))
    assert effects == (Decided(certificate_of(signed_commits(I4, [0, 2, 3], DA)), None),)


def test_a_segment_that_does_not_check_is_not_prepared():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    effects = play.give(Checked(A, DA, Rejection.BAD_SEGMENT))
    assert [(type(e), e.author, e.rejection, e.proven) for e in effects] == [
        (Refused, KEYS[0].node_id, Rejection.BAD_SEGMENT, True)
    ]
    assert play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 3)) == ()


@pytest.mark.parametrize("lack", [Rejection.BUSY, Rejection.UNAVAILABLE])
def test_a_leader_is_not_to_blame_for_what_we_could_not_check(lack: Rejection):
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    (refused,) = play.give(Checked(A, DA, lack))
    assert (refused.rejection, refused.proven) == (lack, False)


def test_alone_a_member_decides_at_once():
    play = Playbook(0, instance=make_instance(1))
    assert play.give(CardsReady())[-1] == Build(View(0))
    effects = play.give(Built(View(0), A, DA))
    assert [type(e) for e in effects] == [
        PersistVote,
        Broadcast,
        PersistVote,
        Broadcast,
        PersistPrepared,
        PersistVote,
        Broadcast,
        Decided,
    ]


def test_expiry_asks_for_the_next_view_and_times_it_only_with_a_quorum():
    play = Playbook(2)
    play.give(CardsReady())
    own = view_change(I4, 2, 1)
    assert play.expire() == (PersistVote(own.view_change), Broadcast(own))
    assert play.now == T0
    assert play.machine.phase is Phase.VIEW_CHANGE
    for _ in range(20):
        due = play.machine.deadline()
        play.now = due
        assert play.machine.tick(due) == (Broadcast(own),), "only re-sent, never timed"
    assert play.machine.view == 1
    assert play.give(view_change(I4, 0, 1)) == ()
    assert play.machine.missing == (KEYS[1].node_id, KEYS[3].node_id)
    assert play.give(view_change(I4, 3, 1)) == (ViewEntered(View(1), KEYS[1].node_id),)
    before = play.now
    play.expire()
    assert play.now - before == 2 * T0


def test_view_changes_for_higher_views_time_a_view_too():
    play = in_view_1(2)
    play.give(view_change(I4, 0, 1))
    assert play.give(view_change(I4, 3, 5)) == (ViewEntered(View(1), KEYS[1].node_id),)


def test_f_plus_1_pull_along_and_one_does_not():
    play = Playbook(2)
    assert play.give(view_change(I4, 0, 7)) == ()
    own = view_change(I4, 2, 3)
    assert play.give(view_change(I4, 1, 3)) == (
        PersistVote(own.view_change),
        Broadcast(own),
        ViewEntered(View(3), KEYS[3].node_id),
    )


def test_free_choice_builds_with_a_justification():
    play = in_view_1(1)
    play.give(view_change(I4, 2, 1))
    assert play.give(view_change(I4, 3, 1)) == (ViewEntered(View(1), KEYS[1].node_id), Build(View(1)))
    changes = [view_change(I4, seat, 1).view_change for seat in (1, 2, 3)]
    built = make_proposal(2, view=1)
    message = pre_prepare(I4, 1, built, view_changes=sorted(changes, key=lambda e: e.author))
    assert play.give(Built(View(1), built, digest_of(built)))[:2] == (PersistVote(message.pre_prepare), Broadcast(message))
    assert round_trip(message)


def test_a_prepared_segment_is_checked_and_proposed_again_with_its_proof():
    play = in_view_1(1)
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    play.give(view_change(I4, 2, 1))
    assert play.give(view_change(I4, 3, 1, prepared)) == (
        ViewEntered(View(1), KEYS[1].node_id),
        Check(A, DA, View(1), KEYS[3].node_id, reproposal=True),
    )
    envelopes = [view_change(I4, 1, 1), view_change(I4, 2, 1), view_change(I4, 3, 1, prepared)]
    changes = sorted((m.view_change for m in envelopes), key=lambda e: e.author)
    message = pre_prepare(I4, 1, A, view_changes=changes, prepares=prepared.prepares)
    assert play.right(A) == (
        PersistVote(message.pre_prepare),
        Broadcast(message),
        *sent(vote(I4, 1, Prepare, 1, digest=DA)),
    )


def test_a_proposal_swapped_on_the_way_is_refused_and_the_true_one_still_counts():
    """Given a relay that puts another proposal beside an honest view-change, when the true copy comes, then it is re-proposed."""
    play = in_view_1(1)
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    true = view_change(I4, 3, 1, prepared)
    play.give(view_change(I4, 2, 1))
    assert play.refusal(replace(true, proposal=B)) is Rejection.BAD_JUSTIFICATION
    assert play.give(true)[-1] == Check(A, DA, View(1), KEYS[3].node_id, reproposal=True)
    assert play.right(A)[1].message.pre_prepare == pre_prepare(I4, 1, A).pre_prepare


def test_a_prepared_segment_that_could_not_be_checked_is_left_out():
    play = in_view_1(1)
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    play.give(view_change(I4, 2, 1))
    assert play.give(view_change(I4, 3, 1, prepared))[-1] == Check(A, DA, View(1), KEYS[3].node_id, reproposal=True)
    assert play.give(Checked(A, DA, Rejection.BUSY)) == ()
    assert play.give(view_change(I4, 0, 1))[-1] == Build(View(1))


def test_a_re_proposal_has_the_proposal_that_was_prepared():
    """Given a leader that re-proposes the prepared digest with another proposal, then nobody spends time on it."""
    play = in_view_1(2)
    prepared = prepared_by(I4, 0, A, [0, 2, 3])
    changes = [view_change(I4, seat, 1, prepared if seat == 3 else None).view_change for seat in (0, 1, 3)]
    proof = {"view_changes": changes, "prepares": prepared.prepares}
    assert play.refusal(pre_prepare(I4, 1, B, segment=DA, **proof)) is Rejection.BAD_JUSTIFICATION
    assert play.give(pre_prepare(I4, 1, A, **proof))[-1] == Check(A, DA, View(1), KEYS[1].node_id, reproposal=True)


def test_prepares_that_name_different_proposals_do_not_add_up():
    """Given a liar whose prepare names the right segment and another proposal, then it is none of the quorum."""
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    assert play.right(A) == sent(vote(I4, 1, Prepare, 0, digest=DA))
    play.give(vote(I4, 2, Prepare, 0, digest=DA))
    assert play.give(vote(I4, 3, Prepare, 0, digest=DA, proposal=proposal_id(B))) == ()
    (persisted, *_) = play.give(vote(I4, 0, Prepare, 0, digest=DA))
    assert {prepare.author for prepare in persisted.prepared.prepares} == {KEYS[seat].node_id for seat in (0, 1, 2)}


def test_a_justified_pre_prepare_moves_to_its_view_and_times_it():
    play = Playbook(0)
    play.give(CardsReady())
    sixth = make_proposal(1, view=6)
    message = pre_prepare(I4, 6, sixth, view_changes=[view_change(I4, seat, 6).view_change for seat in (1, 2, 3)])
    assert play.give(message) == (
        ViewEntered(View(6), KEYS[2].node_id),
        Check(sixth, digest_of(sixth), View(6), KEYS[2].node_id),
    )
    assert play.right(sixth) == sent(vote(I4, 0, Prepare, 6, digest=digest_of(sixth)))


@pytest.mark.parametrize(("view", "says"), [(0, 1), (0, 4), (1, 0), (1, 2), (1, 5)])
def test_a_first_proposal_says_its_own_view(view, says):
    """Given a leader with a free choice, when its proposal says another view, even one that it leads too, then it is refused: the
    draw would be another leader's, or others would have failed."""
    claims = [view_change(I4, seat, view).view_change for seat in (0, 1, 2)] if view else []
    wrong, right = (pre_prepare(I4, view, make_proposal(1, view=v), view_changes=claims) for v in (says, view))
    play = Playbook(3)
    assert play.refusal(wrong) is Rejection.BAD_DRAW
    assert play.refusal(right) is None


def test_what_an_earlier_leader_proposed_and_nobody_prepared_is_no_first_proposal_of_a_later_view():
    """Given a segment of view 0 that was found right, when the leader of view 1 shows that nothing is prepared and proposes that
    segment for its own, so as to choose between the two draws, then it is refused though every member has it."""
    play = Playbook(3)
    play.give(pre_prepare(I4, 0, A))
    play.right(A)
    claims = [view_change(I4, seat, 1).view_change for seat in (0, 1, 2)]
    assert play.refusal(pre_prepare(I4, 1, A, view_changes=claims)) is Rejection.BAD_DRAW
    assert play.refusal(pre_prepare(I4, 1, make_proposal(1, view=1), view_changes=claims)) is None


def test_a_prepared_member_names_its_segment():
    play = Playbook(1)
    play.give(CardsReady())
    play.give(pre_prepare(I4, 0, A))
    play.right(A)
    play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2))
    own = view_change(I4, 1, 1, play.machine.prepared)
    assert isinstance(own, JustifiedViewChange)
    assert play.expire()[:2] == (PersistVote(own.view_change), Broadcast(own))
    assert round_trip(own)


def test_votes_are_sent_again_with_growing_gaps_up_to_t0():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    play.right(A)
    own, times = vote(I4, 1, Prepare, 0, digest=DA), []
    for _ in range(6):
        play.now = play.machine.deadline()
        assert play.machine.tick(play.now) == (Broadcast(own),)
        times.append(play.now)
    assert times == [250, 750, 1750, 2750, 3750, 4750]


def test_a_clock_that_jumps_neither_spins_nor_crashes():
    play = Playbook(1)
    play.now = Millis(5_000_000)
    play.give(CardsReady())
    play.now = Millis(1_000_000)
    assert play.machine.tick(play.now) == ()
    assert play.machine.deadline() == 1_000_000 + T0
    play.now = Millis(900_000_000)
    assert [type(effect) for effect in play.machine.tick(play.now)] == [PersistVote, Broadcast]
    assert play.machine.deadline() > play.now
    assert play.machine.tick(play.now) == ()


def test_without_a_signer_it_follows_and_decides_and_says_nothing():
    play = Playbook(None)
    assert play.give(CardsReady()) == (ViewEntered(View(0), KEYS[0].node_id),)
    assert play.machine.deadline() is None
    play.give(pre_prepare(I4, 0, A))
    assert play.right(A) == ()
    assert play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in range(4)) == ()
    assert play.give_all(view_change(I4, seat, 2) for seat in (0, 1)) == ()
    assert play.machine.view == 2
    effects = play.give_all(vote(I4, seat, Commit, 0, digest=DA) for seat in (0, 1, 2))
    assert [type(effect) for effect in effects] == [Decided]


def test_the_last_view_is_not_left():
    play = Playbook(0, instance=make_instance(1))
    assert play.machine.view == 0
    two = Playbook(0, instance=make_instance(2))
    two.give(CardsReady())
    two.give(view_change(two.instance, 1, MAX_VIEW))
    assert two.machine.view == MAX_VIEW
    for _ in range(100):
        due = two.machine.deadline()
        two.now = due
        two.machine.tick(due)
    assert two.machine.view == MAX_VIEW


def test_a_conflict_is_reported_for_every_kind_and_costs_no_vote():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    assert play.refusal(pre_prepare(I4, 0, B)) is Rejection.CONFLICT
    for kind in (Prepare, Commit):
        assert play.refusal(vote(I4, 2, kind, 0, digest=DA)) is None
        assert play.refusal(vote(I4, 2, kind, 0, digest=DB)) is Rejection.CONFLICT
        assert play.refusal(vote(I4, 2, kind, 0, digest=DA)) is None
    assert play.right(A) == sent(vote(I4, 1, Prepare, 0, digest=DA))
    others = (KEYS[0].node_id, KEYS[3].node_id)
    assert (play.machine.phase, play.machine.missing) == (Phase.PREPARING, others)
    play.give(vote(I4, 0, Prepare, 0, digest=DA))
    assert (play.machine.phase, play.machine.missing) == (Phase.COMMITTING, others)
    (decided,) = play.give(vote(I4, 3, Commit, 0, digest=DA))
    assert decided == Decided(certificate_of(signed_commits(I4, [1, 2, 3], DA)), A)


@pytest.mark.parametrize("kind", [PrePrepare, ViewChange])
def test_a_bare_envelope_of_a_justified_kind_is_refused(kind):
    fields = {"digest": DA, "proposal": A} if kind is PrePrepare else {}
    assert Playbook(1).refusal(vote(I4, 0, kind, 1, **fields)) is Rejection.UNKNOWN_KIND


def test_constructor_refuses_what_can_not_be():
    with pytest.raises(InvariantError, match="no seat"):
        Pbft(I4, KEYS[7], lambda _: True)
    with pytest.raises(InvariantError, match="distinct"):
        Playbook(0, instance=make_instance(0))


def other_prepare(seat, view=0):
    """A member's prepare for another segment than ours."""
    return vote(I4, seat, Prepare, view, digest=DB)


def passed_on(effects):
    return [effect.message for effect in effects if isinstance(effect, Relay)]


@pytest.mark.parametrize("vote_first", [False, True], ids=["pre-prepare first", "prepare first"])
def test_who_hears_a_prepare_for_another_segment_passes_the_leaders_word_on_once(vote_first):
    """Given a leader that told two stories, when either half speaks, then both pre-prepares meet: that is what evidence takes."""
    play, message = Playbook(1), pre_prepare(I4, 0, A)
    inputs = [message, other_prepare(2)]
    effects = play.give_all(inputs[::-1] if vote_first else inputs)
    assert passed_on(effects) == [message]
    assert passed_on(play.give(other_prepare(3))) == []
    assert passed_on(play.right(A) + play.wait(T0 // 2)) == []


def test_the_leaders_word_stays_where_it_is_while_all_prepare_the_same():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    effects = play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2, 3))
    assert passed_on(effects + play.right(A)) == []


def test_a_commit_and_a_prepare_of_a_view_to_come_pass_nothing_on():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    assert passed_on(play.give_all([vote(I4, 2, Commit, 0, digest=DB), other_prepare(3, view=1)])) == []


def test_the_leader_itself_passes_nothing_on():
    """Its own pre-prepare is re-sent anyway; who prepared something else lies, or has evidence of another leader."""
    play = Playbook(0)
    play.give(CardsReady())
    play.give(Built(View(0), A, DA))
    assert passed_on(play.give(other_prepare(2))) == []


def test_what_was_passed_on_gives_the_other_half_its_evidence():
    """Given two halves with one pre-prepare each, when one's is passed on, then the other reports both messages."""
    one, other = pre_prepare(I4, 0, A), pre_prepare(I4, 0, B)
    left, right = Playbook(1), Playbook(2)
    left.give(one)
    right.give(other)
    (message,) = passed_on(left.give(other_prepare(2)))
    (refused,) = right.give(message)
    assert (refused.rejection, refused.proven, refused.author) == (Rejection.CONFLICT, True, KEYS[0].node_id)
    assert refused.evidence == evidence_of(one.pre_prepare, other.pre_prepare)


def test_a_new_view_has_its_own_word_to_pass_on():
    play = Playbook(3)
    play.give_all([pre_prepare(I4, 0, A), other_prepare(2)])
    claims = [view_change(I4, seat, 1).view_change for seat in (0, 1, 2)]
    message = pre_prepare(I4, 1, make_proposal(1, view=1), view_changes=claims)
    assert passed_on(play.give(message)) == []
    assert passed_on(play.give(other_prepare(2, view=1))) == [message]


@pytest.mark.parametrize("kind", [Prepare, Commit])
def test_two_votes_are_reported_with_both_messages_and_a_forged_second_one_proves_nothing(kind):
    play = Playbook(1)
    first, second = vote(I4, 2, kind, 0, digest=DA), vote(I4, 2, kind, 0, digest=DB)
    assert play.give(first) == ()
    (forged,) = play.give(replace(second, signature=first.signature))
    assert (forged.rejection, forged.evidence, forged.proven) == (Rejection.BAD_SIGNATURE, None, False)
    (refused,) = play.give(second)
    assert (refused.rejection, refused.evidence) == (Rejection.CONFLICT, evidence_of(second, first))
    assert play.give(first) == ()
