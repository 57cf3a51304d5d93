"""A genesis as a file: what is written is read again, and nothing else is."""

import json
from pathlib import Path

import pytest

from bflcd.errors import OperatorError, UsageError
from bflcd.setup.genesis_file import MAX_FILE_BYTES, read_genesis, write_genesis
from bflcd.wire.blocks import chain_id_of
from tests.helpers.ledger import make_genesis


@pytest.fixture
def path(tmp_path):
    return tmp_path / "genesis.json"


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_genesis(path)
    assert caught.value.code == "bad_genesis"
    return str(caught.value)


def test_round_trip_keeps_every_field_and_the_chain_id(path):
    genesis, _ = make_genesis(nodes=7, aggregation="median", view_timeout=900)
    write_genesis(path, genesis)
    assert read_genesis(path) == genesis
    data = json.loads(path.read_text())
    assert data["chain_id"] == chain_id_of(genesis).hex()
    assert data["committee"] == [node.hex() for node in genesis.committee]
    assert data["model"] == {"root": genesis.model.root.hex(), "size": genesis.model.size}


def test_the_chain_id_is_optional_but_never_wrong(path):
    genesis, _ = make_genesis()
    write_genesis(path, genesis)
    data = json.loads(path.read_text())
    del data["chain_id"]
    path.write_text(json.dumps(data))
    assert read_genesis(path) == genesis
    data["chain_id"] = "00" * 32
    path.write_text(json.dumps(data))
    assert "somebody changed it" in refusal(path)


def change(data, dotted, value):
    *parents, last = dotted.split(".")
    for name in parents:
        data = data[int(name) if name.isdigit() else name]
    if value is None:
        del data[last]
    else:
        data[int(last) if last.isdigit() else last] = value


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", None, "genesis: 'name' is missing"),
        ("surprise", 1, "genesis: unknown key 'surprise'"),
        ("params.plces", 6, "genesis.params: unknown key 'plces'"),
        ("params.places", "6", 'genesis.params.places must be a whole number, not "6"'),
        ("params.places", True, "genesis.params.places must be a whole number, not true"),
        ("params.places", 6.0, "genesis.params.places must be a whole number"),
        ("params.places", 0, "Params.places"),
        ("params.places", 2**11 + 1, "Params.places"),
        ("params.small_community", 1, "genesis.params.small_community must be true or false"),
        ("params.aggregation", "best", "aggregation must be one of fedavg, median"),
        ("params.score_rule", "luck", "score_rule must be one of gain, accuracy"),
        ("params.committee_size", 3, "at least 4 seats"),
        ("members.0.node", "zz", "genesis.members[0].node must be hexadecimal"),
        ("members.0.node", "00", "GenesisMember.node"),
        ("members.0.node", 5, "genesis.members[0].node must be hexadecimal"),
        ("members", {}, "genesis.members must be a list"),
        ("members.0", [], "genesis.members[0] must be an object"),
        ("managers", ["ab" * 32], "managers must be distinct members"),
        ("committee", [], "Genesis.committee"),
        ("task.options", [["a"]], "genesis.task.options[0] must have 2 elements"),
        ("task.tensors.0.dtype", "F16", "tensor dtypes must be among F32, I64"),
        ("model.size", -1, "BlobRef.size"),
        ("time", -1, "Genesis.time"),
    ],
)
def test_a_changed_file_is_refused_by_the_name_of_its_key(path, key, value, words):
    genesis, _ = make_genesis()
    write_genesis(path, genesis)
    data = json.loads(path.read_text())
    del data["chain_id"]
    change(data, key, value)
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        read_genesis(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "a", "name": "b"}', '{"name": NaN}', "[" * 100_000, "\ud800"])
def test_what_is_no_object_is_refused(path, text):
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert str(path) in refusal(path)


def test_a_file_of_another_encoding_says_so(path):
    path.write_bytes(b"\xef\xbb\xbf{}")
    with pytest.raises(UsageError, match="byte order mark"):
        read_genesis(path)


def test_a_file_beyond_reason_or_absent_is_refused(path):
    assert "cannot be read: No such file" in refusal(path)
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    assert "above 16777216 bytes" in refusal(path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    genesis, _ = make_genesis()
    with pytest.raises(OperatorError, match=r"absent/genesis\.json: cannot be written"):
        write_genesis(tmp_path / "absent" / "genesis.json", genesis)


def test_an_error_that_quotes_the_file_fits_the_screen(path):
    """Given a key of 100,000 characters, When the genesis is read, Then the refusal names its beginning only."""
    path.write_text(json.dumps({"k" * 100_000: 1}), encoding="utf-8")
    assert len(refusal(path)) < 1_000
