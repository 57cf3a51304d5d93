"""Update payloads that are no updates: each is refused before anything is scored, at a bounded cost (catalogue 37, 38)."""

import json
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.tensors import payload_size, split_payload, update_label
from tests.helpers.learning import SPEC, payload

CHAIN, ME, OTHER = Digest(bytes([1]) * 32), NodeId(bytes([2]) * 32), NodeId(bytes([3]) * 32)
LABEL = update_label(CHAIN, Round(7), ME)
GOOD = payload(np.linspace(-1, 1, 9), label=LABEL, count=5)
HEAD = 8 + int.from_bytes(GOOD[:8], "little")

MEMORY = 2 * 2**20
"""Bytes that refusing a payload may take beside the payload."""

VALUES = {
    "NaN": np.nan,
    "infinity": np.inf,
    "minus infinity": -np.inf,
    "a little too large": 1024.0001,
    "a little too small": -1024.0001,
    "the largest float": 3.4e38,
}


def header(fields: dict[str, object], body: bytes = GOOD[HEAD:], *, said: int | None = None) -> bytes:
    """A payload with this JSON header, padded as it should be; `said`: the length that it claims."""
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return (len(text) if said is None else said).to_bytes(8, "little") + text + body


def fields_now() -> dict[str, object]:
    found: dict[str, object] = json.loads(GOOD[8:HEAD])
    return found


def with_values() -> Iterator[tuple[str, bytes]]:
    for name, value in VALUES.items():
        for place in range(9):
            raw = bytearray(GOOD)
            start = len(GOOD) - 36 + 4 * place
            raw[start : start + 4] = np.float32(value).tobytes()
            yield f"{name} at {place}", bytes(raw)
    for bits in (0x7F800001, 0xFFC00000, 0x7FFFFFFF):  # signalling and odd NaNs
        yield f"NaN {bits:x}", GOOD[:-4] + bits.to_bytes(4, "little")


def with_other_headers() -> Iterator[tuple[str, bytes]]:
    tensors = [name for name in fields_now() if name != "__metadata__"]
    for name in tensors:
        changes: dict[str, object] = {
            "dtype": "F64",
            "shape": [1, 1, 1, 9],
            "data_offsets": [0, 2**60],
        }
        for key, value in changes.items():
            fields = fields_now()
            fields[name] = {**fields[name], key: value}  # type: ignore[dict-item]
            yield f"{key} of {name}", header(fields)
        fields = fields_now()
        fields[f"{name}x"] = fields.pop(name)
        yield f"{name} renamed", header(fields)
        fields = fields_now()
        del fields[name]
        yield f"{name} missing", header(fields)
    for label in (
        None,
        update_label(CHAIN, Round(8), ME),
        update_label(CHAIN, Round(7), OTHER),
        update_label(Digest(bytes(32)), Round(7), ME),
    ):
        yield f"labelled {label}", payload(np.zeros(9), label=label)
    yield "one tensor more", header({**fields_now(), "z": {"dtype": "F32", "shape": [1], "data_offsets": [44, 48]}})
    yield "in another order", header(dict(reversed(fields_now().items())))
    yield "other spacing", len(spaced := json.dumps(fields_now()).encode()).to_bytes(8, "little") + spaced + GOOD[HEAD:]


def bombs() -> Iterator[tuple[str, bytes]]:
    text = GOOD[8:HEAD]
    yield "empty", b""
    yield "torn in the length", GOOD[:7]
    for size in (2**63 - 1, 2**64 - 1, 2**32, 0, len(GOOD)):
        yield f"a header that says {size} bytes", size.to_bytes(8, "little") + GOOD[8:]
    yield "a header of 8 MiB", header({"a" * 2**23: {}})
    yield "keys twice", len(twice := text.rstrip()[:-1] + b"," + text.strip()[1:]).to_bytes(8, "little") + twice + GOOD[HEAD:]
    nested = b"[" * 400_000 + b"]" * 400_000
    yield "deep nesting", len(nested).to_bytes(8, "little") + nested + GOOD[HEAD:]
    yield "numbers of thousands of digits", header({"a": 1})[:8] + b"9" * 100_000
    for length in (1, 4, 8, HEAD, len(GOOD) - 1):
        yield f"torn at {length}", GOOD[:length]
    yield "one byte more", GOOD + b"\0"
    yield "a mebibyte more", GOOD + bytes(2**20)
    yield "zeros of the right size", bytes(len(GOOD))
    yield "ones of the right size", b"\xff" * len(GOOD)
    yield "another format", b"\x80\x04\x95" + GOOD[3:]


@pytest.mark.parametrize(
    "make", [with_values, with_other_headers, bombs], ids=["values (37)", "names, shapes, dtypes (37)", "bombs (38)"]
)
def test_every_spoiled_payload_is_refused_cheaply(make):
    assert split_payload(GOOD, SPEC, label=LABEL)[1].size == 9
    tracemalloc.start()
    try:
        for name, data in make():
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(PeerError) as caught:
                split_payload(data, SPEC, label=LABEL)
            assert caught.value.rejection is Rejection.BAD_TENSOR, name
            assert tracemalloc.get_traced_memory()[1] - before <= MEMORY, name
    finally:
        tracemalloc.stop()


def test_a_wrong_size_is_refused_before_its_download():
    """Given an offer whose blob can't be an update by its size alone, Then no judge takes it, let alone fetches it."""
    from dataclasses import replace

    from bflcd.params import BlobRef
    from bflcd.wire.envelope import seal
    from bflcd.wire.messages import Offer
    from tests.helpers.places import RECEIVED, author_at, body_at, counts, genesis_place

    place = genesis_place()
    author = author_at(place, Offer)
    body = body_at(place, Offer, author)
    assert body.blob.size == payload_size(place.genesis.task.tensors, LABEL)
    tried = [
        (str(size), RECEIVED[Offer](seal(replace(body, blob=BlobRef(body.blob.root, size)), place.keys[author]).envelope))
        for size in (1, body.blob.size - 1, body.blob.size + 1, 2**30)
    ]
    assert counts(place.core(), tried) == []


def test_one_spoiled_update_among_good_ones_spoils_nothing():
    """Given a judge's scorer with good updates and spoiled ones, Then the good are scored, the spoiled named, none crashes it."""
    torch = pytest.importorskip("torch")
    from bflcd.learn.data import DataConfig
    from bflcd.learn.flat import FlatModel
    from bflcd.learn.protocol import ScoreJob, UpdateToScore
    from bflcd.learn.scoring import Scorer
    from bflcd.learn.task import find_task
    from bflcd.learn.training import DeviceRows, initial_model, never
    from bflcd.wire.tensors import join_payload

    task = find_task("digits", {})
    tensors, model = initial_model(task, 1)
    flat = FlatModel(task.build_model(), tensors, torch.device("cpu"))
    rows = DeviceRows.of(task.load(DataConfig(index=0, count=10)).own, torch.device("cpu"))
    floats = split_payload(model, tensors, label=None)[1]
    good = join_payload(np.zeros(0, np.int64), np.zeros(floats.size, np.float32), tensors, label="u")
    spoiled = [
        good[:-4] + np.float32(np.nan).tobytes(),
        good[:-1],
        good + b"\0",
        good[:8] + b" " + good[9:],
        b"",
        bytes(len(good)),
    ]
    candidates = [UpdateToScore(Digest(bytes([n]) * 32), data, "u") for n, data in enumerate([good, *spoiled, good])]
    result = Scorer(flat, task, rows).score(ScoreJob(Round(0), model, tuple(candidates), 7, 64, 4), never)
    assert [score.key for score in result.scores] == [candidates[0].key, candidates[-1].key]
    assert {key for key, _ in result.invalid} == {candidate.key for candidate in candidates[1:-1]}
