# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,mystnb,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: jupytext,kernelspec,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # B-splines
#
# [![Open in Colab](../book/_static/colab.svg)](https://colab.research.google.com/github/kan-vae-book/kan-vae-book/blob/main/notebooks/01_bsplines.ipynb)
#
# **The question.** The layers of a Kolmogorov–Arnold network (KAN), the subject of the [next chapter](02_kan_layers.ipynb), learn functions of one variable where other layers learn numbers. How can a function be written down so that a computer can learn it, and why does learning one part of such a function leave the rest alone?
#
# **The answer.** A spline is a weighted sum of bumps, its basis functions or B-splines, each of which is zero outside a few neighbouring intervals. Learning the function means learning the weights. Changing one weight changes the function under its own bump, and nowhere else.
#
# **You need** polynomials, and Python. **On this page** we build B-splines from their recursion, redraw
# Figure 5 of the paper that this book reproduces, KAN-VAE {cite}`nik2024` (one control point moves, one piece of the curve follows), compare B-splines with Bézier curves,
# and end with a closed form for evenly spaced knots. A GPU does not
# matter here.

# %% tags=["remove-cell"]
import importlib.util

from IPython import get_ipython

if (
    importlib.util.find_spec("kanvae") is None
):  # in Colab: install the book's module
    get_ipython().run_line_magic(
        "pip",
        'install -q "kanvae[studies] @ '
        'git+https://github.com/kan-vae-book/kan-vae-book"',
    )

# %% [markdown]
# The imports, and the parameters that you may change.

# %%
import pandas as pd
import torch
from torch import Tensor

from kanvae import figures, splines
from kanvae.figures import diagrams, interactive, tables

torch.set_default_dtype(torch.float64)

# %% tags=["parameters"]
degree = 3
points = 400

# %% [markdown]
# ## Knots and basis functions
#
# Take a non-decreasing list of numbers $t_0 \le t_1 \le \dots \le t_m$, the **knots**. They cut the line
# into intervals. On the knots we define the **basis functions** $N_{i,k}$ (B-splines) of **degree** $k$ from those of degree $k - 1$, by the Cox–de Boor recursion {cite}`deboor1978`:
#
# $$
# \begin{aligned}
# N_{i,0}(x) &= \begin{cases} 1 & t_i \le x < t_{i+1} \\ 0 & \text{otherwise} \end{cases} \\
# N_{i,k}(x) &= \frac{x - t_i}{t_{i+k} - t_i} N_{i,k-1}(x)
#            + \frac{t_{i+k+1} - x}{t_{i+k+1} - t_{i+1}} N_{i+1,k-1}(x)
# \end{aligned}
# $$ (eq-cox-de-boor)
#
# A fraction whose denominator is zero (knots may repeat) counts as zero. Each step multiplies the two
# neighbouring basis functions by a rising and a falling ramp, so a basis function of degree $k$ reaches over $k + 1$
# intervals, and $m + 1$ knots carry $n = m - k$ basis functions. Read as code, equation {eq}`eq-cox-de-boor` is a few
# lines. We write it for one point at a time, exactly as it stands.


# %%
def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else 0.0


def basis(x: float, knots: list[float], i: int, k: int) -> float:
    if k == 0:
        return float(knots[i] <= x < knots[i + 1])
    rising = ratio(x - knots[i], knots[i + k] - knots[i])
    falling = ratio(knots[i + k + 1] - x, knots[i + k + 1] - knots[i + 1])
    return rising * basis(x, knots, i, k - 1) + falling * basis(
        x, knots, i + 1, k - 1
    )


# %% [markdown]
# `cox_de_boor`, from the book's package `kanvae`, computes all basis functions at all points together. The two must agree; the assertion
# below fails if they do not. The knots repeat $k + 1$ times at both ends (they are *clamped*), the usual
# choice for drawing curves. We stop just short of the right end, $x = 5$, which comes below.

# %%
inner = [1.0, 2.0, 3.0, 4.0]
knots = [0.0] * (degree + 1) + inner + [5.0] * (degree + 1)
x = torch.linspace(0, 4.999, points)
bases = splines.cox_de_boor(x, torch.tensor(knots), degree)  # (points, n)

by_hand = [
    [basis(value, knots, i, degree) for i in range(bases.shape[1])]
    for value in x.tolist()
]
torch.testing.assert_close(
    bases, torch.tensor(by_hand), rtol=0, atol=1e-12
)
print(
    f"{len(knots)} knots, degree {degree}: {bases.shape[1]} basis "
    "functions, equal to the recursion by hand"
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-bases", "caption": "The basis functions on clamped knots. Each is zero outside its own few intervals; the dotted lines are the knots."}, "image": {"alt": "Eight basis functions overlap over five intervals; each is zero outside at most four of them, and the two outermost reach one at the ends."}}
figures.lines(
    x, {"": bases}, "$x$", "basis functions", marks=[0.0, *inner, 5.0]
)

# %% [markdown]
# {numref}`fig-bases` shows two properties that matter later. At every point at most $k + 1$ basis functions differ from
# zero. And on clamped knots they add up to one everywhere: what one loses, its neighbours gain. (On other knots they do so only between $t_k$ and $t_{m-k}$.) We check both.

# %%
sums = bases.sum(dim=1)
alive = (bases > 0).sum(dim=1)
torch.testing.assert_close(sums, torch.ones(points), rtol=0, atol=1e-12)
assert int(alive.max()) <= degree + 1
print(
    "sum of the basis functions: 1 within "
    f"{float((sums - 1).abs().max()):.1e}; "
    f"at most {int(alive.max())} are not zero"
)

# %% [markdown]
# One convention remains: what happens at the right end, which belongs to no half-open interval? As in
# `scipy.interpolate.BSpline`, the end belongs to the last interval, so the basis functions add up to one there too.

# %%
end = splines.cox_de_boor(torch.tensor([5.0]), torch.tensor(knots), degree)
assert end[0, -1] == 1
print(
    "basis functions at the right end: "
    f"{[round(value, 3) for value in end[0].tolist()]}"
)

# %% [markdown]
# ## Control points and local control
#
# A spline curve is a weighted sum of the basis functions. The weights $P_i$ are its **control points**; with points
# of the plane it is a curve in the plane, with numbers it is a function:
#
# $$
# C(x) = \sum_{i=0}^{n-1} N_{i,k}(x)\, P_i .
# $$ (eq-curve)
#
# Because the basis functions are never negative and here add up to one, $C(x)$ is a weighted average of control points; because
# at most $k + 1$ of them differ from zero at $x$, it is an average of $k + 1$ neighbours. On clamped knots the curve begins at its first control point and ends at its last. Move one control point, and only the intervals of its
# basis function are affected, $k + 1$ of them or fewer. This is what the paper's Figure 5 shows. Before we draw it, a
# prediction: moving the second of the control points changes the curve's beginning and leaves its end
# exactly where it was.

# %%
along = torch.linspace(0, 1, bases.shape[1])
before = torch.stack(
    (7 * along, 1 - torch.cos(7 * along)), dim=1
)  # (n, 2)
after = before.clone()
after[1] += torch.tensor([0.3, 1.2])
polygons = {"before": before, "after": after}
curves = {
    name: splines.evaluate(x, torch.tensor(knots), p, degree)
    for name, p in polygons.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-local-control", "caption": "The paper's Figure 5, redrawn: a curve before and after its second control point has moved. Ticks mark where the pieces join."}, "image": {"alt": "When the second control point moves up, the first part of the curve follows; the rest stays exactly where it was."}}
at_knots = torch.tensor(inner)
joints = {
    name: splines.evaluate(at_knots, torch.tensor(knots), p, degree)
    for name, p in polygons.items()
}
picture = diagrams.control_curves(
    {name: (p, curves[name]) for name, p in polygons.items()}, joints
)
shown = {"points": after, "before": before, "inner": inner}
shown |= {"range": [0, 5], "degree": degree}
interactive.figure("spline", shown, picture)

# %% [markdown]
# On the book's page you can take hold of {numref}`fig-local-control`. Drag a control point, or reach it with the
# tab key and move it with the arrow keys: only the thick part of the curve can follow. Drag two knots onto each
# other, or choose another degree, and watch the basis functions change with the curve.
#
# The number behind {numref}`fig-local-control`: how far the curve moves, before and after the knot at which
# the second basis function ends.

# %%
moved = (curves["after"] - curves["before"]).norm(dim=1)
support_end = knots[1 + degree + 1]
left = float(moved[x < support_end].max())
right = float(moved[x >= support_end].max())
print(f"largest move left of x = {support_end}: {left:.3f}")
print(f"largest move right of it: {right:.3f}")
assert right == 0

# %% [markdown]
# The zero is exact, not small. For a network this means that the gradient from one input value touches only
# $k + 1$ coefficients. They change the function on at most $2k + 1$ intervals, and nowhere else. (On a grid as short as the paper's, of five intervals with $k = 3$, that can be all of it; locality pays on finer grids.) It also means
# that a coefficient is never trained if no input falls under its basis function; we shall meet such coefficients again.
#
# ## Degree and smoothness
#
# Degree 0 gives steps, degree 1 a polygon, degree 2 a curve without corners, and every further degree one
# more continuous derivative: at a simple knot a spline of degree $k$ has $k - 1$ of them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-degrees", "caption": "One basis function of each degree from 0 to 3 on evenly spaced knots."}, "image": {"alt": "Each further degree makes the basis function one interval wider and smoother: a step, a triangle, then two bumps without corners."}}
even = torch.arange(0.0, 5.0)
grid = torch.linspace(-0.2, 4.2, 881)
bumps = {
    f"$k$ = {k}": splines.cox_de_boor(grid, even, k)[:, 0]
    for k in range(4)
}
figures.lines(grid, bumps, "$x$", "basis function", marks=even.tolist())

# %% [markdown]
# {numref}`fig-degrees` shows the price: a smoother basis function is wider, so each coefficient has a longer reach. The
# paper, like most KAN work, takes $k = 3$. The next cell measures the smoothness: the jump of the $j$-th derivative at a knot, which is the difference between its values just right and just left of the knot. Automatic differentiation gives these values exactly.


# %%
def derivatives(value: float, k: int, order: int) -> float:
    x = torch.tensor([value], requires_grad=True)
    y = splines.cox_de_boor(x, even, k)[0, 0]
    for _ in range(order):
        if not y.requires_grad:
            return 0.0
        (y,) = torch.autograd.grad(
            y, x, create_graph=True, allow_unused=True
        )
        if y is None:
            return 0.0
        y = y.sum()
    return float(y.detach())


# %% mystnb={"table": {"name": "tab-jumps", "caption": "The jump at $x = 1$ of the derivatives of the first basis function, by their order."}}
jumps = {
    f"degree {k}": {
        f"order {j}": abs(
            derivatives(1 + 1e-9, k, j) - derivatives(1 - 1e-9, k, j)
        )
        for j in range(4)
    }
    for k in range(1, 4)
}
table = pd.DataFrame(jumps).T.rename_axis("spline")
tables.table(table, dict.fromkeys(table, ".2f"))

# %% [markdown]
# In the row for degree $k$ of {numref}`tab-jumps`, the entries of orders 0 to $k - 1$ are zero: the function and its first $k - 1$ derivatives are continuous at the knot, and the derivative of order $k$ is the first that jumps.
#
# ## Bézier curves
#
# A Bézier curve is the special case without inner knots: one interval, on which all its basis functions differ from
# zero. Move a control point, and the whole curve between its end points moves, though far from that control point only very little. We use the same recursion with the inner knots left
# out, the same control points, and the same move.

# %%
n = len(before)
bezier_knots = torch.tensor([0.0] * n + [1.0] * n)
s = torch.linspace(0, 1, points)
bezier = {
    name: splines.evaluate(s, bezier_knots, p, n - 1)
    for name, p in polygons.items()
}
follows = (bezier["after"] - bezier["before"]).norm(dim=1) > 1e-6
follows_spline = moved > 1e-6
print(
    "share of the curve that moves by more than a millionth:  "
    f"Bézier {float(follows.double().mean()):.0%}, "
    f"B-spline {float(follows_spline.double().mean()):.0%}"
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-bezier", "caption": "The B\u00e9zier curve of the same control points, before and after the same move."}, "image": {"alt": "When the same control point moves, the B\u00e9zier curve changes most near that point and less and less towards its far end."}}
diagrams.control_curves(
    {name: (p, bezier[name]) for name, p in polygons.items()}
)

# %% [markdown]
# The move reaches two intervals of five of the spline. It reaches all of the Bézier curve between its end points, but a part of it, mostly near the far end, moves by less than a millionth. In {numref}`fig-bezier` one polynomial of degree $n - 1$ has to serve everywhere, so it stays far from its
# control points and responds to each of them everywhere between its end points, if only by a little.
#
# ## The closed form on even knots
#
# A KAN layer evaluates its basis functions at every input of every image, so the cost matters. On evenly spaced
# knots the recursion can be solved once and for all. Let $h$ be the distance between neighbouring knots, and let $x$ lie in
# the interval from $t_i$ to $t_{i+1}$, at the fraction $u = (x - t_i) / h$ of its length. Only $N_{i-k,k}, \dots, N_{i,k}$ differ from zero there, and each is a fixed polynomial in $u$. For $k = 3$ the four
# polynomials are
#
# $$
# \tfrac16 (1 - u)^3, \quad \tfrac16 (3 u^3 - 6 u^2 + 4), \quad \tfrac16 (-3 u^3 + 3 u^2 + 3 u + 1), \quad \tfrac16 u^3 .
# $$ (eq-pieces)
#
# `uniform_bases` gives the values of all basis functions at once, by a formula that [the chapter on cost](17_layer_cost.ipynb) explains. We check
# it against equation {eq}`eq-pieces` and against the recursion, outside the knots too, where all is zero.

# %%
G = 5  # intervals of the grid; a KAN layer adds k more on either side
grid_knots = splines.uniform_knots(G, 3, (-1.0, 1.0), torch.float64)
where = torch.linspace(-3, 3, 6001)
closed = splines.uniform_bases(
    where, grid_knots[0], grid_knots[1] - grid_knots[0], G + 3, 3
)
torch.testing.assert_close(
    closed, splines.cox_de_boor(where, grid_knots, 3), rtol=0, atol=1e-12
)
assert not closed[(where < grid_knots[0]) | (where > grid_knots[-1])].any()


def pieces(u: Tensor) -> Tensor:
    first, last = (1 - u) ** 3, u**3
    second = 3 * u**3 - 6 * u**2 + 4
    third = -3 * u**3 + 3 * u**2 + 3 * u + 1
    return torch.stack([first, second, third, last], dim=-1) / 6


u = torch.linspace(0, 0.999, 100)
torch.testing.assert_close(
    splines.uniform_bases(u, -3.0, 1.0, 4, 3),
    pieces(u),
    rtol=0,
    atol=1e-12,
)
print("closed form = recursion = the four cubics")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-grid", "caption": "The G + k = 8 basis functions that a spline of the paper's layers can use: the interval from -1 to 1 is cut into G = 5 equal pieces, with three knots more on each side."}, "image": {"alt": "Eight equal bumps cover the grid from -1 to 1 and reach beyond it, to -2.2 and 2.2; farther out all are zero."}}
figures.lines(
    where,
    {"": closed},
    "$x$",
    "basis functions",
    marks=grid_knots.tolist(),
)

# %% [markdown]
# {numref}`fig-grid` is the picture to keep for the next chapter. Inside $[-1, 1]$, the **grid**, the basis functions add up to one;
# between the grid and the last knot at $\pm 2.2$ they fade; beyond it there is nothing.
#
# ## What we saw
#
# - A spline is a weighted sum of local bumps. At each point at most $k + 1$ of them are not zero; inside the grid they add up to one.
# - Moving a coefficient changes the function on at most $k + 1$ intervals and *exactly* nothing elsewhere; a Bézier
#   curve has no such property.
# - Degree $k$ buys $k - 1$ continuous derivatives and costs locality.
# - On evenly spaced knots, the basis functions that are not zero at a point are four fixed cubics of its place in the interval.
#
# ## Exercises
#
# **1.** Repeat the knot 2 three times in `inner` and draw the basis functions again. What happens to the curve there?
#
# <details><summary>Solution</summary>
#
# Each repetition of a knot takes one continuous derivative away. A simple knot of a cubic leaves two; three
# repetitions leave none, and the curve keeps only its continuity: it may have a corner, and it passes
# through a control point. (With four repetitions it may jump.)
#
# </details>
#
# **2.** How many multiplications does the recursion by hand do for one basis function of degree 3 at one point, and
# how many does the closed form need for all four?
#
# <details><summary>Solution</summary>
#
# `basis` calls itself twice for each degree and multiplies twice: $2 (1 + 2 + 4) = 14$ multiplications and as
# many divisions for a single basis function. Horner's rule takes 3 multiplications for each of the four cubics, 12 in
# all, and no division but the one that yields $u$.
#
# </details>
#
# **3.** Show from equation {eq}`eq-cox-de-boor` that the basis functions add up to one inside the clamped knots.
#
# <details><summary>Solution</summary>
#
# Add the recursion over $i$ and collect the terms with $N_{i,k-1}$: one falling ramp from $N_{i-1,k}$ and one
# rising ramp from $N_{i,k}$, with the same denominator $t_{i+k} - t_i$, and numerators that add up to
# it. For the first and the last $N_{i,k-1}$ one of the two terms is missing, but these stand on knots that coincide, and are zero. So the sum at degree $k$ equals the sum at degree $k - 1$, and at degree 0 it is one.
#
# </details>
#
# ## References
#
# The recursion is treated in {cite:t}`deboor1978`; {numref}`fig-local-control` follows {cite:t}`nik2024`, section IV-B.
