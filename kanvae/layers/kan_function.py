"""What `KANLinear` computes, as a function of tensors, by the compiled kernels."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from kanvae import kernels


@functools.cache
def library(degree: int, count: int) -> ctypes.CDLL | None:
    """The kernels for splines of a degree with `count` bases; None where they cannot be had."""
    found = kernels.load("kan", DEGREE=degree, COUNT=count)
    return None if found is None else _declare(found)


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, whole, real = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
    sizes = (ctypes.c_int,) + (whole,) * 3  # is x of two values, B, I, O
    library.forward.argtypes = (*sizes, real, real) + (pointer,) * 6
    library.backward.argtypes = (*sizes, real, real) + (pointer,) * 10
    library.forward.restype = library.backward.restype = None
    for function in (library.forward_scratch, library.backward_scratch):
        function.argtypes, function.restype = sizes, whole
    return library


class Product(torch.autograd.Function):
    """The formula of a layer: x (B, I), of dtype bool too, and the three weights -> (B, O)."""

    @staticmethod
    def forward(ctx: Any, x, base_weight, spline_weight, spline_scaler, layer, library):
        first, step = layer.uniform
        rows, columns = x.shape
        sizes = (x.dtype is torch.bool, rows, columns, layer.out_features)
        y = base_weight.new_empty(rows, layer.out_features)
        scratch = base_weight.new_empty(library.forward_scratch(*sizes))
        library.forward(
            *sizes,
            first,
            1 / step,
            x.data_ptr(),
            spline_weight.data_ptr(),
            spline_scaler.data_ptr(),
            base_weight.data_ptr(),
            scratch.data_ptr(),
            y.data_ptr(),
        )
        ctx.sizes, ctx.uniform, ctx.layer, ctx.library = sizes, layer.uniform, layer, library
        ctx.save_for_backward(x, base_weight, spline_weight, spline_scaler)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, base_weight, spline_weight, spline_scaler = inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(ctx.layer, inputs, grad), None, None
        first, step = ctx.uniform
        x_grad = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        base_grad = torch.empty_like(base_weight)
        spline_grad = torch.empty_like(spline_weight)
        scaler_grad = torch.empty_like(spline_scaler)
        grad = grad.contiguous()
        scratch = grad.new_empty(ctx.library.backward_scratch(*ctx.sizes))
        ctx.library.backward(
            *ctx.sizes,
            first,
            1 / step,
            x.data_ptr(),
            grad.data_ptr(),
            spline_weight.data_ptr(),
            spline_scaler.data_ptr(),
            base_weight.data_ptr(),
            scratch.data_ptr(),
            None if x_grad is None else x_grad.data_ptr(),
            spline_grad.data_ptr(),
            scaler_grad.data_ptr(),
            base_grad.data_ptr(),
        )
        return x_grad, base_grad, spline_grad, scaler_grad, None, None


def _differentiable(layer: Any, inputs: Any, grads: Any) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated again, by way of the formula in torch's operations."""
    needed = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(layer.formula(*inputs), needed, grads, create_graph=True))
    return tuple(next(found) if t.requires_grad else None for t in inputs)
