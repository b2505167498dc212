"""KAN layers: a learnable function of one variable on every edge (Liu et al. 2024).

An edge from input i to output o carries phi(x) = w_b b(x) + w_s sum_j c_j N_j(x): a weighted base
activation b (SiLU) plus a scaled spline. With G intervals and degree k there are G + k coefficients
c_j, so that the defaults (G = 5, k = 3) give 8 + 1 + 1 = 10 parameters an edge. There is no bias.

The parametrisation, its names and its initialisation are those of the public efficient-kan layer,
the implementation that the KAN-VAE paper used (section V-C), so that its weights load here.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae import kernels, splines
from kanvae.layers import kan_function


class KANLinear(nn.Module):
    """A drop-in for `nn.Linear` whose edges are learnable functions.

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
        scale_base, scale_spline, scale_noise: widths of the initial distributions of the base
            weights, the spline scales, and the initial splines, as efficient-kan defines them.
        generator: source of the initial values; torch's global one by default.
        device, dtype: of the parameters, as in `nn.Linear`.

    Shapes:
        input (..., I), output (..., O), for any leading dimensions, none and empty ones included.
        An input of dtype bool stands for 0 and 1. There every edge is a line, and the layer costs
        about as much as `nn.Linear`; the values are those of a float input.

    On a CPU, in float32, with evenly spaced knots and SiLU, the work is done by compiled kernels
    (`kanvae.kernels`); everywhere else by torch's operations, to the same numbers but for rounding.

    State:
        base_weight (O, I), spline_weight (O, I, G + k), spline_scaler (O, I), and the buffer
        grid (I, G + 2k + 1): the knots of each input. The grid stays in float32 or wider when the
        layer is cast to a narrower type, and so do the bases before they meet the weights.

    Raises:
        ValueError: a width or `grid_size` below 1, a negative `spline_order`, a reversed or empty
            `grid_range`.
    """

    grid: Tensor

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
    ) -> None:
        super().__init__()
        check_layer(in_features, out_features, grid_size, spline_order, grid_range)
        self.in_features = in_features
        self.out_features = out_features
        self.grid_size = grid_size
        self.spline_order = spline_order
        self.scale_base = scale_base
        self.scale_spline = scale_spline
        self.scale_noise = scale_noise
        self.base_activation = base_activation()
        dtype = dtype or torch.get_default_dtype()
        wide = dtype if torch.finfo(dtype).bits >= 32 else torch.float32
        knots = splines.uniform_knots(grid_size, spline_order, grid_range, wide)
        self.register_buffer("grid", knots.repeat(in_features, 1).to(device))  # (I, G + 2k + 1)
        self.uniform: tuple[float, float] | None = (
            float(knots[0]),
            float(knots[-1] - knots[0]) / (len(knots) - 1),
        )
        edges, count = (out_features, in_features), grid_size + spline_order
        self.base_weight = nn.Parameter(torch.empty(edges, device=device, dtype=dtype))
        self.spline_weight = nn.Parameter(torch.empty(*edges, count, device=device, dtype=dtype))
        self.spline_scaler = nn.Parameter(torch.empty(edges, device=device, dtype=dtype))
        self.register_load_state_dict_post_hook(lambda layer, _: layer._inspect_grid())
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights: Kaiming-uniform base and scales, and splines through small noise."""
        a_base, a_spline = math.sqrt(5) * self.scale_base, math.sqrt(5) * self.scale_spline
        nn.init.kaiming_uniform_(self.base_weight, a=a_base, generator=generator)
        shape = (self.grid_size + 1, self.in_features, self.out_features)
        noise = (
            torch.rand(shape, generator=generator, device=self.grid.device) - 0.5
        )  # (G + 1, I, O)
        noise *= self.scale_noise / self.grid_size
        points = self.grid[0, self.spline_order : self.spline_order + self.grid_size + 1]
        coefficients = splines.fit(points, noise.transpose(0, 1), self.grid[0], self.spline_order)
        self.spline_weight.copy_(coefficients.permute(2, 0, 1))  # (I, G + k, O) -> (O, I, G + k)
        nn.init.kaiming_uniform_(self.spline_scaler, a=a_spline, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"the input has shape {tuple(x.shape)}; its last dimension must be "
                f"in_features = {self.in_features}."
            )
        weights = (self.base_weight, self.spline_weight, self.spline_scaler)
        library = self._library(x, weights)
        if library is None:
            return self.formula(x, *weights)
        rows = x if x.ndim == 2 else x.reshape(-1, self.in_features)
        y = kan_function.Product.apply(rows, *weights, self, library)
        return y if x.ndim == 2 else y.view(*x.shape[:-1], self.out_features)

    def formula(
        self, x: Tensor, base_weight: Tensor, spline_weight: Tensor, spline_scaler: Tensor
    ) -> Tensor:
        """The layer as it reads on paper, for every device and type: (..., I) -> (..., O)."""
        if x.dtype == torch.bool:
            return self.affine(x, base_weight, spline_weight, spline_scaler)
        base = F.linear(self.base_activation(x), base_weight)  # (..., O)
        weight = spline_weight * spline_scaler.unsqueeze(-1)  # (O, I, G + k)
        return base + F.linear(self.bases(x).flatten(-2), weight.flatten(-2))

    def affine(
        self, x: Tensor, base_weight: Tensor, spline_weight: Tensor, spline_scaler: Tensor
    ) -> Tensor:
        """The layer on inputs that are 0 or 1, where every edge is a line through two points."""
        points = torch.arange(2, dtype=spline_weight.dtype, device=spline_weight.device)
        points = points.unsqueeze(1).expand(2, self.in_features)
        curves = torch.einsum("oij,eij->eoi", spline_weight, self.bases(points))
        base = self.base_activation(points).unsqueeze(1)  # (2, 1, I)
        at_zero, at_one = base_weight * base + spline_scaler * curves  # (O, I) each
        return F.linear(x.to(at_one.dtype), at_one - at_zero, at_zero.sum(1))

    def _library(self, x: Tensor, weights: tuple[Tensor, ...]) -> ctypes.CDLL | None:
        """The compiled kernels where they compute what the formula says, None elsewhere."""
        if (
            self.uniform is None
            or type(self.base_activation) is not nn.SiLU
            or torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()
            or not kernels.may_run(x, *weights)
            or not all(t.is_contiguous() for t in (x, *weights))
        ):
            return None
        return kan_function.library(self.spline_order, self.grid_size + self.spline_order)

    def bases(self, x: Tensor) -> Tensor:
        """The spline bases of every input: (..., I) -> (..., I, G + k), in the dtype of `x`."""
        points = x.to(torch.promote_types(x.dtype, self.grid.dtype))
        if self.uniform is not None:
            count = self.grid_size + self.spline_order
            bases = splines.uniform_bases(points, *self.uniform, count, self.spline_order)
        else:
            bases = splines.recursion(points, self.grid, self.spline_order)
        return bases.to(x.dtype)

    @torch.no_grad()
    def update_grid(self, x: Tensor, grid_eps: float = 0.02, margin: float = 0.01) -> float:
        """Move the knots to where the inputs are, keeping the function as nearly as splines can.

        The new grid of an input spans its values in `x`, widened by `margin`. It blends evenly
        spaced knots (weight `grid_eps`) with knots at equal counts of values (the rest).

        Args:
            x: (N, I) inputs, 2 or more.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `x` has another shape, or holds a value that is not finite.
        """
        if x.ndim != 2 or x.shape[1] != self.in_features or len(x) < 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; give (N, {self.in_features}) inputs, N at least 2."
            )
        if not bool(x.isfinite().all()):
            raise ValueError("x holds a value that is not finite: leave such rows out.")
        ordered = x.to(self.grid.dtype).sort(dim=0).values
        rank = torch.linspace(0, len(x) - 1, self.grid_size + 1, device=x.device).long()
        step = (ordered[-1] - ordered[0] + 2 * margin) / self.grid_size  # (I,)
        spread = torch.arange(self.grid_size + 1, device=x.device).unsqueeze(1)
        even = spread * step + ordered[0] - margin  # (G + 1, I)
        inner = grid_eps * even + (1 - grid_eps) * ordered[rank]
        return self._move_to(_with_margins(inner.T, step, self.spline_order), x)

    @torch.no_grad()
    def extend_grid(self, grid_size: int, x: Tensor) -> float:
        """Cut the range into `grid_size` intervals, keeping the function (Liu et al. 2024, 2.4).

        Inside the grid the function is kept exactly when `grid_size` is a multiple of the old one.
        `spline_weight` becomes a new parameter of another shape: make the optimiser anew.

        Args:
            grid_size: at least the present one.
            x: (N, I) inputs on which to report the change.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `grid_size` is below the present one.
        """
        if grid_size < self.grid_size:
            raise ValueError(
                f"grid_size {grid_size} is below the present {self.grid_size}: a coarser grid "
                f"cannot keep the function. Give {self.grid_size} or more."
            )
        inner = self.grid[:, self.spline_order : self.spline_order + self.grid_size + 1]
        place = torch.linspace(0, self.grid_size, grid_size + 1, device=inner.device)
        left = place.long().clamp(max=self.grid_size - 1)
        finer = torch.lerp(inner[:, left], inner[:, left + 1], (place - left).to(inner.dtype))
        step = (inner[:, -1] - inner[:, 0]) / grid_size
        return self._move_to(_with_margins(finer, step, self.spline_order), x)

    def _move_to(self, grid: Tensor, x: Tensor) -> float:
        """Replace the grid by `grid` (I, G' + 2k + 1) and refit; return the change on `x`."""
        before = self(x)
        coefficients = self.spline_weight.permute(1, 2, 0)  # (I, G + k, O)
        coefficients = splines.refit(coefficients, self.grid, grid, self.spline_order)
        weight = coefficients.permute(2, 0, 1).contiguous()  # (O, I, G' + k)
        self.grid = grid
        self.grid_size = grid.shape[1] - 2 * self.spline_order - 1
        if weight.shape == self.spline_weight.shape:
            self.spline_weight.copy_(weight)
        else:
            self.spline_weight = nn.Parameter(weight, self.spline_weight.requires_grad)
        self._inspect_grid()
        return float((self(x) - before).abs().max())

    def _inspect_grid(self) -> None:
        """Note the first knot and the step where all inputs share evenly spaced knots."""
        first, last = float(self.grid[0, 0]), float(self.grid[0, -1])
        even = torch.linspace(first, last, self.grid.shape[1], dtype=self.grid.dtype)
        rounding = 4 * torch.finfo(self.grid.dtype).eps * self.grid.abs().max()
        if bool(((self.grid - even.to(self.grid.device)).abs() <= rounding).all()):
            self.uniform = (first, (last - first) / (self.grid.shape[1] - 1))
        else:
            self.uniform = None

    def _apply(self, fn, recurse=True):
        # A grid rounded to bfloat16 is not even evenly spaced: let the grid move, but not narrow.
        grid = self.grid
        super()._apply(fn, recurse)
        if torch.finfo(self.grid.dtype).bits < 32:
            self.grid = grid.to(self.grid.device)
        return self

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"grid_size={self.grid_size}, spline_order={self.spline_order}"
        )


def _with_margins(inner: Tensor, step: Tensor, spline_order: int) -> Tensor:
    """(I, G + 1) knots of the grid, and `spline_order` more on each side, `step` (I,) apart."""
    beyond = torch.arange(1, spline_order + 1, device=inner.device) * step.unsqueeze(1)  # (I, k)
    return torch.cat((inner[:, :1] - beyond.flip(1), inner, inner[:, -1:] + beyond), dim=1)


def check_layer(
    in_features: int,
    out_features: int,
    grid_size: int,
    spline_order: int,
    grid_range: tuple[float, float],
) -> None:
    """Raise a ValueError that says what is wrong with a KAN layer's settings, if anything is."""
    for name, value, least in (
        ("in_features", in_features, 1),
        ("out_features", out_features, 1),
        ("grid_size", grid_size, 1),
        ("spline_order", spline_order, 0),
    ):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} is {value!r}: it must be a whole number, {least} or more.")
    low, high = grid_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(
            f"grid_range is ({low}, {high}): it must begin below its end, as in (-1.0, 1.0)."
        )
