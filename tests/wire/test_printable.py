"""Texts of peers: none that a terminal would obey, or that a reader would see otherwise than it is, passes the decoder."""

from dataclasses import replace

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.limits import is_printable, visible
from bflcd.wire.codec import decode, encode
from bflcd.wire.requests import GenesisReply
from tests.helpers.ledger import make_genesis
from tests.helpers.packing import nodes
from tests.helpers.schema import MESSAGES, NAMED, sample, schema_of

STEERING = {
    "escape": "\x1b[31mred",
    "bell": "owned\x07",
    "new line": "name\nFORGED LINE",
    "carriage return": "name\rother",
    "C1 control": "\x9b31m",
    "delete": "a\x7f",
    "right to left": "\u202etxet",
    "isolate": "\u2066a",
    "no width": "pay\u200bpal",
    "line end of Unicode": "a\u2028b",
    "tag": "a\U000e0041",
}


@pytest.mark.parametrize("text", STEERING.values(), ids=STEERING)
def test_what_steers_a_terminal_or_a_reader_is_neither_written_nor_read(text: str) -> None:
    """Given a genesis whose name holds such a character, then no honest node encodes it and none decodes it (issue: evil name)."""
    genesis = make_genesis()[0]
    assert not is_printable(text)
    with pytest.raises(ValueError, match=r"Genesis\.name: .* can't be printed"):
        encode(GenesisReply(replace(genesis, name=text)))
    written = encode(GenesisReply(replace(genesis, name="x" * len(text.encode()))))
    forged = written.replace(b"x" * len(text.encode()), text.encode())
    with pytest.raises(PeerError, match="can't be printed") as refused:
        decode(forged, GenesisReply)
    assert refused.value.rejection is Rejection.MALFORMED


@pytest.mark.parametrize("text", ["plain", "Universitätsspital Zürich", "東京", "a b", "/dns4/node-1/tcp/4001", "a\u0301"])
def test_what_people_write_passes(text: str) -> None:
    genesis = replace(make_genesis()[0], name=text)
    assert decode(encode(GenesisReply(genesis)), GenesisReply).genesis == genesis


@pytest.mark.parametrize("cls", MESSAGES.values(), ids=NAMED)
def test_every_text_of_every_message_is_held_to_it(cls: type) -> None:
    """Given any message, when the last letter of any text in it becomes an escape character, then it is refused."""
    data = encode(sample(schema_of(cls), "plain"))
    for node in nodes(data):
        if not 0xA0 < data[node.start] <= 0xBF and data[node.start] != 0xD9:
            continue
        with pytest.raises(PeerError) as refused:
            decode(data[: node.end - 1] + b"\x1b" + data[node.end :], cls)
        assert refused.value.rejection is Rejection.MALFORMED


@pytest.mark.parametrize("text", [*STEERING.values(), "\u3164", "a\ufe0f", "bad\udcff"])
def test_a_terminal_gets_it_escaped(text: str) -> None:
    """Given a text from wherever, then what is shown of it is printable, ends no line, can be encoded, and tells texts apart."""
    shown = visible(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == text


def test_what_can_be_seen_is_shown_as_it_is() -> None:
    text = "Zürich 東京 50 % ⣿ 👩"
    assert visible(text) == text
    assert visible("one\ntwo\x1b[2J", lines=True) == "one\ntwo\\x1b[2J"
