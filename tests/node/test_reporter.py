"""What happens reaches log, status, metric and stream as its severity says."""

import logging

import pytest

from bflcd.api.event_bus import EventBus
from bflcd.api.metrics import Metrics
from bflcd.core.node_events import EventKind, Severity
from bflcd.node.reporter import LEVELS, MAX_ALARMS, EventReporter
from bflcd.types import Millis


class Node:
    """A reporter and what hears it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.bus = EventBus(lambda: Millis(7), self.metrics.event)
        self.reporter = EventReporter(self.bus)

    def counted(self, kind: EventKind) -> float | None:
        return self.metrics.registry.get_sample_value("bflc_events_total", {"type": kind.value})


def test_the_graver_the_louder():
    assert [LEVELS[severity] for severity in Severity] == [logging.DEBUG, logging.INFO, logging.WARNING, logging.WARNING]


@pytest.mark.parametrize("kind", EventKind)
async def test_each_kind_is_logged_warned_of_counted_and_streamed_by_its_severity(kind, caplog):
    node = Node()
    with caplog.at_level(logging.DEBUG, logger="bflcd.node.reporter"):
        node.reporter.tell(kind, 3, "it happened", node="ab")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(LEVELS[kind.severity], "it happened")]
    assert node.reporter.alarms() == (["it happened"] if kind.severity is Severity.ALARM else [])
    assert node.counted(kind) == 1
    event = await anext(node.bus.stream(0))
    assert (event.type, event.round, event.text, event.fields) == (kind, 3, "it happened", {"node": "ab"})


def test_every_kind_is_counted_from_the_start():
    node = Node()
    assert [node.counted(kind) for kind in EventKind] == [0] * len(EventKind)


async def test_a_gap_is_counted_when_a_reader_gets_it():
    node = Node()
    node.reporter.tell(EventKind.COMMITTED, 1, "one")
    assert (await anext(node.bus.stream(99))).type is EventKind.GAP
    assert node.counted(EventKind.GAP) == 1


def test_the_newest_alarms_stay_each_text_once():
    reporter = Node().reporter
    for i in range(MAX_ALARMS + 2):
        for _ in range(2):
            reporter.tell(EventKind.BLOB_DAMAGED, 0, f"chunk {i}")
    assert reporter.alarms() == [f"chunk {i}" for i in range(2, MAX_ALARMS + 2)]
