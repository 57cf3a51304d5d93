"""docs/network.md: every request with its lane, reply and whether strangers may ask it, and both ways in which messages travel."""

import re
from pathlib import Path

from bflcd.log import PEERS_LINES
from bflcd.net.exchange import HANDLER_SECONDS, PACE, PATIENCE, SPARED, STRANGERS_REQUESTS
from bflcd.net.gossip import FORWARDED, OVER, PUSH, PUSH_SECONDS, PUSHED_BYTES, PUSHES_EACH, TOPIC
from bflcd.net.libp2p.budget import (
    FORWARDED_BYTES,
    FORWARDED_MESSAGES,
    HANDSHAKE_BYTES,
    HANDSHAKE_RATE,
    HANDSHAKE_S,
    LINES,
    MAX_HANDSHAKES,
    MAX_SILENT,
    MAX_STRANGERS,
    MAX_STREAMS,
    NEGOTIATION_BYTES,
    NEGOTIATION_MESSAGES,
    PACKET_CONTROL_BYTES,
    PACKET_MESSAGES,
    PUBLISHED_BYTES,
    PUBLISHED_MESSAGES,
    READS,
    STRANGER_READS,
    STRANGER_REQUEST_BYTES,
    STRANGER_S,
    STRANGER_STREAMS,
    STRANGER_UNREAD_BYTES,
    STRANGERS_READS,
    TURN_S,
    UNASKED_BYTES,
    UNREAD_BYTES,
    WANTED_BYTES,
)
from bflcd.net.libp2p.yamux import OVERRUN_BYTES
from bflcd.net.limits import Rate
from bflcd.node.runtime.delivery import MAX_PUSHES
from bflcd.wire.requests import REQUESTS, Lane

TEXT = (Path(__file__).parents[2] / "docs" / "network.md").read_text()


def test_the_table_of_requests_is_the_registry():
    rows = re.findall(r"^\| (?:`([\w/]+)`)? ?\| (Get\w+) \| (\w+) \| .+ \| (yes|no) \|$", TEXT, re.MULTILINE)
    found, lane = set(), ""
    for named, request, reply, strangers in rows:
        lane = named or lane
        found.add((lane, request, reply, strangers == "yes"))
    assert found == {(kind.lane.value, kind.__name__, kind.reply.__name__, kind.for_strangers) for kind in REQUESTS}


def mib(rate: Rate) -> tuple[float, float]:
    return rate.per_second / 2**20, rate.burst / 2**20


def test_the_figures_of_the_border_are_the_codes():
    """docs/network.md states each of `bflcd.net.libp2p.budget`."""
    assert f"| {HANDSHAKE_BYTES // 1024} KiB in all, {HANDSHAKE_S:g} s |" in TEXT
    assert f"| {MAX_SILENT} at a time, {HANDSHAKE_S:g} s |" in TEXT
    assert f"| {MAX_HANDSHAKES} at a time, {HANDSHAKE_RATE.per_second:g} a second of one address |" in TEXT
    assert f"waits its turn, {TURN_S:g} s at most |" in TEXT
    assert f"messages of {NEGOTIATION_BYTES // 1024} KiB, {NEGOTIATION_MESSAGES} of them" in TEXT
    unread, request = STRANGER_UNREAD_BYTES // 1024, STRANGER_REQUEST_BYTES // 1024
    assert (
        f"| {STRANGER_STREAMS} streams, requests of {request} KiB, {unread} KiB unread, {STRANGER_READS.per_second:g} frames"
        in TEXT
    )
    assert f"frames a second; of all strangers together {STRANGERS_READS.per_second:,.0f} |" in TEXT
    assert f"| connections of strangers | {MAX_STRANGERS}, {STRANGER_S:g} s each |" in TEXT
    room, over = UNREAD_BYTES // 2**20, OVERRUN_BYTES // 1024
    assert (
        f"{MAX_STREAMS} streams, {room} MiB unread, {over} KiB beyond a window, {READS.per_second:,.0f} frames a second" in TEXT
    )
    assert f"frames a second; on streams that it has opened {UNASKED_BYTES // 2**20} MiB unread |" in TEXT
    assert f"1 MiB, {PACKET_MESSAGES:,} messages, {PACKET_CONTROL_BYTES // 1024} KiB of control" in TEXT
    assert (mib(PUBLISHED_BYTES), mib(FORWARDED_BYTES), mib(PUSHED_BYTES)) == ((0.5, 8), (8, 64), (1, 16))
    assert "512 KiB a second of one author, 8 MiB at once; through one neighbour 8 MiB and 64 MiB" in TEXT
    assert f"{PUBLISHED_MESSAGES.per_second:g} a second of one author, {PUBLISHED_MESSAGES.burst:,.0f} at once" in TEXT
    assert f"{FORWARDED_MESSAGES.per_second:,.0f} and {FORWARDED_MESSAGES.burst:,.0f} | as above |" in TEXT
    assert f"| pushes and gossip of one member | {FORWARDED.per_second:g} a second, {FORWARDED.burst:,.0f} at once |" in TEXT
    assert mib(WANTED_BYTES) == (0.5, 8)
    assert "by its ids | 512 KiB a second, 8 MiB at once |" in TEXT
    assert f"strangers together | {STRANGERS_REQUESTS.per_second:g} a second, {STRANGERS_REQUESTS.burst:g} at once |" in TEXT
    small, chain, blob = (PACE[lane] for lane in (Lane.SMALL, Lane.CHAIN, Lane.BLOB))
    assert (
        f"small {small.per_second:g} units a second, {small.burst:g} at once; chain {chain.per_second:g} and {chain.burst:,.0f}"
        in TEXT
    )
    assert f"blob {blob.per_second:g} and {blob.burst:,.0f}" in TEXT
    assert f"above {PATIENCE:g} s Refused(busy)" in TEXT
    assert "| 1 MiB a second of one peer, 16 MiB at once |" in TEXT
    assert f"| one answer | {PATIENCE:g} s until its turn, {HANDLER_SECONDS:g} s in all |" in TEXT
    assert f"| {SPARED.per_second:g} requests a second, {SPARED.burst:g} at once, of one member, and of all strangers" in TEXT
    assert f"at an overloaded node | {OVER.per_second:g} a second, {OVER.burst:g} at once, of one member |" in TEXT
    few = f"one in {1 / LINES.per_second:g} s, {LINES.burst:g} at once"
    assert f"| {PEERS_LINES} a minute; of the connections of strangers {few} |" in TEXT


def test_the_two_ways_are_the_codes():
    assert f"push (`{PUSH}`)" in TEXT
    assert f"gossip (`{TOPIC}`," in TEXT
    assert f"within {PUSH_SECONDS:.0f} s" in TEXT
    assert f"when {MAX_PUSHES} pushes are under way already" in TEXT
    assert f"| pushes of one peer in work | {PUSHES_EACH} |" in TEXT
