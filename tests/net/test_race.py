"""One question to several peers: who is asked when, whose answer counts, and who is asked last the next time."""

import asyncio

import pytest

from bflcd.net.blobs.race import Race

A, B, C, D, E = (bytes([n]) * 32 for n in range(5))

PATIENCE = 0.02


class Peers:
    """Answers by peer: a value, None (no good answer), an exception, or `...` for one that stays silent."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.cancelled = []
        self.owing = 0
        self.most = 0

    async def ask(self, peer):
        self.asked.append(peer)
        self.owing += 1
        self.most = max(self.most, self.owing)
        try:
            answer = self.answers[peer]
            if answer is ...:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(peer)
            raise
        finally:
            self.owing -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def race(self, race):
        return await asyncio.wait_for(race.run(lambda: list(self.answers), self.ask), 5)


async def test_the_first_peer_that_answers_well_is_the_only_one_asked():
    peers = Peers({A: "a", B: "b"})
    assert await peers.race(Race(5)) == "a"
    assert peers.asked == [A]


async def test_a_peer_without_a_good_answer_is_followed_by_the_next_at_once():
    peers, race = Peers({A: None, B: None, C: "c"}), Race(60)
    assert await peers.race(race) == "c"
    assert peers.asked == [A, B, C]
    assert race.order([A, B, C]) == [C, A, B], "who had none is asked last the next time"
    assert [race.reliable(peer) for peer in (A, B, C)] == [False, False, True]


async def test_a_silent_peer_costs_its_patience_once_and_stands_last_from_then_on():
    race = Race(PATIENCE)
    peers = Peers({A: ..., B: "b"})
    assert await peers.race(race) == "b"
    assert peers.cancelled == [A]
    race.patience = 60.0
    peers.asked.clear()
    for _ in range(3):
        assert await peers.race(race) == "b"
    assert peers.asked == [B, B, B]


async def test_a_late_answer_counts_if_nobody_was_faster():
    peers = Peers({A: ..., B: None})
    gate = asyncio.Event()

    async def ask(peer):
        if peer == A:
            await gate.wait()
            return "late"
        gate.set()
        return await peers.ask(peer)

    race = Race(PATIENCE)
    assert await asyncio.wait_for(race.run(lambda: [A, B], ask), 5) == "late"
    assert race.order([B, A]) == [A, B]


async def test_no_more_are_asked_at_a_time_than_there_are_lanes():
    peers = Peers(dict.fromkeys((A, B, C, D, E), ...))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Race(PATIENCE / 4, lanes=2).run(lambda: list(peers.answers), peers.ask), 10 * PATIENCE)
    assert (peers.asked, peers.most, peers.owing) == ([A, B], 2, 0)


async def test_nobody_left_and_nothing_owed_is_no_answer():
    assert await Peers({}).race(Race(5)) is None
    assert await Peers({A: None, B: None}).race(Race(5)) is None


async def test_a_peer_that_comes_meanwhile_is_asked_too():
    here = {A: ...}
    peers = Peers(here)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(peers.race(Race(PATIENCE)))
        await asyncio.sleep(2 * PATIENCE)
        here[B] = "b"
    assert running.result() == "b"


async def test_a_good_answer_makes_up_for_what_was_late_before():
    race = Race(PATIENCE)
    for _ in range(3):
        race.failed(A)
    assert race.order([A, B]) == [B, A]
    assert await Peers({A: "a"}).race(race) == "a"
    assert race.order([A, B]) == [A, B]


async def test_what_a_question_raises_ends_the_race_and_the_others():
    peers = Peers({A: ..., B: OSError("disk full")})
    with pytest.raises(OSError, match="disk full"):
        await peers.race(Race(PATIENCE))
    assert (peers.cancelled, peers.owing) == ([A], 0)


async def test_a_cancelled_race_leaves_no_question_behind():
    peers = Peers({A: ..., B: ...})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(peers.race(Race(PATIENCE)))
        await asyncio.sleep(3 * PATIENCE)
        running.cancel()
    assert running.cancelled()
    assert (sorted(peers.cancelled), peers.owing) == ([A, B], 0)
