"""Wavelets: Wav-KAN (Bozorgasl and Chen 2024, arXiv 2405.12832)."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kanvae import kernels
from kanvae.layers.function_layer import FunctionLayer, check_choice, of_bits, parameter

MOST_VALUES = 1 << 18  # of edges that are in memory at a time: 1 MB, which a core's cache holds


def mexican_hat(u: Tensor) -> Tensor:
    """2 / (sqrt(3) pi^(1/4)) (u^2 - 1) exp(-u^2 / 2), of unit energy: (...) -> (...)."""
    square = u * u
    return 2 / (math.sqrt(3) * math.pi**0.25) * (square - 1) * torch.exp(-0.5 * square)


def morlet(u: Tensor) -> Tensor:
    """cos(5 u) exp(-u^2 / 2): (...) -> (...)."""
    return torch.cos(5 * u) * torch.exp(-0.5 * (u * u))


def gaussian_slope(u: Tensor) -> Tensor:
    """-u exp(-u^2 / 2), the derivative of a Gaussian: (...) -> (...)."""
    return -u * torch.exp(-0.5 * (u * u))


# In this order they are numbered in kernels/wavelet.c.
WAVELETS: dict[str, Callable[[Tensor], Tensor]] = {
    "mexican_hat": mexican_hat, "morlet": morlet, "dog": gaussian_slope,
}  # fmt: skip


class WaveletLinear(FunctionLayer):
    """A layer with a wavelet on every edge, y_o = sum_i w_oi psi((x_i - t_oi) / s_oi).

    Weight w, translation t and scale s are learned; a BatchNorm follows. Far from its translation,
    an edge gives nothing.

    As in the public Wav-KAN: t = 0, s = 1, w Kaiming-uniform as in `nn.Linear`, neither base
    function nor bias, and `nn.BatchNorm1d` behind the sum, of outputs too. Departures: the weights
    of a base that Wav-KAN keeps and does not use are left out; `norm=False` leaves out the norm.

    No two edges see an input alike, so that all O I B wavelets must be computed, where splines are
    I B (G + k) numbers and a matrix product: in torch's own operations that takes about twelve
    times as long as `KANLinear`'s formula. On the CPU, in float32, compiled kernels take their
    place. Zeros and ones of dtype bool are the exception: there every edge is a line.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        wavelet: "mexican_hat", "morlet", or "dog", the derivative of a Gaussian.
        norm: whether a BatchNorm over all leading dimensions follows.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    State:
        weight, translation, scale (O, I), and those of norm, an `nn.BatchNorm1d` of O features.

    Raises:
        ValueError: a width below 1, an unknown wavelet.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        wavelet: str = "mexican_hat",
        norm: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        check_choice("wavelet", wavelet, WAVELETS)
        self.wavelet = wavelet
        edges = (out_features, in_features)
        empty = functools.partial(parameter, device=device, dtype=dtype)
        self.weight, self.translation, self.scale = (empty(*edges) for _ in range(3))
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.BatchNorm1d(out_features, device=device, dtype=dtype)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights; translations, scales and norm become those of a new layer."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        nn.init.zeros_(self.translation)
        nn.init.ones_(self.scale)
        if isinstance(self.norm, nn.BatchNorm1d):
            self.norm.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers; or
                the norm has to learn from a single row.
        """
        self.check_input(x)
        rows = x.reshape(-1, self.in_features)
        psi = WAVELETS[self.wavelet]
        edges = (self.weight, self.translation, self.scale)
        if x.dtype == torch.bool:
            points = torch.arange(2, dtype=self.weight.dtype, device=x.device).view(2, 1, 1)
            y = of_bits(rows, *self.weight * psi((points - self.translation) / self.scale))
        elif kernels.may_run(rows, *edges) and (library := _library(self.wavelet)) is not None:
            y = _Compiled.apply(rows, *edges, psi, library)
        else:
            y = wavelet_sum(rows, *edges, psi)
        if rows.shape[0]:  # a norm can learn nothing from none
            y = self.norm(y)
        return y.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, wavelet={self.wavelet}"


def wavelet_sum(
    x: Tensor, weight: Tensor, translation: Tensor, scale: Tensor, psi: Callable[[Tensor], Tensor]
) -> Tensor:
    """The sum over inputs, as it reads on paper, for every device and type: (B, I) -> (B, O).

    On the CPU some outputs are computed at a time, and their edges again for gradients.
    """

    def some(x: Tensor, weight: Tensor, translation: Tensor, scale: Tensor) -> Tensor:
        u = (x.unsqueeze(1) - translation) * (1 / scale)  # (B, o, I)
        return (psi(u) * weight).sum(-1)

    tensors = (weight, translation, scale)
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return some(x, *tensors)
    at_once = max(1, MOST_VALUES // max(1, x.numel()))
    if at_once >= len(weight):
        return some(x, *tensors)
    parts = zip(*(tensor.split(at_once) for tensor in tensors), strict=True)
    again = functools.partial(checkpoint, some, use_reentrant=False, preserve_rng_state=False)
    run = again if torch.is_grad_enabled() else some
    return torch.cat([run(x, *part) for part in parts], dim=1)


@functools.cache
def _library(wavelet: str) -> ctypes.CDLL | None:
    """The compiled kernels of a wavelet; None where they cannot be had."""
    found = kernels.load_library("wavelet", WAVELET=list(WAVELETS).index(wavelet))
    if found is not None:
        sizes = (*(ctypes.c_long,) * 3, ctypes.c_int)  # B, I, O, threads
        found.forward.argtypes = (*sizes, *(ctypes.c_void_p,) * 5)
        found.backward.argtypes = (*sizes, *(ctypes.c_void_p,) * 7)
        found.forward.restype = found.backward.restype = None
    return found


class _Compiled(torch.autograd.Function):
    """`wavelet_sum` of x (B, I), on the CPU in float32, by `kernels/wavelet.c`."""

    @staticmethod
    def forward(ctx: Any, x, weight, translation, scale, psi, library):
        ctx.psi, ctx.library = psi, library
        ctx.save_for_backward(x, weight, translation, scale)
        return _run(
            library.forward, (x, weight, translation, scale), x.new_empty(len(x), len(weight))
        )

    @staticmethod
    def backward(ctx, grad):
        x, weight, *_ = inputs = ctx.saved_tensors
        if torch.is_grad_enabled() or not kernels.may_run_backward(grad):
            formula = functools.partial(wavelet_sum, psi=ctx.psi)
            return *kernels.gradients(formula, inputs, grad), None, None
        x_grad, edge_grads = torch.empty_like(x), weight.new_empty(3, *weight.shape)
        _run(ctx.library.backward, inputs, grad.t().contiguous(), x_grad, edge_grads)
        return x_grad, *edge_grads, None, None


def _run(function: Any, inputs: tuple[Tensor, ...], *others: Tensor) -> Tensor:
    """Call a kernel with x, weight, translation and scale, and others; the last of those."""
    x, weight, translation, scale = inputs
    inverse = 1 / scale
    tensors = [t.contiguous() for t in (x, weight, translation, inverse)]
    addresses = (tensor.data_ptr() for tensor in (*tensors, *others))
    function(*x.shape, len(weight), kernels.threads(), *addresses)
    return others[-1]
