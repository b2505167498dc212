"""The results that the book shows: every run in tables, and the models that its figures draw.

    runs/scores.csv       two lines a run of `kanvae.studies.plan`, one for each of its readings:
                          its settings, scores, seconds and bytes
    runs/epochs.csv.gz    a line an epoch of a run: learning rate, training means, validation terms
    runs/provenance.json  for each run: its configuration, when, at which commit, on what it was
                          trained, and how much of it is scored
    runs/NAME/            the run folder of a model that figures draw
    convolution/, elsewhere/    the studies of `kanvae.studies.others`: scores.csv, provenance.json
    search/               the trials of the architecture search, their curves, where they ran
    sweeps/               what sweeps cost, and what faults cost them
    updates/              what a training update of the book's models costs
    paper/                what was read from the paper's figures

`kanvae reproduce`, `kanvae search --collect` and the benchmarks `sweeps.py`, `soak.py` and
`updates.py` write them; nothing in them is typed by hand.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kanvae import origin, runs
from kanvae.architectures import Architecture
from kanvae.studies import location, paper
from kanvae.training import TrainingConfig

# Of the study "sharing", the kind with the best validation ELBO over the first three seeds, and the
# first of these. (Over five seeds sixteen functions are 0.04 nats ahead, far less than the spread.)
RECOMMENDED = "shared-374-20+groups=4-MNIST-paper-scheduler=cosine-seed0"


@functools.cache
def row_name(config: TrainingConfig) -> str:
    """What a run is called in the tables: its model, its images, what is not at its default."""
    parts = [str(config.architecture), Path(config.dataset).stem, config.regime]
    parts += [f"{name}={value}" for name, value in settings(config).items()]
    return "-".join([*parts, f"seed{config.seed}"])


def paper_name(architecture: Architecture | str, regime: str = "paper", seed: int = 0) -> str:
    """What a run at the paper's setting is called in the tables."""
    return row_name(paper.config(str(architecture), regime, seed))


def settings(config: TrainingConfig) -> dict[str, Any]:
    """What of a training is not at its default, but for its model, its images and its seed."""
    plain = TrainingConfig(config.architecture, config.dataset)
    apart = ("architecture", "dataset", "regime", "seed", "device")
    names = (field.name for field in fields(config) if field.name not in apart)
    found = {name: getattr(config, name) for name in names}
    return {name: value for name, value in found.items() if value != getattr(plain, name)}


def scores(**chosen: Any) -> pd.DataFrame:
    """Every reading of every run, a line each, of those with these values in these columns.

    There are two readings: after the last epoch, and at the best epoch by validation ELBO.
    `settings` holds what is not at its default but learning rate and schedule, empty if nothing.
    Runs that only choose settings have no test scores.
    """
    if not (location.root() / "runs" / "scores.csv").exists():
        known = ["name", "reading", "settings", "validation_elbo"]
        return pd.DataFrame(columns=list(dict.fromkeys([*known, *chosen])))
    return _with(_read_csv("runs/scores.csv"), chosen)


def study(name: str, **chosen: Any) -> pd.DataFrame:
    """Every reading of every run of a study of `kanvae.studies.others`, with these values.

    There are two readings, "last" and "best", as in `scores`; the columns name task and model, and
    are empty where another task has them. Runs that only choose a learning rate have no test
    scores. What diverged has an infinite `validation_loss`.

    Args:
        name: "convolution" or "elsewhere".
        chosen: values by column, such as `task="rows"`.

    Raises:
        RunError: it has no table here, or a damaged one.
    """
    return _with(_read_csv(f"{name}/scores.csv"), chosen)


def at_paper(how: Mapping[str, Any] = paper.SETTINGS, **chosen: Any) -> pd.DataFrame:
    """The lines of `scores` that are at the paper's setting on MNIST, with these values.

    Args:
        how: what the paper's text leaves open; `paper.NEVER` is the other schedule that fits.
    """
    lines = scores(dataset="MNIST", **chosen)
    columns = zip(lines["name"], lines["model"], lines["regime"], lines["seed"], strict=True)
    return lines[[name == row_name(paper.config(*which, **how)) for name, *which in columns]]


def learning() -> pd.DataFrame:
    """Every epoch of every run of `scores`: training means and validation terms, a line each."""
    return _read_csv("runs/epochs.csv.gz")


def provenance() -> dict[str, Any]:
    """For each run of `scores`: its configuration, and when, where and with what it was trained."""
    return _read_json("runs/provenance.json")


def featured_run(architecture: Architecture | str) -> runs.Run:
    """The first run of a model at the paper's setting, whose weights come with the results.

    Raises:
        RunError: they do not.
    """
    return runs.read(_file(f"runs/{paper_name(architecture)}"))


def recommended() -> runs.Run:
    """The model that the book recommends, trained: four functions an input, as large as the paper's
    VAE. `kanvae.training.load_model` makes a module of it.

    Raises:
        RunError: it is not among the results.
    """
    return runs.read(_file(f"runs/{RECOMMENDED}"))


def search() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The architecture search: its trials, their curves, its settings and where it ran."""
    tables = _read_csv("search/trials.csv"), _read_csv("search/curves.csv")
    return *tables, _read_json("search/provenance.json")


def measured(what: str) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """What the benchmarks measured, a table a part, and where and with what each was.

    Args:
        what: "sweeps", what they cost; "updates", milliseconds of a training update of models that
            took turns, and their ratio to those of the first.

    Raises:
        RunError: there are no such tables here, or damaged ones.
    """
    folder = _file(what)
    tables = {p.stem: _read_csv(f"{what}/{p.name}") for p in sorted(folder.glob("*.csv"))}
    return tables, _read_json(f"{what}/provenance.json")


def reading(table: str) -> pd.DataFrame:
    """What was read from the paper's figures (`kanvae.studies.reading`).

    Args:
        table: "figure8-inputs", the training image that each input of Figure 8 shows, by a first
            reading; "figure8-reread", the same by the module; "figure8-brightness", how bright
            these inputs are by MNIST's grey value; "figure6-ends", where the curves end.
    """
    return _read_csv(f"paper/{table}.csv")


class Difference(NamedTuple):
    """A difference between the means of two models over training seeds."""

    mean: float
    low: float  # the ends of the 95 % interval, nan where a model has fewer than two seeds
    high: float
    p: float  # of no difference
    seeds: int  # of the model that has fewer

    def __str__(self) -> str:
        return self.short().replace("(", "(95 %: ")

    def short(self, digits: int = 1) -> str:
        """The mean and, in brackets, its interval, for a table whose caption says what they are."""
        mean, low, high = (f"{each:+.{digits}f}" for each in self[:3])
        return mean if self.seeds < 2 else f"{mean} ({low} to {high})"


def difference(lines: pd.DataFrame, first: str, second: str, column: str) -> Difference:
    """The mean of the first model minus that of the second, with Welch's interval.

    Runs of one seed share the order of their images, which ties their scores so little that they
    are not paired.

    Args:
        lines: of `scores()`, of one regime and reading.
        first, second: models.
        column: what to compare.
    """
    from scipy import stats

    a, b = (lines.loc[lines["model"] == model, column].dropna() for model in (first, second))
    mean, seeds = float(a.mean() - b.mean()), min(len(a), len(b))
    if seeds < 2:
        return Difference(mean, np.nan, np.nan, np.nan, seeds)
    test = stats.ttest_ind(a, b, equal_var=False)
    ends = test.confidence_interval()
    return Difference(mean, float(ends.low), float(ends.high), float(test.pvalue), seeds)


def clear(family: Mapping[str, Difference], level: float = 0.05) -> dict[str, Difference]:
    """Those of a family of differences that chance does not explain, by Holm's procedure.

    With all of them at chance, the probability that any is among these is at most `level`.
    """
    tested = {name: d for name, d in family.items() if d.seeds >= 2}
    found: dict[str, Difference] = {}
    for i, name in enumerate(sorted(tested, key=lambda name: tested[name].p)):
        if tested[name].p > level / (len(tested) - i):
            break
        found[name] = tested[name]
    return {name: d for name, d in family.items() if name in found}


def marker(family: Mapping[Any, Difference], digits: int = 1) -> Callable[[Difference], str]:
    """Writes a difference as a table shows it, with † where it is `clear` in its family."""
    sure = [*clear(family).values()]
    return lambda found: found.short(digits) + "\N{NO-BREAK SPACE}†" * (found in sure)


def spread(values: pd.Series, digits: int = 1) -> str:
    """Mean ± standard deviation, in words where there are too few values for it."""
    values = values.dropna()
    if len(values) == 0:
        return "missing"
    if len(values) == 1:
        return f"{values.iloc[0]:,.{digits}f} (1 seed)"
    return f"{values.mean():,.{digits}f} ± {values.std(ddof=1):,.{digits}f}"


def summary(
    lines: pd.DataFrame, models: Mapping[Any, str], columns: Mapping[str, tuple[str, int]]
) -> pd.DataFrame:
    """Mean ± standard deviation over training seeds, a line a model, with parameters and seeds.

    Args:
        lines: of `scores()`, of one regime and reading.
        models: label -> model; those without runs are left out.
        columns: heading -> column and its digits.
    """
    found = {}
    for label, model in models.items():
        if len(own := lines[lines["model"] == model]):
            found[label] = {"parameters": own["parameters"].iloc[0]} | {
                heading: spread(own[column], digits).removesuffix(" (1 seed)")
                for heading, (column, digits) in columns.items()
            }
            found[label]["seeds"] = len(own)
    return pd.DataFrame(found).T


def _with(lines: pd.DataFrame, chosen: Mapping[str, Any]) -> pd.DataFrame:
    """The lines that have these values in these columns."""
    for column, value in chosen.items():
        lines = lines[lines[column] == value]
    return lines


def _read_csv(inside: str) -> pd.DataFrame:
    path = _file(inside)
    try:
        now = path.stat()
        return _table(path, now.st_ino, now.st_mtime_ns, now.st_size).copy()
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise _damaged(path, error) from error


@functools.lru_cache(maxsize=16)  # a plan of all studies asks for the scores hundreds of times
def _table(path: Path, *state: int) -> pd.DataFrame:
    """What stands in a file as long as it is in this state."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    if not content.endswith(b"\n"):
        raise ValueError("its last line is cut")
    return pd.read_csv(io.BytesIO(content))


def _read_json(inside: str) -> dict[str, Any]:
    path = _file(inside)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> runs.RunError:
    where = origin.checkout()
    if where is not None and (where / "book") in path.parents:
        mend = f"bring it back from version control: git checkout -- {path}"
    else:
        mend = f"delete {location.root()} and let `kanvae reproduce --collect` write it again"
    return runs.RunError(f"{path} is damaged ({' '.join(str(error).split())}): {mend}.")


def _file(inside: str) -> Path:
    path = (root := location.root()) / inside
    if not path.exists():
        there = sorted(p.name for p in root.glob("runs/*/"))
        raise runs.RunError(
            f"there is no {inside} in {root}. The runs there are {', '.join(there) or 'none'}; "
            "`nox -s reproduce` computes all, and KANVAE_RESULTS names another folder."
        )
    return path
