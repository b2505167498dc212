"""What an update of the book's models costs.

    python benchmarks/updates.py

The models of one table of the book take turns at updates on a batch of their own training images;
of each the fastest turn counts. A group writes a table, `book/results/updates/GROUP.csv`, which a
chapter shows; where it was measured stands beside them in `provenance.json`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import torch
from sweeps import ROOT, save, where
from torch import Tensor, nn

from kanvae import Architecture, data, objective
from kanvae.models import count_parameters
from kanvae.studies import convolution, elsewhere, paper, sizes
from kanvae.studies.others import Task
from kanvae.studies.timing import interleaved
from kanvae.training.updates import Loss, make_optimizer, update

ROUNDS = 25
NARROW = paper.FEATURED["KAN-VAE**"]
KEYS = {  # a group's models by their keys
    "sizes": ("vae-400-20", "vae-350-15", "kan-35-15", "kan-400-20", "vae-4000-20"),
    "units": [
        sizes.fitted(kind, sizes.BUDGET) for kind in ("ReLU", "SiLU", "1 function", "4 functions")
    ],
    "bases": [
        *map(sizes.equal, sizes.BASES),
        str(sizes.baseline(NARROW)),
        f"{NARROW}+grid_range=-3.0..3.0",
    ],
}
TASKS = {"convolution": convolution.TASKS["MNIST"], **elsewhere.TASKS}


def timed(
    models: Mapping[str, nn.Module], loss: Loss, batch: Tensor, rounds=ROUNDS
) -> pd.DataFrame:
    """An update of each model on a batch, as a training makes it: "ms", and "relative" to the
    first model's.
    """
    made = {
        name: functools.partial(update, model, make_optimizer(model, 1e-3), batch, None, loss)
        for name, model in models.items()
    }
    ms = pd.DataFrame(interleaved(made, rounds, 0.03)).min()
    return pd.DataFrame({"ms": ms, "relative": ms / ms.iloc[0]})


def of_keys(keys: Iterable[str]) -> pd.DataFrame:
    """Updates of the models of these keys, on 32 images of MNIST."""
    images = data.binarize(data.load("MNIST", regime="paper").pixels[:32])
    models = {key: Architecture.parse(key).build(0) for key in keys}
    return timed(models, objective.terms, images)


def of_task(task: Task) -> pd.DataFrame:
    """Updates of the models of a task that learn, on its first batch."""
    made = {name: make(0) for name, make in task.models.items()}
    models = {name: model for name, model in made.items() if count_parameters(model)}
    batch = task.data()[0][: task.settings["batch_size"]]
    return timed(models, task.settings.get("loss", objective.terms), batch)


def main(output: Path = ROOT / "book" / "results" / "updates") -> None:
    found = {group: (of_keys(keys), where()) for group, keys in KEYS.items()}
    for group, task in TASKS.items():
        if group in elsewhere.TASKS:
            torch.set_num_threads(1)  # their steps are small: threads would wait for each other
        found[group] = of_task(task), where()
    for group, (times, measured) in found.items():
        table = times.round(3).rename_axis("model").reset_index()
        save(output, group, table, measured | {"rounds": ROUNDS})
        print(f"{group}\n{table.to_string(index=False)}\n")


if __name__ == "__main__":
    main()
