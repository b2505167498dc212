"""Training a VAE: a configuration goes in, a run folder comes out.

Settings follow section V-C of the paper: Adam at learning rate 0.002, ReduceLROnPlateau with factor
0.5, batches of 32, 30 epochs. What the paper leaves open is a field here: the patience (PyTorch's
default), what the scheduler watches (the epoch's mean training loss), the threshold, the seed.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kanvae import data, objective, runs
from kanvae.architectures import Architecture
from kanvae.models import VAE

TEST_STREAM = 2**32 - 1  # the stream of random numbers of the test ELBO; epochs count from 0


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that determines a training, checked when made.

    Args:
        architecture: an `Architecture` or its key, such as "kan-35-15".
        dataset: "MNIST" or "FashionMNIST".
        regime: "figure6" (the first 10,000 training images) or "full" (60,000).
        epochs, batch_size: 1 or more.
        learning_rate: of Adam, positive.
        scheduler: "plateau" or "none".
        scheduler_factor: between 0 and 1, by which a plateau multiplies the learning rate.
        scheduler_patience: epochs without improvement that it waits.
        seed: of the initial weights, the order of the images and the latent noise.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest there is. It is not part
            of what a run folder is compared by, and so may differ when a run is resumed.
        binarization: "threshold" or "stochastic" (pixels drawn anew for every batch; the test set
            is always thresholded).
        threshold: brightness in [0, 1) above which a pixel is 1.

    Raises:
        ValueError: a value that is not allowed, or a device that is not there.
    """

    architecture: Architecture
    dataset: str = "MNIST"
    regime: str = "figure6"
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 2e-3
    scheduler: str = "plateau"
    scheduler_factor: float = 0.5
    scheduler_patience: int = 10
    seed: int = 0
    device: str = "cpu"
    binarization: str = "threshold"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, Architecture):
            object.__setattr__(self, "architecture", Architecture.parse(self.architecture))
        object.__setattr__(self, "device", resolve_device(self.device))
        data.check(self.dataset, self.regime)
        if self.architecture.input_features != 784:
            raise ValueError(
                f"input_features is {self.architecture.input_features}, but the images of "
                f"{self.dataset} have 784 pixels: leave it at 784."
            )
        whole = {"epochs": 1, "batch_size": 1, "scheduler_patience": 0, "seed": 0}
        for name, least in whole.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(
                    f"{name} is {value!r}: it must be a whole number, {least} or more."
                )
        for name, allowed in (
            ("scheduler", ("plateau", "none")),
            ("binarization", ("threshold", "stochastic")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}: choose one of {list(allowed)}."
                )
        for name, low, high in (
            ("learning_rate", 0, math.inf),
            ("scheduler_factor", 0, 1),
            ("threshold", -1e-9, 1),
        ):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not low < value < high
            ):
                raise ValueError(
                    f"{name} is {value!r}: it must lie between {max(low, 0)} and {high}."
                )

    def to_dict(self) -> dict[str, Any]:
        """The fields that a run is known by, as JSON can hold them; the device is not one."""
        values = asdict(self) | {"architecture": str(self.architecture)}
        del values["device"]
        return values


def resolve_device(name: str) -> str:
    """The device that `name` means on this machine.

    Raises:
        ValueError: no such device, or not here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if device is None or (device.index or 0) >= counts.get(device.type, 0):
        here = [kind for kind, count in counts.items() if count]
        raise ValueError(
            f"device {name!r} is not on this machine: choose one of {['auto', *here]}."
        )
    return name


def run_name(config: TrainingConfig) -> str:
    """A folder name for the run: its main settings, and a digest of all of them and of this code.

    When the code that trains changes, so does the name: old weights are not taken for new ones.
    """
    folder = Path(__file__).parent
    names = ("splines", "models", "architectures", "objective", "data", "training")
    files = [folder / f"{name}.py" for name in names]
    files += sorted([*folder.glob("layers/*.py"), *folder.glob("kernels/*.[cp]*")])
    code = b"".join(file.read_bytes() for file in files)
    digest = hashlib.sha256(repr(config.to_dict()).encode() + code).hexdigest()[:8]
    c = config
    return f"{c.architecture}-{c.dataset}-{c.regime}-{c.epochs}epochs-seed{c.seed}-{digest}"


def train(
    config: TrainingConfig,
    run_dir: Path | str | None = None,
    progress: bool = True,
    watch: Callable[[list[float]], None] | None = None,
) -> runs.Run:
    """The run of this configuration: read if it is there, resumed if it was begun, else trained.

    After every epoch a checkpoint is written. A training that was stopped at any moment goes on
    from the last one, to the same weights, bit for bit on one CPU with one number of threads, as
    one that was not.

    Args:
        run_dir: its folder; by default one named after the configuration in `runs.root()`.
        progress: whether to show a bar.
        watch: called after every epoch with the test ELBO of all epochs so far, in nats per image.
            What it raises ends the training, which can be resumed.

    Raises:
        runs.RunError: the folder holds another configuration, or is damaged or in use.
        data.DataError: the data set is damaged or missing.
    """
    run_dir = Path(run_dir) if run_dir is not None else runs.root() / run_name(config)
    if not run_dir.exists():
        with runs.unfinished(run_dir):
            if run_dir.exists():  # another process finished it just before we took the lock
                runs.partial(run_dir).rmdir()
            else:
                _train(config, run_dir, progress, watch)
    run = runs.read(run_dir)
    runs.check_config(run_dir, run.config, config.to_dict())
    return run


def load_model(run: runs.Run, device: str = "cpu") -> VAE:
    """The trained model of a run, ready for evaluation."""
    model = Architecture.parse(run.config["architecture"]).build()
    model.load_state_dict({name: weight.float() for name, weight in run.weights.items()})
    return model.to(device).eval()


def _train(
    config: TrainingConfig,
    run_dir: Path,
    progress: bool,
    watch: Callable[[list[float]], None] | None,
) -> None:
    device = torch.device(config.device)
    checkpoint_path = runs.partial(run_dir) / "checkpoint.pt"
    checkpoint = None
    if checkpoint_path.exists():
        checkpoint = torch.load(checkpoint_path, map_location=device, weights_only=True)
        runs.check_config(runs.partial(run_dir), checkpoint["config"], config.to_dict())
    pixels = data.load(config.dataset, train=True, regime=config.regime).pixels.to(device)
    test = data.binarize(data.load(config.dataset, train=False).pixels.to(device), config.threshold)
    fixed = data.binarize(pixels, config.threshold) if config.binarization == "threshold" else None

    model = config.architecture.build(config.seed).to(device)
    optimizer = make_optimizer(model, config.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=config.scheduler_factor, patience=config.scheduler_patience
    )
    history = torch.empty(0, len(runs.COLUMNS), dtype=torch.float64)
    done, seconds, provenance = 0, 0.0, [runs.provenance(device)]
    if checkpoint is not None:
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        for group in optimizer.param_groups:  # it may come from another kind of device
            group |= {name: optimizer.defaults[name] for name in ("fused", "capturable")}
        scheduler.load_state_dict(checkpoint["scheduler"])
        history, done, seconds = (
            checkpoint["history"].cpu(),
            checkpoint["epoch"],
            checkpoint["seconds"],
        )
        provenance = [*checkpoint["provenance"], *provenance]

    generator = torch.Generator(device)

    def step(rows: Tensor) -> Tensor:
        x = data.binarize(pixels[rows], generator=generator) if fixed is None else fixed[rows]
        return update(model, optimizer, x, generator)

    is_gpu = device.type == "cuda"
    run = captured(step, optimizer, generator, config.batch_size) if is_gpu else step
    updates = math.ceil(len(pixels) / config.batch_size)  # an epoch
    with tqdm(
        total=updates * config.epochs,
        initial=updates * done,
        desc=f"{config.architecture} seed {config.seed}",
        unit="update",
        disable=not progress,
        mininterval=1.0,
    ) as bar:
        for epoch in range(done, config.epochs):
            start = time.perf_counter()
            generator.manual_seed(stream_seed(config.seed, epoch))
            batches = torch.randperm(len(pixels), generator=generator, device=device)
            losses = torch.empty(
                updates, 2, device=device
            )  # read once an epoch: no waiting in between
            model.train()
            for i, rows in enumerate(batches.split(config.batch_size)):
                losses[i] = run(rows)
                bar.update()
            learning_rate = optimizer.param_groups[0]["lr"]
            if config.scheduler == "plateau":
                scheduler.step(losses.sum(1).mean())
            tested = mean_terms(model, test, config.seed)
            seconds += time.perf_counter() - start
            block = torch.full((updates, len(runs.COLUMNS)), torch.nan, dtype=torch.float64)
            block[:, 0] = torch.arange(epoch * updates + 1, (epoch + 1) * updates + 1)
            block[:, 1] = epoch + 1
            block[:, 2:4] = losses.cpu()
            block[-1, 4:] = torch.tensor([learning_rate, *tested, seconds])
            history = torch.cat((history, block))
            bar.set_postfix_str(f"test ELBO {-sum(tested):.1f} nats")
            _save(
                checkpoint_path,
                {
                    "config": config.to_dict(),
                    "epoch": epoch + 1,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "scheduler": scheduler.state_dict(),
                    "history": history,
                    "seconds": seconds,
                    "provenance": provenance,
                },
            )
            if watch is not None:
                ends = history[updates - 1 :: updates]  # the last update of every epoch
                watch((-ends[:, 5] - ends[:, 6]).tolist())
    peak = runs.peak_memory(device)
    found = {**provenance[-1], "seconds": seconds, "peak_memory": peak, "starts": provenance}
    runs.finish(run_dir, config.to_dict(), found, history.tolist(), model.state_dict())


def make_optimizer(model: VAE, learning_rate: float) -> torch.optim.Adam:
    """Adam that updates all parameters in one pass over memory, where the device knows how."""
    kind = next(model.parameters()).device.type
    return torch.optim.Adam(
        model.parameters(), learning_rate, fused=kind != "mps", capturable=kind == "cuda"
    )


def update(
    model: VAE, optimizer: torch.optim.Optimizer, x: Tensor, generator: torch.Generator | None
) -> Tensor:
    """One update of the weights on a batch (B, D): both terms of its loss, (2,), never awaited."""
    terms = objective.terms(model, x, generator)
    optimizer.zero_grad()
    terms.loss.backward()
    optimizer.step()
    return torch.stack(terms).detach()


def captured(
    step: Callable[[Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    batch_size: int,
) -> Callable[[Tensor], Tensor]:
    """The same step as one launch on a GPU, in place of one for each of its many small operations.

    The first three steps run as they are, so that all memory and all states of the optimiser are
    there; then one is recorded as a CUDA graph, and from there on replayed. It is recorded anew
    when the learning rate, which it holds as a number, has changed. Batches of another size run as
    they are. Where recording fails, a warning says so, and all steps run as they are.

    Args:
        step: rows of the training set (B,) -> its result. It waits for nothing that the GPU does,
            draws from `generator` only, and its optimiser is `capturable`.
        optimizer, generator: the step's own.
        batch_size: B.
    """
    warm_up, rate, replay = 3, None, step

    def record(rows: Tensor) -> Callable[[Tensor], Tensor]:
        rows_here, graph = rows.clone(), torch.cuda.CUDAGraph()
        if torch.__version__ < (2, 14):  # type: ignore[operator]  # newer ones find it themselves
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            result = step(rows_here)

        def replay(rows: Tensor) -> Tensor:
            rows_here.copy_(rows)
            graph.replay()
            return result

        return replay

    def run(rows: Tensor) -> Tensor:
        nonlocal warm_up, rate, replay
        if len(rows) != batch_size or warm_up:
            warm_up -= warm_up > 0
            return step(rows)
        if rate != optimizer.param_groups[0]["lr"]:
            rate = optimizer.param_groups[0]["lr"]
            try:
                replay = record(rows)
            except RuntimeError as error:
                replay, reason = step, str(error).splitlines()[0]
                warnings.warn(
                    f"training steps cannot be recorded as a CUDA graph ({reason}). Their many "
                    "operations are launched one by one, which takes longer.",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return replay(rows)

    return run


@torch.no_grad()
def mean_terms(model: VAE, x: Tensor, seed: int, rows: int = 1000) -> tuple[float, float]:
    """Reconstruction and KL over a set of images (N, D), with the same noise at every call."""
    model.eval()
    generator = random_stream(seed, TEST_STREAM, x.device)
    sums = torch.zeros(2, device=x.device)
    for part in x.split(rows):
        sums += torch.stack(objective.terms(model, part, generator)) * len(part)
    return tuple((sums / len(x)).tolist())  # type: ignore[return-value]


def random_stream(seed: int, stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose of one seed. Streams of different numbers are independent."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def stream_seed(seed: int, stream: int) -> int:
    """The number that seeds the generator of a stream."""
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return int(state) >> 1  # a signed number of 64 bits


def _save(path: Path, values: dict[str, Any]) -> None:
    """Write a checkpoint so that a kill at any moment leaves this one or the one before, whole."""
    part = path.with_suffix(".new")
    with part.open("wb") as file:
        torch.save(values, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line; see `python -m kanvae train --help`."""
    parser = argparse.ArgumentParser(prog="python -m kanvae train", description="Train one model.")
    parser.add_argument("run_dir", help="the folder to write; begun trainings are resumed")
    parser.add_argument("--architecture", required=True, help="a key such as kan-35-15")
    for field in fields(TrainingConfig)[1:]:
        kind = type(field.default)
        parser.add_argument(
            f"--{field.name}", type=kind, default=field.default, help=f"({field.default})"
        )
    options = vars(parser.parse_args(arguments))
    run_dir = options.pop("run_dir")
    try:
        run = train(TrainingConfig(**options), run_dir)
    except (ValueError, runs.RunError, data.DataError) as error:
        sys.exit(f"{parser.prog}: {error}")
    last = run.epochs[-1]
    elbo = -(last["test_reconstruction"] + last["test_kl"])
    print(
        f"{run.path}: test ELBO {elbo:.2f} nats per image after {run.provenance['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
