"""The inner loops of a KAN layer on the CPU: builds kan.c and calls it.

The first layer of a kind compiles them, in about a second, and keeps the result in
`~/.cache/kanvae`. Without a C compiler, or with `KANVAE_KERNELS=0`, layers use torch's own
operations, which give the same numbers to rounding in several times the time.

Letters: B batch, I inputs, O outputs, n bases an input.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SOURCE = Path(__file__).with_name("kan.c")
FLAGS: tuple[str, ...] = ("-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
FLAGS += ("-fno-tree-slp-vectorize",)  # the vectors are written out; more of them only wait
OPTIONAL = (("-march=native", "-fopenmp"), ("-march=native",), ())  # the first that compiles


@functools.cache
def load(degree: int, count: int) -> ctypes.CDLL | None:
    """The library for splines of a degree with `count` bases; None where it cannot be had.

    Warns, once, if no compiler is there or it fails.
    """
    if os.environ.get("KANVAE_KERNELS") == "0":
        return None
    sizes = (f"-DDEGREE={degree}", f"-DCOUNT={count}")
    name = hashlib.sha256(repr((SOURCE.read_text(), FLAGS, sizes, _processor())).encode())
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kanvae"
    target = folder / f"kernels-{name.hexdigest()[:16]}.so"
    try:
        if not target.exists():
            _compile(sizes, target)
        return _declare(ctypes.CDLL(str(target)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        warnings.warn(
            f"the kernels of KAN layers cannot be compiled ({error}), so that layers take several "
            "times longer. Install a C compiler (gcc or clang) or name one in CC; "
            "KANVAE_KERNELS=0 accepts this and says nothing.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _compile(sizes: tuple[str, ...], target: Path) -> None:
    compilers = (os.environ.get("CC"), "cc", "gcc", "clang")
    compiler = next((path for name in compilers if name and (path := shutil.which(name))), None)
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name  # other processes see the whole file or none
        for optional in OPTIONAL:
            command = [compiler, *FLAGS, *optional, *sizes, str(SOURCE), "-o", str(part)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode == 0:
                part.replace(target)
                return
    raise RuntimeError(f"{compiler} failed: {done.stderr.strip()[-300:]}")


def _processor() -> tuple[str, ...]:
    """What the compiled code may use: a home folder can be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.system(), platform.machine(), platform.processor(), flags


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, whole, real = ctypes.c_void_p, ctypes.c_long, ctypes.c_float
    sizes = (ctypes.c_int,) + (whole,) * 3  # is x of two values, B, I, O
    library.forward.argtypes = (*sizes, real, real) + (pointer,) * 6
    library.backward.argtypes = (*sizes, real, real) + (pointer,) * 10
    library.forward.restype = library.backward.restype = None
    for function in (library.forward_scratch, library.backward_scratch):
        function.argtypes, function.restype = sizes, whole
    return library


def fits(x: Tensor, weights: tuple[Tensor, ...]) -> bool:
    """Whether a kernel can read the tensors: in the CPU's memory, row after row, in float32.

    The input x may also be of dtype bool.
    """
    for tensor in (x, *weights):  # at every call of every layer: no generator, no function for each
        if not (
            type(tensor) in (Tensor, torch.nn.Parameter)
            and (tensor.dtype is torch.float32 or (tensor is x and x.dtype is torch.bool))
            and tensor.is_cpu
            and tensor.is_contiguous()
        ):
            return False
    return True


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
