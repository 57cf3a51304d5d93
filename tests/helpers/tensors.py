"""Payloads of named arrays, for tests that look at one tensor: the product knows their flat parts alone."""

from collections.abc import Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from bflcd.params import TensorSpec
from bflcd.wire.tensors import join_payload, split_payload

Spec = tuple[TensorSpec, ...]


def encode_tensors(arrays: Mapping[str, NDArray[np.generic]], spec: Spec, *, label: str | None) -> bytes:
    """The payload of arrays that fit `spec`."""
    counters, floats = (
        np.concatenate([np.zeros(0, dtype), *(arrays[tensor.name].ravel() for tensor in spec if tensor.dtype == name)])
        for name, dtype in (("I64", np.int64), ("F32", np.float32))
    )
    return join_payload(counters, floats, spec, label=label)


def decode_tensors(data: bytes, spec: Spec, *, label: str | None) -> dict[str, NDArray[np.generic]]:
    """A payload's tensors by name, in the order of `spec`. Raises as `split_payload` does."""
    parts = dict(zip(("I64", "F32"), split_payload(data, spec, label=label), strict=True))
    found = {}
    for tensor in spec:
        size = prod(tensor.shape)
        found[tensor.name] = parts[tensor.dtype][:size].reshape(tensor.shape)
        parts[tensor.dtype] = parts[tensor.dtype][size:]
    return found
