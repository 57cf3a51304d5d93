"""docs/api.md says of events and of the status what the code says."""

import json
import re
from pathlib import Path

from bflcd.api.openapi import openapi
from bflcd.api.routes import ROUTES
from bflcd.api.schema.members import MemberView
from bflcd.api.schema.status import Activity, Status
from bflcd.core.node_events import EventKind, Severity

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def test_every_type_of_event_stands_in_the_table_with_severity_and_meaning():
    severities = "|".join(severity.value for severity in Severity)
    rows = re.findall(rf"^\| `(\w+)` \| ({severities}) \| (.+) \|$", TEXT, re.MULTILINE)
    assert rows == [(kind.value, kind.severity.value, kind.meaning) for kind in EventKind]


def test_every_severity_is_explained():
    assert [severity for severity in Severity if f"`{severity.value}` (" not in " ".join(TEXT.split())] == []


def first_column(heading: str) -> list[str]:
    """Every name in the first column of the table with that heading, in order."""
    table = TEXT.partition(f"| {heading} | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    return [name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def test_every_field_of_the_status_stands_in_the_table_in_the_order_of_the_schema():
    assert first_column("field of `GET /v1/status`") == list(Status.__struct_fields__)


def test_all_that_the_ledger_holds_of_a_member_stands_in_the_table_in_the_order_of_the_schema():
    fields = list(MemberView.__struct_fields__)
    assert first_column("field of a member") == fields[fields.index("standing") :]


def test_every_phase_stands_in_the_table():
    assert sorted(first_column("phase")) == sorted(activity.value for activity in Activity)


def test_what_is_public_cites_no_inner_document():
    """Who reads the description has the API before them, not the design."""
    cited = r"\b(?:design|section|chapter|rule|catalogue|paper|ADR)\s+[\dIVX]+|§|\.md\b|\.py\b"
    assert re.findall(cited, json.dumps(openapi(ROUTES))) == []
