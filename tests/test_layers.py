import copy
import math

import numpy as np
import pytest
import torch
from originals import SPLINES, recorded
from reference import ReferenceKAN
from scipy.interpolate import BSpline
from torch import nn

from kanvae import KANLinear, SharedKANLinear, splines


def same_weights(grid_size=5, spline_order=3, grid_range=(-1.0, 1.0)):
    reference = ReferenceKAN(6, 4, grid_size, spline_order, grid_range)
    layer = KANLinear(6, 4, grid_size, spline_order, grid_range)
    layer.load_state_dict(reference.state_dict())
    return reference, layer


@pytest.mark.parametrize(
    ("grid_size", "spline_order", "grid_range"),
    [(5, 3, (-1.0, 1.0)), (10, 3, (-2.0, 2.0)), (3, 2, (-1.0, 3.0)), (7, 1, (0.0, 1.0))],
)
def test_loaded_weights_give_the_same_outputs_and_gradients(grid_size, spline_order, grid_range):
    reference, layer = same_weights(grid_size, spline_order, grid_range)
    x = (2 * torch.randn(50, 6)).requires_grad_()
    x_again = x.detach().clone().requires_grad_()
    upstream = torch.randn(50, 4)
    expected, found = reference(x), layer(x_again)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    expected.backward(upstream)
    found.backward(upstream)
    torch.testing.assert_close(x_again.grad, x.grad, rtol=1e-4, atol=1e-4)
    for (name, p), q in zip(reference.named_parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-5, atol=1e-4, msg=name)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("name", SPLINES)
def test_efficient_kans_own_numbers(name, dtype, near):
    own = recorded(f"splines-{name}", dtype)
    layer = KANLinear(5, 4, **SPLINES[name], dtype=dtype)
    state = {key: value for key, value in own.items() if key.startswith("state.")}
    layer.load_state_dict({key.removeprefix("state."): value for key, value in state.items()})
    x = own["x"].requires_grad_()
    y = layer(x)
    (y**2).sum().backward()
    gradients = {"x": x.grad} | {key: value.grad for key, value in layer.named_parameters()}
    assert {f"gradient.{key}" for key in gradients} == {k for k in own if k.startswith("gradient")}
    for key, value in gradients.items():
        largest = float(own[f"gradient.{key}"].abs().max())
        torch.testing.assert_close(
            value, own[f"gradient.{key}"], rtol=0, atol=near * largest, msg=key
        )
    torch.testing.assert_close(y, own["y"], rtol=0, atol=near)
    torch.testing.assert_close(layer.regularization_loss(0.7, 0.3), own["regularization"])
    layer.update_grid(x.detach(), margin=0.5)
    torch.testing.assert_close(layer.grid, own["updated"], rtol=0, atol=max(near, 1e-6))


def test_state_has_the_public_layers_names_and_shapes():
    shapes = {name: tuple(value.shape) for name, value in KANLinear(7, 4).state_dict().items()}
    assert shapes == {
        "grid": (7, 12),
        "base_weight": (4, 7),
        "spline_weight": (4, 7, 8),
        "spline_scaler": (4, 7),
    }
    assert sum(p.numel() for p in KANLinear(7, 4).parameters()) == 10 * 7 * 4


def test_output_is_the_sum_of_scipys_splines_and_the_base():
    layer = KANLinear(2, 3).double()
    x = torch.linspace(-0.99, 0.99, 21, dtype=torch.float64)[:, None].repeat(1, 2)
    knots = layer.grid[0].numpy()
    silu = (x / (1 + (-x).exp())).numpy()
    weight = (layer.spline_weight * layer.spline_scaler[..., None]).detach().numpy()
    expected = silu @ layer.base_weight.detach().numpy().T
    for i in range(2):
        expected += BSpline(knots, weight[:, i].T, 3)(x[:, i].numpy())
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-6)


def test_initial_weights_follow_the_public_rules():
    layer = KANLinear(400, 300)
    bound = (6 / (1 + 5) / 400) ** 0.5  # Kaiming-uniform with a = sqrt(5)
    for weight in (layer.base_weight, layer.spline_scaler):
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    # at the six points of the grid, the spline passes through noise of +-0.1 / 2 / 5
    knots = layer.grid[0, 3:9]
    curve = layer.bases(knots[:, None].repeat(1, 400))[:, 0] @ layer.spline_weight[:, 0].T
    assert curve.abs().max() <= 0.01 + 1e-6
    assert curve.std().item() == pytest.approx(0.02 / 12**0.5, rel=0.05)


@pytest.mark.parametrize("grid_size", [5, 600])  # by a pseudo-inverse, by a factorisation
def test_initial_splines_go_through_the_noise_on_the_knots(grid_size):
    layer, generator = KANLinear(4, 3, grid_size), torch.Generator().manual_seed(1)
    found = layer.noise(3, 0.5, generator)
    noise = torch.rand(grid_size + 1, 4, 3, generator=generator.manual_seed(1)) - 0.5
    knots = layer.grid[0].double()
    bases = splines.cox_de_boor(knots[3:-3], knots, 3).float()  # (G + 1, G + k)
    values = torch.einsum("gn,oin->gio", bases, found)
    torch.testing.assert_close(values, noise / (2 * grid_size), rtol=0, atol=1e-5 / grid_size)


def test_same_generator_same_weights_and_no_global_state_changed():
    before = torch.get_rng_state()
    layers = [KANLinear(3, 2, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(*(layer.parameters() for layer in layers), strict=True):
        assert torch.equal(a, b)


def test_device_and_dtype_are_taken_as_in_a_linear_layer():
    for dtype, wide in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        layer = KANLinear(6, 4, device="cpu", dtype=dtype)
        assert {p.dtype for p in layer.parameters()} == {dtype}
        assert layer.grid.dtype == wide
        assert layer(torch.randn(3, 6, dtype=dtype)).dtype == dtype
    exact = torch.arange(-3, 9, dtype=torch.float64) * 0.4 - 1
    assert torch.equal(KANLinear(1, 1, dtype=torch.float64).grid[0], exact)


@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6), (0, 6), (2, 0, 6)])
def test_leading_shapes_as_in_a_linear_layer(shape):
    x = torch.randn(shape)
    layer = KANLinear(6, 4)
    assert layer(x).shape == nn.Linear(6, 4)(x).shape
    if x.numel():
        rows = torch.stack([layer(row) for row in x.reshape(-1, 6)])
        torch.testing.assert_close(layer(x).reshape(-1, 4), rows)


def test_gradients_in_float64():
    layer = KANLinear(3, 2).double()
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    inputs = (x, *layer.parameters())

    def run(x, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(run, inputs)


def test_bfloat16_keeps_the_grid_and_the_result():
    layer = KANLinear(6, 4)
    x = torch.randn(20, 6)
    expected = layer(x)
    narrow = copy.deepcopy(layer).to(torch.bfloat16)
    assert narrow.grid.dtype == torch.float32
    assert torch.equal(narrow.grid, layer.grid)
    found = narrow(x.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    # 8 bits of mantissa: a relative error of 2^-8 in each of the factors
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.02)


def test_outside_the_knots_only_the_base_is_left():
    layer = KANLinear(1, 1)
    x = torch.tensor([[-5.0], [2.3], [40.0]])
    base = nn.functional.silu(x) * layer.base_weight
    torch.testing.assert_close(layer(x), base)


@pytest.mark.parametrize("grid_size", [5, 10, 15])
def test_grid_extension_by_a_multiple_keeps_the_function(grid_size):
    layer = KANLinear(4, 3, scale_noise=5.0)
    x = torch.rand(200, 4) * 2 - 1
    before = layer(x)
    change = layer.extend_grid(grid_size, x)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=1e-5)
    assert change == pytest.approx(float((layer(x) - before).detach().abs().max()))
    assert layer.grid.shape == (4, grid_size + 7)
    assert layer.spline_weight.shape == (3, 4, grid_size + 3)


def test_grid_update_follows_the_data_and_keeps_the_function():
    layer = KANLinear(4, 3, grid_size=12)
    points = torch.linspace(-1, 1, 50)
    waves = torch.sin(points[:, None] * torch.tensor([1.0, 2.0, 3.0]))  # (50, 3)
    smooth = splines.fit(points, waves, layer.grid[0], 3).T  # (3, 15)
    with torch.no_grad():
        layer.spline_weight.copy_(smooth[:, None].expand(-1, 4, -1))
    x = torch.randn(500, 4).clamp(-0.9, 0.9) * torch.tensor([1.0, 0.5, 0.8, 0.3])
    before = layer(x)
    change = layer.update_grid(x)
    inner = layer.grid[:, 3:-3]
    # beyond the values by grid_eps * margin = 0.02 * 0.01, as in efficient-kan
    torch.testing.assert_close(inner[:, 0], x.min(0).values - 2e-4, rtol=0, atol=1e-6)
    torch.testing.assert_close(inner[:, -1], x.max(0).values + 2e-4, rtol=0, atol=1e-6)
    assert change == pytest.approx(float((layer(x) - before).detach().abs().max()))
    assert change < 0.01 * float(before.detach().std())


def test_the_knots_of_an_update_blend_even_spacing_and_quantiles():
    x = torch.tensor([[0.0], [1.0], [1.5], [3.0], [10.0], [11.0]])
    layer = KANLinear(1, 1, grid_size=5, spline_order=1, grid_eps=0.1)
    layer.update_grid(x, 0.5)  # the margin stands second, as in efficient-kan
    even, quantiles = np.linspace(-0.5, 11.5, 6), x.numpy()[:, 0]
    inner = 0.1 * even + 0.9 * quantiles
    expected = [inner[0] - 2.4, *inner, inner[-1] + 2.4]
    np.testing.assert_allclose(layer.grid[0].numpy(), expected, rtol=1e-6)
    layer.update_grid(x, margin=0.5, grid_eps=1.0)
    np.testing.assert_allclose(layer.grid[0, 1:-1].numpy(), even, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.full((32, 2), 1e6), {}, "knots of input 0 would coincide.*larger margin"),
        (torch.zeros(32, 2), {"margin": 0}, "would coincide"),
        (torch.randn(32, 2).sign() * 3e38, {}, "too far apart"),
        (torch.randn(32, 2).sign(), {"grid_eps": 0}, "would coincide"),
        (torch.randn(32, 2), {"margin": float("nan")}, "margin is nan: give a finite number"),
        (torch.randn(32, 2), {"margin": -1}, "margin is -1"),
        (torch.randn(32, 2), {"margin": float("inf")}, "margin is inf"),
        (torch.randn(32, 2), {"grid_eps": 1.5}, "grid_eps is 1.5: give a finite number, 0 to 1"),
        (torch.full((3, 2), torch.inf), {}, "not finite"),
        (torch.randn(1, 2), {}, "N at least 2"),
    ],
)
def test_a_grid_update_that_cannot_be_changes_nothing_and_says_why(x, options, message):
    layer = KANLinear(2, 3)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(ValueError, match=message):
        layer.update_grid(x, **options)
    for a, b in zip(before.values(), layer.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert layer(torch.zeros(1, 2)).isfinite().all()


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (torch.full((32, 2), 1e6), {"margin": 1e5}),
        (torch.full((32, 2), 1e6, dtype=torch.float64), {}),
        (torch.zeros(32, 2), {}),
        (1e6 + torch.arange(32.0)[:, None].repeat(1, 2), {}),
        (torch.randn(32, 2) * 1e30, {}),
        (torch.randn(32, 2) > 0, {}),
    ],
)
def test_hard_grid_updates_that_can_be_succeed(x, options):
    layer = KANLinear(2, 3, dtype=x.dtype if x.is_floating_point() else None)
    assert math.isfinite(layer.update_grid(x, **options))
    assert (layer.grid.diff() > 0).all()
    assert layer(x).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid_range": ("a", "b")}, "give two numbers"),
        ({"grid_range": (-1.0, None)}, "give two numbers"),
        ({"grid_range": 0.1}, "give a pair"),
        ({"grid_range": (0.0, 1.0, 2.0)}, "give a pair"),
        ({"grid_range": {-1.0, 1.0}}, "give a pair"),
        ({"base_activation": torch.sin}, "which makes no module .*: give what makes one"),
        ({"base_activation": lambda: torch.sin}, "which makes no module"),
        ({"dtype": torch.int32}, "dtype is torch.int32: splines take real floats"),
        ({"dtype": torch.complex64}, "dtype is torch.complex64: splines take real floats"),
    ],
)
def test_what_makes_no_layer_is_refused_in_words(options, message):
    for make in (KANLinear, SharedKANLinear):
        with pytest.raises(ValueError, match=message):
            make(2, 3, **options)


def test_a_range_may_be_an_array():
    layer = KANLinear(2, 3, grid_range=np.array([-2.0, 2.0]))
    assert layer.grid_range == (-2.0, 2.0)


@pytest.mark.parametrize("grid_range", [(1.0, 1.0 + 1e-9), (-1.0 - 1e-9, -1.0), (-1e39, 1e39)])
def test_a_grid_whose_knots_would_coincide_or_overflow_is_refused(grid_range):
    with pytest.raises(ValueError, match=r"grid_range is .* would coincide or overflow in torch"):
        KANLinear(2, 3, grid_range=grid_range)
    assert KANLinear(2, 3, grid_range=grid_range, dtype=torch.float64).grid.diff().min() > 0


def test_an_extension_that_cannot_be_changes_nothing():
    layer = KANLinear(2, 3, grid_range=(1e6, 1e6 + 1))
    before = copy.deepcopy(layer.state_dict())
    for size, message in ((100, "would coincide"), (7.5, "no whole number"), (3, "below")):
        with pytest.raises(ValueError, match=message):
            layer.extend_grid(size, torch.randn(3, 2))
    for a, b in zip(before.values(), layer.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert layer.grid_size == 5


def test_a_larger_scale_base_narrows_the_base_weights_as_in_efficient_kan():
    for scale in (1.0, 3.0):
        bound = (6 / (1 + 5 * scale**2) / 400) ** 0.5  # Kaiming-uniform, a = sqrt(5) scale
        largest = KANLinear(400, 300, scale_base=scale).base_weight.abs().max().item()
        assert largest == pytest.approx(bound, rel=1e-3)


def test_a_grid_that_is_not_even_survives_saving_and_loading():
    layer = KANLinear(4, 3)
    layer.update_grid(torch.randn(100, 4))
    again = KANLinear(4, 3)
    again.load_state_dict(layer.state_dict())
    x = torch.randn(30, 4)
    assert torch.equal(again(x), layer(x))


def test_compiled_layer_gives_the_same():
    layer = KANLinear(6, 4)
    x = torch.randn(9, 6)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_exported_layer_gives_the_same_at_another_batch_size():
    layer = KANLinear(6, 4)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(layer, (torch.randn(9, 6),), dynamic_shapes=({0: batch},))
    x = torch.randn(17, 6)
    torch.testing.assert_close(exported.module()(x), layer(x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_gives_the_same():
    layer = KANLinear(6, 4)
    x = torch.randn(9, 6)
    torch.testing.assert_close(
        copy.deepcopy(layer).cuda()(x.cuda()).cpu(), layer(x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_features": 0}, "in_features is 0: .* 1 or more"),
        ({"out_features": -3}, "out_features is -3"),
        ({"grid_size": 0}, "grid_size is 0"),
        ({"grid_size": 2.5}, "grid_size is 2.5"),
        ({"spline_order": -1}, "spline_order is -1"),
        ({"grid_range": (1.0, -1.0)}, r"grid_range is \(1.0, -1.0\): it must begin below its end"),
        ({"grid_range": (0.0, 0.0)}, "must begin below its end"),
        ({"grid_range": 0.1}, "grid_range is 0.1: give a pair.* scale_noise"),
        ({"scale_noise": "0.1"}, "scale_noise is '0.1': give a finite number"),
        ({"grid_eps": -0.1}, "grid_eps is -0.1"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        KANLinear(**{"in_features": 3, "out_features": 2, **arguments})


def test_wrong_inputs_are_refused():
    layer = KANLinear(6, 4)
    with pytest.raises(ValueError, match="last dimension must be in_features = 6"):
        layer(torch.randn(3, 5))
    with pytest.raises(ValueError, match="grid_size 3 is below the present 5"):
        layer.extend_grid(3, torch.randn(3, 6))
    with pytest.raises(ValueError, match="N at least 2"):
        layer.update_grid(torch.randn(1, 6))
    with pytest.raises(ValueError, match="not finite"):
        layer.update_grid(torch.full((3, 6), torch.nan))


@pytest.mark.parametrize("options", [{}, {"enable_standalone_scale_spline": False}])
def test_edges_add_up_to_the_output_and_have_their_importance(options):
    layer = KANLinear(5, 4, **options).double()
    x = 2 * torch.randn(300, 5, dtype=torch.float64)
    base, spline = layer.edges(x)
    assert base.shape == spline.shape == (300, 4, 5)
    torch.testing.assert_close((base + spline).sum(-1), layer(x))
    torch.testing.assert_close(layer.importance(x), (base + spline).std(0))
    one = layer.edges(x[0])
    torch.testing.assert_close(sum(one), (base + spline)[0])
    bits = x > 0
    torch.testing.assert_close(sum(layer.edges(bits)).sum(-1), layer(bits))
    with pytest.raises(ValueError, match=r"the shape \(1, 5\): give two rows"):
        layer.importance(x[:1])


def test_a_pruned_edge_is_zero_and_the_others_are_as_they_were():
    layer = KANLinear(5, 4)
    x = 2 * torch.randn(50, 5)
    before = sum(layer.edges(x))
    keep = torch.rand(4, 5) < 0.5
    layer.prune(keep)
    torch.testing.assert_close(sum(layer.edges(x)), before * keep)
    torch.testing.assert_close(layer(x), (before * keep).sum(-1))
    for bad in (keep.float(), keep[:2]):
        with pytest.raises(ValueError, match="it must be bool and"):
            layer.prune(bad)
