"""The trials of a search: its journal, mended and resumed, and its tables."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from kanvae import files, runs
from kanvae.architectures import Architecture
from kanvae.training.configuration import code_digest

with warnings.catch_warnings():  # tqdm's, where a notebook has no widgets
    warnings.simplefilter("ignore")
    import optuna
    from optuna.trial import TrialState

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def mend_journal(path: Path) -> None:
    """Take the last line off a journal that was being written when the machine went down.

    Optuna passes over such a line, but writes the next behind it, and reads neither from then on.
    What the line said is lost, and the trial that it was about is proposed again. Nobody else may
    be writing meanwhile.

    Raises:
        ValueError: a line before the last is damaged.
    """
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    bad = [number for number, line in enumerate(lines, 1) if not _is_record(line)]
    if not bad:
        return
    if bad[0] < len(lines):
        raise ValueError(
            f"line {bad[0]} of {path} is damaged. Cut the file before that line to go on from "
            "there, or choose another folder."
        )
    files.write_bytes(path, b"".join(lines[:-1]))


def _is_record(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and "op_code" in json.loads(line)
    except ValueError:
        return False


def resume(study: optuna.Study) -> None:
    """Propose the trials again that a stopped search left running."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        given = trial.system_attrs.get("fixed_params", {})  # not all may have been asked for
        study.enqueue_trial(given | trial.params, user_attrs=trial.user_attrs)


def damaged(study: optuna.Study, output: Path) -> list[str]:
    """The architectures of complete trials whose runs must be trained again; each is named."""
    names = {t.user_attrs["architecture"] for t in study.get_trials(states=(TrialState.COMPLETE,))}
    found = []
    for name in sorted(names):
        run_dir = folder(output, name)
        reason = runs.damage(run_dir)
        if reason:
            tqdm.write(f"{reason} The search trains it again now.", file=sys.stderr)
        if reason or _aside(run_dir).exists():
            found.append(name)
    return found


def folder(output: Path | str, architecture: str) -> Path:
    """Where a trial is trained: other code that determines its numbers has another folder."""
    return Path(output) / f"{architecture}-{code_digest()[:8]}"


@contextlib.contextmanager
def set_aside(run_dir: Path) -> Iterator[None]:
    """Keep a run that is damaged beside its place until another stands there."""
    aside = _aside(run_dir)
    if runs.damage(run_dir):
        shutil.rmtree(aside, ignore_errors=True)
        run_dir.rename(aside)
    yield
    shutil.rmtree(aside, ignore_errors=True)


def _aside(run_dir: Path) -> Path:
    return run_dir.with_name(f"{run_dir.name}.damaged")


def table(study: optuna.Study) -> pd.DataFrame:
    """A line a finished trial: what it was, what came out, and whether it is on the front."""
    front = {trial.number for trial in study.best_trials}
    lines = []
    for trial in study.get_trials(states=FINISHED):
        architecture = Architecture.parse(trial.user_attrs["architecture"])
        names = ("layer", "hidden_features", "latent_dim", "depth")
        last = architecture.layers()["decoder", "pixels"]
        lines.append(
            {
                "trial": trial.number,
                "architecture": str(architecture),
                **{name: getattr(architecture, name) for name in names},
                "grid_size": last.grid_size,
                "spline_order": last.spline_order,
                "grid_end": last.grid_range[1] if last.grid_range else None,
                "parameters": trial.user_attrs["parameters"],
                "row": trial.user_attrs.get("row"),
                "state": "diverged" if "error" in trial.user_attrs else trial.state.name.lower(),
                "epochs": len(trial.user_attrs["curve"]),
                "validation_elbo": (trial.user_attrs["curve"] or [None])[-1],
                "score": trial.values[0] if trial.values else None,
                "front": trial.number in front,
                "seconds": trial.user_attrs.get("seconds"),
            }
        )
    return pd.DataFrame(lines)


def collect(study: optuna.Study, folder: Path | str) -> int:
    """Write a search's trials, curves, and where they ran, as small files; how many trials."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = table(study)
    curves = pd.DataFrame(
        [
            {"trial": trial.number, "epoch": epoch, "validation_elbo": elbo}
            for trial in study.get_trials(states=FINISHED)
            for epoch, elbo in enumerate(trial.user_attrs["curve"], start=1)
        ]
    )
    for name, frame in (("trials.csv", found), ("curves.csv", curves)):
        text = frame.to_csv(index=False, float_format="%.7g", lineterminator="\n")
        files.write_text(folder / name, text)
    trained = [
        {"trial": trial.number, **trial.user_attrs["provenance"]}
        for trial in study.get_trials(states=(TrialState.COMPLETE,))
    ]
    about = {"config": study.user_attrs["config"], "optuna": optuna.__version__, "trials": trained}
    files.write_text(folder / "provenance.json", json.dumps(about, indent=1) + "\n")
    return len(found)
