import copy
import platform
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kanvae import Architecture, KANLinear, data, kernels, objective
from kanvae.layers import kan_function

pytestmark = pytest.mark.skipif(
    kernels.load("kan", DEGREE=3, COUNT=8) is None, reason="no C compiler on this machine"
)


def run(layer, x, kernel=True):
    """Output and all gradients for one upstream gradient, by the kernels or by the formula."""
    layer.zero_grad()
    x = x.clone().requires_grad_() if x.is_floating_point() else x
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(kan_function, "library", lambda degree, count: None)
        y = layer(x)
        y.backward(torch.linspace(-1, 1, y.numel()).reshape(y.shape).to(y.dtype))
    grads = [p.grad.clone() for p in layer.parameters()]
    return [y.detach(), *grads, *([x.grad] if x.is_floating_point() else [])]


def assert_close(found, expected, scale=1e-5):
    """To rounding: each value within a few units of the last place of the largest."""
    for a, b in zip(found, expected, strict=True):
        largest = float(b.abs().max()) if b.numel() else 0.0
        torch.testing.assert_close(a, b, rtol=0, atol=scale * max(1.0, largest))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(0, 3), (1, 1), (1, 6), (2, 5), (3, 1), (3, 5), (5, 9)]),
    st.one_of(st.integers(1, 300), st.integers(512, 520)),  # more than the kernels take at a time
    st.one_of(st.integers(1, 140), st.integers(257, 270)),
    st.one_of(st.integers(0, 40), st.integers(0, 600)),
    st.integers(0, 2**31),
)
def test_kernels_give_the_formulas_values_and_gradients(spline, width, outputs, batch, seed):
    order, size = spline
    generator = torch.Generator().manual_seed(seed)
    layer = KANLinear(width, outputs, size, order, generator=generator, scale_noise=5.0)
    x = 2 * torch.randn(batch, width, generator=generator)  # inside the grid, beside it, outside
    step = 2 / size
    place = (x + 1) / step  # away from the knots, where low degrees jump and rounding decides
    x = torch.where((place - place.round()).abs() < 1e-4, x + step / 3, x)
    assert_close(run(layer, x), run(layer, x, kernel=False), scale=1e-4 if order < 2 else 2e-5)
    bits = x > 0
    # what is at 0 is what all rows have less what is at 1, and rounded as they are
    assert_close(run(layer, bits), run(layer, bits.float(), kernel=False)[:-1], scale=1e-4)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="vectors of one width only")
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3"])
def test_kernels_for_narrower_vectors_give_the_same(level, monkeypatch, tmp_path):
    """Built as for a processor without AVX-512, and for one without AVX."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "OPTIONAL", ((f"-march={level}", "-fopenmp"),))
    narrow = load_anew()
    assert narrow is not None
    for width, outputs, batch in ((784, 35, 40), (20, 130, 7), (9, 3, 270)):
        layer, x = KANLinear(width, outputs, scale_noise=5.0), 1.5 * torch.randn(batch, width)
        expected = run(layer, x), run(layer, x > 0)
        with monkeypatch.context() as patch:
            patch.setattr(kan_function, "library", lambda degree, count: narrow)
            found = run(layer, x), run(layer, x > 0)
        for a, b in zip(found, expected, strict=True):
            assert_close(a, b, scale=2e-5)


def test_inputs_far_away_and_not_numbers_are_treated_alike():
    layer = KANLinear(1, 3)
    x = torch.tensor([[-1e30], [-2.2], [-1.0], [0.0], [1.0], [2.2], [90.0], [1e30]])
    assert_close(run(layer, x), run(layer, x, kernel=False))
    assert layer(torch.tensor([[torch.nan]])).isnan().all()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize(
    "sizes", [(50, 130, 200), (300, 150, 5), (20, 700, 32), (784, 35, 32), (784, 35, 600)]
)
def test_the_number_of_threads_changes_no_bit(threads, sizes):
    width, outputs, batch = sizes
    layer, x = KANLinear(width, outputs), torch.randn(batch, width)
    expected, before = run(layer, x) + run(layer, x > 0), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = run(layer, x) + run(layer, x > 0)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_gradients_of_gradients():
    layer, x = KANLinear(4, 3), torch.randn(5, 4)

    def penalty(kernel):
        with pytest.MonkeyPatch.context() as patch:
            if not kernel:
                patch.setattr(kan_function, "library", lambda degree, count: None)
            point = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(layer(point).sum(), point, create_graph=True)
            return torch.autograd.grad(slope.square().sum(), list(layer.parameters()))

    assert_close(penalty(True), penalty(False))
    (grad,) = torch.autograd.grad(layer(x > 0).sum(), layer.spline_scaler, create_graph=True)
    (again,) = torch.autograd.grad(grad.square().sum(), layer.spline_weight)
    assert again.abs().max() > 0


def test_frozen_weights_and_inputs():
    layer, x = KANLinear(4, 3), torch.randn(5, 4, requires_grad=True)
    expected = run(layer, x.detach(), kernel=False)
    layer.requires_grad_(False).zero_grad()
    y = layer(x)
    y.backward(torch.linspace(-1, 1, y.numel()).reshape(y.shape))
    assert_close([x.grad], expected[-1:])
    assert all(p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("kernel", [True, False])
def test_inputs_of_two_values_give_what_floats_give(dtype, even, kernel):
    layer = KANLinear(20, 6, scale_noise=5.0).to(dtype)
    if not even:
        layer.update_grid(torch.rand(100, 20, dtype=dtype))
    x = torch.rand(9, 20) < 0.3
    found, expected = run(layer, x, kernel), run(layer, x.to(dtype), kernel=False)[:-1]
    assert_close(found, expected, scale=1e-5 if dtype == torch.float32 else 1e-13)


def test_functions_of_tensors_and_compilers_take_the_formula():
    layer, x = KANLinear(4, 3), torch.randn(5, 4)
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x))
    torch.testing.assert_close(
        torch.func.jacrev(layer)(x[0]), torch.autograd.functional.jacobian(layer, x[0])
    )


def train(key, bits, updates, dtype=torch.float32, kernel=True):
    """The loss at every update, and the final weights."""
    pixels = data.load("MNIST").pixels[:640]
    x = data.binarize(pixels)
    model = Architecture.parse(key).build(seed=1).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(kan_function, "library", lambda degree, count: None)
        for _ in range(updates):
            rows = torch.randint(len(x), (32,), generator=generator)
            batch = x[rows] if bits else x[rows].to(dtype)
            loss = objective.terms(model, batch, generator).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses), model.state_dict()


def test_a_training_on_bits_is_a_training_on_floats():
    bits = train("kan-12-4", True, 100, torch.float64)
    floats = train("kan-12-4", False, 100, torch.float64)
    torch.testing.assert_close(bits[0], floats[0], rtol=1e-9, atol=0)
    for name in bits[1]:
        torch.testing.assert_close(bits[1][name], floats[1][name], rtol=0, atol=1e-8)


def test_a_training_by_the_kernels_is_a_training_by_the_formula():
    fast, plain = train("kan-12-4", True, 100), train("kan-12-4", False, 100, kernel=False)
    torch.testing.assert_close(fast[0], plain[0], rtol=1e-3, atol=0)  # rounding grows as it trains


def load_anew(degree=3, count=8):
    """As a process that has not loaded any library yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "load", kernels.load.__wrapped__)
        return kan_function.library.__wrapped__(degree, count)


def test_without_a_compiler_it_warns_and_the_formula_serves(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "_warned", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.warns(RuntimeWarning, match="no C compiler.* Install a C compiler"):
        assert load_anew() is None
    failing = tmp_path / "cc"
    failing.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(kernels, "_warned", False)
    with pytest.warns(RuntimeWarning, match="cc failed: broken"):
        assert load_anew() is None
    assert list((tmp_path / "kanvae").iterdir()) == []  # nothing half-written
    layer, x = KANLinear(4, 3), torch.randn(5, 4)
    expected = layer(x)
    monkeypatch.setattr(kan_function, "library", lambda degree, count: None)
    torch.testing.assert_close(layer(x), expected)


def test_kernels_can_be_switched_off_in_silence(monkeypatch):
    monkeypatch.setenv("KANVAE_KERNELS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_anew() is None


def test_compiled_once_and_found_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load_anew(2, 5) is not None
    (library,) = (tmp_path / "kanvae").iterdir()
    before = library.stat().st_mtime_ns
    assert load_anew(2, 5) is not None
    assert library.stat().st_mtime_ns == before


def test_the_default_type_of_new_tensors_changes_nothing():
    layer, x = KANLinear(6, 4), torch.randn(5, 6)
    expected = [*run(layer, x), *run(layer, x > 0)]
    torch.set_default_dtype(torch.float64)
    try:
        found = [*run(layer, x), *run(layer, x > 0)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert_close(found, expected)


def test_a_copied_layer_uses_them_too():
    layer, x = KANLinear(4, 3), torch.randn(5, 4)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
