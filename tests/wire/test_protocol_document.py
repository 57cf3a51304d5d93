"""docs/protocol.md: every message, limit and hash domain is in it, and nothing that isn't there."""

import re
from pathlib import Path
from typing import get_args

from bflcd.crypto.hashing import Domain
from bflcd.net.gossip import TOPIC
from bflcd.net.protocol import MAX_GOSSIP_BYTES
from bflcd.wire.codec import limit_of, number_of
from bflcd.wire.messages import GOSSIP, SignedBody
from bflcd.wire.recovery import Recovery
from bflcd.wire.requests import REQUESTS
from tests.helpers.schema import MESSAGES

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
ROWS = {
    int(row[0]): row[1:] for row in re.findall(r"^\| (\d+) \| (\w+) \| (.+?) \| (.+?) \| (\d+) \| (.+) \|$", TEXT, re.MULTILINE)
}
MAX_LINES = 240


def test_every_message_stands_in_the_table_with_its_limit():
    assert {number: (row[0], int(row[3])) for number, row in ROWS.items()} == {
        number: (cls.__name__, limit_of(cls)) for number, cls in MESSAGES.items()
    }


def test_requests_stand_with_their_lane_and_replies_with_their_request():
    for request in REQUESTS:
        assert ROWS[number_of(request)][2] == f"`{request.lane.value}`"
        assert ROWS[number_of(request.reply)][2] == f"reply to {number_of(request)}"
    first, second, third = sorted(number_of(request) for request in REQUESTS if request.for_strangers)
    assert f"Strangers may ask {first}, {second} and {third} only." in TEXT


def test_gossip_is_what_the_document_says():
    *numbers, last = map(number_of, GOSSIP)
    assert f"(topic `{TOPIC}`) carries {', '.join(map(str, numbers))} and {last} and nothing above" in TEXT
    assert f"nothing above {MAX_GOSSIP_BYTES // 1024} KiB" in TEXT
    for number, row in ROWS.items():
        said = MESSAGES[number] in GOSSIP or (MESSAGES[number] in get_args(SignedBody) and MESSAGES[number] is not Recovery)
        assert row[2].startswith("gossip") is said, number


def test_every_hash_domain_stands_in_the_table():
    domains = dict(re.findall(r"^\| ([A-Z]+) \| `([\w.]+)` \| .+ \|$", TEXT, re.MULTILINE))
    assert domains == {domain.name: domain.value.decode() for domain in Domain}


def test_it_is_read_in_one_sitting():
    assert len(TEXT.splitlines()) < MAX_LINES
