"""KAN layers: a learnable function of one variable on every edge (Liu et al. 2024).

An edge from input i to output o carries phi(x) = w_b b(x) + w_s sum_j c_j N_j(x): a weighted base
activation b (SiLU) plus a scaled spline. With G intervals and degree k there are G + k coefficients
c_j, so that the defaults (G = 5, k = 3) give 8 + 1 + 1 = 10 parameters an edge. There is no bias.

The parametrisation, its names and its initialisation are those of the public efficient-kan layer,
the implementation that the KAN-VAE paper used (section V-C), so that its weights load here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kanvae.layers import kan_function
from kanvae.layers.function_layer import activation
from kanvae.layers.grid import SplineLayer, is_plain


class KANLinear(SplineLayer):
    """A layer like `nn.Linear` whose edges are learnable functions.

    Computes y_o = sum_i [ base_weight_oi b(x_i) + spline_scaler_oi sum_j spline_weight_oij N_j(x_i)
    ]. Outside the knots, `grid_range` widened by `spline_order` intervals on each side, only the
    base remains.

    Args:
        in_features: I, 1 or more.
        out_features: O, 1 or more.
        grid_size: G, the number of intervals of the grid, 1 or more.
        spline_order: k, the degree of the splines, 0 or more.
        grid_range: where the grid begins and ends.
        base_activation: makes the module b.
        scale_base: as efficient-kan has it: the base weights are drawn as Kaiming-uniform with
            a = sqrt(5) scale_base, and so the larger it is, the narrower they are.
        scale_spline: the same for the spline scales. Without them, what multiplies the initial
            splines.
        scale_noise: how large the initial splines are.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.
        enable_standalone_scale_spline: whether edges have a scale of their own, `spline_scaler`.
        grid_eps: how evenly `update_grid` spaces the knots, from 0 to 1.

    Shapes:
        input (..., I), output (..., O), for any leading dimensions, none and empty ones included.
        An input of dtype bool stands for 0 and 1. There every edge is a line, and the layer costs
        about as much as `nn.Linear`; the values are those of a float input.

    On a CPU, in float32, with evenly spaced knots and SiLU, the work is done by compiled kernels
    (`kanvae.kernels`); everywhere else by torch's operations, to the same numbers but for rounding.
    Inputs that are infinite or no numbers give the same infinities and NaNs in both. A compiler
    (`torch.compile`, `torch.export`) sees one operator, `torch.ops.kanvae.kan_linear`: a program
    exported with it is loaded where `kanvae` has been imported. Differentiation in forward mode,
    `vmap`, `torch.jit.trace`, autocast and second derivatives go by torch's operations.

    What a layer computes depends on its tensors alone, however they came there. Wrappers that
    replace the parameters by views of one flat tensor (FSDP and its kind) are not supported.

    State:
        base_weight (O, I), spline_weight (O, I, G + k), spline_scaler (O, I), and the buffer
        grid (I, G + 2k + 1): the knots of each input. The grid stays in float32 or wider when the
        layer is cast to a narrower type, and so do the bases before they meet the weights.

    Raises:
        ValueError: a width or `grid_size` below 1, a negative `spline_order`, a reversed or empty
            `grid_range`, `grid_eps` outside of 0 to 1, or a `base_activation` in place.
    """

    spline_scaler: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int = 5,
        spline_order: int = 3,
        grid_range: tuple[float, float] = (-1.0, 1.0),
        base_activation: Callable[[], nn.Module] = nn.SiLU,
        scale_base: float = 1.0,
        scale_spline: float = 1.0,
        scale_noise: float = 0.1,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        enable_standalone_scale_spline: bool = True,
        grid_eps: float = 0.02,
    ) -> None:
        super().__init__(
            in_features, out_features, grid_size, spline_order, grid_range, device, dtype, grid_eps
        )
        self.scale_base = scale_base
        self.scale_spline = scale_spline
        self.scale_noise = scale_noise
        self.enable_standalone_scale_spline = enable_standalone_scale_spline
        self.base_activation = activation(base_activation)
        edges, count = (out_features, in_features), grid_size + spline_order
        self.base_weight = nn.Parameter(torch.empty(edges, device=device, dtype=dtype))
        self.spline_weight = nn.Parameter(torch.empty(*edges, count, device=device, dtype=dtype))
        scaler = None
        if enable_standalone_scale_spline:
            scaler = nn.Parameter(torch.empty(edges, device=device, dtype=dtype))
        self.register_parameter("spline_scaler", scaler)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: Kaiming-uniform base and scales, and splines through small noise.

        The grid becomes evenly spaced again, over `grid_range`.
        """
        self._space_grid_evenly()
        nn.init.kaiming_uniform_(
            self.base_weight, a=math.sqrt(5) * self.scale_base, generator=generator
        )
        noise = self.noise(self.out_features, self.scale_noise, generator)
        if self.spline_scaler is None:
            noise *= self.scale_spline
        self.spline_weight.copy_(noise)
        if self.spline_scaler is not None:
            nn.init.kaiming_uniform_(
                self.spline_scaler, a=math.sqrt(5) * self.scale_spline, generator=generator
            )

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs: (..., I) -> (..., O).

        Raises:
            ValueError: the last dimension of `x` is not `in_features`, or they are integers.
        """
        own: dict[str, Any] = self._parameters  # attributes take microseconds, of a layer's 200
        try:
            base, spline = own["base_weight"], own["spline_weight"]
            scaler = own["spline_scaler"]
        except KeyError:  # what parametrises a weight has put another thing in its place
            base, spline, scaler = self.base_weight, self.spline_weight, self.spline_scaler
        if scaler is None:
            scaler = torch.ones_like(base, requires_grad=False)
        if is_plain(self.base_activation, nn.SiLU):
            return kan_function.kan_linear(x, base, spline, scaler, self.grid)
        return kan_function.formula(x, base, spline, scaler, self.grid, self.base_activation)

    def edges(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of every edge function, base and spline: (..., I) -> two (..., O, I).

        Their sum over both parts and all inputs is the layer's output.

        Raises:
            ValueError: the last dimension of `x` is not `in_features`.
        """
        self.check_input(x)
        base, bases, weights = self._parts(x)
        return base[..., None, :] * self.base_weight, torch.einsum(
            "...in,oin->...oi", bases, weights
        )

    @torch.no_grad()
    def importance(self, x: Tensor) -> Tensor:
        """How much every edge moves its output: the standard deviation of phi_oi over inputs.

        It knows what an edge does by itself, not what others make up for.

        Args:
            x: (N, I), two rows or more, such as what the layer sees of a training set.

        Returns:
            (O, I).

        Raises:
            ValueError: x has another shape.
        """
        self.check_input(x)
        if x.ndim != 2 or len(x) < 2:
            raise ValueError(f"x has the shape {tuple(x.shape)}: give two rows of inputs or more.")
        base, bases, weights = self._parts(x)
        features = torch.cat((base.unsqueeze(-1), bases), -1)  # (N, I, 1 + n)
        features = features - features.mean(0)
        covariance = torch.einsum("nia,nib->iab", features, features) / (len(x) - 1)
        weights = torch.cat((self.base_weight.unsqueeze(-1), weights), -1)  # (O, I, 1 + n)
        moved = torch.einsum("oia,iab->oib", weights, covariance)
        return (moved * weights).sum(-1).clamp(min=0).sqrt()

    @torch.no_grad()
    def prune(self, keep: Tensor) -> None:
        """Set to zero the functions of all edges but those where `keep`, bool (O, I), is true.

        Raises:
            ValueError: `keep` is no such mask.
        """
        if keep.dtype != torch.bool or keep.shape != self.base_weight.shape:
            raise ValueError(
                f"keep is of {keep.dtype} and the shape {tuple(keep.shape)}: it must be bool and "
                f"{tuple(self.base_weight.shape)}, a value an edge."
            )
        self.base_weight.mul_(keep)
        self.spline_weight.mul_(keep.unsqueeze(-1))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """b(x_i) (..., I), the bases (..., I, n), and the weights of the bases (O, I, n)."""
        x = x.to(self.base_weight.dtype) if x.dtype == torch.bool else x
        scaler = self.spline_scaler
        weights = (
            self.spline_weight if scaler is None else self.spline_weight * scaler.unsqueeze(-1)
        )
        return self.base_activation(x), self.bases(x).to(weights.dtype), weights

    def regularization_loss(
        self, regularize_activation: float = 1.0, regularize_entropy: float = 1.0
    ) -> Tensor:
        """What efficient-kan adds to a loss so that few edges matter: two weighted terms, a scalar.

        With a_oi the mean absolute coefficient of an edge and p_oi its share of their sum, the
        terms are that sum and the entropy -sum p log p.
        """
        size = self.spline_weight.abs().mean(-1)  # (O, I)
        total = size.sum()
        tiny = torch.finfo(total.dtype).tiny  # nothing left is no entropy
        entropy = torch.special.entr(size / total.clamp(min=tiny)).sum()
        return regularize_activation * total + regularize_entropy * entropy
