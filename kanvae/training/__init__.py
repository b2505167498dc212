"""Training: `fit` trains any model on any images; `train` makes the run of a configuration.

The settings' defaults follow section V-C of the paper: Adam at learning rate 0.002,
ReduceLROnPlateau with factor 0.5, batches of 32, 30 epochs. What the paper leaves open is a setting
here: the patience (PyTorch's default), what the schedule watches (the epoch's mean training loss),
the threshold, the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kanvae import data, runs
from kanvae.architectures import Architecture
from kanvae.models import VAE
from kanvae.training import configuration, grids
from kanvae.training.configuration import FitSettings, TrainingConfig, resolve_device, run_name
from kanvae.training.fitting import DivergedError, Epoch, Fit, fit
from kanvae.training.updates import (
    captured,
    make_optimizer,
    mean_terms,
    random_stream,
    stream_seed,
    update,
)

__all__ = [
    "DivergedError", "Epoch", "Fit", "FitSettings", "TrainingConfig", "captured", "fit",
    "load_model", "make_optimizer", "mean_terms", "random_stream", "resolve_device", "run_name",
    "stream_seed", "train", "update",
]  # fmt: skip


def train(
    config: TrainingConfig,
    run_dir: Path | str | None = None,
    progress: bool = True,
    after_epoch: Callable[[Epoch], None] | None = None,
) -> runs.Run:
    """The run of this configuration: read if it is there, resumed if it was begun, else trained.

    Args:
        run_dir: its folder; by default one named after the configuration in `runs.root()`.
        progress: whether to show a bar.
        after_epoch: called with an `Epoch`. What it raises ends the training, which can be resumed.

    Raises:
        DivergedError: the loss stopped being finite.
        runs.RunError: the folder holds another configuration, or is damaged or in use.
        data.DataError: the data set is damaged or missing.
        ValueError: the images have another number of pixels than the architecture.
    """
    run_dir = Path(run_dir) if run_dir is not None else runs.root() / run_name(config)
    if not run_dir.exists():
        with runs.unfinished(run_dir):
            if not run_dir.exists():  # else another process finished it before we took the lock
                _train(config, run_dir, progress, after_epoch)
    run = runs.read(run_dir)
    if config.regime == "full" and "likelihood" not in run.config:
        raise runs.RunError(
            f"{run_dir} is a run of version 0.1, whose regime 'full' had all 60,000 training "
            "images, those for validation among them: choose another folder."
        )
    runs.check_config(run_dir, configuration.defaults() | run.config, config.to_dict())
    return run


def _train(
    config: TrainingConfig,
    run_dir: Path,
    progress: bool,
    after_epoch: Callable[[Epoch], None] | None,
) -> None:
    pixels = data.load(config.dataset, "train", config.regime).pixels
    validation = data.load(config.dataset, "validation").pixels
    if pixels.shape[1] != config.architecture.input_features:
        raise ValueError(
            f"input_features is {config.architecture.input_features}, but the images of "
            f"{config.dataset} have {pixels.shape[1]} pixels: take the architecture "
            f"{config.architecture}+input_features={pixels.shape[1]}."
        )
    drawn_anew = config.binarization == "stochastic"
    how = (str(config.binarization), config.threshold)
    fitted = fit(
        model := config.architecture.build(config.seed, config.likelihood),
        pixels if drawn_anew else data.prepare(pixels, *how),
        data.prepare(validation, *how),
        transform=(lambda x, generator: data.binarize(x, generator=generator))
        if drawn_anew
        else None,
        folder=runs.partial(run_dir),
        after_epoch=after_epoch,
        progress=progress,
        config=config.to_dict(),
        **config.fit_settings(),
    )
    provenance = fitted.provenance | {"best_epoch": fitted.best_epoch}
    weights, lines = model.state_dict(), fitted.history.tolist()
    runs.finish(run_dir, config.to_dict(), provenance, lines, weights, fitted.best_weights)


def load_model(run: runs.Run, device: str = "cpu", best: bool = False) -> VAE:
    """The trained model of a run, ready for evaluation.

    Args:
        best: whether to take the weights of the epoch with the best validation ELBO in place of
            those after the last epoch.

    Raises:
        runs.RunError: a weight is not finite, or the run has no best epoch.
    """
    weights = run.best_weights if best else run.weights
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise runs.RunError(
                f"{run.path} cannot be used: its {name} holds values that are not finite, so that "
                "the training diverged. Train again with a lower learning rate."
            )
    architecture = Architecture.parse(run.config["architecture"])
    model = architecture.build(likelihood=run.config.get("likelihood", "bernoulli"))
    grids.match(model, weights)
    model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return model.to(device).eval()
