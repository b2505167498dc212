"""The tables of all runs, as `kanvae.studies.results` reads them: written a run at a time."""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file

from kanvae import files, runs
from kanvae.models import count_parameters
from kanvae.studies import paper, reading, results
from kanvae.studies.plan import Job
from kanvae.training import load_model

NARROW = 2_000_000  # models with more parameters are stored in float16


def scored(output: Path, study: str = "runs") -> dict[str, str]:
    """Of the runs whose lines stand in a folder of results, how much of them is scored."""
    return {name: about["scores"] for name, about in provenance(output, study).items()}


def report(states: Mapping[str, str], words: str = "runs") -> str:
    """What is done and what is not: a line for each model and setting, with its seeds.

    Args:
        states: how far each run is, by its name.
    """
    found: dict[str, list[str]] = {}
    for name, state in states.items():
        plain, _, seed = name.rpartition("-seed")
        found.setdefault(plain, []).append(f"{seed}:{state}")
    rows = [f"{plain:60s} {'  '.join(cells)}" for plain, cells in found.items()]
    done = sum(state in ("done", "scored") for state in states.values())
    return "\n".join([*rows, f"{done} of {len(states)} {words} are trained and scored"])


def lines(job: Job, run: runs.Run) -> list[dict[str, Any]]:
    """The lines of scores.csv for a run: its last and its best epoch."""
    config, own = job.config, results.settings(job.config)
    where = {
        "name": job.name,
        "model": str(config.architecture),
        "dataset": Path(config.dataset).stem,
        "regime": config.regime,
        "learning_rate": config.learning_rate,
        "scheduler": config.scheduler,
        "settings": ",".join(
            f"{name}={value}"
            for name, value in own.items()
            if name not in ("learning_rate", "scheduler")
        ),
        "seed": config.seed,
        "parameters": count_parameters(load_model(run)),
    }
    metrics, found = run.metrics, []
    for which, epoch in (("last", config.epochs), ("best", run.best_epoch)):
        scores = metrics if which == "last" else metrics.get("best", {})
        end = run.epochs[epoch - 1]
        line = where | {"reading": which, "epoch": epoch}
        line |= {
            "validation_reconstruction": end["validation_reconstruction"],
            "validation_kl": end["validation_kl"],
            "validation_elbo": run.elbo[epoch - 1],
        }
        if which == "last":
            for name in ("reconstruction", "kl"):  # as Figure 6 shows it
                line[f"band_{name}"] = sum(reading.band(run.history[name])) / 2
        line |= {name: scores[name] for name in COPIED if name in scores}
        if (outside := scores.get("outside_grid", {}).get("decoder.latents")) is not None:
            line["latents_outside_grid"] = outside
        for kind, distances in scores.get("frechet", {}).items():
            line[column := f"frechet_{_column(kind)}"] = np.mean(distances)
            line[f"{column}_std"] = np.std(distances, ddof=1)
        for kind, distance in scores.get("kernel", {}).items():
            line[f"kernel_{_column(kind)}"] = distance
        for part in ("fidelity", "recognition"):
            for kind, values in scores.get(part, {}).items():
                line |= {f"{name}_{_column(kind)}": value for name, value in values.items()}
        line["updates"] = int(end["update"])
        line["seconds"] = end["seconds"]
        line["cpu_seconds"] = run.provenance["cpu_seconds"]
        line["peak_megabytes"] = run.provenance["peak_memory"] / 1e6
        found.append(line)
    return found


# The columns that lead in scores.csv and in epochs.csv.gz, as far as they are there.
FIRST = (
    *("name", "model", "dataset", "regime", "learning_rate", "scheduler", "settings", "seed"),
    *("parameters", "reading", "epoch"),
)
COPIED = (
    *("train_reconstruction", "train_kl", "train_elbo"),
    *("test_reconstruction", "test_kl", "test_elbo", "test_nll", "test_nll_few", "test_nll_many"),
    *("active_units", "neighbour_accuracy", "silhouette", "plane_silhouette"),
)


def ordered(table: pd.DataFrame, *first: str) -> pd.DataFrame:
    """A table whose columns come in an order that does not depend on which run was written first.

    Args:
        first: the columns that lead.
    """
    return table[[*first, *sorted(set(table) - set(first))]]


def _column(kind: str) -> str:
    return kind.replace(" ", "_").replace("-", "_")


def epoch_lines(run: runs.Run) -> pd.DataFrame:
    """The lines of epochs.csv.gz for a run; training terms are means over the epoch's updates."""
    frame = pd.DataFrame(run.history)
    means = frame.groupby("epoch")[["reconstruction", "kl"]].mean()
    ends = frame[frame["seconds"].notna()].set_index("epoch")
    return means.join(ends[list(runs.COLUMNS[4:])]).reset_index().astype({"epoch": int})


def collect(output: Path, scored: Iterable[tuple[Job, Path]]) -> None:
    """Write the lines of scored runs to the tables of a folder of results; others keep theirs."""
    here = {job.name: (job, runs.read(path)) for job, path in scored}
    if not here:
        return
    root = output / "runs"
    root.mkdir(parents=True, exist_ok=True)
    new = {
        "scores.csv": pd.DataFrame([line for each in here.values() for line in lines(*each)]),
        "epochs.csv.gz": pd.concat(
            epoch_lines(run).assign(name=name) for name, (_, run) in here.items()
        ),
    }
    for file, table in new.items():
        if (root / file).exists():
            old = pd.read_csv(root / file)
            table = pd.concat([old[~old["name"].isin(list(here))], table])
        table = ordered(table, *(name for name in FIRST if name in table))
        table = table.sort_values("name", kind="stable")
        text = table.to_csv(index=False, float_format="%.7g", lineterminator="\n")
        _write(root / file, text.encode())
    for name, (job, run) in here.items():
        if drawn(job):
            _copy(run, root / name)
    about = {
        name: {"config": portable(run.config), **run.provenance, "scores": run.metrics["scores"]}
        for name, (_, run) in here.items()
    }
    add_provenance(output, "runs", about)


def portable(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration without the folder of its set, which is this machine's own.

    The set is known by its checksum.
    """
    return config | {"dataset": Path(config["dataset"]).name}


def provenance(output: Path, study: str = "runs") -> dict[str, Any]:
    """Where the runs of a folder of results come from, by name."""
    path = output / study / "provenance.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def add_provenance(output: Path, study: str, about: dict[str, Any]) -> None:
    """Write where runs come from. It is written last: where it is, the lines of a run are."""
    every = dict(sorted((provenance(output, study) | about).items()))
    files.write_text(output / study / "provenance.json", json.dumps(every, indent=1) + "\n")


def drawn(job: Job) -> bool:
    """Whether the book's figures need the weights of a run."""
    return job.name in {results.RECOMMENDED, *map(results.paper_name, paper.FEATURED.values())}


def _copy(run: runs.Run, target: Path) -> None:
    """Copy what figures need of a run."""
    target.mkdir(exist_ok=True)
    for file in ("config.json", "metrics.json"):
        shutil.copyfile(run.path / file, target / file)
    _write(target / "history.csv.gz", (run.path / "history.csv").read_bytes())
    weights = load_file(run.path / "weights.safetensors")
    if sum(w.numel() for w in weights.values()) > NARROW:
        weights = {name: w if "grid" in name else w.half() for name, w in weights.items()}
    save_file(weights, target / "weights.safetensors")


def _write(path: Path, content: bytes) -> None:
    """Write a file, compressed if its name says so; the same content gives the same bytes."""
    if path.suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
            file.write(content)
        content = buffer.getvalue()
    files.write_bytes(path, content)
