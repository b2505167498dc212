"""B-splines on any knots, as functions of tensors.

A B-spline of degree `k` on the knots t_0 <= ... <= t_m is a sum of n = m - k bases, each a
piecewise polynomial that is zero outside k + 1 neighbouring intervals (de Boor, *A Practical Guide
to Splines*, 1978). Two evaluations of the bases stand here: `cox_de_boor`, the textbook recursion
for any knots, which KAN layers use, and `uniform_bases`, a closed form for evenly spaced knots.

Letters: B batch, I inputs, N points, G intervals of the grid, n bases, k degree (`spline_order`).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def cox_de_boor(x: Tensor, knots: Tensor, degree: int) -> Tensor:
    """The B-spline bases at `x`, by the Cox-de Boor recursion.

    Intervals are closed on the left. The right end of the grid, `knots[..., -1 - degree]`, belongs
    to the interval on its left, as in `scipy.interpolate.BSpline`; where that point is a repeated
    knot, to the last interval on its left that has a length. A base whose knots all coincide is
    zero.

    Args:
        x: (...) points. Outside the knots every base is exactly zero.
        knots: (m + 1,) non-decreasing, or (..., m + 1) with one row of knots for each point of `x`
            (the leading dimensions broadcast against those of `x`).
        degree: 0 or more, with at least degree + 2 knots.

    Returns:
        (..., m - degree) bases, in the dtype of `x`.

    Raises:
        ValueError: too few knots for the degree, or knots that decrease.
    """
    check_knots(knots, degree)
    return recursion(x, knots, degree)


def recursion(x: Tensor, knots: Tensor, degree: int) -> Tensor:
    """`cox_de_boor` (..., n) without its look at the knots, which a compiled layer cannot take."""
    x = x.unsqueeze(-1)  # (..., 1)
    count = knots.shape[-1] - degree - 1
    left, right = knots[..., :-1], knots[..., 1:]
    end = knots[..., count : count + 1]
    closes = (right == end) & (left < end)  # the interval that ends where the grid ends ...
    opens = (x >= left) & (x < right) & (x != end)  # (..., m)
    bases = (opens | (closes & (x == end))).to(x.dtype)  # ... holds its right end too
    outside = (x < knots[..., :1]) | (x > knots[..., -1:])
    x = torch.where(outside, knots[..., :1], x)  # so that nothing infinite meets a zero below
    for k in range(1, degree + 1):
        width = knots[..., k:] - knots[..., :-k]  # of what each base spans: 0 where knots coincide
        share = 1 / width.masked_fill(width == 0, torch.inf)
        rising = (x - knots[..., :-k]) * share * bases
        bases = rising[..., :-1] + (bases - rising)[..., 1:]  # (..., m - k)
    return bases


def uniform_bases(
    x: Tensor, first: Tensor | float, step: Tensor | float, count: int, degree: int
) -> Tensor:
    """The `count` B-spline bases on the evenly spaced knots first, first + step, ...

    All of them are one bump, moved by whole steps. With h half its width and d the distance of x
    from its middle, in steps, the bump is a sum of truncated powers (Schoenberg 1946),

        N = 1/k! sum_m (-1)^m C(k + 1, m) max(0, h - m - d)^k,    m = 0, 1, ... below h,

    which takes a few operations on whole tensors, no recursion and no table. Agrees with
    `cox_de_boor` on the same knots to rounding.

    Args:
        x: (...) points. Outside the knots every base is exactly zero.
        first: the first knot, a number or a tensor that broadcasts against `x`.
        step: the distance between knots, positive, likewise.
        count: how many bases, 1 or more (there are count + degree + 1 knots).
        degree: 0 or more. Below 2 a base jumps or bends at its knots, where only the recursion says
            which side counts: it is used.

    Returns:
        (..., count) bases, in the dtype of `x`.
    """
    u = ((x - first) / step).unsqueeze(-1)  # (..., 1) in steps, 0 at the first knot
    places = torch.arange(count + degree + 1, dtype=x.dtype, device=x.device)
    if degree < 2:
        return recursion(u.squeeze(-1), places, degree)
    half = (degree + 1) / 2
    distance = (u - (places[:count] + half)).abs()  # (..., count)
    terms = [
        (-1) ** m
        * math.comb(degree + 1, m)
        / math.factorial(degree)
        * (half - m - distance).clamp(min=0) ** degree
        for m in range(math.ceil(half))
    ]
    return functools.reduce(torch.add, terms)


def uniform_knots(
    grid_size: int,
    spline_order: int,
    grid_range: tuple[float, float],
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Knots that cut a range into `grid_size` equal intervals, with `spline_order` more a side.

    Returns:
        (grid_size + 2 * spline_order + 1,)
    """
    low, high = grid_range
    step = (high - low) / grid_size
    return torch.arange(-spline_order, grid_size + spline_order + 1, dtype=dtype) * step + low


def evaluate(x: Tensor, knots: Tensor, coefficients: Tensor, degree: int) -> Tensor:
    """The curve sum_i c_i N_i(x): the paper's C(t), with the coefficients as its control points.

    Args:
        x: (N,) points.
        knots: (n + degree + 1,).
        coefficients: (n,) or (n, D), for a curve in D dimensions.

    Returns:
        (N,) or (N, D).

    Raises:
        ValueError: the number of coefficients is not the number of bases.
    """
    count = knots.shape[-1] - degree - 1
    if coefficients.shape[0] != count:
        raise ValueError(
            f"{coefficients.shape[0]} coefficients, but {knots.shape[-1]} knots of degree {degree} "
            f"carry {count} bases: give {count} coefficients."
        )
    return cox_de_boor(x, knots, degree) @ coefficients


def fit(x: Tensor, y: Tensor, knots: Tensor, degree: int) -> Tensor:
    """Least-squares coefficients of the curves through the points (x, y).

    Where the points do not determine every coefficient, those of least norm are returned.

    Args:
        x: (..., N) points.
        y: (..., N, D) values of D curves at the points.
        knots: (m + 1,) or (..., m + 1).
        degree: 0 or more.

    Returns:
        (..., n, D) coefficients, in the dtype of `y`. The system is solved in float64.
    """
    x, knots = in_float64(x), in_float64(knots)
    bases = cox_de_boor(x, knots.unsqueeze(-2) if knots.ndim > 1 else knots, degree)  # (..., N, n)
    return solve(bases, y)


def solve(bases: Tensor, y: Tensor) -> Tensor:
    """Least-squares coefficients (..., n, D) for bases (..., N, n), in float64, and values y.

    Computed where the bases are, and given where y (..., N, D) is.
    """
    if min(bases.shape[-2:]) > 500:  # a pseudo-inverse would take minutes
        wide = bases.shape[-2] < bases.shape[-1]
        gram = bases @ bases.mT if wide else bases.mT @ bases
        factor, failed = torch.linalg.cholesky_ex(gram)
        if not bool(failed.any()):
            if wide:
                return (bases.mT @ torch.cholesky_solve(y.to(bases), factor)).to(y)
            return torch.cholesky_solve(bases.mT @ y.to(bases), factor).to(y)
    return (torch.linalg.pinv(bases) @ y.to(bases)).to(y)


def refit(coefficients: Tensor, knots: Tensor, new_knots: Tensor, degree: int) -> Tensor:
    """Coefficients on new knots of the same curves: grid extension (Liu et al. 2024, section 2.4).

    The old curve is read at degree + 1 points inside each interval of either grid and fitted by
    least squares. Where every old knot inside the grid is a new knot too, the new curve equals the
    old one inside the grid; elsewhere it is the nearest in the least-squares sense.

    Args:
        coefficients: (I, n, D) of D curves for each of I rows of knots.
        knots: (I, n + degree + 1).
        new_knots: (I, n' + degree + 1).

    Returns:
        (I, n', D)
    """
    check_knots(new_knots, degree)
    old, new = in_float64(knots), in_float64(new_knots)
    inside = slice(degree, -degree or None)
    # The interval ends of both grids, within the new one, where the new curve has to be right.
    ends = torch.cat((old[:, inside], new[:, inside]), dim=1).sort(dim=1).values
    ends = ends.clamp(new[:, inside][:, :1], new[:, inside][:, -1:])
    fractions = (torch.arange(degree + 1, dtype=torch.float64, device=old.device) + 0.5) / (
        degree + 1
    )
    x = (
        ends[:, :-1, None] + (ends[:, 1:] - ends[:, :-1]).unsqueeze(-1) * fractions
    )  # (I, intervals, k + 1)
    x = x.flatten(1)  # (I, N)
    values = cox_de_boor(x, old.unsqueeze(1), degree) @ coefficients.to(x)  # (I, N, D)
    return fit(x, values, new, degree).to(coefficients)


def in_float64(x: Tensor) -> Tensor:
    """x (...) in float64, on the CPU where its own device has no such numbers (MPS)."""
    return x.to("cpu" if x.device.type == "mps" else x.device, torch.float64)


def check_knots(knots: Tensor, degree: int) -> None:
    """Raise a ValueError that says what is wrong with the knots (..., m + 1), if anything is."""
    if degree < 0:
        raise ValueError(f"degree {degree} is negative: a degree is 0, 1, 2, ...")
    if knots.shape[-1] < degree + 2:
        raise ValueError(
            f"{knots.shape[-1]} knots are too few for degree {degree}: one base alone spans "
            f"{degree + 2}. Give more knots, or a degree of at most {knots.shape[-1] - 2}."
        )
    if bool((knots[..., 1:] < knots[..., :-1]).any()):
        raise ValueError("the knots decrease somewhere: sort them (repeated knots are allowed).")
