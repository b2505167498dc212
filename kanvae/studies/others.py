"""Studies of models that no key of an architecture names: tasks on which models of one size meet.

    convolution   the convolutional VAE and its twins (`kanvae.studies.convolution`)
    elsewhere     recurrent layers, transformers and graphs (`kanvae.studies.elsewhere`)

Each model is trained with seed 0 at every learning rate of its task; that with the best validation
loss is trained with all seeds, and only these runs are scored on test data. A run has two lines in
`STUDY/scores.csv` of the results: after its last epoch, and at its best epoch on validation data.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kanvae import convolutional, files, origin, runs
from kanvae.models import count_parameters
from kanvae.studies import collecting, distributing, sets
from kanvae.training import DivergedError, Fit, fit
from kanvae.training.configuration import code_digest, without_words

STUDIES = ("convolution", "elsewhere")  # modules beside this one, each with its `TASKS`
SEEDS = range(3)
Scores = dict[str, float]


class Task(NamedTuple):
    """What models are compared on, and how they are trained. Test data are for `score` alone."""

    models: Mapping[str, Callable[[int], nn.Module]]  # by name; called with a seed
    data: Callable[[], tuple[Tensor, Tensor]]  # for training and for validation, (N, ...) each
    score: Callable[[nn.Module], Scores]  # of a trained model, on test data
    settings: Mapping[str, Any]  # of `training.fit`
    rates: Collection[float]  # the learning rates to choose from


class Job(NamedTuple):
    """A training, and whether it is scored on test data ("all") or only chooses ("validation")."""

    study: str
    task: str
    model: str
    learning_rate: float  # 0 for what has nothing to learn
    seed: int
    scores: str = "all"
    device: str = "cpu"

    @property
    def name(self) -> str:
        """What its run is called in the tables."""
        return f"{self.task}-{self.model}-learning_rate={self.learning_rate:g}-seed{self.seed}"


class Outcome(NamedTuple):
    """What a run gave: its lines of scores.csv, and what stands in provenance.json."""

    lines: list[dict[str, Any]]
    about: dict[str, Any]


def tasks(study: str) -> dict[str, Task]:
    """The tasks of a study, by name."""
    return importlib.import_module(f"kanvae.studies.{study}").TASKS


def jobs(study: str, table: pd.DataFrame) -> list[Job]:
    """The trainings of a study, as far as its table of scores says which learning rates are best.

    Args:
        table: `table(output, study)`.
    """
    found = []
    for name, task in tasks(study).items():
        for model, make in task.models.items():
            if not count_parameters(make(0)):
                found.append(Job(study, name, model, 0.0, 0))
                continue
            tried = [Job(study, name, model, rate, 0, "validation") for rate in task.rates]
            best = best_rate(tried, table)
            found += [job for job in tried if job.learning_rate != best]
            if best is not None:
                found += [Job(study, name, model, best, seed) for seed in SEEDS]
    return found


def best_rate(tried: Collection[Job], table: pd.DataFrame) -> float | None:
    """The learning rate with the best validation loss; None where a run that says it is missing."""
    losses = table[table["reading"] == "best"].set_index("name")["validation_loss"]
    if not {job.name for job in tried} <= set(losses.index):
        return None
    return min(tried, key=lambda job: losses[job.name]).learning_rate


def folder(job: Job) -> Path:
    """Where a training keeps its checkpoint; its name covers the code that makes its numbers."""
    sources = [importlib.import_module(f"kanvae.studies.{job.study}"), convolutional, sets]
    texts = [without_words(Path(str(module.__file__))) for module in sources]
    digest = hashlib.sha256("\n".join([code_digest(), *texts]).encode()).hexdigest()[:8]
    return runs.root() / "others" / job.study / f"{job.name}-{digest}"


def complete(job: Job, progress: bool = True) -> Outcome:
    """Train a model, or go on with it, and score it.

    A training that diverges is an outcome too: its validation loss is infinite.
    """
    task = tasks(job.study)[job.task]
    model = task.models[job.model](job.seed)
    size = count_parameters(model)
    how: dict[str, Any] = {"learning_rate": job.learning_rate, "seed": job.seed}
    where = {"name": job.name, "task": job.task, "model": job.model, "parameters": size, **how}
    plain = {name: value for name, value in task.settings.items() if not callable(value)}
    about = {"config": {"task": job.task, "model": job.model, **how, **plain}, "scores": job.scores}
    about |= origin.provenance(job.device)
    if not size:
        found = [{"epoch": 0, **task.score(model)}] * 2
    else:
        how |= {**task.settings, "device": job.device, "folder": folder(job)}
        try:
            fitted = fit(model, *task.data(), progress=progress, **how)
        except DivergedError as error:
            found = [{"epoch": 0, "validation_loss": math.inf}] * 2
            about["diverged"] = str(error)
        else:
            found = _readings(model, fitted, task.score if job.scores == "all" else None)
            about |= fitted.provenance
    readings = zip(("last", "best"), found, strict=True)
    return Outcome([{**where, "reading": name, **line} for name, line in readings], about)


def _readings(
    model: nn.Module, fitted: Fit, score: Callable[[nn.Module], Scores] | None
) -> list[dict[str, Any]]:
    """What a trained model has after its last epoch and at its best; scored where that is asked."""
    ends = fitted.history[np.isfinite(fitted.history["seconds"])]
    found: list[dict[str, Any]] = []
    for epoch in (len(ends), fitted.best_epoch or len(ends)):
        if found and found[0]["epoch"] == epoch:
            return [*found, found[0]]
        if found:
            model.load_state_dict(fitted.best_weights or {})
        end = ends[epoch - 1]
        loss = float(end["validation_reconstruction"] + end["validation_kl"])
        line = {"epoch": epoch, "validation_loss": loss, **(score(model.eval()) if score else {})}
        line |= {"seconds": float(end["seconds"])}
        found.append(line | {"cpu_seconds": fitted.provenance["cpu_seconds"]})
    return found


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A model whose first weights the seed alone determines."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def table(output: Path, study: str) -> pd.DataFrame:
    """The lines of a study that stand in a folder of results."""
    path = output / study / "scores.csv"
    columns = ["name", "reading", "validation_loss"]
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=columns)


def write(output: Path, study: str, outcome: Outcome) -> None:
    """Write a run to the tables of its study; other runs keep their lines."""
    (output / study).mkdir(parents=True, exist_ok=True)
    lines, old = pd.DataFrame(outcome.lines), table(output, study)
    name = str(lines["name"].iloc[0])
    if len(old := old[old["name"] != name]):
        lines = pd.concat([old, lines])
    first = ("name", "task", "model", "parameters", "learning_rate", "seed", "reading", "epoch")
    lines = collecting.ordered(lines, *first).sort_values("name", kind="stable")
    text = lines.to_csv(index=False, float_format="%.7g", lineterminator="\n")
    files.write_text(output / study / "scores.csv", text)
    collecting.add_provenance(output, study, {name: outcome.about})


def chosen(study: str, output: Path, seeds: Collection[int] | None, device: str) -> list[Job]:
    """The trainings of a study that are known so far, of these seeds (None: all), on a device."""
    known = jobs(study, table(output, study))
    return [job._replace(device=device) for job in known if seeds is None or job.seed in seeds]


def state(job: Job, tabled: Mapping[str, str]) -> str:
    """How far a run is: done, begun or missing.

    Args:
        tabled: `collecting.scored` of its study.
    """
    if tabled.get(job.name) in ("all", job.scores):
        return "done"
    return "begun" if (folder(job) / "checkpoint.pt").exists() else "missing"


def report(study: str, output: Path, seeds: Collection[int] | None, device: str) -> str:
    """What is done of a study and what is not, a line for each model and learning rate."""
    tabled, todo = collecting.scored(output, study), chosen(study, output, seeds, device)
    return collecting.report({job.name: state(job, tabled) for job in todo}, f"runs of {study}")


def run(
    study: str, output: Path, seeds: Collection[int] | None, device: str, workers: int | None
) -> list[str]:
    """Train and score what is missing of a study; what failed, a line each.

    First the runs that choose learning rates, then those that follow from them. Every finished run
    is written to the tables in `output` at once.

    Args:
        seeds: None for all.
        workers: runs at a time, 0 for this process, None for one a core.
    """
    failures: list[str] = []
    attempted: set[Job] = set()
    while todo := [
        job
        for job in chosen(study, output, seeds, device)
        if job not in attempted and state(job, collecting.scored(output, study)) != "done"
    ]:
        attempted |= set(todo)
        print(f"{study}: {len(todo)} runs to do")
        by_name = {job.name: job for job in todo}
        failures += distributing.do_all(
            complete, by_name, lambda _, outcome: write(output, study, outcome), workers
        )
    print(f"{len(collecting.scored(output, study))} runs in {output / study}")
    return failures
