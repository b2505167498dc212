"""Layers of other basis functions, each against a source of its own.

FastKAN, ChebyKAN and Wav-KAN are on no package index; what their authors' code computes is written
down beside the tests. Others are checked against packages, scikit-learn, SciPy and NumPy.
"""

import copy
import math

import numpy as np
import onnxruntime
import pytest
import torch
from fkan.torch import FractionalJacobiNeuralBlock
from hypothesis import given, settings
from hypothesis import strategies as st
from originals import recorded
from scipy import integrate, special
from sklearn.metrics.pairwise import rbf_kernel
from test_kernels import LEVELS, assert_close
from torch import nn
from torch_wavelet_kan import WaveletKANLayer

from kanvae import data, evaluation, export, kernels, runs
from kanvae.architectures import Architecture
from kanvae.layers import (
    ChebyshevLinear,
    GaussianLinear,
    JacobiLinear,
    KANLinear,
    RationalLinear,
    SharedKANLinear,
    WaveletLinear,
    wavelet,
)
from kanvae.layers.kinds import BASES
from kanvae.layers.rational import fit, rational
from kanvae.training import TrainingConfig, load_model, train
from kanvae.training import fit as fit_model

KINDS = (GaussianLinear, ChebyshevLinear, JacobiLinear, WaveletLinear, RationalLinear)
EVERY = pytest.mark.parametrize("kind", KINDS)
DOUBLE = torch.float64
HERMITE = {"mexican_hat": (2 / (math.sqrt(3) * math.pi**0.25), 2), "dog": (-1.0, 1)}


def made(kind, in_features=8, out_features=5, **options):
    """A layer whose parameters are not those that it starts with."""
    layer = kind(in_features, out_features, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return layer


def array(tensor):
    return tensor.detach().numpy()


# Our parameters by the names that they have in FastKAN, ChebyKAN and Wav-KAN.
ORIGINALS = {
    "gaussian": (
        lambda: GaussianLinear(5, 4, dtype=DOUBLE),
        {
            "layernorm.weight": "norm.weight", "layernorm.bias": "norm.bias",
            "spline_linear.weight": "weight", "base_linear.weight": "base_weight",
            "base_linear.bias": "bias",
        },
    ),
    "chebyshev": (lambda: ChebyshevLinear(5, 4, dtype=DOUBLE), {"cheby_coeffs": "weight"}),
} | {
    f"wavelet-{name}": (
        lambda name=name: WaveletLinear(5, 4, name, dtype=DOUBLE),
        {
            "wavelet_weights": "weight", "translation": "translation", "scale": "scale",
            "bn.weight": "norm.weight", "bn.bias": "norm.bias",
        },
    )
    for name in wavelet.WAVELETS
}  # fmt: skip


@pytest.mark.parametrize("name", ORIGINALS)
def test_values_and_gradients_are_those_of_the_authors_own_code(name):
    make, names = ORIGINALS[name]
    layer, own = make(), recorded(name)
    parameters = dict(layer.named_parameters())
    assert set(names.values()) == parameters.keys()

    def ours(value):
        value = value.transpose(0, 1) if name == "chebyshev" else value  # theirs is (I, O, d + 1)
        return value.unflatten(1, (5, 8)) if value.shape == (4, 40) else value

    with torch.no_grad():
        for theirs, mine in names.items():
            parameters[mine].copy_(ours(own[f"state.{theirs}"]))
    x = own["x"].requires_grad_()
    y = layer(x)
    (y**2).sum().backward()
    # fast-kan's centres are single precision; ChebyKAN's arccos loses digits near 1 and -1
    near = {"gaussian": 1e-6, "chebyshev": 1e-9}.get(name, 1e-11)
    torch.testing.assert_close(y, own["y"], rtol=near, atol=near)
    torch.testing.assert_close(x.grad, own["gradient.x"], rtol=near, atol=near)
    for theirs, mine in names.items():
        expected = ours(own[f"gradient.{theirs}"])
        within = near * float(expected.abs().max())
        torch.testing.assert_close(parameters[mine].grad, expected, rtol=0, atol=within)


@pytest.mark.parametrize("norm", [True, False])
def test_gaussians_are_radial_basis_functions_of_the_normed_inputs(norm):
    layer = made(GaussianLinear, grid_size=4, grid_range=(-1.0, 3.0), norm=norm, dtype=DOUBLE)
    x = 2 * torch.randn(20, 8, dtype=DOUBLE)
    u = array(x)
    if norm:
        spread = np.sqrt(u.var(axis=1, keepdims=True) + 1e-5)
        u = (u - u.mean(axis=1, keepdims=True)) / spread * array(layer.norm.weight)
        u = u + array(layer.norm.bias)
    expected = array(x / (1 + torch.exp(-x))) @ array(layer.base_weight).T + array(layer.bias)
    centres = np.linspace(-1, 3, 5)[:, None]  # a distance of 1 apart
    for i in range(8):
        expected += rbf_kernel(u[:, i : i + 1], centres, gamma=1.0) @ array(layer.weight)[:, i].T
    np.testing.assert_allclose(array(layer(x)), expected, rtol=0, atol=1e-12)


def test_one_gaussian_falls_to_a_third_at_the_next_centre():
    bases = GaussianLinear(2, 1).bases(torch.linspace(-2, 2, 8))
    torch.testing.assert_close(bases.diagonal(), torch.ones(8))
    torch.testing.assert_close(bases.diagonal(1), torch.full((7,), math.exp(-1)))


@pytest.mark.parametrize("degree", [1, 4, 9])
def test_chebyshev_values_and_slopes_are_scipys(degree):
    layer = made(ChebyshevLinear, degree=degree, dtype=DOUBLE)
    x = (2 * torch.randn(20, 8, dtype=DOUBLE)).requires_grad_()
    t, n = np.tanh(array(x))[..., None], np.arange(degree + 1)
    y = layer(x)
    expected = np.einsum("bin,oin->bo", special.eval_chebyt(n, t), array(layer.weight))
    np.testing.assert_allclose(array(y), expected, rtol=0, atol=1e-12)
    slopes = n * special.eval_chebyu(np.maximum(n - 1, 0), t) * (1 - t**2)  # T_n' = n U_(n-1)
    (found,) = torch.autograd.grad(y.sum(), x)
    expected = np.einsum("bin,oin->bi", slopes, array(layer.weight))
    np.testing.assert_allclose(array(found), expected, rtol=0, atol=1e-11)


@EVERY
def test_gradients_are_finite_far_outside(kind):
    # a LayerNorm of equal numbers is zero, and far away no more
    layer = made(kind, **({"norm": False} if kind is GaussianLinear else {}))
    x = torch.linspace(-300, 300, 40).repeat(8, 1).T.contiguous().requires_grad_()
    layer(x).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in (x, *layer.parameters()))


@pytest.mark.parametrize("degree", range(1, 7))
def test_jacobi_values_and_gradients_are_fkans(degree):
    layer = made(JacobiLinear, degree=degree, dtype=DOUBLE)
    theirs = nn.Sequential(FractionalJacobiNeuralBlock(degree), nn.Linear(8, 5)).double()
    with torch.no_grad():
        theirs[0].alpha.copy_(layer.alpha)
        theirs[0].beta.copy_(layer.beta)
        theirs[0].gamma.copy_(layer.gamma)
        theirs[1].load_state_dict({"weight": layer.weight, "bias": layer.bias})
    x = torch.randn(20, 8, dtype=DOUBLE)
    torch.testing.assert_close(layer(x), theirs(x))
    upstream = torch.randn(20, 5, dtype=DOUBLE)
    layer(x).backward(upstream)
    theirs(x).backward(upstream)
    for name in ("alpha", "beta", "gamma"):
        found, expected = getattr(layer, name).grad, getattr(theirs[0], name).grad
        torch.testing.assert_close(found, torch.zeros(1, dtype=DOUBLE) + (expected or 0))
    torch.testing.assert_close(layer.weight.grad, theirs[1].weight.grad)


@pytest.mark.parametrize("degree", [1, 2, 9])
def test_jacobi_of_any_degree_is_scipys(degree):
    layer = JacobiLinear(1, 1, degree, dtype=DOUBLE)
    with torch.no_grad():
        layer.alpha.fill_(0.3)
        layer.beta.fill_(-0.7)
        layer.gamma.fill_(0.4)
    x = torch.linspace(-5, 5, 50, dtype=DOUBLE)
    t = 2 * special.expit(array(x)) ** special.expit(0.4) - 1
    expected = special.eval_jacobi(degree, 0.3, math.expm1(-0.7), t)
    np.testing.assert_allclose(array(layer.function(x)), expected, rtol=1e-10, atol=1e-10)


def test_morlet_values_and_gradients_are_torch_wavelet_kans():
    layer = made(WaveletLinear, wavelet="morlet", norm=False, dtype=DOUBLE)
    theirs = WaveletKANLayer(8, 5, num_wavelets=1, epsilon=0.0).double()
    pairs = {"wavelet_weights": "weight", "mu": "translation", "scale": "scale"}
    with torch.no_grad():
        theirs.base_weight.zero_()
        for name, ours in pairs.items():
            getattr(theirs, name).copy_(getattr(layer, ours).unsqueeze(-1))
    x = torch.randn(20, 8, dtype=DOUBLE)
    torch.testing.assert_close(layer(x), theirs(x))
    upstream = torch.randn(20, 5, dtype=DOUBLE)
    layer(x).backward(upstream)
    theirs(x).backward(upstream)
    for name, ours in pairs.items():
        torch.testing.assert_close(getattr(layer, ours).grad, getattr(theirs, name).grad[..., 0])


@pytest.mark.parametrize("name", HERMITE)
def test_other_wavelets_are_hermite_polynomials_times_a_gaussian(name):
    factor, degree = HERMITE[name]
    layer = made(WaveletLinear, wavelet=name, norm=False, dtype=DOUBLE)
    x = torch.randn(20, 8, dtype=DOUBLE)
    u = (array(x)[:, None] - array(layer.translation)) / array(layer.scale)
    psi = factor * special.eval_hermitenorm(degree, u) * np.exp(-(u**2) / 2)
    expected = (psi * array(layer.weight)).sum(-1)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", wavelet.WAVELETS)
def test_wavelets_have_no_mean(name):
    def psi(u):
        return float(wavelet.WAVELETS[name](torch.tensor(u, dtype=DOUBLE)))

    mean, _ = integrate.quad(psi, -12, 12, limit=200)
    assert mean == pytest.approx(0, abs=2e-5)  # Morlet's is exp(-12.5) sqrt(2 pi) = 1e-5
    if name == "mexican_hat":
        assert integrate.quad(lambda u: psi(u) ** 2, -12, 12)[0] == pytest.approx(1)


@pytest.mark.parametrize("name", wavelet.WAVELETS)
def test_wavelets_a_few_outputs_at_a_time_give_the_same(name, monkeypatch):
    layer = made(WaveletLinear, wavelet=name, dtype=DOUBLE)
    x = torch.randn(20, 8, dtype=DOUBLE, requires_grad=True)
    found = []
    for most in (1 << 18, 8 * 20 * 2):
        monkeypatch.setattr(wavelet, "MOST_VALUES", most)
        with torch.no_grad():
            quick = layer(x)
        y = layer(x)
        torch.testing.assert_close(quick, y)
        found.append((y, *torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def run_wavelets(layer, x, kernel=True):
    """Output and all gradients for one upstream gradient, by the kernels or by the formula."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(wavelet, "_library", lambda name: None)
        elif wavelet._library(layer.wavelet) is not None:
            patch.setattr(wavelet, "wavelet_sum", None)  # nobody may call it
        y = layer(x)
        y.backward(torch.linspace(-0.5, 1, y.numel(), dtype=y.dtype).view_as(y))
    return [y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())]


def far_and_near(name, width, outputs, batch, seed):
    """A layer of wavelets of all widths and places, and inputs in and out of their reach."""
    layer = WaveletLinear(width, outputs, name, norm=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.translation.normal_(generator=generator)
        layer.scale.uniform_(0.3, 2, generator=generator)
    return layer, 3 * torch.randn(batch, width, generator=generator)


@pytest.mark.parametrize("name", wavelet.WAVELETS)
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 40),
    st.one_of(st.integers(0, 40), st.integers(250, 600)),  # more rows than are worked on together
    st.integers(0, 2**31),
)
def test_wavelets_by_kernels_are_those_of_the_formula(name, width, outputs, batch, seed):
    layer, x = far_and_near(name, width, outputs, batch, seed)
    exact = run_wavelets(copy.deepcopy(layer).double(), x.double(), kernel=False)
    scale = 2e-6 * max(4.0, batch**0.5, width**0.5)
    assert_close(run_wavelets(layer, x), exact, scale)


@pytest.mark.parametrize("name", wavelet.WAVELETS)
def test_wavelets_far_away_and_not_numbers_agree_one_by_one(name):
    layer = WaveletLinear(1, 1, name, norm=False)
    special = [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, -3e38, 1e10, 1e-40, -1e-45, 0.0]
    for value in (*special, *torch.linspace(-20, 20, 81).tolist(), 13.19, -13.2):
        row = torch.tensor([[value]])
        found, expected = (run_wavelets(layer, row, kernel) for kernel in (True, False))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6, equal_nan=True)


@pytest.mark.skipif(kernels._compiler() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize("name", wavelet.WAVELETS)
@pytest.mark.parametrize("level", LEVELS)
def test_kernels_of_wavelets_for_narrower_vectors(name, level, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "OPTIONAL", ((f"-march={level}", "-fopenmp"),))
    monkeypatch.setattr(kernels, "load_library", kernels.load_library.__wrapped__)
    narrow = wavelet._library.__wrapped__(name)
    assert narrow is not None
    layer, x = far_and_near(name, 21, 19, 13, seed=0)
    expected = run_wavelets(layer, x, kernel=False)
    monkeypatch.setattr(wavelet, "_library", lambda name: narrow)
    for a, b in zip(run_wavelets(layer, x), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-5)


def test_the_number_of_threads_changes_no_bit_of_wavelets():
    layer, x = far_and_near("mexican_hat", 100, 50, 300, seed=0)
    expected, before = run_wavelets(layer, x), torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found = run_wavelets(layer, x)
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), threads


def test_gradients_of_gradients_of_wavelets():
    layer, x = far_and_near("morlet", 4, 3, 5, seed=0)

    def penalty(layer, x):
        point = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(point).sum(), point, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), list(layer.parameters()))

    exact = penalty(copy.deepcopy(layer).double(), x.double())
    for a, b in zip(penalty(layer, x), exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-3)


def test_a_batch_norm_follows_the_wavelets():
    layer, x = WaveletLinear(8, 5), torch.randn(4, 500, 8)
    y = layer(x)
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std((0, 1), correction=0), torch.ones(5), rtol=1e-2, atol=0)
    layer.eval()
    torch.testing.assert_close(layer(x[:1])[0], layer(x[0]))


@pytest.mark.parametrize("groups", [1, 3, 8])
def test_rational_functions_are_quotients_of_polynomials(groups):
    layer = made(RationalLinear, groups=groups, dtype=DOUBLE)
    x = 3 * torch.randn(20, 8, dtype=DOUBLE)
    values = np.zeros((20, 8))
    for i in range(8):
        q = array(layer.denominator)[i * groups // 8]
        top = np.polynomial.Polynomial(array(layer.numerator))(array(x)[:, i])
        values[:, i] = top / (1 + np.abs(np.polynomial.Polynomial([0, *q])(array(x)[:, i])))
    np.testing.assert_allclose(array(layer.functions(x)), values, rtol=1e-10)
    expected = values @ array(layer.weight).T + array(layer.bias)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("base", "error"),
    [("silu", 2e-6), ("tanh", 5e-6), ("gelu", 2e-3), ("relu", 0.04), ("identity", 1e-10)],
)
def test_rational_functions_begin_as_another_function(base, error):
    numerator, denominator, gain = fit(BASES[base]())
    x = torch.linspace(-3, 3, 601, dtype=DOUBLE)
    found, expected = rational(x, numerator, denominator), BASES[base]()(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=error)
    draws = BASES[base]()(torch.randn(200_000, dtype=DOUBLE))
    assert 1 / gain == pytest.approx(float(draws.square().mean()), rel=0.02)


def test_rational_functions_that_begin_as_silu_have_the_published_coefficients():
    numerator, denominator, _ = fit(nn.SiLU())
    published = [0, 0.5, 0.25, 0.0532663, 0.00580303, 0.000275196], [0, 0.106529, 0, 0.00055023]
    for found, expected in zip((numerator, denominator), published, strict=True):
        np.testing.assert_allclose(array(found), expected, rtol=0, atol=5e-6)


def test_new_rational_layers_keep_the_variance():
    y = RationalLinear(400, 300)(torch.randn(1000, 400))
    assert y.var().item() == pytest.approx(1, rel=0.05)


@EVERY
def test_gradients_are_those_of_finite_differences(kind):
    layer = made(kind, in_features=8, out_features=2, dtype=DOUBLE)
    x = torch.randn(3, 8, dtype=DOUBLE, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def outputs(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer.eval(), given, (x,))

    assert torch.autograd.gradcheck(outputs, (x, *layer.parameters()))


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (GaussianLinear(30, 20), 30 * 20 * (8 + 1) + 20 + 2 * 30),
        (GaussianLinear(30, 20, grid_size=3, norm=False), 30 * 20 * (4 + 1) + 20),
        (ChebyshevLinear(30, 20), 30 * 20 * 5),
        (JacobiLinear(30, 20), 30 * 20 + 20 + 3),
        (WaveletLinear(30, 20), 30 * 20 * 3 + 2 * 20),
        (RationalLinear(30, 20), 30 * 20 + 20 + 6 + 4 * 8),
    ],
    ids=lambda value: repr(value).partition("(")[0],
)
def test_layers_have_so_many_parameters(layer, parameters):
    assert sum(p.numel() for p in layer.parameters()) == parameters


@EVERY
def test_every_shape_of_input_is_taken(kind):
    layer, x = made(kind).eval(), torch.randn(4, 3, 8)
    y = layer(x)
    assert y.shape == (4, 3, 5)
    torch.testing.assert_close(layer(x[1, 2]), y[1, 2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer(x.transpose(0, 1)), y.transpose(0, 1), rtol=1e-5, atol=1e-5)
    for mode in (True, False):
        assert layer.train(mode)(torch.empty(0, 7, 8)).shape == (0, 7, 5)


@EVERY
def test_zeros_and_ones_of_dtype_bool_give_what_floats_give(kind):
    layer, x = made(kind), torch.rand(20, 8) < 0.4
    torch.testing.assert_close(layer(x), layer(x.float()), rtol=1e-5, atol=1e-5)


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.3)])
def test_layers_compute_in_their_dtype(kind, dtype, tolerance):
    layer, x = made(kind), torch.randn(20, 8)
    expected = layer(x)
    found = layer.to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


@EVERY
def test_wrong_inputs_are_refused_in_words(kind):
    with pytest.raises(ValueError, match=r"shape \(2, 7\); its last dimension must be .* = 8"):
        kind(8, 5)(torch.zeros(2, 7))
    with pytest.raises(ValueError, match="int64: give floats in the weights' dtype"):
        kind(8, 5)(torch.zeros(2, 8, dtype=torch.int64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianLinear(0, 5), "in_features is 0"),
        (lambda: ChebyshevLinear(5, 2.0), "out_features is 2.0"),
        (lambda: GaussianLinear(5, 5, grid_size=0), "grid_size is 0"),
        (lambda: GaussianLinear(5, 5, grid_range=(2, 1)), "must begin below its end"),
        (lambda: GaussianLinear(1, 5), "LayerNorm of one number is always zero"),
        (lambda: ChebyshevLinear(5, 5, 0), "degree is 0"),
        (lambda: JacobiLinear(5, 5, 2.5), "degree is 2.5"),
        (lambda: WaveletLinear(5, 5, "haar"), "wavelet is 'haar': choose one of .*'dog'"),
        (lambda: RationalLinear(5, 5, 0), "groups is 0"),
        (lambda: RationalLinear(5, 5), "Give groups from 1 to 5"),
    ],
)
def test_wrong_settings_are_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [KANLinear, SharedKANLinear, GaussianLinear, RationalLinear])
def test_an_activation_that_would_write_to_the_callers_tensor_is_refused(kind):
    with pytest.raises(ValueError, match=r"ReLU\(inplace=True\): leave inplace out"):
        kind(8, 8, base_activation=lambda: nn.ReLU(inplace=True))
    with pytest.raises(ValueError, match="leave inplace out"):
        kind(8, 8, base_activation=lambda: nn.Sequential(nn.SiLU(inplace=True)))


@pytest.mark.parametrize("kind", [KANLinear, SharedKANLinear, GaussianLinear, RationalLinear])
def test_an_activation_is_made_anew_for_each_layer(kind):
    with pytest.raises(ValueError, match=r"is the module SiLU\(\): give what makes one, nn\.SiLU"):
        kind(8, 8, base_activation=nn.SiLU())


@EVERY
def test_a_generator_determines_the_weights(kind):
    before = torch.get_rng_state()
    one, other = (kind(8, 5, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    with torch.no_grad():
        for p in other.parameters():
            p.fill_(7)
    other.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@EVERY
def test_the_meta_device_and_a_skipped_initialisation(kind):
    layer, x = made(kind), torch.randn(9, 8)
    assert kind(8, 5, device="meta")(torch.empty(9, 8, device="meta")).shape == (9, 5)
    for empty in (kind(8, 5, device="meta").to_empty(device="cpu"), nn.utils.skip_init(kind, 8, 5)):
        empty.load_state_dict(layer.state_dict())
        assert torch.equal(empty.eval()(x), layer.eval()(x))


@EVERY
def test_compiled_and_exported_layers_give_the_same(kind):
    layer, x = made(kind, out_features=40).eval(), torch.randn(9, 8)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        rows = torch.export.Dim("rows", min=2)
        program = torch.export.export(layer, (x,), dynamic_shapes=({0: rows},))
        x = torch.randn(17, 8)
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@EVERY
def test_gpu_gives_the_same(kind):
    layer, x = made(kind).eval(), torch.randn(9, 8)
    expected = layer(x)
    torch.testing.assert_close(layer.cuda()(x.cuda()).cpu(), expected, rtol=1e-4, atol=1e-4)


KEYS = ("gaussian-8-3", "chebyshev-8-3", "jacobi-8-3", "wavelet-8-3", "rational-8-3")


@pytest.mark.parametrize("key", KEYS)
def test_models_are_trained_read_back_and_scored(key, quick, small_mnist, tmp_path):
    config = TrainingConfig(key, epochs=4, learning_rate=0.02)
    run = train(config, tmp_path / "run", progress=False)
    assert run.elbo[3] > -784 * math.log(2)  # above a model that knows nothing
    model, again = load_model(run), train(config, tmp_path / "run", progress=False)
    assert runs.read(run.path).config == again.config
    x = data.binarize(small_mnist.pixels)
    nll = evaluation.negative_log_likelihood(model, x, 5)
    assert -20 < nll + run.elbo[3] < 1  # the bound is a little tighter


@pytest.mark.parametrize("key", KEYS)
def test_anybody_trains_and_scores_them_too(key, small_mnist):
    model, x = Architecture.parse(key).build(), data.binarize(small_mnist.pixels)
    fitted = fit_model(model, x, epochs=1, progress=False)
    assert np.isfinite(fitted.history["reconstruction"]).all()
    scores = evaluation.evaluate(model, x[:50], features="none", importance_samples=2)
    assert math.isfinite(scores["test_nll"])


def test_models_become_onnx(quick, tmp_path):
    key = "chebyshev-8-3+depth=2+first=gaussian+heads=jacobi+latents=wavelet+pixels=rational"
    run = train(TrainingConfig(key, epochs=1), tmp_path / "run", progress=False)
    model, x = load_model(run), (torch.rand(4, 784) < 0.3).float()
    encoder, decoder = map(onnxruntime.InferenceSession, export.export(run))
    with torch.no_grad():
        mean, _ = model.encode(x)
        logits = model.decode(mean)
    found = encoder.run(["mean"], {"images": x.numpy()})[0]
    np.testing.assert_allclose(found, mean, rtol=1e-3, atol=1e-4)
    found = decoder.run(["parameters"], {"z": mean.numpy()})[0]
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-4)
