"""B-splines on any knots, as functions of tensors.

A B-spline of degree `k` on the knots t_0 <= ... <= t_m is a sum of n = m - k bases, each a
piecewise polynomial that is zero outside k + 1 neighbouring intervals (de Boor, *A Practical Guide
to Splines*, 1978). Two evaluations of the bases stand here: `cox_de_boor`, the textbook recursion
for any knots, and `uniform_bases`, a closed form for evenly spaced knots that computes only the k +
1 bases that can differ from zero. KAN layers use the second.

Letters: B batch, I inputs, N points, G intervals of the grid, n bases, k degree (`spline_order`).
"""

from __future__ import annotations

import functools

import numpy as np
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
    """`cox_de_boor` without the look at the knots' values, which a compiled layer cannot take."""
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
        rising = _ratio(x - knots[..., : -k - 1], knots[..., k:-1] - knots[..., : -k - 1])
        falling = _ratio(knots[..., k + 1 :] - x, knots[..., k + 1 :] - knots[..., 1:-k])
        bases = rising * bases[..., :-1] + falling * bases[..., 1:]  # (..., m - k)
    return bases


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """numerator / denominator, and 0 where the denominator is 0 (repeated knots)."""
    empty = denominator == 0
    return (numerator / denominator.masked_fill(empty, 1)).masked_fill(empty, 0)


def uniform_bases(
    x: Tensor, first: Tensor | float, step: Tensor | float, count: int, degree: int
) -> Tensor:
    """The `count` B-spline bases on the evenly spaced knots first, first + step, ...

    In the interval that holds `x`, at the fraction f of its length, only degree + 1 bases differ
    from zero. Their values are polynomials in f, the same in every interval: they are evaluated and
    put in their places. Agrees with `cox_de_boor` on the same knots to rounding, at a fraction of
    its operations.

    Args:
        x: (...) points. Outside the knots every base is exactly zero.
        first: the first knot, a number or a tensor that broadcasts against `x`.
        step: the distance between knots, positive, likewise.
        count: how many bases, 1 or more (there are count + degree + 1 knots).
        degree: 0 or more.

    Returns:
        (..., count) bases, in the dtype of `x`.
    """
    intervals = count + degree
    u = (x - first) / step  # in units of intervals, 0 at the first knot
    outside = (u < 0) | (u > intervals)
    cell = u.detach().floor().clamp(0, intervals - 1).masked_fill(outside | u.isnan(), 0)
    f = (u - cell).masked_fill(outside, 0)
    local = torch.zeros_like(f).unsqueeze(-1)
    for coefficients in reversed(_pieces(degree)):  # Horner's rule, for all the pieces at once
        local = local * f.unsqueeze(-1) + f.new_tensor(coefficients)  # (..., k + 1)
    local = local.masked_fill(outside.unsqueeze(-1), 0)
    places = cell.long().unsqueeze(-1) + torch.arange(degree + 1, device=x.device)
    bases = local.new_zeros(*x.shape, count + 2 * degree)  # with room for the bases cut off below
    return bases.scatter(-1, places, local)[..., degree : degree + count]


@torch.compiler.assume_constant_result  # a compiled layer takes the numbers as they are
def _pieces(degree: int) -> list[list[float]]:
    return _polynomials(degree)


@functools.cache
def _polynomials(degree: int) -> list[list[float]]:
    """The polynomials that make up a base on even knots: row p holds the coefficients of f^p.

    Column r belongs to the base that began degree - r intervals to the left. Each degree follows
    from the one below by the Cox-de Boor recursion, carried out on the coefficients.
    """
    f = np.polynomial.Polynomial([0.0, 1.0])
    pieces = [np.polynomial.Polynomial([1.0])]
    for k in range(1, degree + 1):
        padded = [0 * f, *pieces, 0 * f]
        pieces = [
            ((f + (k - r)) * padded[r] + (r + 1 - f) * padded[r + 1]) / k for r in range(k + 1)
        ]
    columns = [np.pad(p.coef, (0, degree + 1 - len(p.coef))) for p in (q.trim() for q in pieces)]
    return np.stack(columns, axis=1).tolist()


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
    x, knots = x.double(), knots.double()
    bases = cox_de_boor(x, knots.unsqueeze(-2) if knots.ndim > 1 else knots, degree)  # (..., N, n)
    return (torch.linalg.pinv(bases) @ y.double()).to(y.dtype)


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
    old, new = knots.double(), new_knots.double()
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
    values = cox_de_boor(x, old.unsqueeze(1), degree) @ coefficients.double()  # (I, N, D)
    return fit(x, values, new, degree).to(coefficients.dtype)


def check_knots(knots: Tensor, degree: int) -> None:
    """Raise a ValueError that says what is wrong with the knots, if anything is."""
    if degree < 0:
        raise ValueError(f"degree {degree} is negative: a degree is 0, 1, 2, ...")
    if knots.shape[-1] < degree + 2:
        raise ValueError(
            f"{knots.shape[-1]} knots are too few for degree {degree}: one base alone spans "
            f"{degree + 2}. Give more knots, or a degree of at most {knots.shape[-1] - 2}."
        )
    if bool((knots[..., 1:] < knots[..., :-1]).any()):
        raise ValueError("the knots decrease somewhere: sort them (repeated knots are allowed).")
