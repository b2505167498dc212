"""What `SharedKANLinear` computes, as a function of tensors: as it reads on paper, and compiled.

Letters: B batch, I inputs, O outputs, g groups, G intervals of the grid, k degree.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae import kernels
from kanvae.layers.grid import is_plain
from kanvae.layers.kan_function import bases, by_output, kan_linear
from kanvae.layers.kan_function import formula as kan_linear_formula

COMPILED_BASES: tuple[type[nn.Module], ...] = (nn.SiLU, nn.ReLU, nn.Identity)  # as in shared.c
MOST_DEGREE, MOST_KNOTS = 5, 64  # of splines that the kernels are compiled for
MOST_VALUES = 1 << 22  # of functions that are in memory at a time: 16 MB

Base = Callable[[Tensor], Tensor]

torch.fx.wrap("kan_linear")  # one call each in a symbolic trace
torch.fx.wrap("kan_linear_formula")


def few(base: Base) -> int:
    """Outputs of a group, with fewer of which a product with all bases costs less, as measured.

    Functions of a group take time as the groups are many; the product, by the kernels of
    `KANLinear` where the base is its SiLU, takes the same time for any number of groups.
    """
    return 20 if is_plain(base, nn.SiLU) else 8


def group_ends(outputs: int, groups: int) -> tuple[int, ...]:
    """Where groups begin and end: floor(o g / O) = s for the outputs o from ends[s] to ends[s + 1].

    It holds g + 1 numbers, of which the last is O.
    """
    return tuple(-(-s * outputs // groups) for s in range(groups + 1))


def functions(
    x: Tensor, base_scale: Tensor, spline_weight: Tensor, grid: Tensor, base: Base
) -> Tensor:
    """f_is(x_i) for all groups s: (..., I) -> (g, ..., I)."""
    scale = base_scale[(slice(None), *[None] * (x.ndim - 1))]  # (g, 1, ..., I)
    splines = bases(x, grid, spline_weight.shape[-1])
    return scale * base(x) + torch.einsum("...in,gin->g...i", splines, spline_weight)


def shared_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    base_scale: Tensor,
    spline_weight: Tensor,
    grid: Tensor,
    order: int,
    base: Base,
    ends: tuple[int, ...],
) -> Tensor:
    """The layer as it reads on paper, for every device and type: (..., I) -> (..., O)."""
    outputs, groups = ends[-1], len(ends) - 1
    if x.layout == torch.jagged:  # rows in groups of any size, one after another in memory
        y = shared_linear(
            x.values(), weight, bias, base_scale, spline_weight, grid, order, base, ends
        )
        offsets = x.offsets()  # type: ignore[attr-defined]
        return torch.nested.nested_tensor_from_jagged(y, offsets)
    if few(base) * groups > outputs:
        plain, spline = is_plain(base, nn.SiLU), spline_weight
        if not plain or torch.jit.is_tracing():
            spline = by_output(spline, groups, outputs)
        tensors = (x, weight * by_output(base_scale, groups, outputs), spline, weight, grid)
        y = kan_linear(*tensors) if plain else kan_linear_formula(*tensors, base)
        return y if bias is None else y + bias.to(y.dtype)
    if x.dtype == torch.bool:  # 0 or 1: every function is a line through two points
        points = torch.arange(2, dtype=weight.dtype, device=weight.device)
        points = points.unsqueeze(1).expand(2, weight.shape[1])
        values = functions(points, base_scale, spline_weight, grid, base)  # (g, 2, I)
        at_zero, at_one = values.unbind(1)
        constant = (weight * by_output(at_zero, groups, outputs)).sum(1)  # (O,)
        constant = constant if bias is None else constant + bias
        rises = weight * by_output(at_one - at_zero, groups, outputs)
        return F.linear(x.to(weight.dtype), rises, constant)
    values = functions(x, base_scale, spline_weight, grid, base)
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    biases = [None] * groups if bias is None else bias.split(sizes)
    parts = zip(values.unbind(), weight.split(sizes), biases, strict=True)
    return torch.cat([F.linear(f, w, b) for f, w, b in parts], -1)


def library(
    order: int,
    base: nn.Module,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    base_scale: Tensor,
    spline_weight: Tensor,
    grid: Tensor,
) -> ctypes.CDLL | None:
    """The compiled kernels where they compute what the formula says, None elsewhere.

    Of the shapes that `SharedKANLinear` lists under State, x being (..., I).
    """
    tensors = (x, weight, base_scale, spline_weight, grid)
    if not kernels.may_run(*(tensors if bias is None else (*tensors, bias))):
        return None
    outputs, inputs = weight.shape
    groups, places = len(base_scale), grid.shape[-1]
    shapes = (x.shape[-1], base_scale.shape, spline_weight.shape, grid.shape)
    expected = (inputs, (groups, inputs), (groups, inputs, places - order - 1), (inputs, places))
    if (
        x.dtype is torch.bool
        or few(base) * groups > outputs
        or order > MOST_DEGREE
        or places > MOST_KNOTS
        or shapes != expected  # torch's operations say what is wrong
        or grid.requires_grad
        or not is_plain(base, *COMPILED_BASES)
    ):
        return None
    found = _load(order, places - order - 1)
    if found is None or not found.even(inputs, grid.contiguous().data_ptr()):
        return None
    return found


@functools.cache
def _load(order: int, count: int) -> ctypes.CDLL | None:
    library = kernels.load_library("shared", DEGREE=order, COUNT=count)
    if library is not None:
        pointer, whole = ctypes.c_void_p, ctypes.c_long
        sizes = (ctypes.c_int, *(whole,) * 3, ctypes.c_int)  # base, B, I, g, threads
        library.even.argtypes = (whole, pointer)
        library.forward.argtypes = (*sizes, *(pointer,) * 5)
        library.backward.argtypes = (*sizes, ctypes.c_int, *(pointer,) * 8)
        library.outputs.argtypes = (whole, whole, ctypes.c_int, *(pointer,) * 3)
        library.forward.restype = library.backward.restype = library.outputs.restype = None
    return library


class Compiled(torch.autograd.Function):
    """`shared_linear` of x (B, I), on the CPU in float32, by `kernels/shared.c`.

    All tensors but the weight and the bias have to be contiguous. The values of the functions are
    kept for the gradients unless they are many: then they are computed again, some groups at a
    time.
    """

    @staticmethod
    def forward(ctx: Any, x, weight, bias, base_scale, spline_weight, grid, *options):
        *ctx.options, ctx.library = options  # order, base, ends
        y, kept = forward(ctx, (x, weight, bias, base_scale, spline_weight, grid))
        ctx.save_for_backward(x, weight, bias, base_scale, spline_weight, grid, kept)
        return y

    @staticmethod
    def backward(ctx, grad):
        *tensors, grid, kept = ctx.saved_tensors
        if torch.is_grad_enabled() or not kernels.may_run_backward(grad):
            order, base, ends = ctx.options
            formula = functools.partial(shared_linear, grid=grid, order=order, base=base, ends=ends)
            return *kernels.gradients(formula, tensors, grad), *[None] * 5
        found = backward(ctx, grad, (*tensors, grid), kept, ctx.needs_input_grad)
        return *found, *[None] * 5


Tensors = tuple[Any, ...]  # x (B, I), weight, bias, base_scale, spline_weight, grid


def forward(call: Any, tensors: Tensors) -> tuple[Tensor, Tensor | None]:
    """y (B, O), and the values of the functions (g, I, B) if they are to be kept for `backward`.

    Args:
        call: has the `options` (order, base, ends) and the `library`.
    """
    x, weight, bias, base_scale, spline_weight, grid = tensors
    curves, kept = (x, grid, base_scale, spline_weight), None
    lines = x.new_empty(len(weight), len(x))  # y on its side
    for first, last in _blocks(curves):
        values = _values(call, curves, first, last)
        parts, multiply = _parts(call, first, last)
        for line, w, f in zip(parts(lines), parts(weight), parts(values), strict=True):
            multiply(w, f, out=line)
        kept = values if last - first == len(base_scale) else None
    y = x.new_empty(len(x), len(weight))
    shift = None if bias is None else bias.contiguous()
    addresses = (t if t is None else t.data_ptr() for t in (lines, shift, y))
    call.library.outputs(*y.shape, kernels.threads(), *addresses)
    return y, kept


def backward(
    call: Any, grad: Tensor, tensors: Tensors, kept: Tensor | None, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients of x, weight, bias, base_scale and spline_weight; the first three if wanted.

    Args:
        call, tensors: as in `forward`.
        grad: of y, (B, O).
        kept: what `forward` gave beside y.
    """
    x, weight, _, base_scale, spline_weight, grid = tensors
    curves = x, grid, base_scale, spline_weight
    alone = len(base_scale) == 1
    x_grad: Tensor | None = torch.empty_like(x) if wanted[0] and not alone else None
    weight_grad = torch.empty_like(weight) if wanted[1] else None
    bias_grad = grad.sum(0) if wanted[2] else None
    scale_grad, spline_grad = torch.empty_like(base_scale), torch.empty_like(spline_weight)
    for first, last in _blocks(curves):
        parts, multiply = _parts(call, first, last)
        upstream = parts(grad.t())
        if last - first == 1:  # one matrix alone is had sooner as it comes
            value_grad = torch.mm(upstream[0].mT, parts(weight)[0])
            x_grad = value_grad if wanted[0] and alone else x_grad  # in its place
        else:
            value_grad = x.new_empty(last - first, *x.shape[::-1])
            for f, w, y in zip(parts(value_grad), parts(weight), upstream, strict=True):
                multiply(w.mT, y, out=f)
        if weight_grad is not None:
            values = _values(call, curves, first, last) if kept is None else kept
            for w, y, f in zip(parts(weight_grad), upstream, parts(values), strict=True):
                multiply(y, f.mT, out=w)
        call.library.backward(
            *_sizes(call, curves, first, last),
            first > 0,
            *_addresses(curves, first),
            value_grad.data_ptr(),
            None if x_grad is None else x_grad.data_ptr(),
            *_addresses((scale_grad, spline_grad), first),
        )
    return [x_grad, weight_grad, bias_grad, scale_grad, spline_grad]


Curves = tuple[Tensor, Tensor, Tensor, Tensor]  # x (B, I), grid, base_scale and spline_weight


def _blocks(curves: Curves) -> Iterator[tuple[int, int]]:
    """The groups that are worked on together, from the first to before the last."""
    x, groups = curves[0], len(curves[2])
    each = max(1, MOST_VALUES // max(1, x.numel()))
    return ((s, min(s + each, groups)) for s in range(0, groups, each))


def _parts(
    call: Any, first: int, last: int
) -> tuple[Callable[[Tensor], Sequence[Tensor]], Callable[..., Tensor]]:
    """How matrices of groups are cut into one for each, and how these are multiplied.

    Matrices are those with a row an output, and functions (g, I, B). Groups of one size are not
    cut: they are a batch, which costs less.
    """
    whole, ends = call.options[2], call.options[2][first : last + 1]
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    batched = len(sizes) > 1 == len(set(sizes))

    def parts(matrix: Tensor) -> Sequence[Tensor]:
        if matrix.ndim == 3:
            return [matrix] if batched else matrix.unbind()
        rows = matrix if ends == whole else matrix[ends[0] : ends[-1]]
        if batched:
            return [rows.unflatten(0, (len(sizes), -1))]
        return rows.split(sizes) if len(sizes) > 1 else [rows]

    return parts, torch.bmm if batched else torch.mm


def _sizes(call: Any, curves: Curves, first: int, last: int) -> tuple[int, ...]:
    rows, inputs = curves[0].shape
    base = COMPILED_BASES.index(type(call.options[1]))
    return base, rows, inputs, last - first, kernels.threads()


def _addresses(curves: tuple[Tensor, ...], first: int) -> list[int]:
    """Where a kernel finds tensors: those of the groups, the last two, from the first group on."""
    *whole, scale, spline = curves
    inputs, count = spline.shape[1:]
    start = 4 * first * inputs  # bytes
    addresses = [tensor.data_ptr() for tensor in whole]
    return [*addresses, scale.data_ptr() + start, spline.data_ptr() + start * count]


def _values(call: Any, curves: Curves, first: int, last: int) -> Tensor:
    """The functions of some groups: (last - first, I, B)."""
    values = curves[0].new_empty(last - first, *curves[0].shape[::-1])
    sizes = _sizes(call, curves, first, last)
    call.library.forward(*sizes, *_addresses(curves, first), values.data_ptr())
    return values
