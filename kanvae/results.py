"""The results that the book shows: every run in tables, and the models that its figures draw.

    runs.csv         a line a run: its settings, scores, seconds and bytes
    frechet.csv      a line a Fréchet distance, one for each evaluation seed of a run
    epochs.csv.gz    a line an epoch of a run: learning rate, training means, test terms
    provenance.json  for each run: its configuration, when, at which commit, on what it was trained
    NAME/            a run folder of a model that figures draw; without weights where only its
                     learning curve is drawn

`python -m kanvae.reproduce` writes them, from run folders; nothing in them is typed by hand.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kanvae import runs
from kanvae.models import Architecture


def root() -> Path:
    """Where the results are: `$KANVAE_RESULTS`, else what this checkout computed itself
    (`runs/results`), else the reference that comes with the book."""
    if named := os.environ.get("KANVAE_RESULTS"):
        return Path(named).expanduser()
    module = Path(__file__).resolve().parent
    checkout = module.parent
    if not (checkout / "noxfile.py").exists():
        return module / "reference"  # where an installed package has a copy of book/results
    own = runs.root() / "results"
    return own if (own / "provenance.json").exists() else checkout / "book" / "results"


def name(architecture: Architecture | str, regime: str, seed: int) -> str:
    """What a run is called."""
    return f"{architecture}-{regime}-seed{seed}"


def table() -> pd.DataFrame:
    """Every run, a line each; the columns are those of runs.csv."""
    return pd.read_csv(_file("runs.csv"))


def frechet() -> pd.DataFrame:
    """Every Fréchet distance: name, features, images, evaluation_seed, distance."""
    return pd.read_csv(_file("frechet.csv"))


def epochs() -> pd.DataFrame:
    """Every epoch of every run: name, epoch, learning_rate, the terms on training and test set."""
    return pd.read_csv(_file("epochs.csv.gz"))


def provenance() -> dict[str, Any]:
    """For each run by name: its configuration, and when, where and with what it was trained."""
    return json.loads(_file("provenance.json").read_text())


def run(architecture: Architecture | str, regime: str, seed: int = 0) -> runs.Run:
    """A run whose weights come with the results.

    Raises:
        RunError: they do not.
    """
    return runs.read(_file(name(architecture, regime, seed)))


def history(architecture: Architecture | str, regime: str, seed: int = 0) -> np.ndarray:
    """Both terms of the loss at every weight update of a featured run (`runs.Run.history`).

    Raises:
        RunError: the run is not among the featured ones.
    """
    return runs.read_history(_file(name(architecture, regime, seed)) / "history.csv.gz")


def _file(inside: str) -> Path:
    path = root() / inside
    if not path.exists():
        there = sorted(p.name for p in root().glob("*-seed*")) if root().is_dir() else []
        raise runs.RunError(
            f"there is no {inside} in {root()}. The runs there are {', '.join(there) or 'none'}; "
            "`nox -s reproduce` computes all, and KANVAE_RESULTS names another folder."
        )
    return path
