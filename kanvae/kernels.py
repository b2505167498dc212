"""The inner loops of a KAN layer on the CPU: builds kernels.c and calls it.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kanvae import splines

SOURCE = Path(__file__).with_suffix(".c")
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
    signatures: dict[str, tuple[Any, ...]] = {
        "forward": (pointer,) * 4 + (whole,) * 3 + (real,) * 2 + (pointer,) * 2,
        "backward": (pointer,) * 5 + (whole,) * 3 + (real,) * 2 + (pointer,) * 5,
        "ends": (pointer,) * 4 + (whole,) * 2 + (pointer,) * 2,
        "ends_backward": (pointer,) * 5 + (whole,) * 2 + (pointer,) * 3,
    }
    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    for function in (library.forward_scratch, library.backward_scratch):
        function.argtypes, function.restype = (whole,) * 3, whole
    return library


def fits(*tensors: Tensor) -> bool:
    """Whether a kernel can read the tensors: float32, in the CPU's memory, row after row."""
    for tensor in tensors:  # at every call of every layer: no generator, no function for each
        if not (
            type(tensor) in (Tensor, torch.nn.Parameter)
            and tensor.dtype is torch.float32
            and tensor.is_cpu
            and tensor.is_contiguous()
        ):
            return False
    return True


class Product(torch.autograd.Function):
    """The layer's formula: x (B, I) and its three weights -> (B, O)."""

    @staticmethod
    def forward(ctx: Any, x, base_weight, spline_weight, spline_scaler, uniform, formula, library):
        outputs, columns, _ = spline_weight.shape
        sizes = (len(x), columns, outputs)
        y = x.new_empty(len(x), outputs)
        weights = (spline_weight, spline_scaler, base_weight)
        places = _places(uniform)
        scratch = x.new_empty(library.forward_scratch(*sizes))
        library.forward(*_at(x, *weights), *sizes, *places, *_at(scratch, y))
        ctx.sizes, ctx.places, ctx.formula, ctx.library = sizes, places, formula, library
        ctx.save_for_backward(x, base_weight, spline_weight, spline_scaler)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, base_weight, spline_weight, spline_scaler = inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(ctx.formula, inputs, grad), None, None, None
        weights = (spline_weight, spline_scaler, base_weight)
        grads = [torch.empty_like(w) for w in weights]
        x_grad = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        grad = grad.contiguous()
        scratch = x.new_empty(ctx.library.backward_scratch(*ctx.sizes))
        ctx.library.backward(
            *_at(x, grad, *weights),
            *(*ctx.sizes, *ctx.places),
            scratch.data_ptr(),
            None if x_grad is None else x_grad.data_ptr(),
            *_at(*grads),
        )
        return x_grad, grads[2], grads[0], grads[1], None, None, None


class Affine(torch.autograd.Function):
    """`KANLinear.affine`: x (B, I) of zeros and ones and the three weights -> (B, O).

    One pass over the weights, one over their gradients, and two products of the size of
    `nn.Linear`'s.
    """

    @staticmethod
    def forward(ctx: Any, x, base_weight, spline_weight, spline_scaler, at, formula, library):
        value, rise = base_weight.new_empty(len(base_weight)), torch.empty_like(base_weight)
        weights = (spline_weight, spline_scaler, base_weight)
        library.ends(*_at(*weights, at), *rise.shape, *_at(value, rise))
        x = x.to(rise.dtype)
        ctx.at, ctx.formula, ctx.library = at, formula, library
        ctx.save_for_backward(x, base_weight, spline_weight, spline_scaler)
        return torch.addmm(value, x, rise.t())

    @staticmethod
    def backward(ctx, grad):
        x, base_weight, spline_weight, spline_scaler = inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(ctx.formula, inputs, grad), None, None, None
        value_grad, rise_grad = grad.sum(0), grad.t() @ x
        grads = [torch.empty_like(w) for w in (spline_weight, spline_scaler, base_weight)]
        ctx.library.ends_backward(
            *_at(value_grad, rise_grad, spline_weight, spline_scaler, ctx.at),
            *base_weight.shape,
            *_at(*grads),
        )
        return None, grads[2], grads[0], grads[1], None, None, None


@functools.cache
def ends_features(uniform: tuple[float, float], grid_size: int, spline_order: int) -> Tensor:
    """The features at 0 and at 1: (2, n + 1), the bases and then SiLU."""
    points = torch.tensor([0.0, 1.0], dtype=torch.float32, device="cpu")
    bases = splines.uniform_bases(points, *uniform, grid_size + spline_order, spline_order)
    return torch.cat((bases, torch.nn.functional.silu(points).unsqueeze(1)), dim=1)


def _places(uniform: tuple[float, float]) -> tuple[float, float]:
    first, step = uniform
    return first, 1 / step


def _at(*tensors: Tensor) -> list[int]:
    """Where the tensors' numbers begin, for a kernel."""
    return [tensor.data_ptr() for tensor in tensors]


def _differentiable(formula: Callable, inputs: Any, grads: Any) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated again, by way of the formula in torch's operations."""
    needed = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(formula(*inputs), needed, grads, create_graph=True))
    return tuple(next(found) if t.requires_grad else None for t in inputs)
