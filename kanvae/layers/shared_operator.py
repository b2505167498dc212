"""`SharedKANLinear` as a compiler sees it: one operator, which runs by kernels where they can."""

from __future__ import annotations

import functools
import types

import torch
from torch import Tensor, nn

from kanvae import kernels
from kanvae.layers import kan_function
from kanvae.layers.grid import is_plain
from kanvae.layers.shared_function import (
    COMPILED_BASES,
    backward,
    few,
    forward,
    group_ends,
    library,
    shared_linear,
)

_BASES = {kind.__name__: kind() for kind in COMPILED_BASES}
_TENSORS = (
    "Tensor x, Tensor weight, Tensor? bias, Tensor base_scale, Tensor spline_weight, Tensor grid"
)
_OPTIONS = "int order, str base, int groups"


def may_be_one_operator(
    base: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None, *curves: Tensor
) -> bool:
    """Whether a compiler may take the layer as one operator: where kernels might do it.

    Args:
        base: the base function b.
        x: (..., I); the others are what `SharedKANLinear` lists under State, in that order.
    """
    others = (weight, *(() if bias is None else (bias,)), *curves)
    return (
        kan_function.may_be_one_operator(x, *others)
        and x.dtype == torch.float32
        and few(base) * len(curves[0]) <= len(weight)
        and is_plain(base, *COMPILED_BASES)
    )


def by_name(x, weight, bias, base_scale, spline_weight, grid, order, base, groups) -> Tensor:
    """`shared_linear`, (..., O), by the name of its base function and the number of its groups."""
    ends = group_ends(len(weight), groups)
    return shared_linear(
        x, weight, bias, base_scale, spline_weight, grid, order, _BASES[base], ends
    )


def _called(tensors, order, base, groups):
    """The tensors with rows in two dimensions, and who calls; None where no kernel can."""
    found = library(order, _BASES[base], *tensors)
    if found is None:
        return None
    x, weight, bias, *curves = tensors
    ends = group_ends(len(weight), groups)
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    call = types.SimpleNamespace(options=(order, _BASES[base], ends), library=found)
    return (rows, weight, bias, *(t.contiguous() for t in curves)), call


@torch.library.custom_op(
    "kanvae::shared_linear", mutates_args=(), schema=f"({_TENSORS}, {_OPTIONS}) -> Tensor"
)
def _operator(x, weight, bias, base_scale, spline_weight, grid, order, base, groups):
    """`by_name`, (..., O), as one operator, by kernels where they can."""
    tensors = (x, weight, bias, base_scale, spline_weight, grid)
    called = _called(tensors, order, base, groups)
    if called is None:
        return by_name(*tensors, order, base, groups)
    own, call = called
    return forward(call, own)[0].view(*x.shape[:-1], len(weight))


@_operator.register_fake
def _(x, weight, bias, base_scale, spline_weight, grid, order, base, groups):
    return x.new_empty(*x.shape[:-1], weight.shape[0])


@torch.library.custom_op(
    "kanvae::shared_linear_backward",
    mutates_args=(),
    schema=f"(Tensor grad, {_TENSORS}, {_OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _operator_backward(grad, x, weight, bias, base_scale, spline_weight, grid, order, base, groups):
    tensors = (x, weight, bias, base_scale, spline_weight)
    called = _called((*tensors, grid), order, base, groups)
    if called is None or not kernels.may_run_backward(grad):
        formula = functools.partial(by_name, grid=grid, order=order, base=base, groups=groups)
        with torch._C._ForceDispatchKeyGuard(*kan_function.OUTSIDE):  # nothing is recorded within
            fresh = [None if t is None else t.detach().requires_grad_() for t in tensors]
            found = kernels.gradients(formula, fresh, grad)
    else:
        own, call = called
        rows = grad.reshape(-1, grad.shape[-1])
        found = backward(call, rows, own, None, (True, True, bias is not None))
    given = [x.new_empty(0) if t is None else t for t in found]
    return given[0].view(x.shape), *given[1:]


@_operator_backward.register_fake
def _(grad, x, weight, bias, base_scale, spline_weight, grid, order, base, groups):
    tensors = (x, weight, bias, base_scale, spline_weight)
    plain = torch.contiguous_format
    return tuple(
        x.new_empty(0) if t is None else torch.empty_like(t, memory_format=plain) for t in tensors
    )


def _save(ctx, inputs, output):
    *tensors, order, base, groups = inputs
    ctx.save_for_backward(*tensors)
    ctx.options = order, base, groups


def _differentiate(ctx, grad):
    x, weight, bias, scale, spline = _operator_backward(grad, *ctx.saved_tensors, *ctx.options)
    missing = ctx.saved_tensors[2] is None
    return x, weight, None if missing else bias, scale, spline, *[None] * 4


_operator.register_autograd(_differentiate, setup_context=_save)
