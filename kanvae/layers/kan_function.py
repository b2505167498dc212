"""What `KANLinear` computes, as a function of tensors: the formula, and the compiled ways to it.

Nothing is remembered between calls. Whether the kernels can do a call is decided in it, from its
tensors alone, and so a layer may receive its tensors in any way.

Letters: B batch, I inputs, O outputs, g groups of outputs, n = G + k bases an input.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor

from kanvae import kernels, splines
from kanvae.layers.function_layer import check_input, of_bits

# Beyond these, of splines, the compiler takes long and the kernels gain little.
MOST_DEGREE, MOST_COUNT = 7, 64
_UNEVEN = 2  # what kan.c's `forward` says where inputs share no even knots


@torch.fx.wrap
def formula(
    x: Tensor,
    base_weight: Tensor,
    spline_weight: Tensor,
    spline_scaler: Tensor,
    grid: Tensor,
    base_activation: Callable[[Tensor], Tensor] = F.silu,
) -> Tensor:
    """The layer as it reads on paper, for every device and type, in torch's operations.

    Args:
        x: (..., I) floats, or bool.
        base_weight: (O, I).
        spline_weight: (O, I, n), or (g, I, n) for groups of outputs that share it.
        spline_scaler: (O, I).
        grid: (I, n + k + 1) knots, any that do not decrease.

    Returns:
        (..., O)

    Raises:
        ValueError: an input of another width, sparse, or neither floats nor bool; more groups than
            outputs.
    """
    check_input(x, grid.shape[0], (base_weight,))
    if x.dtype == torch.bool:
        return _affine(x, base_weight, spline_weight, spline_scaler, grid, base_activation)
    features = bases(x, grid, spline_weight.shape[-1])  # (..., I, n)
    spline = _for_each(spline_weight, base_weight.shape[0])
    weight = spline * spline_scaler.unsqueeze(-1)  # (O, I, n)
    base = F.linear(base_activation(x), base_weight)  # (..., O)
    return base + F.linear(features.flatten(-2), weight.flatten(-2))


def _affine(x, base_weight, spline_weight, spline_scaler, grid, base_activation) -> Tensor:
    """The layer on inputs that are 0 or 1, where every edge is a line through two points."""
    points = torch.arange(2, dtype=spline_weight.dtype, device=spline_weight.device)
    points = points.unsqueeze(1).expand(2, grid.shape[0])
    features = bases(points, grid, spline_weight.shape[-1])  # (2, I, n)
    spline = _for_each(spline_weight, base_weight.shape[0])
    curves = torch.einsum("oij,eij->eoi", spline, features)
    base = base_activation(points).unsqueeze(1)  # (2, 1, I)
    at_zero, at_one = base_weight * base + spline_scaler * curves  # (O, I) each
    return of_bits(x, at_zero, at_one)


def _for_each(spline_weight: Tensor, outputs: int) -> Tensor:
    if torch.jit.is_tracing():  # sizes are tensors: who traces has given each output its own
        return spline_weight
    groups = spline_weight.shape[0]
    if groups > outputs:
        raise ValueError(f"there are {groups} groups for {outputs} outputs: every one needs some.")
    return by_output(spline_weight, groups, outputs)


def by_output(values: Tensor, groups: int, outputs: int) -> Tensor:
    """For each output what its group has, s = floor(o g / O): (g, ...) -> (O, ...)."""
    if groups == outputs:
        return values
    if groups == 1:
        return values.expand(outputs, *values.shape[1:])
    of = torch.arange(outputs, device=values.device) * groups // outputs
    return values.index_select(0, of)  # its gradient takes less time than that of values[of]


def bases(x: Tensor, grid: Tensor, count: int) -> Tensor:
    """The spline bases of every input: (..., I) -> (..., I, n), in the dtype of `x`.

    They are computed in the wider of the types of `x` and `grid`.
    """
    points = x.to(torch.promote_types(x.dtype, grid.dtype))
    return splines.recursion(points, grid, grid.shape[-1] - count - 1).to(x.dtype)


@torch.fx.wrap
def kan_linear(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, spline_scaler: Tensor, grid: Tensor
) -> Tensor:
    """The same (..., O) with SiLU as the base activation, by compiled kernels where they can."""
    tensors = (x, base_weight, spline_weight, spline_scaler, grid)
    found = _library(*tensors)  # as little as can be comes before it: small layers take 0.2 ms
    if found is not None:
        y = _Product.apply(*tensors, found)
        if y is not None:
            return y
    if torch.compiler.is_compiling() and may_be_one_operator(*tensors):
        check_input(x, grid.shape[0], (base_weight,))
        return _operator(*tensors)
    return formula(*tensors)


@functools.cache
def library(degree: int, count: int) -> ctypes.CDLL | None:
    """The kernels for splines of a degree with `count` bases; None where they cannot be had."""
    if not (0 <= degree <= MOST_DEGREE and 1 <= count <= MOST_COUNT):
        return None
    found = kernels.load_library("kan", DEGREE=degree, COUNT=count)
    if found is not None:
        pointer, whole, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
        sizes = (whole, whole, *(size,) * 4)  # is x of two values, threads, B, I, O, g
        found.forward.argtypes = (*sizes, *(pointer,) * 7)
        found.backward.argtypes = (*sizes, *(pointer,) * 10)
        found.share_even_knots.argtypes = (pointer, size, pointer)
    return found


def _library(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, spline_scaler: Tensor, grid: Tensor
) -> ctypes.CDLL | None:
    """The library that can compute these tensors, should all inputs share evenly spaced knots."""
    if grid.requires_grad or not kernels.may_run(
        x, base_weight, spline_weight, spline_scaler, grid
    ):
        return None
    groups, inputs, count = spline_weight.shape
    outputs, places = base_weight.shape[0], grid.shape[-1]
    if not (
        x.shape[-1:] == (inputs,)  # none of a number alone
        and inputs > 0 < groups <= outputs
        and base_weight.shape == spline_scaler.shape == (outputs, inputs)
        and grid.shape == (inputs, places)  # where shapes do not fit, torch's operations say so
        and base_weight.is_contiguous()
        and spline_weight.is_contiguous()
        and spline_scaler.is_contiguous()
        and grid.is_contiguous()
    ):
        return None
    return library(places - count - 1, count)


def _forward(
    x, base_weight, spline_weight, spline_scaler, grid, found
) -> tuple[Tensor, ctypes.Array] | None:
    """y, and the knots that all inputs share; None if they share no even ones."""
    outputs, inputs = base_weight.shape
    rows, knots = x.contiguous(), (ctypes.c_float * grid.shape[-1])()
    count = x.numel() // inputs
    y = base_weight.new_empty((count, outputs) if x.ndim == 2 else (*x.shape[:-1], outputs))
    failed = found.forward(
        x.dtype is torch.bool,
        kernels.threads(),
        count,
        inputs,
        outputs,
        len(spline_weight),
        grid.data_ptr(),
        knots,
        rows.data_ptr(),
        spline_weight.data_ptr(),
        spline_scaler.data_ptr(),
        base_weight.data_ptr(),
        y.data_ptr(),
    )
    if failed == _UNEVEN:
        return None
    if failed:
        raise MemoryError("there is no memory for what a KAN layer works on (forward pass).")
    return y, knots


def _backward(grad, x, base_weight, spline_weight, spline_scaler, found, knots, needs_x):
    outputs, inputs = base_weight.shape
    rows, upstream = x.contiguous(), grad.contiguous()
    x_grad = torch.empty_like(rows) if needs_x else None
    base_grad = torch.empty_like(base_weight)
    spline_grad = torch.empty_like(spline_weight)
    scaler_grad = torch.empty_like(spline_scaler)
    if found.backward(
        x.dtype is torch.bool,
        kernels.threads(),
        x.numel() // inputs,
        inputs,
        outputs,
        len(spline_weight),
        knots,
        rows.data_ptr(),
        upstream.data_ptr(),
        spline_weight.data_ptr(),
        spline_scaler.data_ptr(),
        base_weight.data_ptr(),
        None if x_grad is None else x_grad.data_ptr(),
        spline_grad.data_ptr(),
        scaler_grad.data_ptr(),
        base_grad.data_ptr(),
    ):
        raise MemoryError("there is no memory for what a KAN layer works on (backward pass).")
    return x_grad, base_grad, spline_grad, scaler_grad


class _Product(torch.autograd.Function):
    """The kernels as torch's eager operations see them: as `_forward`, y alone."""

    @staticmethod
    def forward(ctx: Any, x, base_weight, spline_weight, spline_scaler, grid, found):
        done = _forward(x, base_weight, spline_weight, spline_scaler, grid, found)
        if done is None:
            return None
        y, knots = done
        ctx.kernel = found, knots
        ctx.save_for_backward(x, base_weight, spline_weight, spline_scaler)
        return y

    @staticmethod
    def backward(ctx, grad):
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled() or not kernels.may_run_backward(grad):
            knots = torch.tensor(list(ctx.kernel[1]), dtype=torch.float32)
            inputs = (*inputs, knots.expand(inputs[0].shape[-1], -1))
            return *kernels.gradients(formula, inputs, grad)[:4], None, None
        x, base, spline, scaler = inputs
        library, knots = ctx.kernel
        return *_backward(grad, x, base, spline, scaler, library, knots, needed[0]), None, None


def may_be_one_operator(x: Tensor, *others: Tensor) -> bool:
    """Whether a compiler may take the layer of x (..., I) as one operator: on a CPU, in float32.

    Not where derivatives run forward or rows are batched, of which an operator knows nothing, nor
    on the way to ONNX, which knows no such operator.
    """
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in others)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bool)
        and not others[-1].requires_grad
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
        and not torch.onnx.is_in_onnx_export()
    )


OUTSIDE = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()


@torch.library.custom_op("kanvae::kan_linear", mutates_args=())
def _operator(
    x: Tensor, base_weight: Tensor, spline_weight: Tensor, spline_scaler: Tensor, grid: Tensor
) -> Tensor:
    tensors = (x, base_weight, spline_weight, spline_scaler, grid)
    found = _library(*tensors)
    done = None if found is None else _forward(*tensors, found)
    return formula(*tensors) if done is None else done[0]


@_operator.register_fake
def _(x, base_weight, spline_weight, spline_scaler, grid):
    return base_weight.new_empty(*x.shape[:-1], base_weight.shape[0])


@torch.library.custom_op("kanvae::kan_linear_backward", mutates_args=())
def _operator_backward(
    grad: Tensor,
    x: Tensor,
    base_weight: Tensor,
    spline_weight: Tensor,
    spline_scaler: Tensor,
    grid: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tensors, is_float = (x, base_weight, spline_weight, spline_scaler), x.is_floating_point()
    library, knots = _library(*tensors, grid), (ctypes.c_float * grid.shape[-1])()
    found: Any
    if (
        library is None
        or not kernels.may_run_backward(grad)
        or not library.share_even_knots(grid.data_ptr(), len(grid), knots)
    ):
        with torch._C._ForceDispatchKeyGuard(*OUTSIDE):  # within an operator nothing is recorded
            fresh = [t.detach().requires_grad_(t.is_floating_point()) for t in tensors]
            found = kernels.gradients(formula, (*fresh, grid), grad)
    else:
        found = _backward(grad, *tensors, library, knots, is_float)
    x_grad = found[0] if is_float else x.new_empty(0)
    return x_grad, found[1], found[2], found[3]


@_operator_backward.register_fake
def _(grad, x, base_weight, spline_weight, spline_scaler, grid):
    plain = torch.contiguous_format
    x_grad = torch.empty_like(x, memory_format=plain) if x.is_floating_point() else x.new_empty(0)
    weights = (base_weight, spline_weight, spline_scaler)
    return x_grad, *(torch.empty_like(w, memory_format=plain) for w in weights)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad):
    x_grad, *others = _operator_backward(grad, *ctx.saved_tensors)
    return x_grad if ctx.saved_tensors[0].is_floating_point() else None, *others, None


_operator.register_autograd(_differentiate, setup_context=_save)
