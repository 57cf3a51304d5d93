"""The table of what a node tells: each row whole, each kind in use, no other kind possible."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from bflcd.api.event_bus import EventBus
from bflcd.api.schema.events import Event
from bflcd.core.effects import Notice
from bflcd.core.node_events import EventKind, Severity
from bflcd.core.operation_pool import OperationPool
from bflcd.core.operations import OperationHandler
from bflcd.node.reporter import Tell
from bflcd.types import Round
from tests.helpers.store import make_evidence

SOURCES = Path(__file__).parents[2] / "bflcd"
MAX_MEANING = 100


def test_every_kind_has_a_name_a_severity_and_a_meaning_in_one_line():
    for kind in EventKind:
        assert kind.value == kind.name.lower()
        assert isinstance(kind.severity, Severity)
        assert 0 < len(kind.meaning) <= MAX_MEANING
        assert "\n" not in kind.meaning
    assert len({kind.meaning for kind in EventKind}) == len(EventKind)
    assert {kind.severity for kind in EventKind} == set(Severity)


def test_every_kind_is_told_somewhere():
    table = SOURCES / "core" / "node_events.py"
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py") if path != table)
    told = set(re.findall(r"EventKind\.([A-Z_]+)", text))
    assert told == {kind.name for kind in EventKind}


@pytest.mark.parametrize(
    ("where", "name"), [(Notice, "type"), (Event, "type"), (EventBus.publish, "kind"), (Tell.__call__, "kind")]
)
def test_nothing_but_a_kind_can_be_told(where, name):
    assert get_type_hints(where)[name] is EventKind


def test_evidence_is_told_as_what_it_is():
    evidence = make_evidence(3)
    effects = OperationHandler(OperationPool(), lambda _: True).note(Round(3), evidence)
    assert [effect.type for effect in effects if isinstance(effect, Notice)] == [EventKind.EVIDENCE]
