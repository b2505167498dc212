"""The run folder: the one hand-over between training and everything after it.

    config.json          what was asked for ("config") and where it ran ("provenance")
    history.csv          one line a weight update; the columns of an epoch are filled in on its last
                         (history.csv.gz in the reference runs)
    weights.safetensors  the parameters and buffers after the last epoch
    best.safetensors     those of the epoch with the best validation ELBO, whose number stands in
                         the provenance ("best_epoch"); runs of earlier editions have none
    metrics.json         scores, once there are any

A training in progress lives in a sibling, `NAME.partial`, which is renamed when it is complete: a
folder that exists under its own name is whole. What was damaged since is named when it is read.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from kanvae import files, origin

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = (
    "update",  # weight updates so far
    "epoch",  # counted from 1
    "reconstruction",  # of this update's batch, nats per image
    "kl",
    "learning_rate",  # from here on: once an epoch
    "validation_reconstruction",  # of the whole validation set, nats per image; nan without one
    "validation_kl",
    "seconds",  # of training since the start, evaluation included
)
OLD_COLUMNS = tuple(name.replace("validation_", "test_") for name in COLUMNS)  # earlier editions'


class RunError(RuntimeError):
    """A run folder is missing, incomplete, in use, or holds another run."""


class Run(NamedTuple):
    """What a run folder holds."""

    path: Path
    config: dict[str, Any]
    provenance: dict[str, Any]
    history: np.ndarray  # structured, with the fields COLUMNS; nan where a column is empty
    weights: dict[str, Tensor]  # after the last epoch

    @property
    def epochs(self) -> np.ndarray:
        """The lines of the history at which an epoch ends."""
        return self.history[np.isfinite(self.history["seconds"])]

    @property
    def elbo(self) -> np.ndarray:
        """The validation ELBO of every epoch, nats per image; the test ELBO in OLD_COLUMNS."""
        kind = "validation" if "validation_kl" in (self.history.dtype.names or ()) else "test"
        return -(self.epochs[f"{kind}_reconstruction"] + self.epochs[f"{kind}_kl"])

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights are the best on the validation set.

        Raises:
            RunError: the run has none: it knew no validation set.
        """
        if "best_epoch" not in self.provenance:
            raise RunError(f"{self.path} has no best epoch: it was trained without validation.")
        return int(self.provenance["best_epoch"])

    @property
    def best_weights(self) -> dict[str, Tensor]:
        """The weights of that epoch.

        Raises:
            RunError: the run has none, or the file is damaged.
        """
        if self.best_epoch == len(self.epochs):
            return self.weights
        return _weights(self.path / "best.safetensors")

    @property
    def metrics(self) -> dict[str, Any]:
        """The scores recorded so far.

        Raises:
            RunError: their file is damaged.
        """
        return scores(self.path)


def root() -> Path:
    """Where runs go by default: `$KANVAE_RUNS`, else `runs/` of the checkout, else `runs/` here.

    Raises:
        RunError: `$KANVAE_RUNS` begins with ~, and nobody knows where this user's home is.
    """
    named = files.named_folder("KANVAE_RUNS", RunError)
    return named or (origin.checkout() or Path.cwd()) / "runs"


def read(path: Path | str) -> Run:
    """The finished run at `path`.

    Raises:
        RunError: there is none, or a file of it is missing or damaged. The message says what to do.
    """
    path = Path(path)
    if not path.is_dir():
        if partial(path).is_dir():
            raise RunError(
                f"{path} is half trained: start the same training again, it goes on from its last "
                f"complete epoch (or delete {partial(path)})."
            )
        if path.exists():
            raise RunError(f"{path} is a file: name the folder of a run.")
        raise RunError(f"there is no run at {path}: train one there, or name another folder.")
    config, found, lines = _settings(path)
    history, weights = read_history(lines), _weights(path / "weights.safetensors")
    if history["epoch"][-1] != config.get("epochs", history["epoch"][-1]):
        raise RunError(_damaged(lines, "it ends before its last epoch"))
    if (path / "best.safetensors").exists():
        _refuse_cut(path / "best.safetensors")
    return Run(path, config, found, history, weights)


def check(path: Path) -> None:
    """Look at all files of a finished run, without the numbers of its history or weights.

    Raises:
        RunError: one is missing, or was cut. The message says what to do.
    """
    config, found, lines = _settings(path)
    last = _lines(lines)[:-1].rpartition("\n")[2].split(",")
    if last[1] != str(config.get("epochs", last[1])):
        raise RunError(_damaged(lines, "it ends before its last epoch"))
    best = path / "best.safetensors"
    has_best = best.exists() or found.get("best_epoch") not in (None, int(last[1]))
    for file in (path / "weights.safetensors", best)[: 1 + has_best]:
        _refuse_cut(file)
    scores(path)


def damage(path: Path) -> str:
    """What `check` says of a finished run; nothing where all is well, or where there is no run."""
    try:
        if path.is_dir():
            check(path)
    except RunError as error:
        return str(error)
    return ""


def _settings(path: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """A run's configuration, its provenance, and the file of its history."""
    mend = f"Delete {path} and train it again."
    lines = "history.csv.gz" if (path / "history.csv.gz").is_file() else "history.csv"
    names = ("config.json", lines, "weights.safetensors")
    if not any((path / name).is_file() for name in names):
        raise RunError(f"{path} is no folder of a run, it has none of {list(names)}: name one.")
    for name in names:
        if not (path / name).is_file():
            raise RunError(f"{path} is not a whole run: {name} is missing. {mend}")
    try:
        settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
        config, found = dict(settings["config"]), dict(settings["provenance"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(_damaged(path / "config.json", error)) from error
    return config, found, path / lines


def _damaged(file: Path, reason: object) -> str:
    mend = f"Delete {file.parent} and train it again."
    return f"{file.parent} is damaged ({file.name}: {reason}). {mend}"


def scores(run_dir: Path) -> dict[str, Any]:
    """The scores in a run folder, `Run.metrics`, without reading the run.

    Raises:
        RunError: their file is damaged.
    """
    path = run_dir / "metrics.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it holds no names and values")
    except (OSError, ValueError) as error:
        mend = "Delete it and evaluate the run again."
        raise RunError(f"{path} is damaged ({error}). {mend}") from error
    return found


def read_history(path: Path) -> np.ndarray:
    """The lines of a history.csv, or of a history.csv.gz: a structured array.

    Raises:
        RunError: the file is missing, cut or damaged.
    """
    text = _lines(path)
    try:
        history = np.atleast_1d(np.genfromtxt(io.StringIO(text), delimiter=",", names=True))
        numbers = history["update"]
        if np.isnan(history["seconds"][-1]):
            raise ValueError("it ends within an epoch")
        if not np.array_equal(numbers, np.arange(1, len(numbers) + 1)):
            raise ValueError("lines are missing")
    except ValueError as error:
        raise RunError(_damaged(path, error)) from error
    return history


def _lines(path: Path) -> str:
    """What a history file says, once it is known to have its columns and a last line."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        if tuple(text.partition("\n")[0].split(",")) not in (COLUMNS, OLD_COLUMNS):
            raise ValueError(f"its columns are not {COLUMNS}")
        if text.count("\n") < 2 or not text.endswith("\n"):
            raise ValueError("its last line is cut")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RunError(_damaged(path, error)) from error
    return text


def _refuse_cut(weights: Path) -> None:
    try:
        with safe_open(weights, "pt"):  # compares its length with what it is to hold
            pass
    except (OSError, SafetensorError) as error:
        raise RunError(_damaged(weights, error)) from error


def _weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(_damaged(path, error)) from error


def check_config(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise a RunError that names the differences, if the folder is of another configuration."""
    differences = [
        f"{name} is {found.get(name)!r} there, {wanted.get(name)!r} here"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise RunError(
            f"{path} holds a run of another configuration ({'; '.join(differences)}). Choose "
            "another folder, or delete that one if it is no longer wanted."
        )


def partial(path: Path) -> Path:
    """Where the run at `path` lives until it is complete."""
    return path.with_name(path.name + ".partial")


def make_folder(path: Path) -> None:
    """Make a folder, if it is not there.

    Raises:
        RunError: a file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise RunError(f"{error.filename} is a file: name another folder.") from None


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """The partial folder of a run, made if need be, and held against other processes meanwhile.

    Raises:
        RunError: another process holds it, or a file is in the way.
    """
    folder = partial(path)
    make_folder(folder.parent)
    # Beside the folder: some systems do not rename a folder that holds an open file.
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not Path(lock.lock_file).exists():
            raise RunError(f"{folder.parent} cannot hold files: name another folder.") from None
        raise RunError(f"another process is training {path}: wait for it, or stop it.") from None
    try:
        make_folder(folder)
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # nothing was begun
        lock.release()
        if path.exists():  # only then: whoever waited for this very lock will see that it is done
            Path(lock.lock_file).unlink(missing_ok=True)


def finish(
    path: Path,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    history: Iterable[Iterable[float]],
    weights: Mapping[str, Tensor],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the files of a run into its partial folder and give it its own name.

    Args:
        best: the weights of the best epoch, where that is not the last.
    """
    from safetensors.torch import save_file

    folder = partial(path)
    settings = {"config": dict(config), "provenance": dict(provenance)}
    files.write_text(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    with (folder / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in history:
            writer.writerow("" if np.isnan(value) else f"{value:.9g}" for value in line)
    for name, tensors in (("best", best), ("weights", weights)):
        if tensors is not None:  # copies: a file in this format shares no memory between tensors
            copies = {key: w.cpu().clone().contiguous() for key, w in tensors.items()}
            save_file(copies, folder / f"{name}.safetensors")
    folder.rename(path)
    for name in ("checkpoint.pt", "checkpoint.damaged"):  # of use to nobody now
        (path / name).unlink(missing_ok=True)


def record(run: Run, metrics: Mapping[str, Any]) -> None:
    """Write scores to the run's metrics.json, in place of those there.

    Those of the best epoch, under "best", stay unless there are new ones.
    """
    kept = {name: value for name, value in run.metrics.items() if name == "best"}
    files.write_text(run.path / "metrics.json", json.dumps(kept | dict(metrics), indent=2) + "\n")
