"""Everything that the book shows, trained and scored: the studies of `kanvae.studies.plan`, and
those of `kanvae.studies.others`.

    kanvae reproduce                       all of them, to runs/reproduce and runs/results
    kanvae reproduce --status              what is done, what is not
    kanvae reproduce --study sharing --rows shared-395-20 --seeds 0,1
    kanvae reproduce --collect --output book/results      write the tables only

Stop it at any moment and start it again: a training goes on from its last epoch, and a run whose
line stands in the tables is not repeated, wherever it was made. Settings that a study chooses by
validation are tried first; then it goes on with them. On a CPU every core works on a run
of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

from kanvae import data, evaluation, runs
from kanvae.architectures import Architecture
from kanvae.studies import collecting, distributing, location, others, plan, sizes
from kanvae.studies.plan import SCORES, Job
from kanvae.training import load_model, resolve_device, run_name, train

SETTINGS = evaluation.Settings(
    frechet_images="grayscale,binarized", fidelity_samples=10_000, importance_samples=500,
    likelihood_images=10_000, plane_images=5_000,
)  # fmt: skip
MORE_SAMPLES, FEWER_IMAGES = 5_000, 2_000  # of the likelihood, once more, where `judged_twice`


def folder(job: Job) -> Path:
    """The run folder of a training; its name covers the code that determines its numbers."""
    return runs.root() / "reproduce" / run_name(job.config)


def state(job: Job, tabled: dict[str, str]) -> str:
    """How far a run is: done, scored, trained, begun, missing or damaged.

    Args:
        tabled: of the runs whose lines stand in the tables, how much of them is scored.
    """
    if job.name in tabled and _enough(tabled[job.name], job):
        return "done"
    path = folder(job)
    if path.is_dir():
        if runs.damage(path):
            return "damaged"
        return "scored" if _enough(runs.scores(path).get("scores"), job) else "trained"
    return "begun" if (runs.partial(path) / "checkpoint.pt").exists() else "missing"


def _enough(found: str | None, job: Job) -> bool:
    return found in SCORES[SCORES.index(job.scores) :]


def complete(job: Job, progress: bool = True) -> None:
    """Train and score one run, as far as that is not done yet."""
    run = train(job.config, folder(job), progress)
    runs.check(run.path)
    found = run.metrics
    if _enough(found.get("scores"), job):
        return
    if job.scores != "validation":
        device, dataset = job.config.device, job.config.dataset
        settings = dataclasses.replace(
            SETTINGS, features=",".join(evaluation.features_here(dataset))
        )
        brief = dataclasses.replace(settings, fidelity_samples=0, plane_images=0)
        found = evaluation.evaluate_run(run, settings if job.scores == "all" else brief, device)
        if run.best_epoch == job.config.epochs:
            found["best"] = dict(found)
        else:
            found["best"] = evaluation.evaluate_run(
                run, dataclasses.replace(brief, weights="best"), device
            )
        if judged_twice(job):
            found |= more_likely(run, device)
    runs.record(run, found | {"scores": job.scores})


def judged_twice(job: Job) -> bool:
    """Whether the likelihood of a run is estimated with more samples, too: of models in figures, of
    Table I and the linear VAEs of equal size, and of the anchor.
    """
    table = plan.table([*plan.TABLE, *plan.BASELINES], "paper", [job.config.seed])
    return collecting.drawn(job) or job.name in {each.name for each in table + plan.anchor()}


def more_likely(run: runs.Run, device: str) -> dict[str, float]:
    """The likelihood of the first test images with as many samples as in the tables, and more."""
    c = run.config
    test = data.load(c["dataset"], "test")
    x = data.prepare(test.pixels[:FEWER_IMAGES], c["binarization"], c["threshold"])
    model = load_model(run, device)
    return {
        f"test_nll_{name}": evaluation.negative_log_likelihood(model, x.to(device), samples)
        for name, samples in (("few", SETTINGS.importance_samples), ("many", MORE_SAMPLES))
    }


def effort(job: Job) -> float:
    """About how long a run takes, in units that only a forecast needs."""
    config = job.config
    trained = 10_000 * (5 if config.regime == "full" else 1) * config.epochs
    decoded = {"validation": 0, "brief": 11_000_000, "all": 12_000_000}[job.scores]
    return (3 * trained + decoded) * (1 + sizes.parameters(str(config.architecture)) / 1e6)


def _own_results() -> Path:
    """`runs/results`; it begins as a copy of the reference, whose runs are replaced one by one."""
    own = runs.root() / "results"
    if not own.exists() and (location.root() / "runs").exists():
        part = runs.partial(own)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(location.root(), part)
        part.rename(own)
    return own


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--seeds is {text!r}: give whole numbers, such as 0,1,2.") from None


def _studies(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The studies that the options mean: of `plan`, and of `others`.

    The latter have neither keys of architectures nor regimes to choose by.
    """
    choosing = [name for name in ("rows", "regime") if getattr(options, name)]
    if not options.study:
        return list(plan.STUDIES), [] if choosing else list(others.STUDIES)
    every, named = [*plan.STUDIES, *others.STUDIES], options.study.split(",")
    for study in named:
        if study not in every:
            raise ValueError(f"there is no study {study!r}: choose from {', '.join(every)}.")
        if study in others.STUDIES and choosing:
            raise ValueError(
                f"--{choosing[0]} chooses from other studies than {study}: leave one of them out."
            )
    apart = [study for study in dict.fromkeys(named) if study in others.STUDIES]
    return [study for study in named if study not in apart], apart


def _chosen(options: argparse.Namespace, studies: list[str], seeds: list[int] | None) -> list[Job]:
    """The jobs of these studies that the options mean, on the device that they name."""
    found = plan.jobs(studies)
    regimes = options.regime.split(",") if options.regime else None
    for regime in regimes or ():
        data.check("MNIST", regime)
    if options.rows:
        rows = [str(Architecture.parse(key)) for key in options.rows.split(",")]
        known = {str(job.config.architecture) for job in found}
        found = [job for job in found if str(job.config.architecture) in rows]
        found += [  # what no study has, at the paper's setting
            Job(plan.config(key, regime, seed))
            for key in rows
            if key not in known
            for regime in regimes or ("paper",)
            for seed in seeds or range(5)
        ]
    device = resolve_device(options.device)
    chosen = [
        job._replace(config=dataclasses.replace(job.config, device=device))
        for job in found
        if (seeds is None or job.config.seed in seeds)
        and (regimes is None or job.config.regime in regimes)
    ]
    if found and not chosen:
        have = [sorted({getattr(job.config, of) for job in found}) for of in ("seed", "regime")]
        raise ValueError("no run is meant: these have seeds {} and regimes {}.".format(*have))
    return chosen


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of `kanvae reproduce`."""
    every = ", ".join([*plan.STUDIES, *others.STUDIES])
    parser.add_argument("--study", help=f"of {every}, with commas (all)")
    parser.add_argument("--rows", help="keys of models, with commas between them (all)")
    parser.add_argument("--regime", help="paper or full (both)")
    parser.add_argument("--seeds", help="with commas between them (the study's)")
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
    planned, apart = _studies(options)
    seeds = _whole_numbers(options.seeds) if options.seeds else None
    device, workers = resolve_device(options.device), options.workers
    if workers is None and device != "cpu":
        workers = 1
    if workers is not None and workers < 0:
        raise ValueError(f"--workers is {workers}: it must be 0 or more.")
    _chosen(options, planned, seeds)  # what is not allowed is said before a folder is made
    own = location.root if options.status else _own_results
    with location.using(output := options.output or own()):  # what is chosen, is chosen by these
        todo = _chosen(options, planned, seeds)
        if options.status:
            tabled, reports = collecting.scored(output), []
            if planned:
                reports += [collecting.report({job.name: state(job, tabled) for job in todo})]
            reports += [others.report(study, output, seeds, device) for study in apart]
            print("\n".join(reports))
            return None
        if options.study and not todo and not apart:
            raise ValueError(
                f"the study {options.study} plans no run from the tables in {output}: it goes on "
                "from those of a search (`kanvae search --collect`) or of other studies."
            )
        failures: list[str] = []
        done: set[Job] = set()
        while planned and not failures and (todo := [job for job in todo if job not in done]):
            failures = _reproduce(todo, output, workers, options.collect)
            done.update(todo)
            todo = _chosen(options, planned, seeds)  # with what these runs have shown
        for study in apart if not options.collect else ():  # whose runs are in tables as they end
            failures += others.run(study, output, seeds, device, workers)
    if failures:
        return "\n".join(["these runs failed; start again to go on with them:", *failures])
    return None


def _reproduce(todo: list[Job], output: Path, workers: int | None, only_collect: bool) -> list[str]:
    """Do what is missing of the jobs of `plan`; what failed, a line each."""
    tabled = collecting.scored(output)
    states = {job: state(job, tabled) for job in todo}
    scored = [job for job, found in states.items() if found == "scored"]
    done = len(scored) + list(states.values()).count("done")
    print(f"{len(todo)} runs, {done} of them done before")
    collecting.collect(output, [(job, folder(job)) for job in scored])
    missing = [job for job, found in states.items() if found not in ("done", "scored", "damaged")]
    failures = distributing.do_all(
        complete,
        {} if only_collect else {job.name: job for job in missing},
        lambda job, _: collecting.collect(output, [(job, folder(job))]),
        workers,
        effort,
    )
    failures += filter(None, map(runs.damage, dict.fromkeys(map(folder, todo))))
    print(f"{len(collecting.scored(output))} runs in {output}")
    return failures
