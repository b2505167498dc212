"""`KANLinear` in the places where people put an `nn.Linear`."""

import concurrent.futures
import copy
import io
import itertools
import multiprocessing
import pickle
import subprocess
import sys

import distributed
import joblib
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.optim.swa_utils import AveragedModel

from kanvae import KANLinear, SharedKANLinear

# torch.func and torch.fx use torch's own deprecated functions
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")

GRID = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))  # what grids move to


@pytest.fixture
def layer():
    return KANLinear(4, 3, scale_noise=3.0)


@pytest.fixture
def x():
    return torch.randn(5, 4)


def exact(layer):
    """The same layer in float64, which takes torch's operations alone."""
    return copy.deepcopy(layer).double()


def moved(layer):
    other = copy.deepcopy(layer)
    other.update_grid(GRID)
    return other


def close(found, expected, tolerance=1e-4):
    torch.testing.assert_close(found.double(), expected.double(), rtol=tolerance, atol=tolerance)


def averaged(layer):
    model = AveragedModel(copy.deepcopy(layer), use_buffers=True)
    layer.update_grid(GRID)
    model.update_parameters(layer)
    return model


def copied_by_data(layer):
    target, source = copy.deepcopy(layer), moved(layer)
    target(GRID)
    for a, b in zip(target.state_dict().values(), source.state_dict().values(), strict=True):
        a.data.copy_(b)
    return target


def assigned(layer):
    target = KANLinear(4, 3)
    target.load_state_dict(moved(layer).state_dict(), assign=True)
    return target


def through_numpy(layer):
    target = copy.deepcopy(layer)
    target(GRID)
    target.grid.numpy()[:] = moved(layer).grid.numpy()
    target.spline_weight.data = moved(layer).spline_weight.data
    return target


def functional(layer):
    return lambda x: functional_call(layer, moved(layer).state_dict(), (x,))


def swapped(layer):
    target, source = copy.deepcopy(layer), moved(layer)
    for name in ("grid", "spline_weight"):
        torch.utils.swap_tensors(getattr(target, name), getattr(source, name))
    return target


@pytest.mark.parametrize(
    "bring", [copied_by_data, assigned, through_numpy, functional, swapped, averaged]
)
def test_the_output_depends_on_tensors_alone(layer, x, bring):
    expected = moved(layer)
    close(bring(layer)(x), exact(expected)(x.double()), 1e-5)


def test_layers_stacked_with_different_grids_keep_their_own(layer, x):
    layers = [layer, moved(layer), KANLinear(4, 3, grid_range=(-3.0, 3.0))]
    found = vmap(
        lambda parameters, buffers: functional_call(layer, (parameters, buffers), (x,)),
    )(*stack_module_state(layers))
    close(found, torch.stack([exact(one)(x.double()) for one in layers]))


def test_a_grid_put_in_for_one_call_counts_in_its_backward_pass_too(layer, x):
    wide = torch.linspace(-6, 6, 12).repeat(4, 1)
    point, again = x.clone().requires_grad_(), x.double().requires_grad_()
    found = functional_call(layer, {"grid": wide}, (point,))
    (slope,) = torch.autograd.grad(found.sum(), point, create_graph=True)
    expected = functional_call(exact(layer), {"grid": wide.double()}, (again,))
    (right,) = torch.autograd.grad(expected.sum(), again, create_graph=True)
    close(slope, right)
    close(*(torch.autograd.grad(s.sum(), p)[0] for s, p in ((slope, point), (right, again))), 1e-3)


def test_knots_can_have_gradients(layer, x):
    grid, again = layer.grid.clone().requires_grad_(), layer.grid.double().requires_grad_()
    (found,) = torch.autograd.grad(functional_call(layer, {"grid": grid}, (x,)).sum(), grid)
    expected = functional_call(exact(layer), {"grid": again}, (x.double(),)).sum()
    close(found, torch.autograd.grad(expected, again)[0], 1e-3)


def test_a_state_with_another_grid_size_is_refused_in_words(layer):
    layer.extend_grid(10, GRID)
    with pytest.raises(RuntimeError, match=r"10 intervals there and 5 here.* grid_size=10"):
        KANLinear(4, 3).load_state_dict(layer.state_dict())
    again = KANLinear(4, 3, grid_size=layer.grid_size)
    again.load_state_dict(layer.state_dict())


def through_torch(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("carry", [lambda m: pickle.loads(pickle.dumps(m)), through_torch])
def test_a_whole_layer_is_saved(layer, x, carry):
    for one in (layer, moved(layer)):
        assert torch.equal(carry(one)(x), one(x))


def call(layer, x):
    return layer(x).detach()


def by_spawn(layer, x):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(call, layer, x).result(timeout=120)


def by_joblib(layer, x):
    return joblib.Parallel(2, backend="loky")([joblib.delayed(call)(layer, x)] * 2)[0]


def by_dask(layer, x):
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as here,
        distributed.Client(here) as client,
    ):
        return client.submit(call, layer, x).result(timeout=120)


@pytest.mark.parametrize("way", [by_spawn, by_joblib, by_dask])
def test_layers_travel_to_workers(way, layer, x):
    few, many = SharedKANLinear(3, 40, scale_noise=3.0), SharedKANLinear(40, 5, 2, scale_noise=3.0)
    both = nn.Sequential(layer, few, many)
    close(way(both, x), both(x), 1e-6)


@pytest.mark.parametrize("derive", [jacrev, jacfwd])
def test_jacobians_of_torch_func(layer, x, derive):
    for one in (layer, moved(layer)):
        close(vmap(derive(one))(x), vmap(jacrev(exact(one)))(x.double()))


def test_hessians(layer, x):
    reference = exact(layer)
    expected = hessian(lambda x: reference(x).sum())(x[0].double())
    close(hessian(lambda x: layer(x).sum())(x[0]), expected, 1e-3)
    double = torch.autograd.functional.hessian(lambda x: layer(x).sum(), x[0], vectorize=True)
    close(double, expected, 1e-3)


@pytest.mark.parametrize("options", [{}, {"vectorize": True}])
@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_jacobians_of_torch_autograd(layer, x, options, strategy):
    if strategy == "forward-mode":
        options = {"strategy": strategy, "vectorize": True}
    jacobian = torch.autograd.functional.jacobian
    close(jacobian(layer, x, **options), jacobian(exact(layer), x.double()))


def test_batched_gradients(layer, x):
    found = []
    for one, point in ((layer, x.clone()), (exact(layer), x.double())):
        y, directions = one(point.requires_grad_()), torch.eye(15, dtype=point.dtype)
        inputs = [point, *one.parameters()]
        directions = directions.reshape(15, 5, 3)
        found.append(torch.autograd.grad(y, inputs, directions, is_grads_batched=True))
    for a, b in zip(*found, strict=True):
        close(a, b)


def test_tangents_of_forward_mode_are_right_and_not_zero(layer, x):
    direction = torch.randn(5, 4)
    expected = jvp(exact(layer), (x.double(),), (direction.double(),))[1]
    by_reverse = torch.autograd.functional.jvp(exact(layer), x.double(), direction.double())[1]
    close(expected, by_reverse, 1e-9)
    close(jvp(layer, (x,), (direction,))[1], expected)
    compiled = torch.compile(
        lambda x, v: jvp(layer, (x,), (v,))[1], fullgraph=True, backend="aot_eager"
    )
    close(compiled(x, direction), expected)
    with forward_ad.dual_level():
        close(forward_ad.unpack_dual(layer(forward_ad.make_dual(x, direction))).tangent, expected)


def test_tangents_of_an_upstream_gradient_reach_the_gradients(layer, x):
    upstream, direction = torch.randn(5, 3), torch.randn(5, 3)
    weights = [*layer.parameters()]
    y = layer(x > 0)  # of floats, torch refuses: it knows no such derivative of SiLU's
    expected = torch.autograd.grad(
        y, weights, direction, retain_graph=True
    )  # which is linear in it
    with forward_ad.dual_level():
        found = torch.autograd.grad(y, weights, forward_ad.make_dual(upstream, direction))
        tangents = [forward_ad.unpack_dual(gradient).tangent for gradient in found]
    for a, b in zip(tangents, expected, strict=True):
        close(a, b)


def test_weights_that_something_parametrises(layer, x):
    """What is set in the place of weights is what the layer computes with."""
    expected = exact(layer)
    with torch.no_grad():
        expected.spline_weight.mul_(2)
    nn.utils.parametrize.register_parametrization(layer, "spline_weight", Twice())
    close(layer(x), expected(x.double()))
    close(layer(x > 0), expected((x > 0).double()))


def test_a_number_alone_is_refused_in_words(layer):
    for x in (torch.tensor(1.0), torch.tensor(True)):
        with pytest.raises(ValueError, match=r"the input has shape \(\); its last dimension"):
            layer(x)


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_autocast_gives_what_a_linear_layer_gives(layer, x):
    for inputs in (x, x > 0):
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(inputs)
            assert y.dtype == nn.Linear(4, 3)(x).dtype == torch.bfloat16
        close(y, exact(layer)(inputs if inputs.dtype == torch.bool else x.double()), 0.05)
    y.float().sum().backward()
    assert layer.base_weight.grad.dtype == torch.float32


def test_the_meta_device_and_layers_without_values(layer, x):
    assert KANLinear(4, 3, device="meta")(x.to("meta")).shape == (5, 3)
    empty = nn.utils.skip_init(KANLinear, 4, 3)
    assert torch.equal(empty.grid, layer.grid)
    empty.load_state_dict(layer.state_dict())
    assert torch.equal(empty(x), layer(x))
    for before in (KANLinear(4, 3, device="meta"), moved(KANLinear(4, 3))):
        after = before.to_empty(device="cpu")
        after.grid.fill_(torch.nan)
        torch.manual_seed(7)
        after.reset_parameters()
        torch.manual_seed(7)
        for a, b in zip(after.state_dict().values(), KANLinear(4, 3).state_dict().values(),
                        strict=True):  # fmt: skip
            assert torch.equal(a, b)


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        assert KANLinear(4, 3)(torch.randn(5, 4)).shape == (5, 3)


@pytest.mark.parametrize("grid", ["even", "moved"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
def test_compiled_layers_give_the_same_values_and_gradients(layer, x, grid, kind):
    layer = layer if grid == "even" else moved(layer)
    inputs, found = x if kind == torch.float32 else x > 0, []
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for run, dtype in ((compiled, torch.float32), (exact(layer), torch.float64)):
        point = inputs.to(dtype).requires_grad_() if kind == torch.float32 else inputs
        y = run(point)
        wanted = [*run.parameters(), *([point] if kind == torch.float32 else [])]
        found.append([y, *torch.autograd.grad(y.sin().sum(), wanted)])
    for a, b in zip(*found, strict=True):
        close(a, b)
    layer.update_grid(GRID * 2)  # a compiled layer looks at its grid too
    close(compiled(inputs), layer(inputs))


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_the_operator_keeps_torchs_rules(layer, x):
    weights = (layer.base_weight, layer.spline_weight, layer.spline_scaler, layer.grid)
    for inputs in (x.clone().requires_grad_(), x > 0, torch.empty(0, 4)):
        torch.library.opcheck(torch.ops.kanvae.kan_linear.default, (inputs, *weights))


IN_A_FRESH_PROCESS = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, kanvae
for grid in ("even", "moved"):
    place = f"{sys.argv[1]}/{grid}"
    layer = kanvae.KANLinear(4, 3)
    layer.load_state_dict(torch.load(f"{place}.state"))
    exported = torch.export.load(f"{place}.pt2").module()
    x = torch.randn(17, 4)
    for again in (exported, torch.jit.load(f"{place}.pt")):
        torch.testing.assert_close(again(x), layer(x), rtol=1e-5, atol=1e-5)
"""


def test_what_was_exported_or_traced_runs_in_a_fresh_process(layer, x, tmp_path):
    for grid, one in (("even", layer), ("moved", moved(layer))):
        torch.save(one.state_dict(), tmp_path / f"{grid}.state")
        batch = torch.export.Dim("batch", min=2)
        program = torch.export.export(one, (x,), dynamic_shapes=({0: batch},))
        assert "kan_linear" in str(program.graph)
        torch.export.save(program, tmp_path / f"{grid}.pt2")
        torch.jit.save(torch.jit.trace(one, x), tmp_path / f"{grid}.pt")
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_symbolic_traces_work_and_scripts_are_refused(layer, x):
    close(torch.fx.symbolic_trace(nn.Sequential(layer))(x), layer(x), 1e-6)
    with pytest.raises(TypeError, match=r"cannot be scripted: take torch.jit.trace"):
        torch.jit.script(nn.Sequential(layer))


@pytest.mark.parametrize("groups", [1, 2, 3, 40])
@pytest.mark.parametrize("base", [nn.SiLU, nn.Tanh])
def test_shared_layers_are_traced_and_take_rows_in_groups_of_any_size(groups, base, x):
    layer = SharedKANLinear(4, 40, groups, base_activation=base, scale_noise=3.0)
    close(torch.fx.symbolic_trace(nn.Sequential(layer))(x), layer(x), 1e-6)
    rows = torch.nested.nested_tensor([x[:3], x[3:]], layout=torch.jagged)
    close(layer(rows).values(), layer(x), 1e-6)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:1].expand(7, 4),
        lambda x: x.t().contiguous().t(),
        lambda x: x.repeat(1, 2)[:, ::2],
        lambda x: torch._neg_view(x),
        lambda x: x.reshape(5, 1, 4).expand(5, 3, 4),
        lambda x: x[:0],
        lambda x: x[:0].reshape(3, 0, 4),
    ],
)
def test_inputs_in_any_strides(layer, x, view):
    found = []
    for one, start in ((layer, x.clone()), (exact(layer), x.double())):
        y = one(view(start.requires_grad_()))
        found.append([y, *torch.autograd.grad(y.sum(), [start, *one.parameters()])])
    for a, b in zip(*found, strict=True):
        close(a, b)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.complex64])
def test_inputs_that_are_neither_floats_nor_bools_are_refused(layer, dtype):
    with pytest.raises(ValueError, match=f"dtype {dtype}: give floats .* or torch.bool"):
        layer(torch.ones(2, 4, dtype=dtype))
    with pytest.raises(ValueError, match=r"layout torch.sparse_coo: give a dense one"):
        layer(torch.eye(4).to_sparse())


def test_hooks_on_the_base_activation_are_called(layer, x):
    seen = []
    layer.base_activation.register_forward_hook(lambda *_: seen.append(1))
    close(layer(x), exact(layer)(x.double()))
    assert seen == [1, 1]


class Container(nn.Module):
    """What efficient-kan's `KAN` asks of its layers, with ours in their place."""

    def __init__(self, widths, grid_size=5, spline_order=3, scale_noise=0.1, scale_base=1.0,
                 scale_spline=1.0, base_activation=nn.SiLU, grid_eps=0.02,
                 grid_range=[-1, 1]):  # noqa: B006  # fmt: skip
        super().__init__()
        options = {"grid_size": grid_size, "spline_order": spline_order, "scale_noise": scale_noise}
        options |= {"scale_base": scale_base, "scale_spline": scale_spline, "grid_eps": grid_eps}
        options |= {"base_activation": base_activation, "grid_range": grid_range}
        pairs = itertools.pairwise(widths)
        self.layers = nn.ModuleList(KANLinear(i, o, **options) for i, o in pairs)

    def forward(self, x, update_grid=False):
        for layer in self.layers:
            if update_grid:
                layer.update_grid(x)
            x = layer(x)
        return x

    def regularization_loss(self, activation=1.0, entropy=1.0):
        return sum(layer.regularization_loss(activation, entropy) for layer in self.layers)


def test_our_layer_in_efficient_kans_container_learns_a_product():
    model = Container([2, 3, 1], base_activation=nn.Identity)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=1)
    x = torch.rand(256, 2)
    for step in range(15):
        model(x, update_grid=step % 5 == 0)

        def loss():
            optimizer.zero_grad()
            error = nn.functional.mse_loss(model(x).squeeze(-1), x[:, 0] * x[:, 1])
            total = error + 1e-5 * model.regularization_loss(1, 0)
            total.backward()
            return total

        optimizer.step(loss)
    assert nn.functional.mse_loss(model(x).squeeze(-1), x[:, 0] * x[:, 1]) < 1e-3


def test_regularization_is_the_sum_and_the_entropy_of_mean_coefficients(layer):
    with torch.no_grad():
        layer.spline_weight[0, 0] = 0  # an edge that is off has no entropy
    size = layer.spline_weight.detach().double().abs().mean(-1).flatten()
    share = size[size > 0] / size.sum()
    expected = 2 * size.sum() - 3 * (share * share.log()).sum()
    close(layer.regularization_loss(2, 3), expected)


def test_a_layer_without_scales_of_its_own(x):
    torch.manual_seed(0)
    layer = KANLinear(4, 3, enable_standalone_scale_spline=False, scale_spline=2.0)
    assert set(layer.state_dict()) == {"grid", "base_weight", "spline_weight"}
    torch.manual_seed(0)
    other = KANLinear(4, 3)
    close(layer.spline_weight, 2 * other.spline_weight, 1e-6)
    other.load_state_dict(layer.state_dict() | {"spline_scaler": torch.ones(3, 4)})
    close(layer(x), other(x), 1e-6)
    layer(x).sum().backward()
    assert layer.extend_grid(10, torch.rand(50, 4)) < 1e-5
