"""After a restart a member stands where its journal ends, and contradicts nothing that it signed (design 6.3)."""

import pytest

from bflcd.consensus.effects import Broadcast, Build, Check, Decided, PersistPrepared, PersistVote, ViewEntered
from bflcd.consensus.events import Built, CardsReady, Checked, Journal
from bflcd.errors import InvariantError
from bflcd.types import Millis, View
from bflcd.wire.messages import Commit, Prepare, PrePrepare, ViewChange
from tests.helpers.consensus import (
    KEYS,
    T0,
    Playbook,
    digest_of,
    make_instance,
    make_proposal,
    pre_prepare,
    prepared_by,
    view_change,
    vote,
)

A, B = make_proposal(1), make_proposal(2)
DA, DB = digest_of(A), digest_of(B)
I4 = make_instance()


def broadcasts(effects):
    return [effect.message for effect in effects if isinstance(effect, Broadcast)]


def test_a_restarted_leader_sends_the_same_pre_prepare_and_builds_nothing():
    """Given a leader that signed a pre-prepare, when it restarts and could build another, then it re-sends the first."""
    message, own = pre_prepare(I4, 0, A), vote(I4, 0, Prepare, 0, digest=DA)
    play = Playbook(0, journal=Journal((message.pre_prepare, own)))
    assert play.machine.deadline() == 0
    effects = play.give(Checked(A, DA, None)) + play.give(CardsReady()) + play.give(Built(View(0), B, DB))
    assert Build(View(0)) not in effects
    assert broadcasts(effects) == [own, message]
    assert [e for e in effects if isinstance(e, PersistVote)] == [PersistVote(message.pre_prepare)]


def test_a_restarted_member_does_not_prepare_another_segment_in_that_view():
    """Given a prepare for A, when after the restart an equivocating leader shows B, then nothing for B is signed."""
    play = Playbook(1, journal=Journal((vote(I4, 1, Prepare, 0, digest=DA),)))
    play.wait(0)
    play.give(pre_prepare(I4, 0, B))
    assert play.right(B) == ()


def test_a_restarted_prepared_member_commits():
    """Given a stored prepared certificate without the commit, when the segment is known to be durable, then it commits."""
    prepared = prepared_by(I4, 0, A, [0, 1, 2])
    play = Playbook(1, journal=Journal((vote(I4, 1, Prepare, 0, digest=DA),), prepared))
    effects = play.give(Checked(A, DA, None))
    own = vote(I4, 1, Commit, 0, digest=DA)
    assert effects == (Broadcast(vote(I4, 1, Prepare, 0, digest=DA)), PersistVote(own), Broadcast(own))


def test_a_restarted_member_stands_in_the_view_that_it_asked_for():
    """Given a view-change for view 3, when it restarts, then it takes no part in lower views and re-sends the view-change."""
    own = vote(I4, 1, ViewChange, 3)
    play = Playbook(1, journal=Journal((vote(I4, 1, Prepare, 0, digest=DA), own)))
    assert play.wait(5) == (Broadcast(view_change(I4, 1, 3)),)
    assert play.machine.view == 3
    assert play.give(pre_prepare(I4, 0, A)) == ()
    play.give(view_change(I4, 0, 3))
    assert play.give(view_change(I4, 2, 3)) == (ViewEntered(View(3), KEYS[3].node_id),)


def test_a_restarted_member_that_voted_in_a_view_times_it():
    """Given a prepare in view 2, entered by a justified pre-prepare without asking for it, when it restarts, then view 2 is timed."""
    play = Playbook(1, journal=Journal((vote(I4, 1, Prepare, 2, digest=DA),)))
    assert ViewEntered(View(2), KEYS[2].node_id) in play.wait(0)
    play.expire()
    assert (play.machine.view, play.now) == (3, 4 * T0)


def test_a_restarted_leader_of_a_later_view_waits_for_its_justification():
    """Given a signed pre-prepare of view 1, when q view-changes have come in again, then the same one is sent with them."""
    signed = pre_prepare(I4, 1, A).pre_prepare
    play = Playbook(1, journal=Journal((vote(I4, 1, ViewChange, 1), signed)))
    play.wait(0)
    play.give(view_change(I4, 0, 1))
    message = broadcasts(play.give(view_change(I4, 3, 1)))[0]
    assert message.pre_prepare == signed
    assert len(message.view_changes) == 3


def test_a_restarted_leader_does_not_send_what_is_justified_no_more():
    """Given a signed pre-prepare of view 1 for A, when the view-changes now name B prepared, then it stays silent."""
    signed = pre_prepare(I4, 1, A).pre_prepare
    play = Playbook(1, journal=Journal((vote(I4, 1, ViewChange, 1), signed)))
    play.wait(0)
    effects = play.give_all([view_change(I4, 0, 1), view_change(I4, 3, 1, prepared_by(I4, 0, B, [0, 2, 3]))])
    assert not [m for m in broadcasts(effects) if hasattr(m, "pre_prepare")]
    assert not [e for e in effects if isinstance(e, Build | Check)]


def test_a_view_change_whose_proof_was_replaced_is_not_sent_without_it():
    own = vote(I4, 1, ViewChange, 2, prepared_view=0, prepared_digest=DA)
    play = Playbook(1, journal=Journal((own, vote(I4, 1, Prepare, 2, digest=DB)), prepared_by(I4, 2, B, [0, 1, 2])))
    assert broadcasts(play.wait(0)) == [vote(I4, 1, Prepare, 2, digest=DB)]


def test_row_52_three_prepare_and_all_lose_power():
    """Given seats 0 to 2 prepared A and sent no commit, when all restart and seat 3 stays silent, then A is decided."""
    prepared = prepared_by(I4, 0, A, [0, 1, 2])
    plays = []
    for seat in range(3):
        own = [vote(I4, seat, Prepare, 0, digest=DA)] + ([pre_prepare(I4, 0, A).pre_prepare] if seat == 0 else [])
        plays.append(Playbook(seat, journal=Journal(tuple(own), prepared)))
    queue = [m for play in plays for m in broadcasts(play.give(Checked(A, DA, None)))]
    decided = []
    while queue:
        message = queue.pop(0)
        for play in plays:
            effects = play.give(message)
            queue += broadcasts(effects)
            decided += [(e.certificate.digest, e.proposal) for e in effects if isinstance(e, Decided)]
    assert decided == [(DA, A)] * 3


def test_row_52_after_a_restart_in_a_later_view_the_prepared_segment_is_proposed_again():
    """Given a member prepared in view 0 that asked for view 1, which it leads, when it restarts, then it proposes A again."""
    prepared = prepared_by(I4, 0, A, [0, 1, 2])
    own = view_change(I4, 1, 1, prepared)
    play = Playbook(1, journal=Journal((vote(I4, 1, Prepare, 0, digest=DA), own.view_change), prepared))
    assert broadcasts(play.give(Checked(A, DA, None))) == [own]
    message = broadcasts(play.give_all([view_change(I4, 2, 1), view_change(I4, 3, 1)]))[0]
    assert message.pre_prepare == pre_prepare(I4, 1, A).pre_prepare


def test_the_prepared_certificate_is_durable_before_the_commit_and_the_vote_before_it_leaves():
    play = Playbook(1)
    play.give(pre_prepare(I4, 0, A))
    play.right(A)
    effects = play.give_all(vote(I4, seat, Prepare, 0, digest=DA) for seat in (0, 2))
    assert [type(effect) for effect in effects] == [PersistPrepared, PersistVote, Broadcast]


@pytest.mark.parametrize(
    "votes",
    [
        (vote(I4, 2, Prepare, 0, digest=DA),),
        (vote(I4, 1, Prepare, 0, digest=DA), vote(I4, 1, Prepare, 0, digest=DB)),
        (vote(make_instance(round_=1), 1, Prepare, 0, digest=DA),),
        (vote(I4, 1, PrePrepare, 1, digest=DA, proposal=A), vote(I4, 1, PrePrepare, 1, digest=DB, proposal=B)),
    ],
    ids=["another author", "two prepares", "another round", "two pre-prepares"],
)
def test_a_journal_that_can_not_be_ours_stops_the_node(votes):
    with pytest.raises(InvariantError, match="journal"):
        Playbook(1, journal=Journal(votes))


def test_without_a_signer_the_journal_is_not_spoken_from():
    play = Playbook(None, journal=Journal((vote(I4, 1, Prepare, 0, digest=DA),), prepared_by(I4, 0, A, [0, 1, 2])))
    assert play.give(Checked(A, DA, None)) == ()
    play.now = Millis(60_000)
    assert play.machine.tick(play.now) == ()
