from random import Random

import pytest

from bflcd.crypto.identity import peer_id_of
from bflcd.net.dialing.book import (
    DENSE_PEERS,
    FIRST_DOUBT,
    MAX_ADDRESSES_PER_NODE,
    MAX_DELAY,
    MAX_DOUBT,
    MAX_TARGETS,
    QUICK_TRIES,
    TARGET_DEGREE,
    Attempt,
    DialBook,
    Source,
    at_seen_host,
    backoff,
    owner_of,
    vouchers_needed,
)
from tests.helpers.network import identity

OWN, PEER = identity(1).node_id, identity(2).node_id


def at(node, port=4001, host="127.0.0.1"):
    return f"/ip4/{host}/tcp/{port}/p2p/{peer_id_of(node)}"


def node_of(number):
    return identity(1000 + number).node_id


def due(book, now, *, busy=(), connected=0, vouchers=0, preferred=(), is_member=lambda _node: True):
    return book.due(now, busy=busy, connected=connected, vouchers=vouchers, preferred=preferred, is_member=is_member)


def test_backoff_is_quick_at_first_then_doubles_to_a_cap_with_jitter():
    middle = [backoff(failures, Random(0)) for failures in range(1, 15)]
    assert all(180 <= delay <= 320 for delay in middle[:QUICK_TRIES])
    again = [[backoff(failures, Random(seed)) for failures in range(1, 15)] for seed in range(200)]
    assert max(max(delays) for delays in again) <= MAX_DELAY
    doubled = [sum(delays[n] for delays in again) / len(again) for n in range(14)]
    assert [round(b / a) for a, b in zip(doubled[QUICK_TRIES:9], doubled[QUICK_TRIES + 1 : 10], strict=True)] == [2, 2, 2, 2]
    assert doubled[-1] == pytest.approx(24_000, rel=0.05)
    assert len({delays[-1] for delays in again}) > 100
    assert backoff(10_000, Random(1)) <= MAX_DELAY


def test_a_failing_address_is_tried_again_exactly_when_its_delay_is_over():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER), Source.CONFIGURED)
    now, gaps = 0, []
    for _ in range(12):
        last = now
        while not due(book, now):
            now += 10
        gaps.append(now - last)
        book.failed(PEER, "cannot reach", now)
        assert due(book, now) == ()
    assert gaps[0] == 0
    assert max(gaps[1 : QUICK_TRIES + 1]) <= 330
    assert sum(gaps[1:8]) < 5_000
    assert 15_000 <= gaps[-1] <= MAX_DELAY


def test_a_steady_connection_makes_its_loss_be_answered_at_once():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER), Source.CONFIGURED)
    for _ in range(10):
        book.failed(PEER, "cannot reach it: failed at connect: refused", 0)
    assert book.troubles() == ("cannot reach it: failed at connect: refused (10 tries)",)
    book.steady(PEER)
    assert due(book, 0) == (Attempt(PEER, at(PEER), trusted=True),)
    assert book.troubles() == ()


def test_all_addresses_of_a_node_take_their_turn_best_first():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER, 1), Source.HEARSAY)
    book.add(at(PEER, 2), Source.OWN_WORD)
    assert [due(book, 0)[0].address for _ in range(4)] == [at(PEER, 2), at(PEER, 1), at(PEER, 2), at(PEER, 1)]
    book.confirm(PEER, at(PEER, 1))
    assert book.known(at_least=Source.REACHED) == ((PEER, at(PEER, 1)),)


def test_hearsay_never_displaces_better_words():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER, 1), Source.CONFIGURED)
    book.add(at(PEER, 2), Source.REACHED)
    for port in range(100, 200):
        book.add(at(PEER, port), Source.HEARSAY)
    addresses = {due(book, 0)[0].address for _ in range(20)}
    assert len(addresses) == MAX_ADDRESSES_PER_NODE
    assert {at(PEER, 1), at(PEER, 2)} <= addresses


def test_targets_are_bounded_and_the_configured_stay():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER), Source.CONFIGURED)
    for number in range(MAX_TARGETS + 100):
        node = number.to_bytes(32, "big")
        book.add(at(node), Source.HEARSAY)
        book.failed(node, "no", 0)
    assert len(book) == MAX_TARGETS
    assert (PEER, at(PEER)) in book.known(at_least=Source.CONFIGURED)


def test_who_has_another_key_is_looked_for_under_that_where_the_operator_says_so():
    book, after = DialBook(OWN, Random(1)), node_of(1)
    book.add(at(PEER, 1), Source.CONFIGURED)
    book.add(at(PEER, 2), Source.OWN_WORD)
    book.rename(PEER, after)
    assert PEER not in book
    assert [attempt.address for attempt in due(book, 0)] == [at(after, 1)]
    book.rename(node_of(2), node_of(3))
    book.rename(after, OWN)
    assert len(book) == 0, "nobody dials himself"


def test_own_and_foreign_addresses_are_not_taken():
    book = DialBook(OWN, Random(3))
    assert book.add(at(OWN), Source.HEARSAY) is None
    with pytest.raises(ValueError, match="is not an address of"):
        book.add(at(PEER), Source.HEARSAY, node=OWN)
    for text in ("", "/ip4/127.0.0.1/tcp/1", "/p2p/", "/ip4/1.2.3.4/tcp/1/p2p/garbage", "/p2p/" + peer_id_of(PEER)):
        with pytest.raises(ValueError):
            book.add(text, Source.HEARSAY)
    assert len(book) == 0
    assert owner_of(at(PEER)) == PEER


def test_a_small_community_dials_everyone_who_is_not_busy():
    book = DialBook(OWN, Random(3))
    for number in range(DENSE_PEERS):
        book.add(at(node_of(number)), Source.HEARSAY)
    assert {attempt.node for attempt in due(book, 0, busy={node_of(0)}, connected=1)} == {
        node_of(n) for n in range(1, DENSE_PEERS)
    }


def test_a_large_community_dials_the_preferred_and_up_to_its_degree():
    book = DialBook(OWN, Random(3))
    for number in range(50):
        book.add(at(node_of(number)), Source.HEARSAY)
    preferred = {node_of(n) for n in range(3)}
    chosen = {attempt.node for attempt in due(book, 0, preferred=preferred)}
    assert preferred <= chosen
    assert len(chosen) == TARGET_DEGREE
    assert {attempt.node for attempt in due(book, 0, connected=20, preferred=preferred)} == preferred
    assert due(book, 0, busy=preferred, connected=TARGET_DEGREE, preferred=preferred) == ()


def test_a_node_that_listens_everywhere_is_looked_for_where_it_is_seen():
    assert at_seen_host(at(PEER, 9000, "0.0.0.0"), "/ip4/172.18.0.5/tcp/51234") == at(PEER, 9000, "172.18.0.5")
    assert at_seen_host(at(PEER, 9000), "/memory/3") == at(PEER, 9000)
    assert at_seen_host(at(PEER, 9000), "/ip4/172.18.0.5/tcp/51234", always=True) == at(PEER, 9000, "172.18.0.5")
    with pytest.raises(ValueError):
        at_seen_host(at(PEER, 9000, "0.0.0.0"), "/memory/3")


def test_who_is_no_member_is_dialled_only_where_the_operator_says_so():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER), Source.CONFIGURED)
    book.add(at(node_of(1)), Source.REACHED)
    assert due(book, 0, is_member=lambda _node: False) == (Attempt(PEER, at(PEER), trusted=True),)


def test_hearsay_is_dialled_once_enough_members_have_told_of_the_same_address():
    """Given members that tell of a node, then an address that one of them tells again and again is not dialled, one of f + 1 is."""
    book = DialBook(OWN, Random(3))
    for _ in range(10):
        book.add(at(PEER, 1), Source.HEARSAY, teller=node_of(1))
    book.add(at(PEER, 2), Source.HEARSAY, teller=node_of(2))
    assert due(book, 0, vouchers=2) == ()
    book.add(at(PEER, 2), Source.HEARSAY, teller=node_of(3))
    assert due(book, 0, vouchers=2) == (Attempt(PEER, at(PEER, 2), trusted=False),)
    assert due(book, 0, vouchers=3) == ()


@pytest.mark.parametrize(
    ("tellers", "seats", "needed"), [(0, 0, 1), (1, 4, 1), (3, 4, 1), (4, 4, 2), (100, 4, 2), (100, 10, 4), (7, 10, 3), (7, 0, 3)]
)
def test_so_many_must_tell_that_one_of_them_is_honest(tellers, seats, needed):
    assert vouchers_needed(tellers, seats) == needed


def test_hearsay_of_many_is_not_displaced_by_that_of_one():
    book = DialBook(OWN, Random(3))
    for teller in (1, 2):
        book.add(at(PEER, 1), Source.HEARSAY, teller=node_of(teller))
    for port in range(100, 200):
        book.add(at(PEER, port), Source.HEARSAY, teller=node_of(3))
    assert {due(book, 0, vouchers=2)[0].address for _ in range(8)} == {at(PEER, 1)}


def test_where_somebody_else_answers_words_are_doubted_for_longer_each_time_and_told_to_nobody():
    """Given a member that names places of others as its own, then each honest node goes to such a place once in a while only."""
    book = DialBook(OWN, Random(3))
    now, tries = 0, 0
    while now < 3_600_000:
        book.add(at(PEER, 1024 + tries), Source.OWN_WORD)
        book.steady(PEER)  # it connects in between, for as long as it likes
        found = due(book, now)
        if found:
            tries += 1
            book.failed(PEER, "no Noise there", now)
            book.answered_by_another(PEER, found[0].address, now)
            assert book.known(at_least=Source.OWN_WORD) == ()
        now += 1000
    assert 3_600_000 // MAX_DOUBT <= tries <= 2 + 3_600_000 // MAX_DOUBT + MAX_DOUBT // FIRST_DOUBT // 2


def test_a_place_that_was_proven_is_dialled_in_spite_of_doubts_and_ends_none():
    """Given a member that can be reached at one place and names others, then being reached there does not make its words better."""
    book = DialBook(OWN, Random(3))
    book.add(at(PEER, 1), Source.OWN_WORD)
    book.confirm(PEER, at(PEER, 1))
    book.add(at(PEER, 2), Source.OWN_WORD)
    book.answered_by_another(PEER, at(PEER, 2), 0)
    book.answered_by_another(PEER, at(PEER, 1), 0)
    book.confirm(PEER, at(PEER, 1))
    assert {due(book, FIRST_DOUBT - 1)[0].address for _ in range(6)} == {at(PEER, 1)}
    assert book.known(at_least=Source.OWN_WORD) == ((PEER, at(PEER, 1)),)
    assert {due(book, FIRST_DOUBT)[0].address for _ in range(6)} == {at(PEER, 1), at(PEER, 2)}


def test_doubts_of_long_ago_count_no_more():
    book = DialBook(OWN, Random(3))
    book.add(at(PEER), Source.OWN_WORD)
    book.answered_by_another(PEER, at(PEER), 0)
    later = FIRST_DOUBT + MAX_DOUBT + 1
    book.answered_by_another(PEER, at(PEER), later)
    assert due(book, later + FIRST_DOUBT - 1) == ()
    assert due(book, later + FIRST_DOUBT) != ()


def test_where_all_who_are_known_are_busy_there_is_nobody_to_dial() -> None:
    book = DialBook(OWN, Random(1))
    assert book.all_among(())
    for number in (1, 2):
        book.add(at(node_of(number)), Source.OWN_WORD)
    assert not book.all_among((node_of(1),))
    assert book.all_among((node_of(1), node_of(2), node_of(3)))
