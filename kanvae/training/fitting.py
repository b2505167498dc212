"""`fit`: train any model on any images, an epoch at a time, and go on where it was stopped."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.recfunctions import unstructured_to_structured
from torch import Tensor, nn
from tqdm import tqdm

from kanvae import likelihoods, objective, origin, runs
from kanvae.likelihoods import Likelihood
from kanvae.training import checkpoints, configuration, grids, updates
from kanvae.training.configuration import FitSettings
from kanvae.training.updates import Loss, captured, mean_terms, random_stream, update

Transform = Callable[[Tensor, torch.Generator], Tensor]


class DivergedError(runs.RunError):
    """A training's loss or weights stopped being finite."""


class Epoch(NamedTuple):
    """What `after_epoch` is called with. Values are in nats per image."""

    number: int  # counted from 1
    updates: int  # of the weights since the start
    model: nn.Module
    reconstruction: float  # mean over this epoch's updates
    kl: float
    learning_rate: float
    seconds: float  # since the start
    elbos: list[float]  # on the validation images after every epoch so far; nan without any
    best_epoch: int | None  # so far

    @property
    def validation_elbo(self) -> float:
        """Of this epoch."""
        return self.elbos[-1]


class Fit(NamedTuple):
    """What `fit` found out; the model itself holds the weights of the last epoch."""

    history: np.ndarray  # structured, one line an update, with the fields `runs.COLUMNS`
    best_epoch: int | None  # with the best validation ELBO; None without validation
    best_weights: dict[str, Tensor] | None  # of that epoch, with its grids
    provenance: dict[str, Any]
    settings: FitSettings


def fit(
    model: nn.Module,
    images: Tensor,
    validation: Tensor | None = None,
    *,
    loss: Loss = objective.terms,
    likelihood: Likelihood | str | None = None,
    transform: Transform | None = None,
    folder: Path | str | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
    progress: bool = True,
    config: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Fit:
    """Train a model on images.

    The same call gives the same weights, bit for bit on one CPU with one number of threads, and so
    does one that was stopped at any moment and made again with the same `folder`: it goes on from
    the last complete epoch.

    Args:
        model: any module whose `forward(x, generator)` gives the parameters of p(x|z) (B, P), and
            mean and log-variance of q(z|x), (B, L) each. It is trained in place.
        images: (N, ...), bool or float, as the likelihood can judge them.
        validation: likewise: judged after every epoch, and chosen on.
        loss: `loss(model, x, generator)` -> the two terms of the loss, scalars in nats per image.
        likelihood: of the default loss; by default `model.likelihood`, else Bernoulli. Where there
            is neither, and the loss is another, images are any floats or bools.
        transform: of every batch of training images, with the epoch's generator: new noise or
            binarisation every time.
        folder: where a checkpoint is kept after every epoch; by default none is. It is not known by
            the model's first weights: give each start a folder of its own.
        after_epoch: called with an `Epoch`, whose model is in evaluation mode. What it raises ends
            the training.
        progress: whether to show a bar.
        config: what the checkpoint is known by, as JSON can hold it; by default the settings, the
            images, the likelihood, the loss, the transform and the model's layers.
        **settings: any field of `FitSettings`, such as `epochs=10, learning_rate=1e-3`.

    Raises:
        ValueError: a setting that is not allowed, images that the likelihood cannot judge, or a
            model without a parameter to train or with another forward.
        DivergedError: the loss stopped being finite. What `folder` holds stays as it was after the
            epoch before.
        runs.RunError: the folder holds the checkpoint of another training, or cannot be used.
    """
    chosen = FitSettings(**settings)
    judge = likelihoods.of(model, likelihood)
    is_judged = loss is objective.terms or likelihood is not None or hasattr(model, "likelihood")
    if loss is objective.terms:
        _check_forward(model)
    images, validation = _checked(
        model, images, validation, transform, judge if is_judged else None, chosen
    )
    wanted = _plain(config)
    if folder is not None and not wanted:
        wanted = checkpoints.identity(model, chosen, images, validation, judge, loss, transform)
    if likelihood is not None and loss is objective.terms:
        loss = functools.partial(objective.terms, likelihood=likelihood)
    device = torch.device(chosen.device)
    model.to(device)
    images = images.to(device)
    validation = None if validation is None else validation.to(device)
    optimizer, scheduler = updates.make_optimization(model, chosen)
    path = Path(folder) / "checkpoint.pt" if folder is not None else None
    state = checkpoints.begin(path, wanted, device)
    if state["epoch"]:
        checkpoints.restore(state, model, optimizer, scheduler)
    generator = torch.Generator(device)
    infinite = {name for name, b in model.named_buffers() if not _is_finite(b)}  # masks, say
    every_update = chosen.scheduler_counts == "updates"

    def step(rows: Tensor) -> Tensor:
        x = images[rows]
        if transform is not None:
            x = objective.as_input(model, transform(x, generator))
        return update(model, optimizer, x, generator, loss, chosen.beta)

    def prepared() -> Callable[[Tensor], Tensor]:
        is_gpu = device.type == "cuda"
        run = captured(step, optimizer, generator, chosen.batch_size) if is_gpu else step
        return updates.watching(run, scheduler, chosen.beta) if every_update else run

    run = prepared()
    per_epoch = math.ceil(len(images) / chosen.batch_size)
    with _bar(chosen, per_epoch, state["epoch"], progress) as bar:
        for epoch in range(state["epoch"], chosen.epochs):
            started = time.perf_counter(), time.process_time()
            kept = epoch if path is not None else 0
            if _grids_changed(model, optimizer, images, transform, chosen, epoch):
                run = prepared()  # some parameters may be new
            with updates.flushing(), updates.seeded(chosen.seed, epoch, generator):
                losses = _epoch(model, run, len(images), chosen, epoch, generator, bar, kept)
            tested = (math.nan, math.nan)
            if validation is not None:
                tested = mean_terms(model, validation, chosen.seed, loss=loss)
            ends = tested if validation is not None else ()
            _refuse_divergence(model, infinite, losses, ends, epoch, kept)
            rate = optimizer.param_groups[0]["lr"]
            if not every_update:
                watches_training = chosen.scheduler_watches == "training"
                watched = losses if watches_training else torch.tensor([tested])
                updates.advance(scheduler, (watched[:, 0] + chosen.beta * watched[:, 1]).mean())
            _record(state, model, losses, rate, tested, started)
            if validation is not None:
                bar.set_postfix_str(f"validation ELBO {state['elbos'][-1]:.1f} nats")
            if path is not None:
                checkpoints.save(path, state, model, optimizer, scheduler)
            if after_epoch is not None:
                after_epoch(_told(state, model.eval(), losses, rate))
    model.eval()
    return _finished(state, chosen)


def _check_forward(model: nn.Module) -> None:
    taken = inspect.signature(model.forward)
    try:
        taken.bind(None, None)
    except TypeError:
        raise ValueError(
            f"the forward of {type(model).__name__} takes {taken}, but the loss calls it with "
            "images and the generator of its noise: make it forward(self, x, generator), or give "
            "a loss of your own."
        ) from None


def _checked(model, images, validation, transform, judge, settings: FitSettings):
    """The images in the type that the model takes, once all is known to be fit for a training."""
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no parameter that can be trained.")
    if settings.grid_sizes or settings.grid_updates:
        grids.check(model)
    for x in (images, validation):
        if x is not None:
            likelihoods.check_tensor(x)
    if judge is not None:
        for x in (images if transform is None else None, validation):
            if x is not None:
                judge.check(x, training=True)
    if transform is None:
        if validation is not None and validation.shape[1:] != images.shape[1:]:
            raise ValueError(
                f"images have the shape {tuple(images.shape[1:])} each, and those for validation "
                f"{tuple(validation.shape[1:])}: give both alike."
            )
        images = objective.as_input(model, images)
    images = images.detach()
    if validation is not None:
        validation = objective.as_input(model, validation)
    elif settings.scheduler == "plateau" and settings.scheduler_watches == "validation":
        raise ValueError(
            "scheduler_watches is 'validation', and there are no validation images: give some, or "
            "leave it at 'training'."
        )
    return images, validation


def _plain(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a checkpoint is to be known by, as JSON gives it back."""
    try:
        return json.loads(json.dumps(dict(config or ())))
    except TypeError as error:
        raise ValueError(f"config is not what JSON can hold: {error}.") from None


def _bar(settings: FitSettings, updates: int, done: int, progress: bool) -> tqdm:
    return tqdm(
        total=updates * settings.epochs,
        initial=updates * done,
        desc=f"training, seed {settings.seed}",
        unit="update",
        disable=not progress,
        mininterval=1.0,
    )


def _grids_changed(model, optimizer, images, transform, settings: FitSettings, epoch) -> bool:
    """Move or refine the grids of a model, where the settings want that before this epoch."""
    finer = grids.extensions(settings.grid_sizes, settings.epochs).get(epoch)
    move = 0 < epoch <= settings.grid_updates
    if not move and finer is None:
        return False
    noise = random_stream(settings.seed, updates.GRID_STREAM + epoch, images.device)
    x = images[torch.randperm(len(images), generator=noise, device=images.device)[:1000]]
    x = x if transform is None else objective.as_input(model, transform(x, noise))
    grids.change(model, optimizer, x, noise, finer, move)
    return True


def _epoch(model, step, count, settings, epoch, generator, bar, kept) -> Tensor:
    """All updates of an epoch: both terms of the loss of each, (updates, 2).

    kept is the number of epochs that a checkpoint holds.
    """
    every, device = 100, generator.device  # between looks: reading a GPU's number waits for it
    order = torch.randperm(count, generator=generator, device=device)
    batches = order.split(settings.batch_size)
    losses, last = torch.empty(len(batches), 2, device=device), len(batches) - 1
    model.train()
    for i, rows in enumerate(batches):
        losses[i] = step(rows)
        bar.update()
        if i % every == every - 1 or i == last:
            bad = (~losses[i - i % every : i + 1].isfinite().all(1)).nonzero()
            if len(bad):
                number = epoch * len(batches) + i - i % every + int(bad[0]) + 1
                raise _diverged("loss", epoch, number, kept)
    return losses.cpu()


def _refuse_divergence(
    model, infinite: set[str], losses: Tensor, tested: tuple[float, ...], epoch: int, kept: int
) -> None:
    """Raise if the last update of an epoch left weights that nobody can go on from.

    Args:
        infinite: the buffers that were not finite from the start.
        kept: how many epochs a checkpoint holds.
    """
    buffers = [b for name, b in model.named_buffers() if name not in infinite]
    values = [*model.parameters(), *buffers]
    if not all(map(math.isfinite, tested)):
        raise _diverged("validation loss", epoch, (epoch + 1) * len(losses), kept)
    if not all(map(_is_finite, values)):
        raise _diverged("weights", epoch, (epoch + 1) * len(losses), kept)


def _is_finite(x: Tensor) -> bool:
    return x.is_sparse or bool(x.isfinite().all())


def _diverged(what: str, epoch: int, number: int, kept: int) -> DivergedError:
    left = f"the checkpoint of epoch {kept} is kept" if kept else "nothing is kept"
    return DivergedError(
        f"the training diverged: its {what} stopped being finite at update {number} (epoch "
        f"{epoch + 1}); {left}. Take a lower learning rate, or larger batches."
    )


def _record(
    state: dict[str, Any],
    model: nn.Module,
    losses: Tensor,
    rate: float,
    tested: tuple[float, float],
    started: tuple[float, float],
) -> None:
    """Add an epoch to the state of a training, and its weights, if they are the best so far.

    Args:
        rate: the learning rate that it was trained with.
        tested: both terms on the validation images.
        started: the clock's time and the processor's when it began.
    """
    elbo, updates, epoch = -sum(tested), len(losses), state["epoch"] + 1
    if all(elbo > other for other in state["elbos"]) and not math.isnan(elbo):
        state |= {"best_epoch": epoch, "best": copy.deepcopy(model.state_dict())}
    state |= {"epoch": epoch, "elbos": [*state["elbos"], elbo]}
    state["seconds"] += time.perf_counter() - started[0]
    state["cpu_seconds"] += time.process_time() - started[1]
    block = torch.full((updates, len(runs.COLUMNS)), torch.nan, dtype=torch.float64)
    block[:, 0] = torch.arange((epoch - 1) * updates + 1, epoch * updates + 1)
    block[:, 1] = epoch
    block[:, 2:4] = losses
    block[-1, 4:] = torch.tensor((rate, *tested, state["seconds"]), dtype=torch.float64)
    state["history"] = torch.cat((state["history"], block))


def _told(state: dict[str, Any], model: nn.Module, losses: Tensor, rate: float) -> Epoch:
    """What those who watch hear of the last epoch."""
    reconstruction, kl = losses.mean(0).tolist()
    number, best = state["epoch"], state["best_epoch"] or None
    return Epoch(
        number, number * len(losses), model, reconstruction, kl, rate, state["seconds"],
        list(state["elbos"]), best,
    )  # fmt: skip


def _finished(state: dict[str, Any], settings: FitSettings) -> Fit:
    names = np.dtype([(name, float) for name in runs.COLUMNS])
    starts, peak = state["provenance"], origin.peak_memory(torch.device(settings.device))
    times = {name: state[name] for name in ("seconds", "cpu_seconds")}
    found = times | {"peak_memory": peak, "code": configuration.code_digest(), "starts": starts}
    history = unstructured_to_structured(state["history"].numpy(), names)
    best = state["best_epoch"] or None, state["best"] or None
    return Fit(history, *best, {**starts[-1], **found}, settings)
