"""A search for architectures with few parameters and a good score, by Optuna on a Dask cluster.

    kanvae search --trials 150 --output runs/search
    kanvae search --collect book/results/search --output runs/search

Optuna proposes architectures and keeps what became of them in `OUTPUT/journal.log`; workers train
and score them in run folders beside it. Started again after any stop, it goes on, and what had been
training is resumed from its last epoch.

Both objectives are to be small: the score, and the number of parameters. Optuna's own pruners know
one objective only; the rule here (`hopeless`) follows from what a search for a front wants.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from kanvae import data, evaluation, runs
from kanvae.architectures import Architecture
from kanvae.layers.function_layer import check_whole
from kanvae.layers.kinds import KINDS
from kanvae.models import count_parameters
from kanvae.studies import cluster, distributing, paper, watching
from kanvae.studies.options import add_fields, values
from kanvae.studies.space import LAYERS, as_parameters, suggest
from kanvae.studies.trials import (
    FINISHED,
    collect,
    damaged,
    folder,
    mend_journal,
    resume,
    set_aside,
    table,
)
from kanvae.training import DivergedError, Epoch, TrainingConfig, load_model, train

with warnings.catch_warnings():  # tqdm's, where a notebook has no widgets
    warnings.simplefilter("ignore")
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, Trial, TrialState

JOURNAL = "journal.log"


@dataclass(frozen=True)
class SearchConfig:
    """What a search does with every architecture, checked when made.

    Args:
        regime, epochs, seed, device: of each training, as in `TrainingConfig`.
        schedule: of each training's learning rate, `scheduler` in `TrainingConfig`.
        importance_samples, likelihood_images: of the score, the importance-weighted estimate of
            the NLL on validation images.
        margin: nats by which the curve of a smaller model must be ahead for a trial to be pruned.
        layers: the kinds of layers to try equally often, with commas between them.

    Raises:
        ValueError: a value that is not allowed.
    """

    regime: str = "paper"
    epochs: int = 10
    schedule: str = "cosine"
    seed: int = 0
    device: str = "cpu"
    importance_samples: int = 50
    likelihood_images: int = 1000
    margin: float = 2.0
    layers: str = ",".join(LAYERS)

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise ValueError(f"margin is {self.margin}: it must be a number, 0 or more.")
        for name in ("importance_samples", "likelihood_images"):
            check_whole(name, getattr(self, name), 1)
        unknown = set(self.layers.split(",")) - set(KINDS)
        if unknown:
            raise ValueError(
                f"layers is {self.layers!r}: choose from {list(KINDS)}, with commas between them."
            )
        self.training("vae-1-1")

    def training(self, architecture: Architecture | str) -> TrainingConfig:
        """The training of an architecture."""
        if isinstance(architecture, str):
            architecture = Architecture.parse(architecture)
        return TrainingConfig(
            architecture, regime=self.regime, epochs=self.epochs, scheduler=self.schedule,
            seed=self.seed, device=self.device,
        )  # fmt: skip


class Rival(NamedTuple):
    """A finished trial, as far as others are compared with it."""

    parameters: int
    curve: list[float]  # validation ELBO after each epoch, nats per image


def hopeless(
    curve: Sequence[float], parameters: int, rivals: Sequence[Rival], margin: float
) -> bool:
    """Whether a model that is no larger was ahead by more than the margin two epochs in a row.

    Such a trial would have to overtake it to come onto the front of both objectives.
    """
    here = len(curve)
    return here >= 2 and any(
        rival.parameters <= parameters
        and len(rival.curve) >= here
        and all(rival.curve[e] - curve[e] > margin for e in (here - 2, here - 1))
        for rival in rivals
    )


def run_trial(
    output: str, architecture: str, config: SearchConfig, rivals: list[Rival]
) -> dict[str, Any]:
    """Train and score an architecture, or give it up on the way; runs on a worker."""
    with set_aside(folder(output, architecture)):
        return _run_trial(output, architecture, config, rivals)


def _run_trial(
    output: str, architecture: str, config: SearchConfig, rivals: list[Rival]
) -> dict[str, Any]:
    parameters = count_parameters(Architecture.parse(architecture).build())
    seen: list[float] = []

    def watch(epoch: Epoch) -> None:
        seen[:] = epoch.elbos
        if hopeless(seen, parameters, rivals, config.margin):
            raise optuna.TrialPruned

    try:
        run_dir = folder(output, architecture)
        run = train(config.training(architecture), run_dir, progress=False, after_epoch=watch)
    except optuna.TrialPruned:
        return {"parameters": parameters, "curve": seen}
    except DivergedError as error:  # a bad trial, not a fault: the sampler learns from it
        return {"parameters": parameters, "curve": seen, "error": str(error)}
    return {
        "parameters": parameters, "curve": run.elbo.tolist(), "score": score(run, config),
        "seconds": run.provenance["seconds"], "provenance": run.provenance,
    }  # fmt: skip


def score(run: runs.Run, config: SearchConfig) -> float:
    """The first objective of a trained model."""
    model = load_model(run, config.device)
    where = next(model.parameters()).device
    pixels = data.load("MNIST", "validation").pixels[: config.likelihood_images]
    x = data.binarize(pixels.to(where))
    return evaluation.negative_log_likelihood(model, x, config.importance_samples)


def open_study(output: Path | str, config: SearchConfig) -> optuna.Study:
    """The study in a folder, begun if it is not there, with Table I's rows as its first trials.

    Raises:
        ValueError: the study there is of another configuration.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(output / JOURNAL))),
        study_name="kanvae",
        directions=["minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(),
        load_if_exists=True,
    )
    wanted = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "device"}
    found = study.user_attrs.get("config")
    if found is None:
        study.set_user_attr("config", found := wanted)
    found = {"layers": "kan,linear", "schedule": "plateau"} | found  # before these were settings
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if different:
        here = "; ".join(f"{n} is {found.get(n)!r} there, {wanted[n]!r} here" for n in different)
        raise ValueError(
            f"{output} holds a search of another configuration ({here}): choose another folder."
        )
    known = {trial.user_attrs.get("row") for trial in study.get_trials(deepcopy=False)}
    for row in paper.TABLE_I:  # all, but where one was stopped here, or its journal cut
        if row.name not in known:
            study.enqueue_trial(as_parameters(row.architecture), user_attrs={"row": row.name})
    return study


def search(
    output: Path | str,
    trials: int,
    config: SearchConfig | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> optuna.Study:
    """Search until so many trials are finished, those of earlier calls included.

    In a script, call it under `if __name__ == "__main__":`, since workers import the script.

    Args:
        output: a folder that all workers share.
        trials: how many to finish, pruned ones included.
        scheduler, workers: where to run, as in `cluster.start`.

    Raises:
        ValueError: `trials` is below 1, or the folder holds another search.
        cluster.ClusterError: the cluster cannot be reached or made, or the folder is in use.
    """
    if trials < 1:
        raise ValueError(f"trials is {trials}: it must be 1 or more.")
    config = config or SearchConfig()
    output = Path(output).expanduser().absolute()
    with cluster.held(output):
        mend_journal(output / JOURNAL)
        study = open_study(output, config)
        resume(study)
        _run_trials(study, str(output), trials, config, scheduler, workers, progress)
    return study


def least_tried(study: optuna.Study, layers: Sequence[str]) -> str:
    """The kind of layer with the fewest trials, so that the search can speak of each.

    Left to itself the sampler soon proposes one kind alone.
    """
    every = study.get_trials(deepcopy=False)
    tried = Counter(t.params.get("layer") for t in every if t.state != TrialState.FAIL)
    return min(layers, key=lambda layer: tried[layer])


def _run_trials(
    study: optuna.Study, output: str, trials: int, config: SearchConfig, scheduler: str | None,
    workers: int | None, progress: bool,
) -> None:  # fmt: skip
    asked: dict[str, Trial] = {}
    layers = config.layers.split(",")

    def finished() -> list[FrozenTrial]:
        return study.get_trials(deepcopy=False, states=FINISHED)

    def tasks() -> Iterator[tuple[str, tuple[Any, ...]]]:
        for architecture in once_more:
            yield f"again: {architecture}", (output, architecture, config, [])
        while len(finished()) + len(asked) < trials:
            if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                study.enqueue_trial({"layer": least_tried(study, layers)})
            trial = study.ask()
            architecture = str(suggest(trial, layers))
            trial.set_user_attr("architecture", architecture)
            rivals = [
                Rival(t.user_attrs["parameters"], t.user_attrs["curve"])
                for t in finished()
                if "row" not in trial.user_attrs  # Table I is trained to its end
            ]
            name = f"trial {trial.number}: {architecture}"
            asked[name] = trial
            yield name, (output, architecture, config, rivals)

    failed: set[str] = set()
    before = min(len(finished()), trials)
    once_more = damaged(study, Path(output))
    if before == trials and not once_more:
        return
    with (
        cluster.start(scheduler, workers=workers) as client,
        tqdm(total=trials, initial=before, unit="trial", disable=not progress) as bar,
        watching.ticking(client, bar, failed),
    ):
        count = max(1, sum(client.nthreads().values()))  # none may be there yet
        with closing(distributing.results(client, run_trial, tasks(), at_once=count)) as found:
            for result in found:
                if result.name not in asked:  # of once_more: its trial is told already
                    if result.error:
                        tqdm.write(f"{result.name}: {result.error}", file=sys.stderr)
                    continue
                trial = asked.pop(result.name)
                if result.value is None:
                    failed.add(result.name)
                    trial.set_user_attr("error", result.error)
                    study.tell(trial, state=TrialState.FAIL)
                    if len(failed) > trials:
                        raise cluster.ClusterError(
                            f"{len(failed)} trials failed, the last with {result.error}"
                        )
                    continue
                _tell(study, trial, result.value)
                bar.update()


def _tell(study: optuna.Study, trial: Trial, value: dict[str, Any]) -> None:
    for name in ("parameters", "curve", "seconds", "provenance", "error"):
        if name in value:
            trial.set_user_attr(name, value[name])
    if "score" in value:
        study.tell(trial, [value["score"], value["parameters"]])
    else:
        study.tell(trial, state=TrialState.PRUNED)


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of `kanvae search`."""
    parser.add_argument("--output", type=Path, help="(runs/search)")
    parser.add_argument("--trials", type=int, default=150, help="to finish in all (150)")
    parser.add_argument("--scheduler", help="address of a running Dask scheduler")
    parser.add_argument("--workers", type=int, help="here (one a core)")
    parser.add_argument("--collect", type=Path, metavar="FOLDER", help="only write the tables")
    add_fields(parser, SearchConfig)


def command(options: argparse.Namespace) -> None:
    """Search, or collect what a search found, as the options say; the front is printed.

    Raises:
        ValueError: an option that is not allowed.
        runs.RunError: there is nothing to collect.
    """
    config = SearchConfig(**values(options, SearchConfig))
    output = options.output or runs.root() / "search"
    if options.collect is None:
        study = search(output, options.trials, config, options.scheduler, options.workers)
    else:
        if not (output / JOURNAL).exists():
            raise runs.RunError(f"there is no search in {output}: name its folder with --output.")
        study = open_study(output, config)
        print(f"{collect(study, options.collect)} trials in {options.collect}")
    front = table(study)
    if len(front):
        front = front.query("front").sort_values("parameters")
        print(front[["architecture", "parameters", "score"]].to_string(index=False))
