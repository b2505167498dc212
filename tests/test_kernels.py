import copy
import errno
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
from filelock import Timeout
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from torch import nn

from kanvae import Architecture, KANLinear, data, kernels, objective, splines
from kanvae.layers import kan_function

pytestmark = pytest.mark.skipif(kernels._compiler() is None, reason="no C compiler on this machine")

# The narrower processors for which kernels can be built and still run on this one.
PROCESSOR = Path("/proc/cpuinfo")
FLAGS = PROCESSOR.read_text(encoding="utf-8").split() if PROCESSOR.exists() else []
NEEDED = {"x86-64-v2": "sse4_2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}
LEVELS = [level for level, flag in NEEDED.items() if flag in FLAGS]


def run(layer, x, kernel=True):
    """Output and all gradients for one upstream gradient, by the kernels or by the formula."""
    layer.zero_grad()
    x = x.clone().requires_grad_() if x.is_floating_point() else x
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(kan_function, "library", lambda degree, count: None)
        y = layer(x)
        y.backward(torch.linspace(-0.5, 1, y.numel()).reshape(y.shape).to(y.dtype))
    grads = [p.grad.clone() for p in layer.parameters()]
    return [y.detach(), *grads, *([x.grad] if x.is_floating_point() else [])]


def assert_close(found, expected, scale=1e-5):
    """To rounding: each value within a few units of the last place of the largest of its row."""
    for a, b in zip(found, expected, strict=True):
        a, b = (t.reshape(len(t), -1).double() if t.numel() else t.double() for t in (a, b))
        if b.numel():
            largest = b.abs().nan_to_num(0, 0, 0).amax(1, keepdim=True)
            unit = scale * largest.clamp(min=1)
            a, b = a / unit, b / unit
        torch.testing.assert_close(a, b, rtol=0, atol=1, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [(0, 3), (1, 6), (2, 5), (3, 1), (3, 5), (4, 7), (5, 9), (6, 4), (7, 5), (3, 30), (3, 61)]
    ),
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
    if batch:  # every fourth row on knots
        at = torch.randint(layer.grid.shape[1], x[::4].shape, generator=generator)
        x[::4] = layer.grid[0][at]
    # many rows add up in the gradients of the weights, and large slopes in those of x
    assert_close(run(layer, x), run(layer, x, kernel=False), scale=1e-4)
    bits = x > 0
    # what is at 0 is what all rows have less what is at 1, and rounded as they are
    assert_close(run(layer, bits), run(layer, bits.float(), kernel=False)[:-1], scale=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_slopes_among_many_knots_are_as_exact_as_among_few(seed):
    generator = torch.Generator().manual_seed(seed)
    layer = KANLinear(1, 128, 61, generator=generator, scale_noise=5.0)
    x = layer.grid[0][3:-3].unsqueeze(1)
    exact = run(copy.deepcopy(layer).double(), x.double(), kernel=False)
    assert_close(run(layer, x), [value.float() for value in exact], scale=5e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([(0, 5), (2, 5), (3, 5), (3, 30)]),
    st.integers(1, 300),
    st.integers(1, 140),
    st.integers(1, 140),
    st.integers(0, 300),
    st.integers(1, 3),
    st.integers(0, 2**31),
)
def test_outputs_that_share_coefficients(spline, width, outputs, groups, batch, threads, seed):
    """As if each output had them for itself, and their gradients are sums over the outputs."""
    (order, size), groups = spline, min(groups, outputs)
    generator = torch.Generator().manual_seed(seed)
    layer = KANLinear(width, outputs, size, order, generator=generator, scale_noise=5.0)
    shared = layer.spline_weight[:groups].detach().clone().requires_grad_()
    of = torch.arange(outputs) * groups // outputs
    with torch.no_grad():
        layer.spline_weight.copy_(shared[of])
    x, before = 2 * torch.randn(batch, width, generator=generator), torch.get_num_threads()
    for inputs in (x, x > 0):
        expected = run(layer, inputs)
        expected[2] = torch.zeros_like(shared).index_add(0, of, expected[2])
        point = inputs.clone().requires_grad_() if inputs is x else inputs
        weights = (layer.base_weight, shared, layer.spline_scaler)
        assert kan_function._library(point, *weights, layer.grid) is not None
        torch.set_num_threads(threads)
        try:
            y = kan_function.kan_linear(point, *weights, layer.grid)
            upstream = torch.linspace(-0.5, 1, y.numel()).reshape(y.shape)
            wanted = [*weights, *([point] if inputs is x else [])]
            found = [y.detach(), *torch.autograd.grad(y, wanted, upstream)]
        finally:
            torch.set_num_threads(before)
        assert_close(found, expected, scale=1e-4)


HARD = [torch.inf, -torch.inf, torch.nan, 1e30, -1e30, 3e38, -3e38, 1e-42, -1e-42, 0.0, -0.0]
HARD += [87.5, -87.5, 88.5, -88.5, 104.0, -104.0, 700.0, -700.0]


def by_scipy(layer, x):
    """Each row by SciPy's splines in float64, on the layer's own knots."""
    knots, order = layer.grid[0].double().numpy(), layer.spline_order
    x = x.detach().double().numpy()
    with np.errstate(all="ignore"):
        # silu(-inf) is nan in torch: infinity times zero
        base = np.where(np.isneginf(x), np.nan, x * scipy.special.expit(x))
    y = np.zeros((len(x), layer.out_features))
    weight = (layer.spline_weight * layer.spline_scaler[..., None]).detach().double().numpy()
    end = knots[-1 - order]
    for i in range(layer.in_features):
        column = x[:, i].copy()
        column[column == end] = np.nextafter(end, -np.inf)  # its interval is the one on its left
        column[(column < knots[0]) | (column >= knots[-1])] = np.inf
        curve = np.zeros_like(y)
        inside = np.isfinite(column)
        # more knots far outside, so that SciPy evaluates beside the grid too
        far = np.concatenate([knots[0] - np.arange(order, 0, -1), knots, knots[-1] + 1.0 +
                              np.arange(order)])  # fmt: skip
        c = np.pad(weight[:, i].T, ((order, order), (0, 0)))
        curve[inside] = BSpline(far, c, order)(column[inside])
        y += base[:, i : i + 1] * layer.base_weight[:, i].detach().double().numpy() + curve
    y[np.isnan(x).any(1)] = np.nan
    return torch.from_numpy(y)


@pytest.mark.parametrize("order", range(kan_function.MOST_DEGREE + 1))
@pytest.mark.parametrize("kernel", [True, False])
def test_hard_inputs_and_knots_row_by_row_against_scipy(order, kernel):
    layer = KANLinear(1, 3, 5, order, scale_noise=5.0)
    x = torch.cat([torch.tensor(HARD), layer.grid[0], torch.randn(20)])[:, None]
    found, expected = run(layer, x, kernel)[0], by_scipy(layer, x)
    assert_close([found], [expected], scale=1e-5)


def by_cox_de_boor(layer, x):
    """Output and all gradients, as `run` has them, by the definition of the bases."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    spline = layer.spline_weight * layer.spline_scaler.unsqueeze(-1)
    y = nn.functional.silu(x) @ layer.base_weight.T
    bases = splines.cox_de_boor(x, layer.grid, layer.spline_order)  # (B, 1, n)
    y = y + bases.flatten(1) @ spline.flatten(1).T
    y.backward(torch.linspace(-0.5, 1, y.numel()).reshape(y.shape))
    return [y.detach(), *(p.grad.clone() for p in layer.parameters()), x.grad]


@pytest.mark.parametrize("order", range(kan_function.MOST_DEGREE + 1))
@pytest.mark.parametrize("rows", [1, 100])  # by products, and by tables
def test_gradients_at_hard_inputs_and_knots_row_by_row(order, rows):
    layer = KANLinear(1, 3, 5, order, scale_noise=5.0)
    for value in [*HARD, *layer.grid[0].tolist()]:
        x = torch.full((rows, 1), value)
        found = run(layer, x)
        assert_close(found, run(layer, x, kernel=False), scale=2e-5)
        assert_close(found, by_cox_de_boor(layer, x), scale=2e-5)
    x = torch.tensor([[-3e38]], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad == 0


def test_one_bad_row_leaves_the_others_alone():
    layer, x = KANLinear(20, 9), torch.randn(40, 20)
    expected = layer(x)
    x[7] = torch.nan
    x[8, 3] = torch.inf
    found = layer(x)
    assert torch.equal(found[9:], expected[9:])
    assert torch.equal(found[:7], expected[:7])
    assert found[7].isnan().all()
    assert found[8].isinf().all()


@pytest.mark.parametrize("level", LEVELS)
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


@pytest.mark.parametrize(
    "sizes", [(50, 130, 200), (300, 150, 5), (20, 700, 32), (784, 35, 32), (784, 35, 600)]
)
def test_the_number_of_threads_changes_no_bit(sizes):
    width, outputs, batch = sizes
    layer, x = KANLinear(width, outputs), torch.randn(batch, width)
    expected, before = run(layer, x) + run(layer, x > 0), torch.get_num_threads()
    for threads in (1, 2, 3, 8):
        torch.set_num_threads(threads)
        try:
            found = run(layer, x) + run(layer, x > 0)
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), threads


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
    y.backward(torch.linspace(-0.5, 1, y.numel()).reshape(y.shape))
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
        patch.setattr(kernels, "load_library", kernels.load_library.__wrapped__)
        return kan_function.library.__wrapped__(degree, count)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Loads a library that is built at once, as a process that has not loaded it yet."""
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "common.h").write_text("enum { NUMBER = 3 };\n")
    text = '#include "common.h"\nint number(void) { return FACTOR * NUMBER; }\n'
    (sources / "tiny.c").write_text(text)
    monkeypatch.setattr(kernels, "__file__", str(sources / "__init__.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def load():
        library = kernels.load_library.__wrapped__("tiny", FACTOR=2)
        return library and library.number()

    return load


def kept(tmp_path):
    return sorted((tmp_path / "kanvae").iterdir())


def test_windows_takes_the_formula_and_asks_no_compiler(monkeypatch, tiny):
    assert tiny() == 6
    monkeypatch.setattr(kernels.os, "name", "nt")
    monkeypatch.setattr(kernels, "_compiler", lambda: pytest.fail("it asked for a compiler"))
    found = kernels.load_library.__wrapped__("tiny", FACTOR=2)
    monkeypatch.undo()
    assert found is None


def test_flags_that_a_compiler_does_not_know_are_left_out(monkeypatch, tiny):
    """As OpenMP's on a Mac, whose compiler comes without it."""
    monkeypatch.setattr(kernels, "OPTIONAL", (("-fno-such-flag",), ()))
    assert tiny() == 6


def test_without_a_compiler_it_warns_and_the_formula_serves(monkeypatch, tmp_path, tiny):
    monkeypatch.setattr(kernels, "_warned", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.warns(RuntimeWarning, match="no C compiler.* Install a C compiler"):
        assert tiny() is None
    failing = tmp_path / "cc"
    failing.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(kernels, "_warned", False)
    with pytest.warns(RuntimeWarning, match="cc failed: broken"):
        assert tiny() is None
    assert kept(tmp_path) == []  # nothing half-written
    layer, x = KANLinear(4, 3), torch.randn(5, 4)
    expected = layer(x)
    monkeypatch.setattr(kan_function, "library", lambda degree, count: None)
    torch.testing.assert_close(layer(x), expected)


def test_a_compiler_that_does_not_end_is_waited_for_once(monkeypatch, tmp_path, tiny):
    slow = tmp_path / "cc"
    slow.write_text('#!/bin/sh\n[ "$1" = --version ] || { echo >>"$0.asked"; exec sleep 60; }\n')
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    monkeypatch.setattr(kernels, "COMPILING", 0.5)
    monkeypatch.setattr(kernels, "_warned", False)
    with pytest.warns(RuntimeWarning, match="cc took more than 0.5 seconds"):
        assert tiny() is None
    assert (tmp_path / "cc.asked").read_text() == "\n"
    assert kept(tmp_path) == []


def test_kernels_can_be_switched_off_in_silence(monkeypatch):
    monkeypatch.setenv("KANVAE_KERNELS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_anew() is None


def test_compiled_once_and_found_again(tmp_path, tiny):
    assert tiny() == 6
    (library,) = kept(tmp_path)
    before = library.stat().st_mtime_ns
    assert tiny() == 6
    assert library.stat().st_mtime_ns == before


def test_processes_that_begin_at_the_same_moment_compile_once(monkeypatch, tmp_path, tiny):
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    slow = tmp_path / "cc"
    asks = '[ "$1" = --version ] || { echo >>"$0.asked"; sleep 0.5; }'
    slow.write_text(f'#!/bin/sh\n{asks}\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("CC", str(slow))
    with ThreadPoolExecutor(3) as pool:  # each has a lock of its own, as processes have
        assert list(pool.map(lambda _: tiny(), range(3))) == [6, 6, 6]
    assert (tmp_path / "cc.asked").read_text() == "\n"
    assert len(kept(tmp_path)) == 1


def test_where_nothing_can_be_locked_it_is_compiled_all_the_same(monkeypatch, tmp_path, tiny):
    def refuse(*args, **kwargs):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(kernels.FileLock, "acquire", refuse)
    assert tiny() == 6
    assert len(kept(tmp_path)) == 1


def test_where_a_lock_cannot_be_removed_what_was_compiled_serves(monkeypatch, tmp_path, tiny):
    real = Path.unlink

    def refuse(path, *args, **kwargs):
        if path.suffix == ".lock":
            raise OSError(errno.ESTALE, "stale file handle")
        real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert tiny() == 6
    assert [path.suffix for path in kept(tmp_path)] == [".lock", ".so"]


def test_another_process_that_takes_too_long_is_not_waited_for(monkeypatch, tmp_path, tiny):
    def wait(lock, timeout):
        assert timeout == kernels.COMPILING
        raise Timeout(lock.lock_file)

    monkeypatch.setattr(kernels.FileLock, "acquire", wait)
    assert tiny() == 6
    assert len(kept(tmp_path)) == 1


def test_compiled_anew_when_a_source_is_another(tmp_path, tiny):
    assert tiny() == 6
    (tmp_path / "sources" / "common.h").write_text("enum { NUMBER = 4 };\n")
    assert tiny() == 8
    with (tmp_path / "sources" / "tiny.c").open("a") as file:
        file.write("/* other words */")
    assert tiny() == 8
    assert len(kept(tmp_path)) == 3


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


IN_A_PROCESS = """
import sys, torch
from kanvae import KANLinear
for argument in sys.argv[1:]:
    inputs, outputs, rows, grid_size, order, then = map(int, argument.split(","))
    layer = KANLinear(inputs, outputs, grid_size, order)
    x = torch.randn(rows, inputs, requires_grad=True)
    y = layer(x)
    if then:
        torch.set_num_threads(then)
    y.sum().backward()
    layer(x > 0).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
"""


def alone(*sizes, limits="", **variables):
    """Runs layers in a process of their own; what it says when it ends badly."""
    arguments = " ".join(",".join(map(str, numbers)) for numbers in sizes)
    command = f'{limits} exec "{sys.executable}" -W error -c "$CODE" {arguments}'
    environment = {**os.environ, **variables, "CODE": IN_A_PROCESS}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    return f"{done.returncode}: {done.stderr}" if done.returncode else ""


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        ("ulimit -s unlimited;", [(64, 8, 256, 300, 3, 0), (64, 8, 256, 61, 3, 0)]),
        ("", [(64, 8, 256, 2000, 3, 0), (50, 8, 64, 60, 7, 0), (50, 8, 64, 57, 7, 0)]),
        ("ulimit -s 256;", [(200, 40, 256, 5, 3, 0)]),
        ("taskset -c 0", [(784, 40, 64, 5, 3, 0)]),
    ],
)
def test_no_size_and_no_limit_kills_the_process(limits, sizes):
    limits = "" if "taskset" in limits and not hasattr(os, "sched_getaffinity") else limits
    limits = limits.replace("taskset -c 0", "taskset -p -c 0 $$ >/dev/null;")
    assert alone(*sizes, limits=limits, OMP_NUM_THREADS="2") == ""


@pytest.mark.parametrize(
    "variables",
    [
        {"OMP_NUM_THREADS": "2", "OMP_STACKSIZE": "512K"},
        {"OMP_NUM_THREADS": "3", "OMP_STACKSIZE": "64K"},
        {"OMP_NUM_THREADS": "8", "OMP_THREAD_LIMIT": "3"},
        {"OMP_NUM_THREADS": "4", "OMP_DYNAMIC": "true", "OMP_THREAD_LIMIT": "1"},
        {"OMP_NUM_THREADS": "4", "OMP_MAX_ACTIVE_LEVELS": "0"},
    ],
    ids=str,
)
def test_no_environment_kills_the_process(variables):
    sizes = (784, 40, 256, 5, 3)
    assert (
        alone((*sizes, 0), (*sizes, 6), **variables) == ""
    )  # as many threads in the backward pass


def test_a_process_that_begins_in_inference_mode_has_the_kernels_afterwards():
    code = (
        "import torch\n"
        "with torch.inference_mode():\n"
        "    from kanvae import kernels\n"
        "assert kernels.may_run(torch.rand(2, 3), torch.rand(3))\n"
        "with torch.inference_mode():\n"
        "    assert kernels.may_run(torch.rand(2, 3))\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(tmp_path):
    code = (
        "import os, torch; from kanvae import KANLinear; torch.set_num_threads(2);"
        "layer, x = KANLinear(50, 40), torch.randn(64, 50); y = layer(x); child = os.fork();"
        "z = layer(x); assert torch.equal(y, z); os._exit(0) if not child else None;"
        "assert os.waitpid(child, 0)[1] == 0"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("damage", ["emptied", "cut", "foreign"])
def test_a_damaged_library_is_built_again(damage, tmp_path, tiny):
    assert tiny() == 6
    (library,) = kept(tmp_path)
    whole = library.read_bytes()
    parts = {"emptied": b"", "cut": whole[: len(whole) // 2], "foreign": b"#!/bin/sh\n" * 99}
    library.unlink()  # it is loaded: another file in its place
    library.write_bytes(parts[damage])
    assert tiny() == 6
    (again,) = kept(tmp_path)
    assert again.stat().st_size == len(whole)


def test_libraries_that_others_could_have_written_are_not_loaded(monkeypatch, tmp_path, tiny):
    folder = tmp_path / "kanvae"
    assert tiny() == 6
    assert folder.stat().st_mode & 0o777 == 0o700
    (library,) = folder.iterdir()
    before = library.stat().st_ino
    folder.chmod(0o777)
    assert tiny() == 6
    (library,) = folder.iterdir()
    assert library.stat().st_ino != before
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # the folder is somebody else's
    assert tiny() == 6
    assert list(folder.iterdir()) == [library]


def test_no_home_and_no_place_to_write_still_give_kernels(monkeypatch, tmp_path, tiny):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("in the way")
    assert tiny() == 6
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    assert tiny() == 6


def test_another_compiler_or_flag_makes_another_library(monkeypatch, tmp_path, tiny):
    assert tiny() == 6
    other = tmp_path / "bin" / "cc"
    other.parent.mkdir()
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    other.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo two || exec {real} "$@"\n')
    other.chmod(0o755)
    monkeypatch.setenv("CC", f"{other} -g0")
    assert tiny() == 6
    assert len(kept(tmp_path)) == 2
    monkeypatch.setattr(kernels, "OPTIONAL", ((),))
    assert tiny() == 6
    assert len(kept(tmp_path)) == 3


def test_a_node_without_a_compiler_takes_what_another_built(monkeypatch, tmp_path, tiny):
    assert tiny() == 6
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert tiny() == 6


def test_what_is_no_file_in_the_librarys_place_goes(tmp_path):
    (tmp_path / "kan-a.so").mkdir()
    (tmp_path / "kan-b.so").symlink_to(tmp_path / "nowhere")
    assert kernels._kept(tmp_path, "kan-*.so") is None
    assert list(tmp_path.iterdir()) == []
