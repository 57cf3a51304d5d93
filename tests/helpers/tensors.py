"""Payloads of named arrays, as a task's author thinks of them; the product knows only their two flat parts."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bflcd.params import TensorSpec
from bflcd.wire.tensors import join_payload, split_payload


def encode_tensors(arrays: Mapping[str, NDArray[np.generic]], spec: tuple[TensorSpec, ...], *, label: str | None) -> bytes:
    """The canonical payload of named arrays: float32 for "F32", int64 for "I64"."""
    assert arrays.keys() == {tensor.name for tensor in spec}
    assert all(arrays[tensor.name].shape == tensor.shape for tensor in spec)
    counters, floats = (_flat([arrays[t.name] for t in spec if t.dtype == name], kind) for name, kind in _KINDS)
    return join_payload(counters, floats, spec, label=label)


def decode_tensors(data: bytes, spec: tuple[TensorSpec, ...], *, label: str | None) -> dict[str, NDArray[np.generic]]:
    """Named read-only views of a payload's tensors, in the order of `spec`. Raises as `split_payload` does."""
    rest = dict(zip(("I64", "F32"), split_payload(data, spec, label=label), strict=True))
    found = {}
    for tensor in spec:
        size = int(np.prod(tensor.shape, dtype=int))
        found[tensor.name] = rest[tensor.dtype][:size].reshape(tensor.shape)
        rest[tensor.dtype] = rest[tensor.dtype][size:]
    return found


_KINDS = (("I64", np.int64), ("F32", np.float32))
"""In the order of their places in a payload."""


def _flat(arrays: list[NDArray[np.generic]], kind: type[np.generic]) -> NDArray[np.generic]:
    assert all(array.dtype == kind for array in arrays)
    return np.concatenate([np.zeros(0, dtype=kind), *(array.ravel() for array in arrays)])
