"""Convolutions of a stack of models on a GPU, without the patches: products over windows that are read where they lie.

Height and width stay (stride 1, odd side, zeros around); channels come last. Written in Triton, which torch's CUDA builds bring.
One program makes one tile of one model's output; it adds up, tap by tap of the kernel, the product of the shifted input with
that tap's weights (an implicit matrix product: the patches exist only in registers). The gradient of the input is the same
kernel with the weights turned round; that of the weights adds up over rows and places instead of over taps.
"""

import torch
import triton  # type: ignore[import-not-found, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, unused-ignore]
from torch import Tensor


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """x [models or 1, rows, height, width, inputs], kernel [models, side, side, inputs, outputs], both contiguous.

    Returns [models, rows, height, width, outputs] in x's dtype; sums in float32.
    """
    models, side, _, inputs, outputs = kernel.shape
    _, rows, height, width, _ = x.shape
    y = torch.empty((models, rows, height, width, outputs), dtype=x.dtype, device=x.device)
    places, block_n, block_k = rows * height * width, _block(outputs, 128), _block(inputs, 64)
    block_m, warps = 128, 8 if block_n >= 128 else 4
    grid = (triton.cdiv(places, block_m) * triton.cdiv(outputs, block_n), models)
    _convolve[grid](
        x, kernel, y, 0 if len(x) == 1 else x.stride(0), places, height, width, inputs, outputs,
        SIDE=side, BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_warps=warps, num_stages=3,
    )  # fmt: skip
    return y


def kernel_gradient(x: Tensor, gradient: Tensor, side: int) -> Tensor:
    """The gradient of the kernel, [models, side, side, inputs, outputs], of x and the output's gradient, both contiguous."""
    models, rows, height, width, outputs = gradient.shape
    inputs = x.shape[-1]
    found = torch.empty((models, side, side, inputs, outputs), dtype=x.dtype, device=x.device)
    block_c, block_n = _block(inputs, 64), _block(outputs, 128)
    grid = (side * side * triton.cdiv(inputs, block_c) * triton.cdiv(outputs, block_n), models)
    _kernel_gradient[grid](
        x, gradient, found, 0 if len(x) == 1 else x.stride(0), rows * height * width, height, width, inputs, outputs,
        SIDE=side, BLOCK_C=block_c, BLOCK_N=block_n, BLOCK_M=64, num_warps=4, num_stages=3,
    )  # fmt: skip
    return found


def _block(size: int, most: int) -> int:
    """The power of two from 16 to `most` that covers `size` with the fewest blocks, and then is smallest."""
    block = 16
    while block < most and block < size:
        block *= 2
    return block


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _convolve(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917 - Triton's own language
    x, kernel, y, x_stride, places, height: tl.constexpr, width: tl.constexpr,  # noqa: ANN001 - as above
    inputs: tl.constexpr, outputs: tl.constexpr, SIDE: tl.constexpr,  # noqa: N803 - as above
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,  # noqa: N803 - as above
):  # fmt: skip
    model = tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(outputs, BLOCK_N)
    m = (tl.program_id(0) // tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    row, down, across = m // (height * width), (m // width) % height, m % width
    x_of, kernel_of = x + model * x_stride, kernel + model * SIDE * SIDE * inputs * outputs
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for tap in range(SIDE * SIDE):
        h, w = down + tap // SIDE - SIDE // 2, across + tap % SIDE - SIDE // 2
        inside = (m < places) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        start = ((row * height + h) * width + w) * inputs
        for first in range(0, inputs, BLOCK_K):
            c = first + tl.arange(0, BLOCK_K)
            window = tl.load(x_of + start[:, None] + c[None, :], mask=inside[:, None] & (c < inputs)[None, :], other=0.0)
            weights = tl.load(
                kernel_of + (tap * inputs + c)[:, None] * outputs + n[None, :],
                mask=(c < inputs)[:, None] & (n < outputs)[None, :],
                other=0.0,
            )
            total = tl.dot(window, weights, total)
    place = model * places * outputs + m[:, None].to(tl.int64) * outputs + n[None, :]
    tl.store(y + place, total.to(y.dtype.element_ty), mask=(m < places)[:, None] & (n < outputs)[None, :])


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _kernel_gradient(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0917 - Triton's own language
    x, gradient, found, x_stride, places, height: tl.constexpr, width: tl.constexpr,  # noqa: ANN001 - as above
    inputs: tl.constexpr, outputs: tl.constexpr, SIDE: tl.constexpr,  # noqa: N803 - as above
    BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_M: tl.constexpr,  # noqa: N803 - as above
):  # fmt: skip
    model = tl.program_id(1).to(tl.int64)
    tiles_n, tiles_c = tl.cdiv(outputs, BLOCK_N), tl.cdiv(inputs, BLOCK_C)
    n = (tl.program_id(0) % tiles_n) * BLOCK_N + tl.arange(0, BLOCK_N)
    c = (tl.program_id(0) // tiles_n % tiles_c) * BLOCK_C + tl.arange(0, BLOCK_C)
    tap = tl.program_id(0) // (tiles_n * tiles_c)
    x_of, gradient_of = x + model * x_stride, gradient + model * places * outputs
    total = tl.zeros((BLOCK_C, BLOCK_N), dtype=tl.float32)
    for first in range(0, places, BLOCK_M):
        m = first + tl.arange(0, BLOCK_M)
        h, w = (m // width) % height + tap // SIDE - SIDE // 2, m % width + tap % SIDE - SIDE // 2
        inside = (m < places) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        start = ((m // (height * width) * height + h) * width + w) * inputs
        window = tl.load(x_of + start[None, :] + c[:, None], mask=inside[None, :] & (c < inputs)[:, None], other=0.0)
        slope = tl.load(
            gradient_of + m[:, None] * outputs + n[None, :], mask=(m < places)[:, None] & (n < outputs)[None, :], other=0.0
        )
        total = tl.dot(window, slope, total)
    place = ((model * SIDE * SIDE + tap) * inputs + c[:, None]) * outputs + n[None, :]
    tl.store(found + place, total.to(found.dtype.element_ty), mask=(c < inputs)[:, None] & (n < outputs)[None, :])
