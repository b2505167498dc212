"""What the layers of splines share: a grid of knots for each input, and how to move it.

Liu et al. 2024, section 2.4 and appendix, as the public efficient-kan layer does it; here every
move keeps the function and reports how well.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from kanvae import splines
from kanvae.layers import kan_function
from kanvae.layers.function_layer import FunctionLayer, check_range, check_whole


class SplineLayer(FunctionLayer):
    """Splines of the inputs; a base class that holds their knots.

    Args:
        in_features, out_features, grid_size, spline_order, grid_range, grid_eps: as in
            `KANLinear`.
        device, dtype: likewise.

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
        grid_eps: float = 0.02,
    ) -> None:
        super().__init__(in_features, out_features)
        check_whole("grid_size", grid_size, 1)
        check_whole("spline_order", spline_order, 0)
        check_range("grid_range", grid_range)
        _check_number("grid_eps", grid_eps, 1)
        self.spline_order = spline_order
        self.grid_range = (float(grid_range[0]), float(grid_range[1]))
        self.grid_eps = grid_eps
        dtype = dtype or torch.get_default_dtype()
        if not dtype.is_floating_point:
            raise ValueError(f"dtype is {dtype}: splines take real floats, torch.float32 say.")
        wide = dtype if torch.finfo(dtype).bits >= 32 else torch.float32
        places = grid_size + 2 * spline_order + 1
        self.register_buffer("grid", torch.empty(in_features, places, device=device, dtype=wide))
        check_spacing(self.grid_range, grid_size, spline_order, wide)
        self._space_grid_evenly()

    @property
    def grid_size(self) -> int:
        """G, the number of intervals of the grid."""
        return self.grid.shape[-1] - 2 * self.spline_order - 1

    def bases(self, x: Tensor) -> Tensor:
        """The spline bases of every input: (..., I) -> (..., I, G + k), in the dtype of `x`."""
        return kan_function.bases(x, self.grid, self.spline_weight.shape[-1])

    def noise(self, curves: int, scale: float, generator: torch.Generator | None) -> Tensor:
        """Coefficients (curves, I, G + k) of splines through small noise on the knots of the grid.

        The noise is uniform, within `scale` / 2G of zero: efficient-kan's start. Zeros on the meta
        device, where nothing can be fitted.
        """
        _check_number("scale_noise", scale, math.inf)
        if self.grid.is_meta:  # torch would load its compiler to subtract there
            return torch.zeros_like(self.spline_weight)
        shape = (self.grid_size + 1, self.in_features, curves)
        noise = torch.rand(shape, generator=generator, device=self.grid.device) - 0.5
        noise *= scale / self.grid_size  # (G + 1, I, curves)
        knots, order = splines.in_float64(self.grid[0]), self.spline_order
        points = knots[order : order + self.grid_size + 1]
        bases = splines.recursion(points, knots, order)  # (G + 1, G + k)
        found = splines.solve(bases, noise.flatten(1))  # (G + k, I * curves): bases of all inputs
        return found.unflatten(1, shape[1:]).permute(2, 1, 0)

    @torch.no_grad()
    def update_grid(self, x: Tensor, margin: float = 0.01, grid_eps: float | None = None) -> float:
        """Move the knots to where the inputs are, keeping the function as nearly as splines can.

        The new grid of an input blends two: evenly spaced knots from its least value in `x` less
        `margin` to its largest plus `margin`, with the weight `grid_eps`, and knots at equal counts
        of its values, with the rest. So the grid reaches beyond the values by `grid_eps * margin`,
        as in efficient-kan: with the default `grid_eps` of 0.02 a margin of 0.5 gives 0.01.

        Args:
            x: (N, I) inputs, 2 or more.
            margin: 0 or more.
            grid_eps: from 0 to 1; that of the layer by default.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `x` has another shape or holds a value that is not finite, `margin` or
                `grid_eps` is out of range, or knots would coincide. The layer is as it was.
        """
        self._check_sample(x, 2)
        grid_eps = self.grid_eps if grid_eps is None else grid_eps
        _check_number("margin", margin, math.inf)
        _check_number("grid_eps", grid_eps, 1)
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
            x: (N, I) inputs on which to report the change, 1 or more.

        Returns:
            The largest absolute change of any output on `x`.

        Raises:
            ValueError: `grid_size` is below the present one or no whole number, or so large that
                knots would coincide; `x` has another shape or holds a value that is not finite.
                The layer is as it was.
        """
        if not isinstance(grid_size, Integral) or grid_size < self.grid_size:
            raise ValueError(
                f"grid_size {grid_size!r} is below the present {self.grid_size}, or no whole "
                f"number: a coarser grid cannot keep the function. Give {self.grid_size} or more."
            )
        self._check_sample(x, 1)
        inner = self.grid[:, self.spline_order : self.spline_order + self.grid_size + 1]
        place = torch.linspace(0, self.grid_size, grid_size + 1, device=inner.device)
        left = place.long().clamp(max=self.grid_size - 1)
        finer = torch.lerp(inner[:, left], inner[:, left + 1], (place - left).to(inner.dtype))
        step = (inner[:, -1] - inner[:, 0]) / grid_size
        return self._move_to(_with_margins(finer, step, self.spline_order), x)

    def _move_to(self, grid: Tensor, x: Tensor) -> float:
        """Replace the grid by `grid` (I, G' + 2k + 1) and refit; return the change on `x`.

        All that can fail comes first.
        """
        before = self(x)
        _check_knots_apart(grid)
        coefficients = self.spline_weight.permute(1, 2, 0)  # (I, G + k, curves)
        coefficients = splines.refit(coefficients, self.grid, grid, self.spline_order)
        weight = coefficients.permute(2, 0, 1).contiguous()  # (curves, I, G' + k)
        if not bool(weight.isfinite().all()):
            raise ValueError(
                "the spline weights on the new grid would not be finite: look for values in "
                "spline_weight that are not finite or near the largest of its dtype."
            )
        moved = {"grid": grid, "spline_weight": weight}
        change = float((torch.func.functional_call(self, moved, (x,)) - before).abs().max())
        if weight.shape == self.spline_weight.shape:
            self.grid.copy_(grid)
            self.spline_weight.copy_(weight)
        else:
            self.grid = grid
            self.spline_weight = nn.Parameter(weight, self.spline_weight.requires_grad)
        return change

    def _check_sample(self, x: Tensor, least: int) -> None:
        if x.ndim != 2 or x.shape[1] != self.in_features or len(x) < least:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; give (N, {self.in_features}) inputs, N at least "
                f"{least}."
            )
        if self.grid.is_meta or x.is_meta:
            raise ValueError(
                "a grid cannot be moved on the meta device, where tensors have no values: move "
                "the layer to a real one first, as by layer.to_empty(device='cpu')."
            )
        if not bool(x.isfinite().all()):
            raise ValueError("x holds a value that is not finite: leave such rows out.")

    @torch.no_grad()
    def _space_grid_evenly(self) -> None:
        if self.grid.is_meta:  # as for the noise
            return
        knots = splines.uniform_knots(
            self.grid_size, self.spline_order, self.grid_range, self.grid.dtype
        )
        self.grid.copy_(knots)

    def _apply(self, fn, recurse=True):
        # A grid rounded to bfloat16 is not even evenly spaced: let the grid move, but not narrow.
        grid = self.grid
        super()._apply(fn, recurse)
        if torch.finfo(self.grid.dtype).bits < 32:
            self.grid = grid.to(self.grid.device)
        if grid.is_meta and not self.grid.is_meta:  # skip_init, to_empty: the grid is no parameter
            self._space_grid_evenly()
        return self

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        known, grid = len(rest[-1]), state_dict.get(prefix + "grid")
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if grid is not None and grid.ndim == 2 and grid.shape[1] != self.grid.shape[1]:
            size = grid.shape[1] - 2 * self.spline_order - 1
            rest[-1].insert(
                known,
                f"the grid of {prefix or 'the layer'} has {size} intervals there and "
                f"{self.grid_size} here: make the layer with grid_size={size}.",
            )

    def __prepare_scriptable__(self):
        raise TypeError(
            f"{type(self).__name__} cannot be scripted: take torch.jit.trace, torch.export or "
            "torch.compile."
        )

    def extra_repr(self) -> str:
        sizes = f"grid_size={self.grid_size}, spline_order={self.spline_order}"
        return f"{super().extra_repr()}, {sizes}"


@torch.no_grad()
def resize_grid(layer: SplineLayer, grid_size: int) -> None:
    """Make room in a layer for a grid of another size, whose values are loaded next.

    Where the size differs, `spline_weight` becomes a new parameter.
    """
    if grid_size == layer.grid_size:
        return
    curves, features, count = layer.spline_weight.shape
    added = grid_size - layer.grid_size
    layer.grid = layer.grid.new_zeros(features, layer.grid.shape[-1] + added)
    weight = layer.spline_weight.new_zeros(curves, features, count + added)
    layer.spline_weight = nn.Parameter(weight, layer.spline_weight.requires_grad)


def check_spacing(
    grid_range: tuple[float, float], grid_size: int, spline_order: int, dtype: torch.dtype
) -> None:
    """Raise a ValueError if even knots would coincide or overflow, on any device."""
    low, high = grid_range
    step = (high - low) / grid_size
    largest = max(abs(low), abs(high)) + spline_order * step
    limits = torch.finfo(dtype)
    if not (step > limits.eps * largest and largest < limits.max):
        raise ValueError(
            f"grid_range is {grid_range}: its knots would coincide or overflow in {dtype}. Give "
            "another range, fewer intervals, or make the layer in float64."
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


def _check_knots_apart(grid: Tensor) -> None:
    """Raise a ValueError that names the first input whose new knots (I, m + 1) do not increase."""
    bad = ~((grid[:, 1:] > grid[:, :-1]) & grid[:, 1:].isfinite() & grid[:, :-1].isfinite()).all(1)
    if bool(bad.any()):
        i = int(bad.nonzero()[0])
        low, high = float(grid[i].min()), float(grid[i].max())
        raise ValueError(
            f"the knots of input {i} would coincide or overflow: {grid.shape[1]} of them from "
            f"{low:.9g} to {high:.9g} are too close, or too far apart, for {grid.dtype}. Give a "
            f"larger margin, a larger grid_eps or fewer intervals, scale the inputs, or make the "
            f"layer in float64."
        )


def _check_number(name: str, value: float, most: float) -> None:
    if not isinstance(value, Real) or not 0 <= value <= most or not math.isfinite(value):
        limit = "or more" if most == math.inf else f"to {most}"
        raise ValueError(f"{name} is {value!r}: give a finite number, 0 {limit}.")
