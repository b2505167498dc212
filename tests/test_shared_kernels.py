"""The compiled functions of `SharedKANLinear` against its formula."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import LEVELS
from test_kernels import assert_close as assert_rows_close
from test_shared import learned
from torch import nn

from kanvae import kernels, splines
from kanvae.layers import SharedKANLinear, shared_function

pytestmark = pytest.mark.skipif(kernels._compiler() is None, reason="no C compiler on this machine")


@pytest.fixture(autouse=True)
def _small_layers_too(monkeypatch):
    """Let layers of few outputs take the functions that are tested here."""
    monkeypatch.setattr(shared_function, "few", lambda base: 0)


def compiled(layer, x):
    parameters = (layer.weight, layer.bias, layer.base_scale, layer.spline_weight)
    order, base = layer.spline_order, layer.base_activation
    return shared_function.library(order, base, x, *parameters, layer.grid) is not None


def run(layer, x, kernel=True, upstream=None):
    """Output and all gradients for one upstream gradient, by the kernels or by the formula."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        if kernel:
            assert compiled(layer, x)
        else:
            patch.setattr(shared_function, "library", lambda *_: None)
        y = layer(x)
        if upstream is None:
            upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        y.backward(upstream)
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


def assert_close(found, expected, scale=1e-5):
    """To rounding: each value within a few units of the last place of the largest."""
    for a, b in zip(found, expected, strict=True):
        largest = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=0, atol=scale * max(1.0, largest))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(0, 3), (1, 1), (1, 6), (2, 5), (3, 1), (3, 5), (3, 20), (5, 9), (4, 45)]),
    st.sampled_from(shared_function.COMPILED_BASES),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 40),
    st.one_of(st.integers(0, 40), st.integers(250, 600)),  # more rows than are worked on together
    st.integers(0, 2**31),
    st.booleans(),
)
def test_kernels_give_the_formulas_values_and_gradients(
    spline, base, width, outputs, groups, batch, seed, bias
):
    order, size = spline
    generator = torch.Generator().manual_seed(seed)
    options = {"grid_size": size, "spline_order": order, "base_activation": base, "bias": bias}
    layer = learned(width, outputs, min(groups, outputs), generator=generator, **options)
    x = 4 * torch.randn(batch, width, generator=generator)  # inside the grid, and outside
    step = 6 / size
    place = (x + 3) / step  # away from the knots, where low degrees jump and rounding decides
    x = torch.where((place - place.round()).abs() < 1e-4, x + step / 3, x)
    exact = run(copy.deepcopy(layer).double(), x.double(), kernel=False)
    # the roundings of sums over the rows add up as a random walk does, and some are unlucky
    scale = 1e-5 * max(5.0, batch**0.5)
    assert_rows_close(run(layer, x), exact, scale)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("base", shared_function.COMPILED_BASES)
@pytest.mark.parametrize(("outputs", "groups"), [(1, 1), (3, 3), (40, 1)])
def test_rows_at_the_knots_far_away_and_not_numbers_agree_one_by_one(order, base, outputs, groups):
    layer = learned(2, outputs, groups, spline_order=order, base_activation=base)
    with torch.no_grad():  # so that no product overflows
        layer.base_scale.clamp_(-1, 1)
    special = [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, -3e38, 3e38, 1e-40, -1e-45, 0.0, -0.0]
    special += [-88.0, -88.5, -90.0, -100.0, 88.0, 90.0]
    knots = layer.grid[0]
    values = torch.cat([torch.tensor(special), knots, knots.nextafter(knots + 1)])
    for value in torch.cat([values, knots.nextafter(knots - 1)]):
        row, upstream = torch.tensor([[value, 0.3]]), torch.ones(1, outputs)
        found, expected = (run(layer, row, kernel, upstream) for kernel in (True, False))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(
                a, b, rtol=2e-5, atol=5e-5, equal_nan=True,
                msg=lambda text, value=value: f"at {value.item()}: {text}",
            )  # fmt: skip
        expected = written_out(layer, row)
        torch.testing.assert_close(found[0], expected, rtol=2e-5, atol=5e-5, equal_nan=True)


@pytest.mark.parametrize("seed", range(8))
def test_slopes_among_many_knots_are_as_exact_as_among_few(seed):
    layer, generator = SharedKANLinear(1, 128, grid_size=50), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    x = layer.grid[0][3:-3].unsqueeze(1)
    exact = run(copy.deepcopy(layer).double(), x.double(), kernel=False)
    for a, b in zip(run(layer, x), exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("groups", [1, 4])
def test_many_rows_on_knots(order, groups):
    layer = learned(1, 40, groups, spline_order=order)
    knots = layer.grid[0]
    for x in (*knots.expand(100, 1, -1).unbind(-1), knots.repeat(30).unsqueeze(1)):
        exact = run(copy.deepcopy(layer).double(), x.double(), kernel=False)
        assert_close(run(layer, x), [value.float() for value in exact], scale=1e-4)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
def test_small_groups_differ_at_infinity_in_one_gradient_as_the_docstring_says(order, monkeypatch):
    monkeypatch.undo()  # small groups take the product with all bases
    layer = learned(1, 9, 3, spline_order=order)
    assert not compiled(layer, torch.zeros(1, 1))
    with torch.no_grad():  # so that no product overflows
        layer.base_scale.clamp_(-1, 1)
    special = [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, -3e38, 3e38, 1e-40, 0.0, -0.0]
    for value in [*special, *layer.grid[0].tolist()]:
        x, upstream = torch.full((100, 1), value), torch.linspace(0.5, 1, 900).view(100, 9)
        found = by_autograd(layer, x, layer, upstream)
        expected = by_autograd(layer, x, lambda x: written_out(layer, x), upstream)
        *others, scale = zip(found, expected, strict=True)
        for a, b in others:
            torch.testing.assert_close(a, b, rtol=2e-4, atol=1e-4, equal_nan=True)
        a, b = scale
        differs = a.isnan() & b.isinf()
        torch.testing.assert_close(a[~differs], b[~differs], rtol=2e-4, atol=1e-4, equal_nan=True)
        assert not differs.any() or abs(value) > 1e37


def by_autograd(layer, x, function, upstream):
    """Output and gradients by x and all parameters, the last of which is base_scale."""
    x = x.clone().requires_grad_()
    inputs = (x, layer.weight, layer.bias, layer.spline_weight, layer.base_scale)
    y = function(x)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream)]


def written_out(layer, x):
    """The layer's formula, each function by the definition of its bases."""
    bases = splines.cox_de_boor(x, layer.grid, layer.spline_order)  # (B, I, n)
    spline = torch.einsum("bin,gin->gbi", bases, layer.spline_weight)
    functions = layer.base_scale.unsqueeze(1) * layer.base_activation(x) + spline  # (g, B, I)
    of = torch.arange(layer.out_features) * layer.groups // layer.out_features
    return torch.einsum("obi,oi->bo", functions[of], layer.weight) + layer.bias


def test_a_row_that_is_not_a_number_leaves_the_others_alone():
    layer, x = learned(3, 5, 2), torch.randn(40, 3)
    expected = run(layer, x)
    x[7, 1] = torch.nan
    found = run(layer, x)
    assert found[0][7].isnan().all()
    others = torch.arange(40) != 7
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert torch.equal(a[others], b[others])


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("groups", [1, 5])
def test_the_number_of_threads_changes_no_bit_of_the_functions_gradients(threads, groups):
    layer, x, before = learned(150, 5, groups), torch.randn(600, 150), torch.get_num_threads()
    with torch.no_grad():  # each function reaches one output at most: torch's products have no sums
        layer.weight.zero_().fill_diagonal_(1.0)
    found = []
    for number in (1, threads):
        torch.set_num_threads(number)
        try:
            found.append(run(layer, x))
        finally:
            torch.set_num_threads(before)
    for i in (1, 4, 5):  # the gradients of x, base_scale and spline_weight
        assert torch.equal(found[0][i], found[1][i])


@pytest.mark.parametrize("level", LEVELS)
def test_kernels_for_narrower_vectors_give_the_same(level, monkeypatch, tmp_path):
    """Built as for a processor without AVX-512, and for one without AVX."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "OPTIONAL", ((f"-march={level}", "-fopenmp"),))
    monkeypatch.setattr(kernels, "load_library", kernels.load_library.__wrapped__)
    monkeypatch.setattr(shared_function, "_load", shared_function._load.__wrapped__)
    for order, size, width, groups in ((3, 5, 20, 1), (1, 3, 9, 4), (2, 40, 13, 2)):
        layer = learned(width, 8, groups, grid_size=size, spline_order=order)
        x = 3 * torch.randn(270, width)
        assert_close(run(layer, x), run(layer, x, kernel=False), scale=2e-5)


@pytest.mark.parametrize("groups", [2, 5, 20])
def test_functions_that_do_not_fit_into_memory_together_give_the_same(groups, monkeypatch):
    layer, x = learned(9, 20, groups), torch.randn(40, 9)
    expected = run(layer, x)
    monkeypatch.setattr(shared_function, "MOST_VALUES", 2 * x.numel())
    for a, b in zip(run(layer, x), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    layer.weight.requires_grad_(False)
    layer(x).sum().backward()
    assert layer.base_scale.grad.abs().min() > 0


def test_which_layers_and_tensors_they_serve():
    layer, x = learned(6, 4), torch.randn(5, 6)
    assert compiled(layer, x)
    assert not compiled(layer, x.double())
    assert not compiled(layer, x > 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not compiled(layer, x)
    assert not compiled(learned(6, 4, base_activation=nn.GELU), x)
    hooked = learned(6, 4)
    hooked.base_activation.register_forward_hook(lambda module, inputs, output: output + 1)
    assert not compiled(hooked, x)
    assert (hooked(x) - layer(x)).abs().min() > 0.01
    layer.extend_grid(20, x)  # an even grid stays one
    assert compiled(layer, x)
    assert_close(run(layer, x), run(layer, x, kernel=False), scale=2e-5)
    layer.update_grid(3 * torch.randn(50, 6), grid_eps=1.0)  # even, each input in its own range
    assert compiled(layer, x)
    assert_close(run(layer, x), run(layer, x, kernel=False), scale=2e-5)
    layer.update_grid(x)
    assert not compiled(layer, x)
    with torch.no_grad():  # what the knots are decides, however they came to be
        layer.grid.copy_(torch.linspace(-4, 4, 27).expand(6, 27))
    assert compiled(layer, x)
    assert not compiled(learned(6, 4, grid_range=(1000.0, 1001.0)), x)  # rounded: no even steps


@pytest.mark.parametrize("size", [57, 58, 70, 2000])
def test_grids_of_any_size(size):
    layer, x = learned(3, 4, 2, grid_size=size), torch.randn(300, 3)
    assert compiled(layer, x) == (size + 2 * 3 + 1 <= shared_function.MOST_KNOTS)
    y = layer(x)
    with torch.no_grad():
        torch.testing.assert_close(y, layer.double()(x.double()).float(), rtol=1e-4, atol=1e-4)


def test_gradients_of_gradients_use_the_grid_of_their_time():
    layer, x = learned(4, 3), torch.randn(50, 4, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(x).sum(), x)
    y = layer(x)
    layer.extend_grid(10, x.detach())
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-4)
    assert torch.autograd.grad(slope.sum(), x)[0].abs().max() > 0.01


def test_parameters_that_are_not_contiguous_or_have_views():
    layer, x = learned(6, 8, 2), torch.randn(5, 6)
    expected = run(layer, x)
    other = SharedKANLinear(6, 8, 2)
    with torch.no_grad():
        other.weight = nn.Parameter(layer.weight.t().contiguous().t())
        other.bias = nn.Parameter(layer.bias.clone())
        other.base_scale = nn.Parameter(layer.base_scale.t().contiguous().t())
        other.spline_weight = nn.Parameter(layer.spline_weight.mT.contiguous().mT)
    assert_close(run(other, x), expected, scale=1e-6)


def test_the_default_type_of_new_tensors_changes_nothing():
    layer, x = learned(6, 4, 2), torch.randn(5, 6)
    upstream = torch.randn(5, 4)
    expected = run(layer, x, upstream=upstream)
    torch.set_default_dtype(torch.float64)
    try:
        found = run(layer, x, upstream=upstream)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
