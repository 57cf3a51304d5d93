"""Payloads: one byte form, readable by the safetensors library, everything else refused."""

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.params import TensorSpec
from bflcd.types import Digest, NodeId, Round
from bflcd.wire.tensors import header_bytes, join_payload, payload_size, split_payload, update_label
from tests.helpers.learning import SPEC, payload
from tests.helpers.tensors import decode_tensors, encode_tensors

FLOATS = [1.0, -2.5, 0.0, 1024.0, -1024.0, 2.0**-30, 3.0, 4.0, 5.0]

ARRAYS = {
    "a.bias": np.array([1.0, -2.5, 0.0], dtype=np.float32),
    "b.count": np.array(-7, dtype=np.int64),
    "c.weight": np.array([[1024.0, -1024.0, 2.0**-30], [3.0, 4.0, 5.0]], dtype=np.float32),
}


@pytest.mark.parametrize("label", [None, "chain:1:node", "ä"])
def test_the_safetensors_library_reads_our_bytes(label):
    data = encode_tensors(ARRAYS, SPEC, label=label)
    read = safetensors.numpy.load(data)
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_golden_bytes():
    header = (
        b'{"__metadata__":{"bflc":"x"},"b.count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
        b'"a.bias":{"dtype":"F32","shape":[3],"data_offsets":[8,20]},"c.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[20,44]}}'
    )
    header += b" " * (-len(header) % 8)
    expected = (
        len(header).to_bytes(8, "little") + header + (-7).to_bytes(8, "little", signed=True) + np.array(FLOATS, "<f4").tobytes()
    )
    assert encode_tensors(ARRAYS, SPEC, label="x") == expected


def test_the_bytes_are_those_of_the_library():
    assert encode_tensors(ARRAYS, SPEC, label="x") == safetensors.numpy.save(ARRAYS, metadata={"bflc": "x"})


@pytest.mark.parametrize("label", [None, "x" * 100])
def test_round_trip_and_exact_size(label):
    data = encode_tensors(ARRAYS, SPEC, label=label)
    assert len(data) == payload_size(SPEC, label)
    decoded = decode_tensors(data, SPEC, label=label)
    assert list(decoded) == [tensor.name for tensor in SPEC]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(decoded[name], array)
        assert decoded[name].shape == array.shape
        assert not decoded[name].flags.writeable
    assert encode_tensors(decoded, SPEC, label=label) == data


def test_flat_parts_are_views_and_join_back():
    data = payload(FLOATS, label="l", count=3)
    counters, floats = split_payload(data, SPEC, label="l")
    assert counters.tolist() == [3]
    np.testing.assert_array_equal(floats, np.array(FLOATS, dtype=np.float32))
    assert not floats.flags.owndata
    assert join_payload(counters, floats, SPEC, label="l") == data


GOOD = payload(FLOATS, label="mine")

REFUSED = {
    "empty": b"",
    "one byte short": GOOD[:-1],
    "one byte long": GOOD + b"\0",
    "no label": payload(FLOATS),
    "another's label": payload(FLOATS, label="his!"),
    "another name": GOOD.replace(b"a.bias", b"a.bios"),
    "another dtype of the same size": GOOD.replace(b'"F32"', b'"I32"', 1),
    "other padding": GOOD.replace(b"} ", b"}\t", 1) if b"} " in GOOD else GOOD.replace(b'{"__', b'{ "_', 1),
    "huge header length": b"\xff" * 8 + GOOD[8:],
    "nan": GOOD[:-4] + np.array(np.nan, "<f4").tobytes(),
    "infinite": GOOD[:-4] + np.array(-np.inf, "<f4").tobytes(),
    "above 1024": GOOD[:-4] + np.nextafter(np.float32(1024), np.float32(2000)).tobytes(),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_bytes_are_refused(data):
    with pytest.raises(PeerError) as caught:
        decode_tensors(data, SPEC, label="mine")
    assert caught.value.rejection is Rejection.BAD_TENSOR


@given(place=st.integers(0, len(header_bytes(SPEC, "mine")) - 1), bit=st.integers(0, 7))
def test_any_flipped_header_bit_is_refused(place, bit):
    broken = bytearray(GOOD)
    broken[place] ^= 1 << bit
    with pytest.raises(PeerError):
        decode_tensors(bytes(broken), SPEC, label="mine")


COUNTERS, WEIGHTS = np.array([3], dtype=np.int64), np.array(FLOATS, dtype=np.float32)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1025])
def test_only_values_that_may_travel_are_encoded(wrong):
    with pytest.raises(PeerError) as caught:
        join_payload(COUNTERS, np.append(WEIGHTS[:-1], np.float32(wrong)), SPEC, label=None)
    assert caught.value.rejection is Rejection.BAD_TENSOR


@pytest.mark.parametrize(
    ("counters", "floats"),
    [
        (COUNTERS, WEIGHTS[:-1]),
        (COUNTERS[:0], WEIGHTS),
        (COUNTERS, WEIGHTS.astype(np.float64)),
        (COUNTERS.astype(np.int32), WEIGHTS),
    ],
)
def test_parts_of_another_length_or_dtype_are_our_bug(counters, floats):
    with pytest.raises(InvariantError, match="do not fit"):
        join_payload(counters, floats, SPEC, label=None)


def test_a_specification_without_weights_travels():
    spec = (TensorSpec("n", (2,), "I64"),)
    data = encode_tensors({"n": np.array([1, 2], dtype=np.int64)}, spec, label=None)
    assert decode_tensors(data, spec, label=None)["n"].tolist() == [1, 2]


def test_labels_name_chain_round_and_uploader():
    label = update_label(Digest(b"\xab" * 32), Round(7), NodeId(b"\xcd" * 32))
    assert label == f"{'ab' * 32}:7:{'cd' * 32}"
