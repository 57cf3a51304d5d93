"""A task's network for whole stacks of models: folded where its layers allow it, else through `torch.func.vmap`."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from bflcd.lab.engine.dropout import SeededDropout, seed_dropout
from bflcd.lab.engine.folded import fold_module
from bflcd.params import TensorSpec

_PROBE_MODELS = 2
_PROBE_TOLERANCE = 1e-3
"""Folding must give what the models give one by one, on weights drawn at random; float32 rounds a few millionths away."""


class Stack:
    """Runs D models at once. `spec` names the parameters in the order of a flat vector."""

    def __init__(self, module: nn.Module, spec: tuple[TensorSpec, ...], dtype: torch.dtype, probe: Tensor) -> None:
        """Takes over `module`, on its device. `probe`: a few transformed rows, to try on them whether folding changes anything.

        A network that mixes the rows of a batch (a mean over them, say) is found out by it, and goes through `vmap`. `mixes` then
        says so: rows that only fill a batch up would change what it gives for the others.
        """
        self._spec, self._dtype = spec, dtype
        self.dropouts: list[SeededDropout] = []
        self._module, self._fold = module, None
        self.mixes = True
        if any(tensor.dtype != "F32" for tensor in spec):
            return
        seed_dropout(module)
        folded = copy.deepcopy(module)
        self._fold = fold_module(folded, dtype)
        if self._fold is not None and self._same_as_one_by_one(folded, module, probe):
            self._module = folded
        else:
            self._fold = None
        self.dropouts = _dropouts(self._module)
        self.mixes = self._fold is None and self._mixes_rows(probe)

    @property
    def folded(self) -> bool:
        """Whether the devices are folded into the batch."""
        return self._fold is not None

    def spread(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters of flat vectors [models, weights] by name, each [models, ...] and contiguous, as they run."""
        found, offset = {}, 0
        for tensor in self._spec:
            size = prod(tensor.shape)
            weight = flat[:, offset : offset + size].view(len(flat), *tensor.shape)
            found[tensor.name] = weight.contiguous() if self._fold is None else self._fold.turn(tensor.name, weight)
            offset += size
        return found

    def gather(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `spread`."""
        parts = []
        for tensor in self._spec:
            weight = weights[tensor.name]
            parts.append((weight if self._fold is None else self._fold.turn_back(tensor.name, weight)).flatten(1))
        return torch.cat(parts, dim=1)

    def train_mode(self, training: bool) -> None:
        """Whether dropout drops."""
        self._module.train(training)

    def forward(self, weights: Mapping[str, Tensor], inputs: Tensor, *, shared: bool) -> Tensor:
        """Outputs [models, rows, ...] in float32; `inputs` [models * rows, ...], or [rows, ...] for all models if `shared`."""
        models = len(next(iter(weights.values())))
        inputs = inputs.to(self._dtype) if inputs.is_floating_point() else inputs
        if self._fold is not None:
            self._fold.begin(weights, shared=shared)
            outputs = self._module(inputs)
            return outputs.float().view(models, -1, *outputs.shape[1:])  # type: ignore[no-any-return]
        return self._mapped(weights, inputs, models, shared=shared).float()

    def _mapped(self, weights: Mapping[str, Tensor], inputs: Tensor, models: int, *, shared: bool) -> Tensor:
        typed = {name: weight.to(self._dtype) for name, weight in weights.items()}
        inputs = inputs.clone(memory_format=torch.contiguous_format)  # some layers ask for strides, which vmap can't tell
        rows = inputs if shared else inputs.view(models, -1, *inputs.shape[1:])
        seeds = [dropout.seeds for dropout in self.dropouts] if self._module.training else []

        def one(parameters: dict[str, Tensor], batch: Tensor, own: list[Tensor]) -> Tensor:
            for dropout, seed in zip(self.dropouts, own, strict=False):
                dropout.seeds = seed[None]
            return functional_call(self._module, parameters, (batch,))  # type: ignore[no-any-return]

        try:
            return vmap(one, in_dims=(0, None if shared else 0, 0), randomness="different")(typed, rows, seeds)
        finally:
            for dropout, seed in zip(self.dropouts, seeds, strict=False):
                dropout.seeds = seed

    def _same_as_one_by_one(self, folded: nn.Module, module: nn.Module, probe: Tensor) -> bool:
        """Whether folding changes nothing: in measuring rows that all models share, and in training each on rows of its own."""
        assert self._fold is not None
        generator = torch.Generator().manual_seed(1)
        weights = {
            name: torch.stack(
                [value.detach() + 0.05 * torch.randn(value.shape, generator=generator).to(value) for _ in range(_PROBE_MODELS)]
            )
            for name, value in module.named_parameters()
        }
        turned = {name: self._fold.turn(name, weight) for name, weight in weights.items()}
        own = [probe, *[probe[:1].expand_as(probe)] * (_PROBE_MODELS - 1)]
        seeds = torch.arange(_PROBE_MODELS, device=probe.device)
        kept, self._fold.dtype = self._fold.dtype, torch.float32
        before = module.training
        try:
            for training in (False, True):
                self._fold.begin(turned, shared=not training)
                with _probing(folded, training, seeds):
                    together = folded(torch.cat(own) if training else probe)
                one_by_one = []
                for i in range(_PROBE_MODELS):
                    with _probing(module, training, seeds[i : i + 1]):
                        model = {name: weight[i] for name, weight in weights.items()}
                        one_by_one.append(functional_call(module, model, (own[i] if training else probe,)))
                if not _close(together, torch.cat(one_by_one)):
                    return False
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False  # the network does with a layer what its folded form can't
        finally:
            self._fold.dtype = kept
            module.train(before)
            folded.train(before)
        return True

    def _mixes_rows(self, probe: Tensor) -> bool:
        """Whether in training a row's output depends on the others in its batch."""
        module, before, seed = self._module, self._module.training, torch.zeros(1, dtype=torch.int64, device=probe.device)
        found = []
        try:
            for other in (probe[1:2], probe[2:3]):
                with _probing(module, True, seed):
                    found.append(module(torch.cat([probe[:1], other]))[:1])
        except (RuntimeError, ValueError):
            return True
        finally:
            module.train(before)
        return not _close(*found)


def _dropouts(module: nn.Module) -> list[SeededDropout]:
    return [layer for layer in module.modules() if isinstance(layer, SeededDropout)]


@contextmanager
def _probing(module: nn.Module, training: bool, seeds: Tensor) -> Iterator[None]:
    """A pass without gradients, as of a training's first step."""
    module.train(training)
    for dropout in _dropouts(module):
        dropout.begin(seeds)
    with torch.no_grad():
        yield


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape:
        return False
    return bool((found - expected).abs().max() <= _PROBE_TOLERANCE * expected.abs().max().clamp(min=1.0))
