"""docs/network.md: every request with its lane, reply and whether strangers may ask it, and both ways in which messages travel."""

import re
from pathlib import Path

from bflcd.net.gossip import PUSH, PUSH_SECONDS, PUSHES_EACH, TOPIC
from bflcd.node.runtime.delivery import MAX_PUSHES
from bflcd.wire.requests import REQUESTS

TEXT = (Path(__file__).parents[2] / "docs" / "network.md").read_text()


def test_the_table_of_requests_is_the_registry():
    rows = re.findall(r"^\| (?:`([\w/]+)`)? ?\| (Get\w+) \| (\w+) \| .+ \| (yes|no) \|$", TEXT, re.MULTILINE)
    found, lane = set(), ""
    for named, request, reply, strangers in rows:
        lane = named or lane
        found.add((lane, request, reply, strangers == "yes"))
    assert found == {(kind.lane.value, kind.__name__, kind.reply.__name__, kind.for_strangers) for kind in REQUESTS}


def test_the_two_ways_are_the_codes():
    assert f"push (`{PUSH}`)" in TEXT
    assert f"gossip (`{TOPIC}`," in TEXT
    assert f"within {PUSH_SECONDS:.0f} s" in TEXT
    assert f"when {MAX_PUSHES} messages are being pushed already" in TEXT
    assert f"| pushes of one peer in work | {PUSHES_EACH} |" in TEXT
