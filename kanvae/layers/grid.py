"""What the layers of splines share: a grid of knots for each input, and how to move it.

Liu et al. 2024, section 2.4 and appendix, as the public efficient-kan layer does it; here every
move keeps the function and reports how well.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kanvae import splines


class SplineLayer(nn.Module):
    """Splines of the inputs; a base class that holds their knots.

    Args:
        in_features, out_features, grid_size, spline_order, grid_range, device, dtype: as in
            `KANLinear`.

    State:
        spline_weight (curves, I, G + k): the coefficients of some curves of each input, and the
        buffer grid (I, G + 2k + 1): the knots of each input. The grid stays in float32 or wider
        when the layer is cast to a narrower type, and so do the bases before they meet the weights.
    """

    grid: Tensor
    spline_weight: nn.Parameter

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid_size: int,
        spline_order: int,
        grid_range: tuple[float, float],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        check_layer(in_features, out_features, grid_size, spline_order, grid_range)
        self.in_features = in_features
        self.out_features = out_features
        self.spline_order = spline_order
        self.grid_range = grid_range
        dtype = dtype or torch.get_default_dtype()
        wide = dtype if torch.finfo(dtype).bits >= 32 else torch.float32
        knots = splines.uniform_knots(grid_size, spline_order, grid_range, wide)
        self.register_buffer("grid", knots.repeat(in_features, 1).to(device))

    @property
    def grid_size(self) -> int:
        """G, the number of intervals of the grid."""
        return self.grid.shape[1] - 2 * self.spline_order - 1

    def check_input(self, x: Tensor) -> None:
        """Raise a ValueError that says what is wrong with an input's shape (..., I) or dtype."""
        if not torch.jit.is_tracing() and x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"the input has shape {tuple(x.shape)}; its last dimension must be "
                f"in_features = {self.in_features}."
            )
        if not (x.dtype.is_floating_point or x.dtype == torch.bool):
            raise ValueError(
                f"the input is of dtype {x.dtype}; give floats, as by x.float(), or bools, which "
                "stand for 0 and 1."
            )

    def bases(self, x: Tensor) -> Tensor:
        """The spline bases of every input: (..., I) -> (..., I, G + k), in the dtype of `x`."""
        points = x.to(torch.promote_types(x.dtype, self.grid.dtype))
        return splines.recursion(points, self.grid, self.spline_order).to(x.dtype)

    def noise(self, curves: int, scale: float, generator: torch.Generator | None) -> Tensor:
        """Coefficients (curves, I, G + k) of splines through small noise on the knots of the grid.

        The noise is uniform, within `scale` / 2G of zero: efficient-kan's start.
        """
        size, order = self.grid_size, self.spline_order
        shape = (size + 1, self.in_features, curves)
        noise = torch.rand(shape, generator=generator, device=self.grid.device) - 0.5
        noise = (noise * (scale / size)).transpose(0, 1)  # (I, G + 1, curves)
        fitted = splines.fit(self.grid[0, order : order + size + 1], noise, self.grid[0], order)
        return fitted.permute(2, 0, 1)

    @torch.no_grad()
    def update_grid(self, x: Tensor, grid_eps: float = 0.02, margin: float = 0.01) -> float:
        """Move the knots to where the inputs are, keeping the function as nearly as splines can.

        The new grid of an input blends evenly spaced knots, which span the values in `x` and
        `margin` more on each side, with knots at equal counts of values, which end where the values
        end. The even ones have the weight `grid_eps`: the range is widened by
        `grid_eps` * `margin` on each side, as in efficient-kan.

        Args:
            x: (N, I) inputs, 2 or more.
            grid_eps: weight of the evenly spaced knots, from 0 to 1.
            margin: 0 or more.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `x` has another shape, or holds a value that is not finite; `grid_eps` or
                `margin` is outside its range; the values leave an input no room for a grid. The
                layer is then as it was.
        """
        self._check_sample(x, 2)
        if not 0 <= grid_eps <= 1:
            raise ValueError(f"grid_eps is {grid_eps}: it is a weight, from 0 to 1.")
        if not 0 <= margin < math.inf:
            raise ValueError(f"margin is {margin}: it must be 0 or more, and finite.")
        size = self.grid_size
        ordered = x.to(self.grid.dtype).sort(dim=0).values
        rank = torch.linspace(0, len(x) - 1, size + 1, device=x.device).long()
        step = (ordered[-1] - ordered[0] + 2 * margin) / size  # (I,)
        spread = torch.arange(size + 1, device=x.device).unsqueeze(1)
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
            x: (N, I) inputs on which to report the change, 1 or more.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `grid_size` is below the present one, or `x` is not as above. The layer is
                then as it was.
        """
        size = self.grid_size
        if not isinstance(grid_size, int) or grid_size < size:
            raise ValueError(
                f"grid_size {grid_size!r} is below the present {size} or not a whole number: a "
                f"coarser grid cannot keep the function. Give {size} or more."
            )
        self._check_sample(x, 1)
        inner = self.grid[:, self.spline_order : self.spline_order + size + 1]
        place = torch.linspace(0, size, grid_size + 1, device=inner.device, dtype=torch.float64)
        left = place.long().clamp(max=size - 1)
        finer = torch.lerp(inner[:, left], inner[:, left + 1], (place - left).to(inner.dtype))
        step = (inner[:, -1] - inner[:, 0]) / grid_size
        return self._move_to(_with_margins(finer, step, self.spline_order), x)

    def _check_sample(self, x: Tensor, least: int) -> None:
        if x.ndim != 2 or x.shape[1] != self.in_features or len(x) < least:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; give (N, {self.in_features}) inputs, N at least "
                f"{least}."
            )
        self.check_input(x)
        if self.grid.is_meta or x.is_meta:
            raise ValueError(
                "a grid cannot be moved on the meta device, where tensors have no values: move "
                "the layer to a real one first, as by layer.to_empty(device='cpu')."
            )
        if not bool(x.isfinite().all()):
            raise ValueError("x holds a value that is not finite: leave such rows out.")

    def _move_to(self, grid: Tensor, x: Tensor) -> float:
        """Replace the grid by `grid` (I, G' + 2k + 1) and refit; return the change on `x`."""
        inner = grid[:, self.spline_order : grid.shape[1] - self.spline_order]
        room = grid.isfinite().all(1) & (inner[:, -1] > inner[:, 0])
        room &= (grid[:, 1:] >= grid[:, :-1]).all(1)
        if not bool(room.all()):
            i = int((~room).nonzero()[0])
            raise ValueError(
                f"the values of input {i}, from {float(x[:, i].min()):g} to "
                f"{float(x[:, i].max()):g}, leave no room for a grid in {grid.dtype}: widen it by "
                "`margin`, or scale the input."
            )
        before = self(x)
        coefficients = self.spline_weight.permute(1, 2, 0)  # (I, G + k, curves)
        coefficients = splines.refit(coefficients, self.grid, grid, self.spline_order)
        weight = coefficients.permute(2, 0, 1).contiguous()  # (curves, I, G' + k)
        if not bool(weight.isfinite().all()):
            raise ValueError("spline_weight holds a value that is not finite, or is too large.")
        self.grid = grid
        if weight.shape == self.spline_weight.shape:
            self.spline_weight.copy_(weight)
        else:
            self.spline_weight = nn.Parameter(weight, self.spline_weight.requires_grad)
        return float((self(x) - before).abs().max())

    def _apply(self, fn, recurse=True):
        grid = self.grid
        super()._apply(fn, recurse)
        if torch.finfo(self.grid.dtype).bits < 32:
            # A grid rounded to bfloat16 is not even evenly spaced: it may move, but not narrow.
            self.grid = grid.to(self.grid.device)
        if grid.is_meta and not self.grid.is_meta:  # it had no values; those of a new layer it has
            order, dtype = self.spline_order, self.grid.dtype
            knots = splines.uniform_knots(self.grid_size, order, self.grid_range, dtype)
            self.grid = knots.repeat(self.in_features, 1).to(self.grid.device)
        return self

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"grid_size={self.grid_size}, spline_order={self.spline_order}"
        )


def is_plain(module: Any, *kinds: type[nn.Module]) -> bool:
    """Whether a module is one of these as it comes, without hooks or a forward of its own."""
    return type(module) in kinds and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
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
