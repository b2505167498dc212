"""Everything that the book shows, trained and scored at the paper's settings.

    kanvae reproduce                       all of it, to runs/reproduce and runs/results
    kanvae reproduce --status              what is done, what is not
    kanvae reproduce --rows kan-35-15 --regime figure6 --seeds 0,1
    kanvae reproduce --collect --output book/results      write the tables only

Stop it at any moment and start it again: a training goes on from its last epoch, a finished run
is not repeated. On a CPU every core works on a run of its own.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from kanvae import evaluation, files, runs
from kanvae.architectures import Architecture
from kanvae.models import count_parameters
from kanvae.studies import cluster, paper, results
from kanvae.training import TrainingConfig, resolve_device, train

SEEDS = range(5)
SETTINGS = evaluation.Settings(
    frechet_images="grayscale,binarized", importance_samples=500, likelihood_images=10_000
)
NARROW = 2_000_000  # models with more parameters are stored in float16


def baseline(architecture: Architecture) -> Architecture:
    """The linear VAE with as many parameters as a KAN-VAE: ten times its width, to 0.7 %."""
    return Architecture("linear", 10 * architecture.hidden_features, architecture.latent_dim)


TABLE = [str(row.architecture) for row in paper.TABLE_I]
BASELINES = [str(baseline(Architecture.parse(key))) for key in TABLE if key.startswith("kan")]
ABLATION = [
    f"{paper.FEATURED['KAN-VAE**']}{options}"
    for options in (
        "+grid_range=-3.0..3.0",
        "+first=linear",
        "+grid_range=-3.0..3.0+first=linear",
    )
]
MODELS = {
    key: part
    for part, keys in (("ablation", ABLATION), ("baseline", BASELINES), ("table", TABLE))
    for key in keys
}


def configs(
    rows: Iterable[str] = tuple(reversed(MODELS)),
    regimes: Iterable[str] = tuple(results.REGIMES),
    seeds: Iterable[int] = SEEDS,
    device: str = "cpu",
) -> list[TrainingConfig]:
    """The trainings, in the order in which they are best done. The ablation knows one regime."""
    return [
        TrainingConfig(
            Architecture.parse(key), regime=regime, seed=seed, device=device, epochs=paper.EPOCHS
        )
        for regime in regimes
        for seed in seeds
        for key in rows
        if regime != "full" or MODELS.get(key) != "ablation"
    ]


def folder(config: TrainingConfig) -> Path:
    """The run folder of a training."""
    name = results.name(config.architecture, config.regime, config.seed)
    return runs.root() / "reproduce" / name


def state(config: TrainingConfig) -> str:
    """How far a run is: missing, begun, trained, scored or damaged."""
    path = folder(config)
    if path.is_dir():
        if damage([path]):
            return "damaged"
        return "scored" if (path / "metrics.json").exists() else "trained"
    return "begun" if (runs.partial(path) / "checkpoint.pt").exists() else "missing"


def damage(folders: Iterable[Path]) -> list[str]:
    """What is wrong with finished runs, and how to mend it, a line for each that is damaged."""
    found = []
    for path in filter(Path.is_dir, folders):
        try:
            runs.check(path)
        except runs.RunError as error:
            found.append(str(error))
    return found


def complete(config: TrainingConfig, progress: bool = True) -> None:
    """Train and score one run, as far as that is not done yet."""
    run = train(config, folder(config), progress)
    runs.check(run.path)
    if state(config) != "scored":
        settings = SETTINGS._replace(features=",".join(evaluation.features_here()))
        runs.record(run, evaluation.evaluate(run, settings, config.device))


def effort(config: TrainingConfig) -> float:
    """About how long a run takes, in units that only a forecast needs."""
    trained = results.REGIMES[config.regime] * config.epochs
    images = 3 * trained + 5_000_000  # trained on, and decoded
    parameters = count_parameters(config.architecture.build())
    return images * (1 + parameters / 1e6)


def complete_all(todo: list[TrainingConfig], workers: int | None) -> list[str]:
    """Train and score several runs at a time, on so many workers; what failed, a line each."""
    if not todo:
        return []
    failures = []
    weights = {folder(config).name: effort(config) for config in todo}
    tasks = [(folder(config).name, (config, False)) for config in todo]
    with (
        cluster.start(workers=workers) as client,
        tqdm(
            total=sum(weights.values()),
            desc=f"{len(todo)} runs",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left {postfix}",
        ) as bar,
        closing(cluster.results(client, complete, tasks)) as found,
    ):
        for result in found:
            if result.error:
                failures.append(f"{result.name}: {result.error}")
            bar.set_postfix_str(f"last: {result.name}")
            bar.update(weights[result.name])
    return failures


def line(run: runs.Run) -> dict[str, Any]:
    """The line of runs.csv for a scored run."""
    config, scores, last = run.config, run.metrics, run.epochs[-1]
    found: dict[str, Any] = {
        "name": results.name(config["architecture"], config["regime"], config["seed"]),
        "model": config["architecture"],
        "part": MODELS.get(config["architecture"], "other"),
        **{key: config[key] for key in ("regime", "seed", "epochs")},
    }
    keys = (
        *("parameters", "train_reconstruction", "train_kl", "train_elbo"),
        *("test_reconstruction", "test_kl", "test_elbo", "test_nll"),
        *("importance_samples", "likelihood_images"),
        *("active_units", "neighbour_accuracy", "silhouette"),
    )
    found |= {key: scores[key] for key in keys}
    for kind, distances in scores["frechet"].items():
        column = "frechet_" + kind.replace(" ", "_").replace("-", "_")
        found[column] = np.mean(distances)
        found[f"{column}_std"] = np.std(distances, ddof=1)
    found["updates"] = int(last["update"])
    found["seconds"] = run.provenance["seconds"]
    found["seconds_per_update"] = run.provenance["seconds"] / last["update"]
    found["peak_megabytes"] = run.provenance["peak_memory"] / 1e6
    return found


def epoch_lines(run: runs.Run) -> pd.DataFrame:
    """The lines of epochs.csv.gz for a run; training terms are means over the epoch's updates."""
    frame = pd.DataFrame(run.history)
    means = frame.groupby("epoch")[["reconstruction", "kl"]].mean()
    ends = frame[frame["seconds"].notna()].set_index("epoch")
    columns = [name for name in runs.COLUMNS[4:] if name in frame] or list(runs.OLD_COLUMNS[4:])
    return means.join(ends[columns]).reset_index().astype({"epoch": int})


def collect(output: Path) -> int:
    """Write the results of all scored runs to a folder; how many runs stand there now.

    Runs that it held before and that are not on this machine keep their lines.
    """
    scored = [runs.read(folder(config)) for config in configs() if state(config) == "scored"]
    tables: dict[str, list[pd.DataFrame]] = {"runs.csv": [], "frechet.csv": [], "epochs.csv.gz": []}
    provenance: dict[str, Any] = {}
    if (output / "provenance.json").exists():
        provenance = json.loads((output / "provenance.json").read_text(encoding="utf-8"))
        here = {run.path.name for run in scored}
        for file, frames in tables.items():
            old = pd.read_csv(output / file)
            frames.append(old[~old["name"].isin(here)])
    if not (scored or provenance):
        return 0
    output.mkdir(parents=True, exist_ok=True)
    for run in tqdm(scored, desc="collecting", unit="run"):
        found = line(run)
        tables["runs.csv"].append(pd.DataFrame([found]))
        distances = [
            {
                **dict(zip(("features", "images"), kind.split(), strict=True)),
                "evaluation_seed": i,
                "distance": x,
            }
            for kind, values in run.metrics["frechet"].items()
            for i, x in enumerate(values)
        ]
        tables["frechet.csv"].append(pd.DataFrame(distances).assign(name=run.path.name))
        tables["epochs.csv.gz"].append(epoch_lines(run).assign(name=run.path.name))
        provenance[run.path.name] = {"config": run.config, **run.provenance}
        _copy_featured(run, output / run.path.name)
    order = {str(path.name): i for i, path in enumerate(map(folder, configs()))}
    for file, frames in tables.items():
        table = pd.concat([frame for frame in frames if len(frame)])
        table = table.sort_values("name", key=lambda names: names.map(order), kind="stable")
        table.insert(0, "name", table.pop("name"))
        text = table.to_csv(index=False, float_format="%.7g", lineterminator="\n")
        _write(output / file, text.encode())
    # last: where it is, the others are
    ordered = {
        name: provenance[name] for name in sorted(provenance, key=lambda n: order.get(n, -1))
    }
    files.write_text(output / "provenance.json", json.dumps(ordered, indent=1) + "\n")
    return len(provenance)


def _own_results() -> Path:
    """`runs/results`; it begins as a copy of the reference, whose runs are replaced one by one."""
    own = runs.root() / "results"
    if not own.exists() and (results.root() / "provenance.json").exists():
        part = runs.partial(own)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(results.root(), part)
        part.rename(own)
    return own


def _copy_featured(run: runs.Run, target: Path) -> None:
    """Copy what the book's figures need of a run, if they need anything."""
    config = run.config
    drawn = [str(architecture) for architecture in paper.FEATURED.values()]
    if config["architecture"] not in drawn or config["seed"] != 0:
        return
    target.mkdir(exist_ok=True)
    for file in ("config.json", "metrics.json"):
        shutil.copyfile(run.path / file, target / file)
    _write(target / "history.csv.gz", (run.path / "history.csv").read_bytes())
    if config["regime"] == "figure6":  # of the others only the curves are drawn
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


def report(todo: list[TrainingConfig]) -> str:
    """What is done and what is not, a line for each model and regime."""
    lines: dict[tuple[str, str], list[str]] = {}
    for config in todo:
        cell = f"{config.seed}:{state(config)}"
        lines.setdefault((config.regime, str(config.architecture)), []).append(cell)
    rows = [f"{regime:8s} {key:45s} {'  '.join(cells)}" for (regime, key), cells in lines.items()]
    done = sum(state(config) == "scored" for config in todo)
    return "\n".join([*rows, f"{done} of {len(todo)} runs are trained and scored"])


def _whole_numbers(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else list(SEEDS)
    except ValueError:
        raise ValueError(f"--seeds is {text!r}: give whole numbers, such as 0,1,2.") from None


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of `kanvae reproduce`."""
    parser.add_argument("--rows", help="keys of models, with commas between them (all)")
    parser.add_argument(
        "--regime", help=f"of {list(results.REGIMES)}, with a comma between them (all)"
    )
    parser.add_argument("--seeds", help="with commas between them (0,1,2,3,4)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (auto)")
    parser.add_argument(
        "--workers", type=int, help="runs at a time, 0 for this process (cores; 1 on a GPU)"
    )
    parser.add_argument("--status", action="store_true", help="only say what is done")
    parser.add_argument("--collect", action="store_true", help="only write the tables")
    parser.add_argument("--output", type=Path, help="folder of the tables (runs/results)")


def command(options: argparse.Namespace) -> str | None:
    """Reproduce as the options say; what failed, if anything did.

    Raises:
        ValueError: an option that is not allowed.
    """
    device = resolve_device(options.device)
    rows = options.rows.split(",") if options.rows else list(reversed(MODELS))
    regimes = options.regime.split(",") if options.regime else list(results.REGIMES)
    todo = configs(rows, regimes, _whole_numbers(options.seeds), device)
    workers = options.workers
    if workers is None and device != "cpu":
        workers = 1
    if workers is not None and workers < 0:
        raise ValueError(f"--workers is {workers}: it must be 0 or more.")
    if options.status:
        print(report(todo))
        return None
    if workers == 0:
        for config in todo:
            complete(config)
        return None
    failures: list[str] = []
    if not options.collect:
        states = {config: state(config) for config in todo}
        print(f"{len(todo)} runs, {list(states.values()).count('scored')} of them done before")
        missing = [c for c, found in states.items() if found not in ("scored", "damaged")]
        failures = complete_all(missing, workers)
    failures += damage(dict.fromkeys(map(folder, [*todo, *configs()])))
    output = options.output or _own_results()
    print(f"{collect(output)} runs in {output}")
    if failures:
        return "\n".join(["these runs failed; start again to go on with them:", *failures])
    return None
