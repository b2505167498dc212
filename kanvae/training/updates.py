"""One update of a model's weights, and what it needs: optimiser, schedule, streams of noise."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanvae import objective
from kanvae.training.configuration import OPTIMIZERS, FitSettings

VALIDATION_STREAM = 2**32 - 1  # of random numbers, for the validation ELBO; epochs count from 0
GRID_STREAM = 2**31  # and, with the epoch added, for what grids are changed on
FUNCTIONS = ("base_scale", "spline_weight", "spline_scaler")  # parameters of learned functions
Loss = Callable[[Any, Tensor, torch.Generator | None], Any]  # as `objective.terms`


def make_optimizer(
    model: nn.Module,
    learning_rate: float,
    name: str = "adam",
    weight_decay: float = 0.0,
    function_rate: float = 1.0,
) -> torch.optim.Optimizer:
    """An optimiser that updates all parameters in one pass, where the device knows how.

    Args:
        function_rate: of `FitSettings`.

    Raises:
        ValueError: a `function_rate` where there are no functions that it is for.
    """
    kind = next(model.parameters()).device.type
    fast: dict[str, Any] = {"fused": kind != "mps", "capturable": kind == "cuda"}
    own = {"momentum": 0.9} if name == "sgd" else fast
    groups: Any = model.parameters()
    if function_rate != 1:
        named = dict(model.named_parameters())
        functions = [n for n in named if n.rpartition(".")[2] in FUNCTIONS]
        if not functions:
            raise ValueError(
                f"function_rate is {function_rate}, but the model has no layer of splines: leave "
                "it out, or take layers of the kinds kan or shared."
            )
        groups = [
            {"params": [w for n, w in named.items() if n not in functions]},
            {"params": [named[n] for n in functions], "lr": function_rate * learning_rate},
        ]
    return OPTIMIZERS[name](groups, lr=learning_rate, weight_decay=weight_decay, **own)


def make_optimization(model: nn.Module, s: FitSettings):
    """The optimiser and the schedule."""
    optimizer = make_optimizer(
        model, s.learning_rate, s.optimizer, s.weight_decay or 0.0, s.function_rate
    )
    schedules = torch.optim.lr_scheduler
    if s.scheduler == "plateau":
        return optimizer, schedules.ReduceLROnPlateau(
            optimizer, factor=s.scheduler_factor, patience=s.scheduler_patience
        )
    if s.scheduler == "cosine":
        return optimizer, schedules.CosineAnnealingLR(optimizer, s.epochs)
    return optimizer, schedules.ConstantLR(optimizer, 1.0)


def advance(scheduler, watched: Tensor) -> None:
    """Take a schedule's step at the end of an epoch; a plateau's watches a loss, a scalar."""
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(watched)
    else:
        scheduler.step()


def watching(
    step: Callable[[Tensor], Tensor], scheduler: Any, beta: float
) -> Callable[[Tensor], Tensor]:
    """The same step, after which the schedule looks at its loss."""

    def run(rows: Tensor) -> Tensor:
        losses = step(rows)
        scheduler.step(losses[0] + beta * losses[1])
        return losses

    return run


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    generator: torch.Generator | None,
    loss: Loss = objective.terms,
    beta: float = 1.0,
) -> Tensor:
    """One update of the weights on a batch (B, D): both terms of its loss, (2,), never awaited."""
    reconstruction, kl = _two_terms(loss(model, x, generator))
    optimizer.zero_grad()
    (reconstruction + (kl if beta == 1 else beta * kl)).backward()
    optimizer.step()
    return torch.stack((reconstruction, kl)).detach()


def _two_terms(found: Any) -> tuple[Tensor, Tensor]:
    """What a loss gives, or a ValueError if that is not two scalar tensors."""
    if (
        isinstance(found, (tuple, list))
        and len(found) == 2
        and all(isinstance(term, Tensor) and term.ndim == 0 for term in found)
    ):
        return found[0], found[1]
    raise ValueError(
        f"the loss gives {found!r:.200}: it must give a pair of scalar tensors, the reconstruction "
        "and the KL term, in nats per image."
    )


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
def mean_terms(
    model: nn.Module, x: Tensor, seed: int, rows: int = 1000, loss: Loss = objective.terms
) -> tuple[float, float]:
    """Reconstruction and KL over a set of images (N, D), with the same noise at every call."""
    model.eval()
    generator = random_stream(seed, VALIDATION_STREAM, x.device)
    sums = torch.zeros(2, device=x.device)
    for part in x.split(rows):
        values = loss(model, objective.as_input(model, part), generator)
        sums += torch.stack(tuple(values)) * len(part)
    return tuple((sums / len(x)).tolist())  # type: ignore[return-value]


def random_stream(seed: int, stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose of one seed. Streams of different numbers are independent."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def stream_seed(seed: int, stream: int) -> int:
    """The number that seeds the generator of a stream."""
    state = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
    return int(state) >> 1  # a signed number of 64 bits


@contextlib.contextmanager
def flushing():
    """Numbers nearer to zero than 1.2e-38 count as zero, on a processor that can do that.

    The optimiser's averages of gradients that are mostly zero, as of pixels at the edge, fall that
    low. They move no weight there, and processors take a hundred times as long for them. It holds
    for this thread: the part of a large weight that other threads update keeps its numbers.
    """
    before = bool(torch.tensor(1e-39) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextlib.contextmanager
def seeded(seed: int, epoch: int, generator: torch.Generator):
    """Noise of an epoch that follows from seed and number alone, dropout's included."""
    device = generator.device
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        torch.manual_seed(stream_seed(seed, epoch))
        generator.manual_seed(stream_seed(seed, epoch))
        yield
