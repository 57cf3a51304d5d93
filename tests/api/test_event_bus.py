import asyncio
import logging

import pytest

from bflcd.api.event_bus import MAX_LINE_CHARS, EventBus, LogRing
from bflcd.core.node_events import EventKind
from bflcd.errors import OperatorError
from bflcd.types import Millis


def bus_of(**limits: int) -> EventBus:
    return EventBus(lambda: Millis(7), lambda _: None, **limits)


async def take(bus: EventBus, after: int | None, count: int) -> list[tuple[int, str, str]]:
    found = []
    stream = bus.stream(after)
    async with asyncio.timeout(5):
        while len(found) < count:
            event = await anext(stream)
            found.append((event.seq, event.type, event.text))
    await stream.aclose()
    return found


async def test_replays_what_the_ring_holds_and_then_follows():
    bus = bus_of()
    bus.publish(EventKind.OFFER, 1, "first")
    bus.publish(EventKind.CARD, 1, "second")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(take(bus, 1, 2))
        await asyncio.sleep(0)
        bus.publish(EventKind.COMMITTED, 2, "third")
    assert task.result() == [(2, "card", "second"), (3, "committed", "third")]


async def test_only_new_events_without_a_place():
    bus = bus_of()
    bus.publish(EventKind.OFFER, 1, "old")
    stream = bus.stream(None)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(anext(stream))
        await asyncio.sleep(0)
        bus.publish(EventKind.CARD, 1, "new")
    assert task.result().seq == 2
    await stream.aclose()


async def test_a_slow_reader_finds_a_gap_with_the_number_of_the_last_missing_event():
    bus = bus_of(capacity=2)
    for i in range(1, 6):
        bus.publish(EventKind.OFFER, 1, str(i))
    assert await take(bus, 1, 3) == [(3, "gap", "2 events were dropped"), (4, "offer", "4"), (5, "offer", "5")]
    assert await take(bus, 3, 2) == [(4, "offer", "4"), (5, "offer", "5")]


async def test_a_number_of_an_earlier_life_starts_over_with_a_gap():
    bus = bus_of()
    bus.publish(EventKind.OFFER, 1, "one")
    assert await take(bus, 99, 2) == [(0, "gap", "the daemon started again: it has no event 99"), (1, "offer", "one")]


async def test_close_ends_streams_after_what_is_there():
    bus = bus_of()
    bus.publish(EventKind.OFFER, 1, "one")
    bus.close()
    assert [event.seq async for event in bus.stream(0)] == [1]


async def test_readers_are_limited_and_free_their_place():
    bus = bus_of(max_watchers=1)
    bus.publish(EventKind.OFFER, 1, "one")
    stream = bus.stream(0)
    await anext(stream)
    with pytest.raises(OperatorError) as refused:
        bus.stream(0)
    assert refused.value.code == "busy"
    await stream.aclose()
    assert (await take(bus, 0, 1))[0][0] == 1


def test_log_ring_is_bounded_and_gives_what_is_new():
    ring = LogRing(capacity=3)
    logger = logging.Logger("ring")  # noqa: LOG001 - a logger of its own
    logger.addHandler(ring)
    for i in range(5):
        logger.warning("line %d", i)
    assert ring.read(10, 0).lines == ["line 2", "line 3", "line 4"]
    assert ring.read(1, 0).lines == ["line 4"]
    assert ring.read(10, 4).lines == ["line 4"]
    assert ring.read(10, 5).lines == []
    assert ring.read(10, 900).lines == ["line 2", "line 3", "line 4"]
    logger.warning("x" * (2 * MAX_LINE_CHARS))
    assert len(ring.read(1, 0).lines[0]) == MAX_LINE_CHARS
