"""The architectures among which a search looks, as Optuna proposes them."""

from __future__ import annotations

import warnings
from typing import Any

from kanvae.architectures import Architecture

with warnings.catch_warnings():  # tqdm's, where a notebook has no widgets
    warnings.simplefilter("ignore")
    import optuna
    from optuna.trial import Trial


def suggest(trial: Trial) -> Architecture:
    """An architecture that Optuna proposes. The names of KAN settings stand for KAN layers only."""
    layer = trial.suggest_categorical("layer", ["kan", "linear"])
    wide = (40, 640) if layer == "linear" else (8, 400)
    hidden = trial.suggest_int(f"{layer}_hidden_features", *wide, log=True)
    latent = trial.suggest_int("latent_dim", 4, 32, log=True)
    depth = trial.suggest_int("depth", 1, 2)
    if layer == "linear":
        return Architecture(layer, hidden, latent, depth=depth)
    half = trial.suggest_float("grid_half_width", 1.0, 4.0, step=0.5)
    return Architecture(
        layer,
        hidden,
        latent,
        depth=depth,
        settings={
            "grid_size": trial.suggest_int("grid_size", 2, 10),
            "spline_order": trial.suggest_int("spline_order", 1, 3),
            "grid_range": (-half, half),
        },
    )


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
    if last.grid_range is not None:
        found |= {"grid_size": last.grid_size, "spline_order": last.spline_order}
        found |= {"grid_half_width": last.grid_range[1]}
    return found
