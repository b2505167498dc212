import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline, make_lsq_spline

from kanvae import splines

degrees = st.integers(0, 5)


@st.composite
def knot_vectors(draw):
    """A degree and knots with repetitions, up to degree + 1 fold, that leave the grid a length."""
    degree = draw(degrees)
    places = draw(st.lists(st.integers(-40, 40), min_size=2, max_size=8, unique=True))
    knots = []
    for place in sorted(places):
        knots += [place / 7] * draw(st.integers(1, degree + 1))
    while len(knots) < 2 * degree + 2 or knots[degree] == knots[-1 - degree]:
        knots = [knots[0] - 0.3, *knots, knots[-1] + 0.4]
    return degree, np.array(knots)


def scipy_bases(x, knots, degree):
    return BSpline(knots, np.eye(len(knots) - degree - 1), degree, extrapolate=False)(x)


@settings(max_examples=200, deadline=None)
@given(knot_vectors(), st.integers(0, 2**32 - 1))
def test_bases_agree_with_scipy_inside_the_grid(vector, seed):
    degree, knots = vector
    low, high = knots[degree], knots[-1 - degree]
    x = np.random.default_rng(seed).uniform(low, high, 50)
    x = np.concatenate([x, knots[(knots >= low) & (knots < high)]])
    ours = splines.cox_de_boor(torch.from_numpy(x), torch.from_numpy(knots), degree)
    np.testing.assert_allclose(ours.numpy(), scipy_bases(x, knots, degree), rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(knot_vectors())
def test_right_end_belongs_to_the_last_interval_as_in_scipy(vector):
    degree, knots = vector
    end = knots[-1 - degree]
    ours = splines.cox_de_boor(torch.tensor([end]), torch.from_numpy(knots), degree)[0].numpy()
    if knots[-2 - degree] < end:
        np.testing.assert_allclose(ours, scipy_bases(end, knots, degree), rtol=0, atol=1e-12)
    else:  # scipy gives zeros where the end is repeated within the grid; we give the left limit
        left = scipy_bases(end - 1e-12 * (1 + abs(end)), knots, degree)
        np.testing.assert_allclose(ours, left, rtol=0, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(knot_vectors(), st.integers(0, 2**32 - 1))
def test_bases_add_up_to_one_inside_the_grid_and_vanish_outside_the_knots(vector, seed):
    degree, knots = vector
    x = torch.from_numpy(np.random.default_rng(seed).uniform(knots[degree], knots[-1 - degree], 30))
    bases = splines.cox_de_boor(x, torch.from_numpy(knots), degree)
    assert bases.min() >= -1e-12
    torch.testing.assert_close(bases.sum(-1), torch.ones_like(x), rtol=0, atol=1e-12)
    beyond = [knots[0] - 1e-6, knots[0] - 50, knots[-1] + 1e-6, knots[-1] + 50, np.inf, -np.inf]
    outside = splines.cox_de_boor(torch.tensor(beyond).double(), torch.from_numpy(knots), degree)
    assert torch.equal(outside, torch.zeros_like(outside))


@settings(max_examples=100, deadline=None)
@given(
    degrees,
    st.integers(1, 12),
    st.floats(-5, 5),
    st.floats(0.1, 5),
    st.integers(0, 2**32 - 1),
)
def test_closed_form_agrees_with_the_recursion(degree, grid_size, low, width, seed):
    knots = splines.uniform_knots(grid_size, degree, (low, low + width), torch.float64)
    step = width / grid_size
    x = torch.from_numpy(np.random.default_rng(seed).uniform(low - 2 * width, low + 3 * width, 50))
    # away from the knots, where rounding decides on which side a point lies and degree 0 jumps
    nearest = ((x - low) / step).round()
    x = torch.where(((x - low) / step - nearest).abs() < 1e-9, x + step / 3, x)
    ours = splines.uniform_bases(x, float(knots[0]), step, grid_size + degree, degree)
    recursion = splines.cox_de_boor(x, knots, degree)
    torch.testing.assert_close(ours, recursion, rtol=0, atol=1e-11)


def test_closed_form_is_zero_far_away_and_passes_nan_on():
    x = torch.tensor([float("inf"), -float("inf"), 1e30, -1e30, float("nan")])
    bases = splines.uniform_bases(x, -2.2, 0.4, 8, 3)
    assert not bases[:4].any()
    assert bases[4].isnan().any()


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_gradients_of_both_evaluations(degree):
    knots = splines.uniform_knots(4, degree, (-1, 1), torch.float64)
    x = torch.linspace(-1.93, 1.91, 23, dtype=torch.float64, requires_grad=True)
    step = 0.5

    def closed(x):
        return splines.uniform_bases(x, knots[0], step, 4 + degree, degree)

    assert torch.autograd.gradcheck(closed, x)
    assert torch.autograd.gradcheck(lambda x: splines.cox_de_boor(x, knots, degree), x)


def test_gradients_are_zero_and_finite_outside_the_knots():
    x = torch.tensor([-1e30, -3.0, 3.0, 1e30], requires_grad=True)
    splines.uniform_bases(x, -2.2, 0.4, 8, 3).sum().backward()
    assert torch.equal(x.grad, torch.zeros(4))


def test_curve_agrees_with_scipy():
    knots = np.array([0, 0, 0, 0, 1, 2.5, 2.5, 4, 4, 4, 4])
    points = np.random.default_rng(0).normal(size=(7, 2))
    x = np.linspace(0, 4, 101)
    ours = splines.evaluate(
        torch.from_numpy(x), torch.from_numpy(knots), torch.from_numpy(points), 3
    )
    np.testing.assert_allclose(ours.numpy(), BSpline(knots, points, 3)(x), rtol=0, atol=1e-12)


def test_least_squares_agrees_with_scipy():
    rng = np.random.default_rng(1)
    knots = np.concatenate([[0.0] * 4, [1, 2, 3], [4.0] * 4])
    x, y = np.sort(rng.uniform(0, 4, 200)), rng.normal(size=(200, 3))
    ours = splines.fit(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(knots), 3)
    theirs = make_lsq_spline(x, y, knots, 3).c
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize(("coarse", "fine"), [(3, 3), (3, 9), (5, 10)])
def test_grid_extension_keeps_the_function(degree, coarse, fine):
    old = splines.uniform_knots(coarse, degree, (-1, 1), torch.float64)
    new = splines.uniform_knots(fine, degree, (-1, 1), torch.float64)
    coefficients = torch.randn(2, coarse + degree, 4, dtype=torch.float64)
    moved = splines.refit(coefficients, old.repeat(2, 1), new.repeat(2, 1), degree)
    x = torch.linspace(-1, 1, 301, dtype=torch.float64)
    for i in range(2):
        before = splines.evaluate(x, old, coefficients[i], degree)
        after = splines.evaluate(x, new, moved[i], degree)
        torch.testing.assert_close(after, before, rtol=0, atol=1e-10)


def test_grid_extension_between_grids_that_do_not_nest_is_the_least_squares_fit():
    old = splines.uniform_knots(3, 3, (-1, 1), torch.float64)
    new = splines.uniform_knots(10, 3, (-1, 1), torch.float64)
    coefficients = torch.randn(1, 6, 1, dtype=torch.float64)
    moved = splines.refit(coefficients, old[None], new[None], 3)
    x = torch.linspace(-1, 1, 301, dtype=torch.float64)
    difference = splines.evaluate(x, old, coefficients[0], 3) - splines.evaluate(
        x, new, moved[0], 3
    )
    assert 1e-9 < difference.abs().max() < 0.02 * coefficients.abs().max()


def test_empty_input():
    assert splines.uniform_bases(torch.empty(0, 4), -2.2, 0.4, 8, 3).shape == (0, 4, 8)
    assert splines.cox_de_boor(torch.empty(0), torch.arange(6.0), 3).shape == (0, 2)


@pytest.mark.parametrize(
    ("knots", "degree", "message"),
    [
        ([0.0, 1.0, 2.0], 2, "too few for degree 2"),
        ([0.0, 2.0, 1.0, 3.0], 1, "decrease"),
        ([0.0, 1.0], -1, "negative"),
    ],
)
def test_impossible_knots_are_refused(knots, degree, message):
    with pytest.raises(ValueError, match=message):
        splines.cox_de_boor(torch.zeros(1), torch.tensor(knots), degree)


def test_wrong_number_of_coefficients_is_refused():
    with pytest.raises(ValueError, match="give 4 coefficients"):
        splines.evaluate(torch.zeros(1), torch.arange(8.0), torch.zeros(5), 3)
