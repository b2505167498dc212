import copy
import io
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import nn

from kanvae.layers import KANLinear, SharedKANLinear
from kanvae.layers.shared_function import group_ends

BASES = {  # written out in numpy
    nn.SiLU: lambda x: x / (1 + np.exp(-x)),
    nn.ReLU: lambda x: np.maximum(x, 0),
    nn.Identity: lambda x: x,
}
SETTINGS = [  # outputs, groups, base, order, grid size; g divides O or does not, is small or large
    (4, 1, nn.SiLU, 3, 5),
    (70, 3, nn.ReLU, 3, 4),
    (7, 4, nn.Identity, 2, 6),
    (6, 6, nn.SiLU, 1, 3),
    (40, 2, nn.SiLU, 0, 5),
]


def learned(in_features, out_features, groups=1, **options):
    """A layer whose functions are not those that it starts with."""
    layer = SharedKANLinear(in_features, out_features, groups, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in (layer.base_scale, layer.spline_weight):
            p.copy_(torch.randn(p.shape, generator=generator))
    return layer


def curve(x, knots, coefficients, order):
    """SciPy's spline, which is zero outside its knots."""
    beyond = np.arange(1, order + 1)  # SciPy evaluates between the inner knots only: add outer ones
    knots = np.r_[knots[0] - beyond[::-1], knots, knots[-1] + beyond]
    coefficients = np.r_[np.zeros(order), coefficients, np.zeros(order)]
    return np.nan_to_num(BSpline(knots, coefficients, order, extrapolate=False)(x))


def written_out(layer, x, base):
    """The definition: y_o = b_o + sum_i w_oi f_i,s(o)(x_i), s(o) = floor(o g / O)."""
    w, a, c = (p.detach().numpy() for p in (layer.weight, layer.base_scale, layer.spline_weight))
    y = np.zeros((len(x), layer.out_features))
    for o in range(layer.out_features):
        s = int(np.floor(o * layer.groups / layer.out_features))
        for i in range(layer.in_features):
            spline = curve(x[:, i], layer.grid[i].numpy(), c[s, i], layer.spline_order)
            y[:, o] += w[o, i] * (a[s, i] * BASES[base](x[:, i]) + spline)
    return y if layer.bias is None else y + layer.bias.detach().numpy()


@pytest.mark.parametrize(("outputs", "groups", "base", "order", "size"), SETTINGS)
@pytest.mark.parametrize("bias", [True, False])
def test_output_is_the_written_out_double_sum(outputs, groups, base, order, size, bias):
    options = {"grid_size": size, "spline_order": order, "base_activation": base, "bias": bias}
    layer = learned(3, outputs, groups, dtype=torch.float64, **options)
    x = torch.linspace(-9, 9, 301, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.7, 0.31])
    expected = written_out(layer, x.numpy(), base)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_functions_of_zeros_and_ones_are_those_of_floats(dtype):
    layer = learned(3, 4, 2, dtype=dtype)
    x = torch.tensor([[True, False, True]])
    assert torch.equal(layer.functions(x), layer.functions(x.to(dtype)))


@pytest.mark.parametrize(("outputs", "groups", "base", "order", "size"), SETTINGS)
def test_functions_are_the_curves(outputs, groups, base, order, size):
    options = {"grid_size": size, "spline_order": order, "base_activation": base}
    layer = learned(3, outputs, groups, dtype=torch.float64, **options)
    x = torch.randn(2, 50, 3, dtype=torch.float64)
    found = layer.functions(x).detach().numpy()
    assert found.shape == (groups, 2, 50, 3)
    a, c = (p.detach().numpy() for p in (layer.base_scale, layer.spline_weight))
    for s in range(groups):
        for i in range(3):
            values = x[..., i].numpy()
            spline = curve(values, layer.grid[i].numpy(), c[s, i], order)
            expected = a[s, i] * BASES[base](values) + spline
            np.testing.assert_allclose(found[s, ..., i], expected, rtol=0, atol=1e-12)


def test_groups_are_runs_of_outputs_whose_sizes_differ_by_one():
    for outputs in range(1, 30):
        for groups in range(1, outputs + 1):
            sizes = np.diff(group_ends(outputs, groups)).tolist()
            of = np.arange(outputs) * groups // outputs
            assert sizes == np.bincount(of, minlength=groups).tolist()
            assert max(sizes) - min(sizes) <= 1


def test_with_a_function_on_every_edge_it_is_a_kan_layer():
    shared = learned(6, 5, 5, grid_size=4, bias=False)
    kan = KANLinear(6, 5, grid_size=4, grid_range=(-3.0, 3.0))
    with torch.no_grad():
        kan.base_weight.copy_(shared.weight * shared.base_scale)
        kan.spline_scaler.copy_(shared.weight)
        kan.spline_weight.copy_(shared.spline_weight)
    x = (2 * torch.randn(40, 6)).requires_grad_()
    x_again = x.detach().clone().requires_grad_()
    upstream = torch.randn(40, 5)
    expected, found = kan(x), shared(x_again)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    expected.backward(upstream)
    found.backward(upstream)
    torch.testing.assert_close(x_again.grad, x.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shared.spline_weight.grad, kan.spline_weight.grad)
    # by the chain rule through base_weight = w a and spline_scaler = w
    weight_grad = kan.base_weight.grad * shared.base_scale + kan.spline_scaler.grad
    torch.testing.assert_close(shared.weight.grad, weight_grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        shared.base_scale.grad, kan.base_weight.grad * shared.weight, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("groups", [1, 3, 40])
def test_a_new_layer_is_the_linear_layer_of_the_base_function(base, groups):
    shared = SharedKANLinear(
        7, 40, groups, base_activation=base, generator=torch.Generator().manual_seed(3)
    )
    torch.manual_seed(3)
    linear = nn.Linear(7, 40)
    assert torch.equal(shared.weight, linear.weight)
    assert torch.equal(shared.bias, linear.bias)
    x = 3 * torch.randn(20, 7)
    torch.testing.assert_close(shared(x), linear(base()(x)), rtol=1e-5, atol=1e-6)


def test_initial_noise_is_efficient_kans():
    layer = SharedKANLinear(400, 300, 100, grid_range=(-1.0, 1.0), scale_noise=0.1)
    knots = layer.grid[:, 3:9]
    curves = layer.functions(knots.T) - nn.functional.silu(knots.T)  # at the points of the grid
    assert curves.abs().max() <= 0.1 / 2 / 5 + 1e-6
    assert curves.std().item() == pytest.approx(0.02 / 12**0.5, rel=0.01)


def test_same_generator_same_weights_and_no_global_state_changed():
    before = torch.get_rng_state()
    layers = [
        SharedKANLinear(3, 2, 2, scale_noise=0.1, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(*(layer.parameters() for layer in layers), strict=True):
        assert torch.equal(a, b)


def test_state_has_the_documented_names_and_shapes():
    shapes = {k: tuple(v.shape) for k, v in SharedKANLinear(7, 4, 2).state_dict().items()}
    assert shapes == {
        "weight": (4, 7),
        "bias": (4,),
        "base_scale": (2, 7),
        "spline_weight": (2, 7, 8),
        "grid": (7, 12),
    }
    assert SharedKANLinear(7, 4, bias=False).bias is None
    assert repr(SharedKANLinear(7, 4, 2)).startswith(
        "SharedKANLinear(\n  in_features=7, out_features=4, grid_size=5, spline_order=3, groups=2"
    )


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (0, 6), (2, 0, 6)])
@pytest.mark.parametrize("groups", [1, 3, 70])
def test_leading_shapes_as_in_a_linear_layer(shape, groups):
    x = torch.randn(shape)
    layer = learned(6, 70, groups)
    assert layer(x).shape == nn.Linear(6, 70)(x).shape
    if x.numel():
        rows = torch.stack([layer(row) for row in x.reshape(-1, 6)])
        torch.testing.assert_close(layer(x).reshape(-1, 70), rows, rtol=1e-5, atol=1e-5)


def test_inputs_that_are_not_contiguous():
    layer, x = learned(6, 40, 2), torch.randn(6, 9)
    torch.testing.assert_close(layer(x.T), layer(x.T.contiguous()))
    wide = torch.randn(9, 12)
    torch.testing.assert_close(layer(wide[:, ::2]), layer(wide[:, ::2].contiguous()))


@pytest.mark.parametrize(("outputs", "groups", "order"), [(2, 1, 3), (20, 1, 2), (3, 3, 3)])
def test_gradients_in_float64(outputs, groups, order):
    layer = learned(3, outputs, groups, spline_order=order, dtype=torch.float64)
    x = (2 * torch.randn(7, 3, dtype=torch.float64)).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))
    assert torch.autograd.gradgradcheck(run, (x, *layer.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("groups", [1, 3, 40])
@pytest.mark.parametrize("even", [True, False])
def test_inputs_of_two_values_give_what_floats_give(dtype, groups, even):
    layer = learned(20, 40, groups, dtype=dtype)
    if not even:
        layer.update_grid(torch.rand(100, 20, dtype=dtype) * 2)
    x = torch.rand(9, 20) < 0.3
    found, expected = (_values_and_gradients(layer, inputs) for inputs in (x, x.to(dtype)))
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def _values_and_gradients(layer, x):
    layer.zero_grad()
    y = layer(x)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y))
    return [y.detach(), *(p.grad.clone() for p in layer.parameters())]


def test_outside_the_knots_only_the_base_is_left():
    layer = learned(1, 1)
    low, high = layer.grid[0, 0].item(), layer.grid[0, -1].item()
    x = torch.tensor([[low - 0.1], [high + 0.1], [-40.0], [1e30]])
    base = nn.functional.silu(x) * layer.base_scale * layer.weight + layer.bias
    torch.testing.assert_close(layer(x), base)


@pytest.mark.parametrize("groups", [1, 3, 40])
@pytest.mark.parametrize("size", [5, 10, 15])
def test_grid_extension_by_a_multiple_keeps_the_function(groups, size):
    layer = learned(4, 40, groups)
    x = torch.rand(200, 4) * 6 - 3
    before = layer(x)
    change = layer.extend_grid(np.int64(size), x)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=3e-5)
    assert change == pytest.approx(float((layer(x) - before).detach().abs().max()))
    assert layer.grid.shape == (4, size + 7)
    assert layer.spline_weight.shape == (groups, 4, size + 3)
    assert layer.grid_size == size
    assert layer.spline_weight.requires_grad


@pytest.mark.parametrize("groups", [1, 4])
def test_grid_update_follows_the_data_and_keeps_the_function(groups):
    layer = SharedKANLinear(4, 4, groups, grid_size=24)  # many intervals: a smooth curve fits well
    with torch.no_grad():
        waves = torch.sin(torch.linspace(-3, 3, 27) * torch.tensor([[0.5], [1.0], [1.5], [2.0]]))
        layer.spline_weight.copy_(waves.expand(groups, 4, 27))
    x = torch.randn(500, 4).clamp(-2.5, 2.5) * torch.tensor([1.0, 0.5, 0.8, 0.3])
    before = layer(x).detach()
    change = layer.update_grid(x)
    inner = layer.grid[:, 3:-3]
    margin = 0.02 * 0.01  # the share of even knots, and how much wider these reach
    torch.testing.assert_close(inner[:, 0], x.min(0).values - margin, rtol=0, atol=1e-5)
    torch.testing.assert_close(inner[:, -1], x.max(0).values + margin, rtol=0, atol=1e-5)
    assert change == pytest.approx(float((layer(x) - before).detach().abs().max()))
    assert change < 0.01 * float(before.std())
    with torch.no_grad():  # and the layer is the definition on the knots that it now has
        expected = written_out(layer.double(), x.double().numpy(), nn.SiLU)
    np.testing.assert_allclose(layer(x.double()).detach().numpy(), expected, rtol=0, atol=1e-9)


def test_margin_widens_the_range_by_its_share_of_even_knots():
    x = torch.randn(50, 3)
    layer = SharedKANLinear(3, 2)
    layer.update_grid(x, grid_eps=0.02, margin=0.5)
    inner = layer.grid[:, 3:-3]
    torch.testing.assert_close(inner[:, 0], x.min(0).values - 0.01)
    torch.testing.assert_close(inner[:, -1], x.max(0).values + 0.01)


def test_a_moved_grid_survives_saving_and_loading():
    layer, again = learned(4, 3, 3), SharedKANLinear(4, 3, 3)
    layer.update_grid(torch.randn(100, 4))
    again.load_state_dict(layer.state_dict())
    x = torch.randn(30, 4)
    assert torch.equal(again(x), layer(x))


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda m: m.update_grid(torch.randn(1, 4)), "N at least 2"),
        (lambda m: m.update_grid(torch.randn(9, 3)), r"shape \(9, 3\); give \(N, 4\)"),
        (lambda m: m.update_grid(torch.full((3, 4), torch.inf)), "not finite: leave such rows"),
        (
            lambda m: m.update_grid((2 * torch.rand(9, 4) - 1) * 3e38),
            "input 0 would coincide or over",
        ),
        (lambda m: m.update_grid(torch.full((9, 4), 1e9)), "too close.* Give a larger margin"),
        (lambda m: m.update_grid(torch.ones(9, 4), margin=0.0), "knots of input 0 would coincide"),
        (lambda m: m.update_grid(torch.randn(9, 4), grid_eps=1.5), "grid_eps is 1.5: .* 0 to 1"),
        (lambda m: m.update_grid(torch.randn(9, 4), margin=-1.0), "margin is -1.0: .* 0 or more"),
        (lambda m: m.extend_grid(3, torch.randn(9, 4)), "grid_size 3 is below the present 5"),
        (lambda m: m.extend_grid(10.0, torch.randn(9, 4)), "grid_size 10.0 .* no whole"),
        (lambda m: m.extend_grid(10, torch.randn(9, 5)), r"give \(N, 4\) inputs"),
        (lambda m: m.extend_grid(10, torch.full((9, 4), torch.nan)), "not finite"),
    ],
)
def test_a_grid_that_cannot_be_moved_stays(move, message):
    layer = learned(4, 3, 3)
    before, weight = copy.deepcopy(layer.state_dict()), layer.spline_weight
    with pytest.raises(ValueError, match=message):
        move(layer)
    assert layer.spline_weight is weight
    assert layer.grid_size == 5
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_grid_with_broken_weights_stays():
    layer = learned(4, 3)
    with torch.no_grad():
        layer.spline_weight[0, 0, 0] = torch.nan
    grid = layer.grid.clone()
    with pytest.raises(ValueError, match="spline_weight that are not finite"):
        layer.extend_grid(10, torch.randn(9, 4))
    assert torch.equal(layer.grid, grid)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features is 0: .* 1 or more"),
        ({"groups": 0}, "groups is 0: .* 1 or more"),
        ({"groups": 1.0}, "groups is 1.0: .* whole number"),
        ({"groups": 3}, "groups is 3, but out_features is 2: .*from 1 to 2"),
        ({"grid_size": 0}, "grid_size is 0"),
        ({"spline_order": -1}, "spline_order is -1"),
        ({"grid_range": (1.0, -1.0)}, "must begin below its end"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SharedKANLinear(**{"in_features": 3, "out_features": 2, **arguments})


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.complex64])
def test_inputs_of_other_kinds_are_refused(dtype):
    layer = SharedKANLinear(3, 2)
    for call in (layer, layer.functions):
        with pytest.raises(ValueError, match=f"dtype {dtype}: give floats"):
            call(torch.ones(4, 3, dtype=dtype))
    with pytest.raises(ValueError, match="last dimension must be in_features = 3"):
        layer(torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"layout torch.sparse_coo: give a dense"):
        layer(torch.eye(3).to_sparse())


# As a drop-in for nn.Linear. The layers have one function an input, some, many, and one per edge.

EVERY = pytest.mark.parametrize("groups", [1, 2, 13, 40])
TORCH_SCRIPT = pytest.mark.filterwarnings(  # torch's own forward mode is written in it
    "ignore:.torch.jit.* is (deprecated|not supported):FutureWarning"
)


def _through_pickle(layer):
    return pickle.loads(pickle.dumps(layer))


def _through_torch_save(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@EVERY
@pytest.mark.parametrize("through", [copy.deepcopy, _through_pickle, _through_torch_save])
def test_copies_compute_the_same(groups, through):
    layer, x = learned(6, 40, groups), torch.randn(5, 6)
    layer.extend_grid(10, x)
    expected = layer(x)
    again = through(layer)
    assert torch.equal(again(x), expected)
    again.extend_grid(20, x)  # and are layers of their own
    assert torch.equal(layer(x), expected)


def _apply_layer(layer, x):
    return layer(x).detach()


def test_a_process_of_its_own_computes_the_same():
    layer, x = learned(6, 40, 2), torch.randn(5, 6)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        torch.testing.assert_close(pool.submit(_apply_layer, layer, x).result(60), layer(x))


@EVERY
def test_autocast_gives_narrow_outputs_and_wide_gradients(groups):
    layer, x = learned(6, 40, groups), torch.randn(20, 6, requires_grad=True)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
    assert found.dtype == nn.Linear(6, 40).to(torch.bfloat16)(x.bfloat16()).dtype
    # 8 bits of mantissa in each factor of sums of six products
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.1)
    found.float().square().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in (x, *layer.parameters()))


@EVERY
def test_bfloat16_keeps_the_grid_and_the_result(groups):
    layer, x = learned(6, 40, groups), torch.randn(20, 6)
    narrow = copy.deepcopy(layer).to(torch.bfloat16)
    assert torch.equal(narrow.grid, layer.grid)
    found = narrow(x.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(x), rtol=0.05, atol=0.1)


@EVERY
@TORCH_SCRIPT
def test_functions_of_tensors_agree_with_autograd(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4)
    torch.testing.assert_close(torch.func.vmap(layer)(x), layer(x), rtol=1e-5, atol=1e-5)
    jacobian = torch.autograd.functional.jacobian(layer, x[0])
    torch.testing.assert_close(torch.func.jacrev(layer)(x[0]), jacobian)
    torch.testing.assert_close(torch.func.jacfwd(layer)(x[0]), jacobian)
    tangent = torch.randn(4)
    torch.testing.assert_close(
        torch.func.jvp(layer, (x[0],), (tangent,))[1], jacobian @ tangent, rtol=1e-5, atol=1e-5
    )
    hessian = torch.autograd.functional.hessian(lambda x: layer(x).sin().sum(), x[0])
    assert hessian.abs().max() > 0.01
    torch.testing.assert_close(
        torch.func.hessian(lambda x: layer(x).sin().sum())(x[0]), hessian, rtol=1e-4, atol=1e-4
    )


@EVERY
@TORCH_SCRIPT
def test_jacobians_in_one_batch_and_forward_mode_agree_with_one_by_one(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4)
    jacobian = torch.autograd.functional.jacobian
    expected = jacobian(layer, x)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(jacobian(layer, x, vectorize=True), expected, rtol=1e-5, atol=1e-5)
    forward = jacobian(layer, x, vectorize=True, strategy="forward-mode")
    torch.testing.assert_close(forward, expected, rtol=1e-5, atol=1e-5)
    tangent = torch.randn(5, 4)
    with torch.autograd.forward_ad.dual_level():
        y = layer(torch.autograd.forward_ad.make_dual(x, tangent))
        found = torch.autograd.forward_ad.unpack_dual(y).tangent
    product = torch.einsum("boci,ci->bo", expected, tangent)
    torch.testing.assert_close(found, product, rtol=1e-5, atol=1e-5)


@EVERY
def test_batched_gradients_of_the_parameters(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4)
    y, parameters = layer(x), list(layer.parameters())
    upstream = torch.randn(3, *y.shape)
    one_by_one = [torch.autograd.grad(y, parameters, u, retain_graph=True) for u in upstream]
    batched = torch.autograd.grad(y, parameters, upstream, is_grads_batched=True)
    for found, expected in zip(batched, zip(*one_by_one, strict=True), strict=True):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-5, atol=1e-4)


@EVERY
def test_gradients_that_can_be_differentiated_are_the_gradients(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4, requires_grad=True)
    loss, inputs = layer(x).square().sum(), [x, *layer.parameters()]
    expected = torch.autograd.grad(loss, inputs, retain_graph=True)
    for found, wanted in zip(
        torch.autograd.grad(loss, inputs, create_graph=True), expected, strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


@EVERY
def test_gradients_of_gradients(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4)
    wide = copy.deepcopy(layer).double()

    def penalty(layer, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), list(layer.parameters()))

    for found, expected in zip(penalty(layer, x), penalty(wide, x.double()), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-2)


@EVERY
def test_frozen_parameters_and_inputs(groups):
    layer, x = learned(4, 40, groups), torch.randn(5, 4, requires_grad=True)
    expected = torch.autograd.grad(layer(x).sum(), (x, *layer.parameters()))
    for name, grad in zip(("weight", "bias", "base_scale"), expected[1:], strict=False):
        frozen = copy.deepcopy(layer).requires_grad_(False)
        getattr(frozen, name).requires_grad_()
        frozen(x.detach()).sum().backward()
        torch.testing.assert_close(getattr(frozen, name).grad, grad, rtol=1e-5, atol=1e-5)
        assert sum(p.grad is not None for p in frozen.parameters()) == 1
    frozen = copy.deepcopy(layer).requires_grad_(False)
    torch.testing.assert_close(
        torch.autograd.grad(frozen(x).sum(), x)[0], expected[0], rtol=1e-5, atol=1e-5
    )


@EVERY
def test_the_meta_device_and_a_skipped_initialisation(groups):
    layer = SharedKANLinear(6, 40, groups, scale_noise=0.1, device="meta")
    assert layer(torch.empty(5, 6, device="meta")).shape == (5, 40)
    with torch.device("meta"):
        assert SharedKANLinear(6, 40, groups, scale_noise=0.1).weight.is_meta
    with pytest.raises(ValueError, match=r"meta device.*to_empty"):
        layer.update_grid(torch.empty(5, 6, device="meta"))
    full = learned(6, 40, groups)
    x = torch.randn(5, 6)
    for empty in (layer.to_empty(device="cpu"), nn.utils.skip_init(SharedKANLinear, 6, 40, groups)):
        assert torch.equal(empty.grid, full.grid)  # knots are no matter of initialisation
        empty.load_state_dict(full.state_dict())
        assert torch.equal(empty(x), full(x))
    layer = SharedKANLinear(6, 40, groups, device="meta")
    layer.load_state_dict(full.state_dict(), assign=True)
    assert torch.equal(layer(x), full(x))


@EVERY
def test_compiled_layer_gives_the_same_values_and_gradients(groups):
    layer, x = learned(6, 40, groups), torch.randn(9, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for inputs in (x, x > 0):
        found, expected = (_values_and_gradients(m, inputs) for m in (compiled, layer))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of opcheck's own
@pytest.mark.parametrize("base", [nn.SiLU, nn.ReLU, nn.Identity])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(9, 6), (2, 3, 6), (0, 6)])
def test_a_compiler_sees_one_operator_that_keeps_what_it_promises(base, bias, shape):
    layer = learned(6, 40, 2, base_activation=base, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    tensors = (x, layer.weight, layer.bias, layer.base_scale, layer.spline_weight, layer.grid)
    operator = torch.ops.kanvae.shared_linear.default
    torch.library.opcheck(operator, (*tensors, 3, base.__name__, 2))
    program = torch.export.export(layer, (x.detach(),))
    assert operator in [node.target for node in program.graph.nodes]
    torch.testing.assert_close(program.module()(x.detach()), layer(x.detach()))


@EVERY
def test_exported_layer_gives_the_same_at_another_batch_size(groups):
    layer = learned(6, 40, groups)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(layer, (torch.randn(9, 6),), dynamic_shapes=({0: batch},))
    x = torch.randn(17, 6)
    torch.testing.assert_close(exported.module()(x), layer(x), rtol=1e-5, atol=1e-5)


@EVERY
@TORCH_SCRIPT
def test_traced_layer_is_saved_loaded_and_gives_the_same(groups):
    layer, file = learned(6, 40, groups), io.BytesIO()
    torch.jit.save(torch.jit.trace(layer, torch.randn(9, 6)), file)
    file.seek(0)
    x = torch.randn(17, 6)
    torch.testing.assert_close(torch.jit.load(file)(x), layer(x), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@EVERY
def test_gpu_gives_the_same(groups):
    layer, x = learned(6, 40, groups), torch.randn(9, 6)
    found = copy.deepcopy(layer).cuda()(x.cuda()).cpu()
    torch.testing.assert_close(found, layer(x), rtol=1e-4, atol=1e-4)
