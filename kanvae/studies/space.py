"""The architectures among which a search looks, as Optuna proposes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from kanvae.architectures import Architecture
from kanvae.layers.kinds import KINDS
from kanvae.layers.wavelet import WAVELETS

with warnings.catch_warnings():  # tqdm's, where a notebook has no widgets
    warnings.simplefilter("ignore")
    import optuna
    from optuna.trial import Trial


SPACE: dict[str, Callable[[Trial], Any]] = {  # of what a kind of layer lets us choose
    "grid_range": lambda trial: _symmetric(trial.suggest_float("grid_half_width", 1, 4, step=0.5)),
    "grid_size": lambda trial: trial.suggest_int("grid_size", 2, 10),
    "spline_order": lambda trial: trial.suggest_int("spline_order", 1, 3),
    "degree": lambda trial: trial.suggest_int("degree", 2, 6),
    "groups": lambda trial: trial.suggest_int("groups", 1, 16, log=True),
    "wavelet": lambda trial: trial.suggest_categorical("wavelet", list(WAVELETS)),
}


LAYERS = ("kan", "shared", "linear")


def _symmetric(half: float) -> tuple[float, float]:
    return (-half, half)


def _sees_pixels(layer: str) -> bool:
    """Whether functions see the pixels, unless the first layer is made linear."""
    return layer != "linear" and "first" not in KINDS[layer].linear


def suggest(trial: Trial, layers: Sequence[str] = LAYERS) -> Architecture:
    """An architecture of these kinds of layers that Optuna proposes.

    The names of their settings stand for layers that have them only.
    """
    layer = trial.suggest_categorical("layer", layers)
    narrow = layer != "linear" and not KINDS[layer].shares  # with parameters on every edge
    wide = (8, 400) if narrow else (40, 640)
    hidden = trial.suggest_int(f"{layer}_hidden_features", *wide, log=True)
    latent = trial.suggest_int("latent_dim", 4, 32, log=True)
    depth = trial.suggest_int("depth", 1, 2)
    options = KINDS[layer].options
    settings = {name: propose(trial) for name, propose in SPACE.items() if name in options}
    if (
        _sees_pixels(layer)
        and trial.suggest_categorical("first", ("functions", "linear")) == "linear"
    ):
        settings["first"] = "linear"
    return Architecture(layer, hidden, latent, depth=depth, settings=settings)


def proposals(count: int, seed: int = 0) -> list[Architecture]:
    """What Optuna proposes before it has seen any trial: draws from the space of the search."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        directions=["minimize", "minimize"], sampler=optuna.samplers.TPESampler(seed=seed)
    )
    return [suggest(study.ask()) for _ in range(count)]


def as_parameters(architecture: Architecture) -> dict[str, Any]:
    """What Optuna has to be told to propose this architecture: the inverse of `suggest`."""
    a = architecture
    found = {
        "layer": a.layer, f"{a.layer}_hidden_features": a.hidden_features,
        "latent_dim": a.latent_dim, "depth": a.depth,
    }  # fmt: skip
    last = a.layers()["decoder", "pixels"]
    chosen = {name: getattr(last, name) for name in SPACE if getattr(last, name) is not None}
    if _sees_pixels(a.layer):
        is_linear = a.layers()["encoder", "first"].kind == "linear"
        found["first"] = "linear" if is_linear else "functions"
    if "grid_range" in chosen:
        found["grid_half_width"] = chosen.pop("grid_range")[1]
    return found | chosen
