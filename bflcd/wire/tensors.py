"""Models and updates as safetensors, in the one byte form that the specification allows.

A payload is an 8-byte little-endian header length, a JSON header and the tensors' bytes back to back. Model blobs are compared by
hash, so here nothing is left to a library: counters (I64) stand before weights (F32), so that every value is aligned,
each kind in the order of the specification (by name); the JSON is compact and padded with spaces to 8 bytes; the only metadata is
the key `bflc` with the label. A reader therefore parses nothing: it builds the one header that it expects and compares bytes.
The weights of a payload are one contiguous run, which aggregation and training use as a single flat vector.
"""

import json
from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bflcd.crypto.hashing import root_of
from bflcd.errors import InvariantError, PeerError, Rejection
from bflcd.params import BlobRef, TensorSpec
from bflcd.types import Digest, NodeId, Round

VALUE_LIMIT: Final = 2.0**10
"""Largest magnitude of a weight in a payload; keeps exact aggregation inside 62 bits (design 5)."""

LABEL_KEY: Final = "bflc"
"""The one metadata key."""

_ALIGNMENT: Final = 8
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"I64": np.dtype("<i8"), "F32": np.dtype("<f4")}
"""In the order of their places in a payload."""

Floats = NDArray[np.float32]
Counters = NDArray[np.int64]


def update_label(chain_id: Digest, round_: Round, uploader: NodeId) -> str:
    """What an update says of itself, so that nobody can offer another's payload as its own (design 5.1)."""
    return f"{chain_id.hex()}:{round_}:{uploader.hex()}"


def uploader_of(label: str) -> NodeId:
    """Whose update carries this `update_label`. Raises ValueError for any other text."""
    return NodeId(bytes.fromhex(label.rpartition(":")[2]))


def _layout(spec: tuple[TensorSpec, ...]) -> list[tuple[TensorSpec, int, int]]:
    """Each tensor with the offsets of its first byte and past its last, in the order of the payload.

    Raises InvariantError for a dtype that no genesis has: its tensor would be in no payload.
    """
    placed, offset = [], 0
    for dtype, numpy_dtype in _DTYPES.items():
        for tensor in spec:
            if tensor.dtype == dtype:
                end = offset + prod(tensor.shape) * numpy_dtype.itemsize
                placed.append((tensor, offset, end))
                offset = end
    if len(placed) != len(spec):
        raise InvariantError(f"a specification of other dtypes than {', '.join(_DTYPES)}")
    return placed


def header_bytes(spec: tuple[TensorSpec, ...], label: str | None) -> bytes:
    """The only length prefix and header that a payload with this specification and label may begin with."""
    fields: dict[str, object] = {} if label is None else {"__metadata__": {LABEL_KEY: label}}
    for tensor, begin, end in _layout(spec):
        fields[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def with_metadata(payload: bytes, metadata: Mapping[str, str]) -> bytes:
    """A payload as a file for people: its header says `metadata` too, its tensors are the same. It is no payload any more."""
    begin = 8 + int.from_bytes(payload[:8], "little")
    fields = json.loads(payload[8:begin])
    text = json.dumps({"__metadata__": dict(metadata), **fields}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(payload)[begin:]))


def element_counts(spec: tuple[TensorSpec, ...]) -> tuple[int, int]:
    """Number of counters (I64) and of weights (F32)."""
    counters, floats = (sum(prod(tensor.shape) for tensor in spec if tensor.dtype == dtype) for dtype in _DTYPES)
    return counters, floats


def payload_size(spec: tuple[TensorSpec, ...], label: str | None) -> int:
    """Exact bytes of a payload: anything else that is offered can be refused before its download begins."""
    counters, floats = element_counts(spec)
    return len(header_bytes(spec, label)) + 8 * counters + 4 * floats


def join_payload(counters: Counters, floats: Floats, spec: tuple[TensorSpec, ...], *, label: str | None) -> bytes:
    """A payload from its flat parts, both in payload order. Raises PeerError(BAD_TENSOR) for values that may not travel.

    Raises InvariantError if a part has another length or dtype than the specification.
    """
    if (counters.size, floats.size) != element_counts(spec) or counters.dtype != np.int64 or floats.dtype != np.float32:
        raise InvariantError(
            f"flat tensors of {counters.size} {counters.dtype} and {floats.size} {floats.dtype} do not fit the specification"
        )
    _check_values(floats)
    return b"".join((header_bytes(spec, label), counters.astype("<i8").tobytes(), floats.astype("<f4").tobytes()))


def split_payload(data: bytes | memoryview, spec: tuple[TensorSpec, ...], *, label: str | None) -> tuple[Counters, Floats]:
    """Read-only flat views (counters, weights) of a payload, in payload order, after every check; nothing is copied.

    Raises PeerError(BAD_TENSOR) if size or header differ from the specification and label, or a weight is not finite or
    beyond +-2^10.
    """
    header = header_bytes(spec, label)
    counters, floats = element_counts(spec)
    expected = len(header) + 8 * counters + 4 * floats
    if len(data) != expected:
        raise PeerError(Rejection.BAD_TENSOR, f"a payload of {len(data)} bytes where the specification gives {expected}")
    if bytes(data[: len(header)]) != header:
        raise PeerError(
            Rejection.BAD_TENSOR,
            f"the payload's header is not the one that the specification gives for the label {label!r}: "
            "other names, shapes, dtypes, label or spelling",
        )
    whole = np.frombuffer(data, dtype="<i8", count=counters, offset=len(header)).astype(np.int64, copy=False)
    weights = np.frombuffer(data, dtype="<f4", count=floats, offset=len(header) + 8 * counters).astype(np.float32, copy=False)
    _check_values(weights)
    whole.flags.writeable = weights.flags.writeable = False
    return whole, weights


def _check_values(floats: Floats) -> None:
    if floats.size == 0:
        return
    low, high = float(floats.min()), float(floats.max())  # NaN passes through both and then fails the comparison
    if not (low >= -VALUE_LIMIT and high <= VALUE_LIMIT):
        raise PeerError(
            Rejection.BAD_TENSOR, f"a weight is not finite or beyond +-{VALUE_LIMIT:g} (smallest {low:g}, largest {high:g})"
        )


def blob_ref(payload: bytes) -> BlobRef:
    """The address of a payload. Raises ValueError if it is empty."""
    return BlobRef(root_of(payload), len(payload))
