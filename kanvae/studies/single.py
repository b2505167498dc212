"""`kanvae train`, `evaluate`, `export` and `explain`: one model, from the command line.

Their options are the fields of `TrainingConfig` and of `evaluation.Settings`.
"""

from __future__ import annotations

import argparse

from tqdm import tqdm

from kanvae import architectures, evaluation, runs
from kanvae.studies.options import add_fields, values
from kanvae.training import TrainingConfig, train


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of one of these commands."""
    if name == "train":
        parser.add_argument("run_dir", help="the folder to write; begun trainings are resumed")
        add_fields(parser, TrainingConfig)
    elif name == "evaluate":
        parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="finished run folders")
        parser.add_argument("--device", default="auto", help="cpu, cuda, ... (auto)")
        add_fields(parser, evaluation.Settings)
    elif name == "export":
        parser.add_argument("run_dir", help="a finished run folder")
        parser.add_argument("--folder", help="where to write; the run folder by default")
        parser.add_argument("--weights", choices=("last", "best"), default="last", help="(last)")
    else:
        parser.add_argument("key", help="of an architecture, such as kan-35-15+grid_size=10")


def command(options: argparse.Namespace) -> None:
    """Train, score, export or explain as the options say."""
    if options.name == "explain":
        print(architectures.explain(options.key))
    elif options.name == "export":
        from kanvae.export import export  # what it needs is in another extra

        run = runs.read(options.run_dir)
        print(*export(run, options.folder, options.weights == "best"), sep="\n")
    elif options.name == "train":
        run = train(TrainingConfig(**values(options, TrainingConfig)), options.run_dir)
        print(
            f"{run.path}: validation ELBO {run.elbo[-1]:.2f} nats per image after "
            f"{run.provenance['seconds']:.0f} s (best {run.elbo.max():.2f}, epoch {run.best_epoch})"
        )
    else:
        settings = evaluation.Settings(**values(options, evaluation.Settings))
        for run_dir in tqdm(options.run_dirs, desc="evaluating", unit="run"):
            run = runs.read(run_dir)
            scores = evaluation.evaluate_run(run, settings, options.device)
            is_best = settings.weights == "best"
            runs.record(run, run.metrics | {"best": scores} if is_best else scores)
