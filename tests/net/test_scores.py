import threading

from bflcd.errors import Rejection
from bflcd.net.scores import BAN_TIME, HALF_LIFE, MAX_BAN_TIME, MAX_SCORED, PeerScores
from tests.helpers.network import ManualClock, identity

PEER, OTHER = identity(1).node_id, identity(2).node_id


def test_points_decay_by_half_in_a_half_life():
    clock = ManualClock()
    scores = PeerScores(clock)
    assert not scores.punish(PEER, Rejection.BAD_BLOB)
    assert scores.score(PEER) == -40.0
    clock.time += HALF_LIFE
    assert scores.score(PEER) == -20.0
    assert scores.score(OTHER) == 0.0


def test_a_peer_that_lies_three_times_in_a_row_is_banned_and_forgiven_later():
    clock = ManualClock(5)
    scores = PeerScores(clock)
    assert [scores.punish(PEER, Rejection.BAD_BLOB) for _ in range(3)] == [False, False, True]
    assert (scores.is_banned(PEER), scores.is_banned(OTHER), scores.banned()) == (True, False, (PEER,))
    clock.time += BAN_TIME - 1
    assert scores.is_banned(PEER)
    clock.time += 1
    assert not scores.is_banned(PEER)
    assert scores.banned() == ()


def test_each_ban_lasts_twice_as_long_up_to_an_hour():
    clock = ManualClock()
    scores = PeerScores(clock)
    lengths = []
    for _ in range(9):
        while not scores.punish(PEER, Rejection.MALFORMED):
            pass
        start = clock.time
        while scores.is_banned(PEER):
            clock.time += 1000
        lengths.append(clock.time - start)
    assert lengths == [min(BAN_TIME * 2**n, MAX_BAN_TIME) for n in range(9)]


def test_slow_faults_are_forgiven_and_lag_costs_nothing():
    clock = ManualClock()
    scores = PeerScores(clock)
    for _ in range(1000):
        assert not scores.punish(PEER, Rejection.MALFORMED)
        clock.time += HALF_LIFE
        assert not scores.punish(OTHER, Rejection.WRONG_ROUND)
    assert scores.score(OTHER) == 0.0


def test_what_is_remembered_is_bounded():
    scores = PeerScores(ManualClock())
    for number in range(MAX_SCORED + 50):
        scores.punish(number.to_bytes(32, "big"), Rejection.MALFORMED)
    assert len(scores._members) == MAX_SCORED


def test_no_number_of_strangers_makes_a_members_ban_forgotten():
    """Given a banned member, when more strangers misbehave than are remembered, then it is still banned, and they are bounded."""
    scores = PeerScores(ManualClock(), lambda peer: peer == PEER)
    while not scores.punish(PEER, Rejection.MALFORMED):
        pass
    for number in range(MAX_SCORED + 50):
        scores.punish(number.to_bytes(32, "big"), Rejection.MALFORMED)
    assert scores.banned() == (PEER,)
    assert len(scores._strangers) == MAX_SCORED


def test_a_stranger_that_becomes_a_member_keeps_its_points():
    members: set[bytes] = set()
    scores = PeerScores(ManualClock(), members.__contains__)
    assert [scores.punish(PEER, Rejection.BAD_BLOB) for _ in range(2)] == [False, False]
    members.add(PEER)
    assert scores.punish(PEER, Rejection.BAD_BLOB)
    assert (len(scores._members), len(scores._strangers)) == (1, 0)


def test_the_gate_may_be_asked_in_another_thread():
    scores = PeerScores(ManualClock())
    answers = []
    thread = threading.Thread(target=lambda: answers.extend(scores.is_banned(PEER) for _ in range(100)))
    thread.start()
    for number in range(200):
        scores.punish(number.to_bytes(32, "big"), Rejection.MALFORMED)
    thread.join()
    assert answers == [False] * 100
