"""docs/api.md says of events and of the status what the code says."""

import re
from pathlib import Path

from bflcd.core.node_events import EventKind, Severity

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_type_of_event_stands_in_the_table_with_severity_and_meaning():
    severities = "|".join(severity.value for severity in Severity)
    rows = re.findall(rf"^\| `(\w+)` \| ({severities}) \| (.+) \|$", TEXT, re.MULTILINE)
    assert rows == [(kind.value, kind.severity.value, kind.meaning) for kind in EventKind]


def test_every_severity_is_explained():
    assert [severity for severity in Severity if f"`{severity.value}` (" not in " ".join(TEXT.split())] == []
