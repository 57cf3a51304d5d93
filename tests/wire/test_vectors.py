"""Golden bytes: what version 1 says on the wire stays what it was."""

import json
import re
from pathlib import Path

import pytest

from bflcd.errors import PeerError
from bflcd.wire.codec import decode, encode, message, number_of
from bflcd.wire.envelope import Envelope
from tests.helpers.schema import FLAVOURS, MESSAGES, MODULES, as_json
from tests.vectors.make import HASH_FILE, MESSAGE_FILE, RETIRED, differences, hash_vectors

SOURCE = Path(__file__).parents[2] / "bflcd"
VECTORS = json.loads(MESSAGE_FILE.read_text())
CASES = [(int(number), flavour) for number, vector in VECTORS.items() for flavour in vector["cases"]]


def test_every_message_has_its_vectors_and_every_vector_its_message():
    """A message without golden bytes: run `python -m tests.vectors.make`. A vector without a message: its number is retired."""
    names = {int(number): vector["name"] for number, vector in VECTORS.items()}
    assert names == {number: cls.__name__ for number, cls in MESSAGES.items()} | RETIRED
    assert not RETIRED.keys() & MESSAGES.keys()
    assert all(set(vector["cases"]) == set(FLAVOURS) for vector in VECTORS.values())


def test_the_modules_that_register_messages_are_all_known():
    found = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in SOURCE.rglob("*.py")
        if re.search(r"^(@|)message\(\d+", path.read_text(), re.MULTILINE)
    }
    assert found == set(MODULES)


@pytest.mark.parametrize(("number", "flavour"), CASES)
def test_golden_bytes(number, flavour):
    if number in RETIRED:
        pytest.skip("retired: kept so that the number is never used again")
    case, cls = VECTORS[str(number)]["cases"][flavour], MESSAGES[number]
    golden = bytes.fromhex(case["hex"])
    value = decode(golden, cls)
    assert as_json(value) == case["value"]
    assert encode(value) == golden
    assert number_of(cls) == number


def test_hashes_and_signatures_are_the_golden_ones():
    assert hash_vectors() == json.loads(HASH_FILE.read_text())


def test_the_generator_sees_a_change_and_lets_additions_pass():
    old = {"1": {"name": "A", "hex": "00"}}
    assert differences(old, {"1": {"name": "A", "hex": "00"}, "2": {"name": "B"}}) == []
    assert differences(old, {"1": {"name": "A", "hex": "01"}}) == ["/1/hex"]
    assert differences(old, {}) == ["/1"]


def test_a_number_is_given_once_and_a_class_has_one():
    with pytest.raises(TypeError, match="20 belongs to Envelope"):
        message(20, max_bytes=1)(PeerError)
    with pytest.raises(TypeError, match="already"):
        message(9_999, max_bytes=1)(Envelope)
    assert 9_999 not in MESSAGES
