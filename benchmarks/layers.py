"""KAN layers against their peers: time and memory of forward plus backward, and of training steps.

    python benchmarks/layers.py [--peers FOLDER] [--checkout PATH ...] [--device cpu]

Every row of a table runs all its candidates in turns; times are medians over the rounds, ratios are
medians of the rounds' ratios. It writes a table (CSV), where it was measured (JSON) and a figure.
Peers that are not there are left out: the first line printed names those that take part.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from kanvae import Architecture, KANLinear, data, figures, origin
from kanvae.layers import SharedKANLinear, WaveletLinear, wavelet
from kanvae.studies.timing import interleaved
from kanvae.training import updates

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference import ReferenceKAN

SHAPES = [  # inputs, outputs, batch
    (784, 400, 32),
    (784, 400, 512),
    (400, 784, 32),
    (784, 35, 32),
    (784, 35, 512),
]
FLOOR, RECURSION, OURS, BINARY = "dense floor", "recursion", "KANLinear", "KANLinear, binary input"
MLP = "nn.Linear + SiLU"
SHARED_SHAPES = [(784, 400, 32), (784, 400, 512), (400, 784, 32), (400, 784, 512)]
GROUPS = (1, 4, 16, 64)  # functions an input of a shared layer; one per edge follows
WAVELET_SHAPES = [(784, 116, 32), (116, 784, 32)]
SHARED_KEY, PAPERS = "shared-374-20+groups=4", "vae-400-20"  # of equal size
ROUNDS = 15  # how often each candidate has its turn


class Floor(nn.Module):
    """The floor of any method that multiplies a dense basis: a product with 9 columns an input."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, 9 * in_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def recursion(in_features: int, out_features: int) -> nn.Module:
    return ReferenceKAN(in_features, out_features, 5, 3, (-1.0, 1.0))


def candidates(checkouts: list[Path]) -> dict[str, Callable[[int, int], nn.Module]]:
    """The layers that are on this machine, by name."""
    found: dict[str, Callable[[int, int], nn.Module]] = {
        FLOOR: Floor,
        "nn.Linear": nn.Linear,
        RECURSION: recursion,
        OURS: KANLinear,
    }
    for name in ("flashkan", "inkan"):
        if importlib.util.find_spec(name):
            found[name] = importlib.import_module(name).KANLayer
    if importlib.util.find_spec("kan"):  # pykan; its layer returns intermediate values beside y
        pykan = importlib.import_module("kan.KANLayer").KANLayer
        found["pykan"] = lambda i, o: _First(pykan(i, o, num=5, k=3))
    for checkout in checkouts:
        for name, file, layer in (
            ("efficient-kan", "src/efficient_kan/kan.py", "KANLinear"),
            ("fast-kan", "fastkan/fastkan.py", "FastKANLayer"),
        ):
            if (checkout / file).exists():
                spec = importlib.util.spec_from_file_location(
                    name.replace("-", "_"), checkout / file
                )
                assert spec is not None
                assert spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                found[name] = getattr(module, layer)
    return found


class _First(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


def layer_passes(shape, layers, device) -> dict[str, Callable[[], None]]:
    """One forward and backward of each candidate at a shape, ready to be called."""
    in_features, out_features, batch = shape
    passes = {}
    x = (2 * torch.rand(batch, in_features) - 1).to(device)
    for name, make in layers.items():
        inputs = x.repeat(1, 9) if name == FLOOR else x.clone()
        passes[name] = _pass(make(in_features, out_features).to(device), inputs.requires_grad_())
    passes[BINARY] = _pass(KANLinear(in_features, out_features).to(device), x > 0)
    return passes


def shared_passes(shape, device) -> dict[str, Callable[[], None]]:
    """One forward and backward of layers whose functions are shared, by functions an input."""
    in_features, out_features, batch = shape
    x = torch.randn(batch, in_features, device=device)
    layers: dict[str, nn.Module] = {
        MLP: nn.Sequential(nn.Linear(in_features, out_features), nn.SiLU())
    }
    for groups in (*GROUPS, out_features):
        layer = SharedKANLinear(in_features, out_features, groups, scale_noise=0.1)
        layers[f"g = {groups}"] = layer
    return {
        name: _pass(layer.to(device), x.clone().requires_grad_()) for name, layer in layers.items()
    }


class WaveletFormula(WaveletLinear):
    """Wavelets in torch's own operations, without kernels."""

    def forward(self, x: Tensor) -> Tensor:
        parameters = self.weight, self.translation, self.scale
        return wavelet.wavelet_sum(x, *parameters, wavelet.WAVELETS[self.wavelet])


def wavelet_passes(shape, device) -> dict[str, Callable[[], None]]:
    """One forward and backward of layers of wavelets, beside `KANLinear` and its formula."""
    in_features, out_features, batch = shape
    x = torch.randn(batch, in_features, device=device)
    layers = {
        OURS: KANLinear(in_features, out_features),
        RECURSION: recursion(in_features, out_features),
        "wavelets": WaveletLinear(in_features, out_features, norm=False),
        "wavelets, formula": WaveletFormula(in_features, out_features, norm=False),
    }
    return {
        name: _pass(layer.to(device), x.clone().requires_grad_()) for name, layer in layers.items()
    }


def shared_step_passes(device) -> dict[str, Callable[[], None]]:
    """A training step, batch 32, of the paper's VAE and of one of equal size that shares."""
    x = data.binarize(data.load("MNIST").pixels[: 32 * 64].to(device))
    models = {key: Architecture.parse(key).build().to(device) for key in (PAPERS, SHARED_KEY)}
    return {key: _steps(model, x, 32, wrap=device.type == "cuda") for key, model in models.items()}


def _pass(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    with torch.no_grad():
        upstream = torch.randn_like(layer(x))

    def run() -> None:
        layer(x).backward(upstream)
        x.grad = None
        layer.zero_grad()

    return run


def step_passes(key: str, layers, device, images: int = 32) -> dict[str, Callable[[], None]]:
    """Training steps (forward, loss, backward, optimiser) of each kind of layer, batch 32.

    A pass takes as many steps as the images are cut into. On a GPU our steps are measured one
    launch each, as trainings take them, and operation by operation.
    """
    pixels = data.load("MNIST").pixels[: max(images, 32 * 64)].to(device)
    x = data.binarize(pixels)
    passes = {}
    for name in (RECURSION, "efficient-kan", OURS):
        if name not in layers:
            continue
        model = Architecture.parse(key).build()
        if name != OURS:
            for place, layer in list(model.named_modules()):
                if isinstance(layer, KANLinear):
                    other = layers[name](layer.in_features, layer.out_features)
                    model.set_submodule(place, other)
        model.to(device)
        if name == OURS:
            if device.type == "cuda":
                passes[f"{OURS}, operation by operation"] = _steps(model, x, images)
            passes[OURS] = _steps(model, x, images, wrap=device.type == "cuda")
        else:
            plain = torch.optim.Adam(model.parameters(), lr=2e-3)
            passes[name] = _steps(model, x.float(), images, plain)
            passes[f"{name}, fused Adam"] = _steps(model, x.float(), images)
    return passes


def _steps(model, x: Tensor, images: int, optimizer=None, wrap=False) -> Callable[[], None]:
    optimizer = optimizer or updates.make_optimizer(model, 2e-3)
    generator = torch.Generator(x.device).manual_seed(0)

    def step(rows: Tensor) -> Tensor:
        return updates.update(model, optimizer, x[rows], generator)

    one = updates.captured(step, optimizer, generator, 32) if wrap else step
    batches = torch.randperm(len(x), device=x.device).split(32)[: len(x) // 32]

    def run() -> None:
        for rows in random.sample(batches, images // 32):
            one(rows)

    return run


def measure(passes: dict[str, Callable[[], None]], device, rounds=ROUNDS) -> pd.DataFrame:
    """Milliseconds and ratios of all candidates, in turns; peak memory of one pass each."""
    finish = torch.cuda.synchronize if device.type == "cuda" else None
    found = interleaved(passes, rounds, finish=finish)
    table = {}
    for name, values in found.items():
        low, median, high = statistics.quantiles(values, n=4)
        table[name] = {"milliseconds": median, "quartile_1": low, "quartile_3": high}
        table[name]["peak_megabytes"] = peak_memory(passes[name], device) / 1e6
        for against in (FLOOR, RECURSION, OURS, MLP, PAPERS):
            if against in found:
                ratios = [a / b for a, b in zip(values, found[against], strict=True)]
                table[name][f"ratio_to_{against.replace(' ', '_')}"] = statistics.median(ratios)
    return pd.DataFrame(table).T.rename_axis("candidate").reset_index()


def peak_memory(run: Callable[[], None], device: torch.device) -> int:
    """The most bytes that one pass holds at a time, beyond what was held before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(profile_memory=True) as profile:
        run()
    events = profile.profiler.kineto_results.events()
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description="Time KAN layers against their peers.")
    parser.add_argument("--checkout", type=Path, action="append", default=[], metavar="PATH",
                        help="of efficient-kan or fast-kan, to take part")  # fmt: skip
    parser.add_argument("--peers", type=Path, help="a folder that packages are installed in")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    device = torch.device(options.device)
    random.seed(0)
    torch.manual_seed(0)
    found = origin.provenance(device) | {"rounds": ROUNDS, "threads": torch.get_num_threads()}
    layers = candidates(options.checkout)
    print("candidates:", ", ".join(layers))
    tables = []
    for shape in tqdm(SHAPES, desc="layers", unit="row"):
        table = measure(layer_passes(shape, layers, device), device)
        tables.append(table.assign(part="layer", row="{}→{}, {}".format(*shape)))
    for key in tqdm(("kan-400-20", "kan-35-15"), desc="steps", unit="model"):
        table = measure(step_passes(key, layers, device), device)
        tables.append(table.assign(part="step", row=key))
    for shape in tqdm(SHARED_SHAPES, desc="shared functions", unit="row"):
        table = measure(shared_passes(shape, device), device)
        tables.append(table.assign(part="shared", row="{}→{}, {}".format(*shape)))
    for shape in tqdm(WAVELET_SHAPES, desc="wavelets", unit="row"):
        table = measure(wavelet_passes(shape, device), device)
        tables.append(table.assign(part="wavelets", row="{}→{}, {}".format(*shape)))
    table = measure(shared_step_passes(device), device)
    tables.append(table.assign(part="shared step", row=SHARED_KEY))
    if device.type == "cuda":  # what launches cost, over a whole epoch
        passes = step_passes("kan-35-15", layers, device, images=60_000)
        tables.append(measure(passes, device, 3).assign(part="epoch", row="kan-35-15"))
    table = pd.concat(tables)
    table = table[["part", "row", *table.columns.drop(["part", "row"])]].round(4)
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"layers-{device.type}"
    table.to_csv(options.output / f"{name}.csv", index=False)
    (options.output / f"{name}.json").write_text(
        json.dumps(found, indent=2) + "\n", encoding="utf-8"
    )
    layers_only = table[table.part == "layer"]
    ratios = layers_only.pivot(index="row", columns="candidate", values="ratio_to_dense_floor")
    ratios = ratios.loc[layers_only.row.unique(), layers_only.candidate.unique()]
    figure = figures.ratio_bars(ratios.to_dict(), "time over the dense product's")
    figure.savefig(options.output / f"{name}.png")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
