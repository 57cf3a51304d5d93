"""A torch model whose weights are views of one flat vector, in the order of a payload."""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from bflcd.errors import OperatorError
from bflcd.params import MAX_TENSORS, TensorSpec
from bflcd.types import MAX_CHUNKS
from bflcd.wire.tensors import Counters, Floats, element_counts, split_payload

_SPEC_DTYPES = {torch.float32: "F32", torch.int64: "I64"}


def tensors_of(module: nn.Module) -> tuple[TensorSpec, ...]:
    """The specification of a model's parameters and persistent buffers, sorted by name.

    Raises OperatorError (`bad_model`) for dtypes other than float32 and int64, empty or shared tensors.
    """
    state = module.state_dict()
    for name, tensor in state.items():
        if tensor.dtype not in _SPEC_DTYPES:
            raise bad_model(f"tensor {name} is {tensor.dtype}", "keep weights float32 and counters int64")
        if tensor.numel() == 0:
            raise bad_model(f"tensor {name} is empty", "remove it from the model")
    if not state or len(state) > MAX_TENSORS:
        limits = f"1 to {MAX_TENSORS} tensors, under {MAX_CHUNKS} MiB, can be learned"
        raise bad_model(f"the model has {len(state)} tensors", limits)
    places: dict[int, str] = {}
    for name, tensor in state.items():
        other = places.setdefault(tensor.data_ptr(), name)
        if other != name:
            raise bad_model(f"{other} and {name} share one tensor", "register tied weights once")
    return tuple(TensorSpec(name, tuple(state[name].shape), _SPEC_DTYPES[state[name].dtype]) for name in sorted(state))


def bad_model(message: str, hint: str) -> OperatorError:
    """The error for a model whose tensors can't travel."""
    return OperatorError(f"this model cannot be learned: {message}", hint=hint, code="bad_model")


class FlatModel:
    """`module` on its device; `weights` (float32) and `counters` (int64) are all its tensors, `gradient` receives the gradients.

    Optimiser, damping, loading and saving are then single operations on one vector, whatever the number of layers.
    """

    def __init__(self, module: nn.Module, spec: tuple[TensorSpec, ...], device: torch.device) -> None:
        """Take over `module`. Raises OperatorError (`bad_model`) unless its tensors are exactly `spec`."""
        found = tensors_of(module)
        if found != spec:
            differing = sorted({t.name for t in found} ^ {t.name for t in spec}) or [
                a.name for a, b in zip(found, spec, strict=True) if a != b
            ]
            raise bad_model(
                f"its tensors are not those of the genesis (first difference: {differing[0]})",
                "use the version of the task that the genesis was made with",
            )
        self.spec, self.device = spec, device
        self.module = module.to(device)
        counters, weights = element_counts(spec)
        self.weights = torch.zeros(weights, dtype=torch.float32, device=device)
        self.gradient = torch.zeros_like(self.weights)
        self.counters = torch.zeros(counters, dtype=torch.int64, device=device)
        self.trained = frozenset(name for name, parameter in module.named_parameters() if parameter.requires_grad)
        """Tensors that have a gradient."""
        state = self.module.state_dict(keep_vars=True)
        gradients = dict(self.views(self.gradient))
        for name, view in self.views(self.weights):
            tensor = state[name]
            view.copy_(tensor.detach())
            tensor.data = view
            if isinstance(tensor, nn.Parameter) and tensor.requires_grad:
                tensor.grad = gradients[name]
        for name, view in self.views(self.counters):
            view.copy_(state[name])
            state[name].data = view

    def views(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """The named tensors of a flat vector like `weights` or `counters`; a leading dimension is kept."""
        dtype, offset = _SPEC_DTYPES[flat.dtype], 0
        for tensor in self.spec:
            if tensor.dtype == dtype:
                size = prod(tensor.shape)
                yield tensor.name, flat[..., offset : offset + size].view((*flat.shape[:-1], *tensor.shape))
                offset += size

    def load(self, model: bytes | memoryview) -> None:
        """Set weights and counters to a model payload. Raises PeerError(BAD_TENSOR)."""
        counters, weights = split_payload(model, self.spec, label=None)
        self.weights.copy_(as_tensor(weights))
        self.counters.copy_(as_tensor(counters))


def as_tensor(values: Floats | Counters) -> Tensor:
    """A tensor with its own copy: payloads are read-only, torch knows no read-only tensors."""
    return torch.from_numpy(np.array(values))


def to_numpy(weights: Tensor) -> Floats:
    """A float32 vector on the CPU."""
    return weights.detach().cpu().numpy()
