"""Many models of one architecture in one pass: the devices are folded into the batch, only layers with weights know of them.

A stack of D models on B rows each runs as one batch of D * B rows, device after device. Pooling, rectifiers, reshaping treat
every row alike and need no change; a linear layer becomes one batched matrix product, and so does a convolution: over its
patches, or on a GPU by kernels that need none (`kernels`). Gradients are torch's own.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional


class Fold:
    """The weights of the running stack, by parameter name, each [models, ...], and the type that products are computed in.

    While they run, matrices and kernels stand with inputs and outputs last, so that a product needs them as they lie and gives
    its gradient as they lie: `turned` has the order of the dimensions of each, counted after that of the models.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.turned: dict[str, tuple[int, ...]] = {}
        self.models = 0
        self.weights: Mapping[str, Tensor] = {}
        self._shared = False

    def begin(self, weights: Mapping[str, Tensor], *, shared: bool) -> None:
        """A pass begins; `shared`: its rows are one batch for all models until the first layer with weights."""
        self.weights, self.models = weights, len(next(iter(weights.values())))
        self._shared = shared

    def weight(self, name: str) -> Tensor:
        """A parameter of all models of the stack, in the type of the products."""
        return self.weights[name].to(self.dtype)

    def split(self, x: Tensor) -> Tensor:
        """[models * rows, ...] as [models, rows, ...]; rows that all models share as [1, rows, ...]."""
        return x[None] if self._shared else x.view(self.models, len(x) // self.models, *x.shape[1:])

    def join(self, y: Tensor) -> Tensor:
        """[models, rows, ...] as [models * rows, ...]; from here on every model has rows of its own."""
        self._shared = False
        return y.reshape(y.shape[0] * y.shape[1], *y.shape[2:])

    def turn(self, name: str, weight: Tensor) -> Tensor:
        """A parameter [models, ...] as it stands while it runs."""
        return weight.permute(0, *self.turned[name]).contiguous() if name in self.turned else weight.contiguous()

    def turn_back(self, name: str, weight: Tensor) -> Tensor:
        """The inverse of `turn`."""
        if name not in self.turned:
            return weight
        order = self.turned[name]
        return weight.permute(0, *(order.index(place) + 1 for place in range(1, len(order) + 1)))


LEAST_CHANNELS: Final = 16
"""Fewer input channels would leave most of a kernel's product empty; their patches are small anyway."""

_LINEAR: Final = (2, 1)
"""[outputs, inputs] as [inputs, outputs]."""

_KERNEL: Final = (3, 4, 2, 1)
"""[outputs, inputs, side, side] as [side, side, inputs, outputs]."""


class FoldedLinear(nn.Module):
    """Stands for the `nn.Linear` of that name."""

    def __init__(self, fold: Fold, name: str, layer: nn.Linear) -> None:
        super().__init__()
        self._fold, self._name, self._bias = fold, name, layer.bias is not None
        fold.turned[f"{name}.weight"] = _LINEAR

    def forward(self, x: Tensor) -> Tensor:
        """[models * rows, inputs] to [models * rows, outputs]."""
        fold = self._fold
        rows = fold.split(x).expand(fold.models, -1, -1)
        y = torch.bmm(rows, fold.weight(f"{self._name}.weight"))
        return fold.join(y + fold.weight(f"{self._name}.bias")[:, None] if self._bias else y)


class FoldedConv2d(nn.Module):
    """Stands for the `nn.Conv2d` of that name: one matrix product a model over its patches, channels last."""

    def __init__(self, fold: Fold, name: str, layer: nn.Conv2d) -> None:
        super().__init__()
        self._fold, self._name, self._bias = fold, name, layer.bias is not None
        self._layer = layer
        side = layer.kernel_size[0]
        same = (
            layer.kernel_size == (side, side)
            and side % 2 == 1
            and layer.padding == (side // 2, side // 2)
            and layer.stride == (1, 1)
            and layer.dilation == (1, 1)
            and layer.groups == 1
        )
        self._same = same
        if same:
            fold.turned[f"{name}.weight"] = _KERNEL

    def forward(self, x: Tensor) -> Tensor:
        """[models * rows, channels, height, width], the same with the layer's outputs for channels."""
        fold = self._fold
        weight = fold.weight(f"{self._name}.weight")
        bias = fold.weight(f"{self._name}.bias") if self._bias else None
        rows = fold.split(x)
        if not self._same:
            return fold.join(self._grouped(rows, weight, bias))
        y: Tensor = _SameConvolution.apply(rows.permute(0, 1, 3, 4, 2).contiguous(), weight)  # type: ignore[no-untyped-call]
        if bias is not None:
            y = y + bias[:, None, None, None]
        return fold.join(y.permute(0, 1, 4, 2, 3))

    def _grouped(self, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """For every other kind of convolution: the models as groups of one."""
        layer, models = self._layer, self._fold.models
        x = rows.expand(models, -1, -1, -1, -1).transpose(0, 1).flatten(1, 2)
        y = functional.conv2d(
            x,
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            layer.stride,
            layer.padding,
            layer.dilation,
            models * layer.groups,
        )
        return y.view(len(y), models, -1, *y.shape[2:]).transpose(0, 1)


class _SameConvolution(torch.autograd.Function):
    """Convolutions of stride 1 that keep height and width, of a stack of models.

    The gradient of the input is itself such a convolution, of the output's gradient with the kernel turned round.
    """

    @staticmethod
    def forward(ctx, x: Tensor, kernel: Tensor) -> Tensor:  # type: ignore[no-untyped-def]  # noqa: ANN001 - torch's own context
        """x [models or 1, rows, height, width, inputs], kernel [models, side, side, inputs, outputs]."""
        ctx.save_for_backward(x, kernel)
        return _convolve(x, kernel)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor]:  # type: ignore[no-untyped-def]  # noqa: ANN001 - as above
        """Gradients of x (None where nobody asks) and of the kernel."""
        x, kernel = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x = _convolve(gradient, kernel.flip(1, 2).transpose(3, 4).contiguous()) if ctx.needs_input_grad[0] else None
        return of_x, _kernel_gradient(x, gradient, kernel.shape)


def _convolve(x: Tensor, kernel: Tensor) -> Tensor:
    models, side, _, _, outputs = kernel.shape
    if _has_kernels(x):
        from bflcd.lab.engine import kernels  # noqa: PLC0415 - needs Triton

        return kernels.convolve(x, kernel)
    patches = _patches(x, side).expand(models, -1, -1)
    return torch.bmm(patches, kernel.reshape(models, -1, outputs)).view(models, *x.shape[1:4], outputs)


def _kernel_gradient(x: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    if _has_kernels(x):
        from bflcd.lab.engine import kernels  # noqa: PLC0415 - needs Triton

        return kernels.kernel_gradient(x, gradient, shape[1])
    patches = _patches(x, shape[1]).expand(shape[0], -1, -1)
    return torch.bmm(patches.transpose(1, 2), gradient.view(shape[0], -1, shape[-1])).view(shape)


def _has_kernels(x: Tensor) -> bool:
    """Whether the kernels without patches do it: on a GPU, in bf16, with enough channels to fill a product.

    In float32 they would have to round, and as TF32 one full run in two had a model measured 5e-5 nats apart from its equals.
    """
    return x.is_cuda and x.dtype == torch.bfloat16 and x.shape[-1] >= LEAST_CHANNELS and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _patches(x: Tensor, side: int) -> Tensor:
    """[models, rows, height, width, channels] to [models, rows * height * width, side * side * channels], padded with zeros."""
    models, _, _, _, channels = x.shape
    half = side // 2
    padded = functional.pad(x, (0, 0, half, half, half, half))
    windows = padded.unfold(2, side, 1).unfold(3, side, 1).permute(0, 1, 2, 3, 5, 6, 4)
    return windows.reshape(models, -1, side * side * channels)


def fold_module(module: nn.Module, dtype: torch.dtype) -> Fold | None:
    """Replace the layers with weights in `module`; None, and nothing is replaced, if one of them can't be folded."""
    layers = dict(module.named_modules())
    if not all(_can_be_folded(layer) for layer in layers.values()):
        return None
    fold = Fold(dtype)
    for name, layer in layers.items():
        parent, _, leaf = name.rpartition(".")
        if isinstance(layer, nn.Linear):
            setattr(layers[parent], leaf, FoldedLinear(fold, name, layer))
        elif isinstance(layer, nn.Conv2d):
            setattr(layers[parent], leaf, FoldedConv2d(fold, name, layer))
    return fold


def _can_be_folded(layer: nn.Module) -> bool:
    """A linear layer, a convolution padded with zeros, or a layer without weights of its own."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    owns = any(True for _ in layer.parameters(recurse=False)) or any(True for _ in layer.buffers(recurse=False))
    return type(layer) is nn.Linear or not owns
