"""`kanvae train` and `kanvae evaluate`: one run, from the command line.

Their options are the fields of `TrainingConfig` and of `evaluation.Settings`.
"""

from __future__ import annotations

import argparse

from tqdm import tqdm

from kanvae import evaluation, runs
from kanvae.studies.options import add_fields, values
from kanvae.training import TrainingConfig, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `kanvae train` or `kanvae evaluate`, by the name of the parser."""
    if parser.prog.endswith("train"):
        parser.add_argument("run_dir", help="the folder to write; begun trainings are resumed")
        add_fields(parser, TrainingConfig)
    else:
        parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="finished run folders")
        parser.add_argument("--device", default="auto", help="cpu, cuda, ... (auto)")
        add_fields(parser, evaluation.Settings)


def command(options: argparse.Namespace) -> None:
    """Train or score as the options say."""
    if options.name == "train":
        run = train(TrainingConfig(**values(options, TrainingConfig)), options.run_dir)
        last = run.epochs[-1]
        elbo = -(last["test_reconstruction"] + last["test_kl"])
        seconds = run.provenance["seconds"]
        print(f"{run.path}: test ELBO {elbo:.2f} nats per image after {seconds:.0f} s")
        return
    settings = evaluation.Settings(**values(options, evaluation.Settings))
    for run_dir in tqdm(options.run_dirs, desc="evaluating", unit="run"):
        run = runs.read(run_dir)
        runs.record(run, evaluation.evaluate(run, settings, options.device))
