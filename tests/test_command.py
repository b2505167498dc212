"""The command `kanvae`: what it says when something is wrong, and what it needs to be installed."""

import importlib.metadata
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

from kanvae.studies import command

HARD = ("filelock", "numpy", "safetensors", "torch", "tqdm")


def kanvae(*arguments, environment=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "kanvae", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, **(environment or {})}, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"kanvae: the following arguments are required: NAME .*\n"),
        (["trian"], r"kanvae: argument NAME: invalid choice: 'trian' \(choose from .*\n"),
        (["train", "x"], r"kanvae train: .* required: --architecture .*\n"),
        (["train", "x", "--architecture", "kan-8-3", "--epochs", "many"],
         r"kanvae train: argument --epochs: invalid int value: 'many' .*\n"),
        (["evaluate"], r"kanvae evaluate: .* required: RUN_DIR .*\n"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_read_is_answered_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert re.fullmatch(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "x", "--architecture", "kan-0-5"], "kanvae train: hidden_features is 0"),
        (["train", "x", "--architecture", "kan-8-3", "--beta", "-1"], "kanvae train: beta is -1"),
        (["evaluate", "nowhere"], "kanvae evaluate: there is no run at nowhere"),
        (["explain", "cnn-4"], "kanvae explain: unknown architecture 'cnn-4'"),
        (["sweep", "none.ipynb"], "kanvae sweep: there is no notebook none.ipynb"),
        (["reproduce", "--seeds", "one"], "kanvae reproduce: --seeds is 'one'"),
        (["search", "--trials", "0"], "kanvae search: trials is 0"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path / "runs"))
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code.startswith(message)
    assert "\n" not in stop.value.code
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_trained_scored_and_explained(tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--architecture", "kan-4-2", "--epochs", 1, "--batch_size", 500, "--beta", 0.5]
    done = kanvae("train", run, *options)
    assert done.returncode == 0, done.stderr
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["architecture"], config["batch_size"], config["beta"]) == ("kan-4-2", 500, 0.5)
    options = ["--importance_samples", 2, "--likelihood_images", 10, "--features", "none"]
    command.main(["evaluate", str(run), *map(str, options)])
    assert json.loads((run / "metrics.json").read_text())["importance_samples"] == 2
    capsys.readouterr()
    command.main(["explain", "kan-4-2"])
    assert re.search(r"in all +62,960", capsys.readouterr().out)


def test_every_setting_is_an_option_with_its_help(capsys):
    from dataclasses import fields

    from kanvae.training import TrainingConfig

    with pytest.raises(SystemExit) as stop:
        command.main(["train", "--help"])
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for field in fields(TrainingConfig):
        assert f"--{field.name} " in shown
    assert "of the order of the images and of all noise. (0)" in shown


def test_what_a_command_does_not_know_is_said_in_its_name(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["explain", "kan-35-15", "kan-10-5"])
    assert stop.value.code == 2
    said = "unrecognized arguments: kan-10-5 (`kanvae explain --help` says what there is)"
    assert capsys.readouterr().err == f"kanvae explain: {said}.\n"


@pytest.mark.parametrize("name", ["sweep", "search", "reproduce", "training", "evaluation"])
def test_the_old_spelling_works_and_names_the_new_one(name, monkeypatch, capsys):
    new = {"training": "train", "evaluation": "evaluate"}.get(name, name)
    monkeypatch.setattr(sys, "argv", ["", "--help"])
    for module in ("kanvae.__main__", f"kanvae.{name}.__main__"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"kanvae.{name}", run_name="__main__")  # as `python -m` does
    said = capsys.readouterr()
    assert stop.value.code == 0
    assert said.out.startswith(f"usage: kanvae {new} ")
    assert said.err == f"`python -m kanvae.{name}` is now `kanvae {new}`.\n"


def test_notebooks_written_for_the_last_release_still_record():
    code = "import kanvae.chapters; from kanvae import chapters; print(chapters.record.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == "kanvae.studies.chapters\n"
    assert "kanvae.chapters is now kanvae.studies.chapters" in done.stderr


def test_control_c_is_quiet(tmp_path):
    options = ["train", tmp_path / "run", "--architecture", "kan-35-15"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kanvae", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not (tmp_path / "run.partial").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_reader_that_closes_the_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "kanvae", "explain", "kan-35-15"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize(("loaded", "count"), [("atexit", "[1-9][0-9]*"), ("triton", "0")])
def test_a_process_ends_without_a_search_for_garbage(loaded, count):
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # the first comes last
        "import kanvae.studies.command\n"
        f"sys.modules[{loaded!r}] = atexit"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(count, done.stdout.strip())


HIDE = """
import importlib.machinery, sys
shown, enough = set({shown}), {enough}
known = set({known})

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        return None if top in known - shown else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *arguments):  # torch looks here for what it can use
        return (d for d in super().find_distributions(*arguments) if d.name in enough)

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""
USE = """
import torch
from kanvae import Architecture, evaluation, training
from kanvae.studies import command
images = torch.rand(64, 784) > 0.5
model = Architecture.parse("kan-8-3").build()
training.fit(model, images, images, epochs=1, progress=False)
print(evaluation.negative_log_likelihood(model, images, 2) > 0)
for arguments in (
    ["train", {run!r}, "--architecture", "kan-4-2", "--epochs", "1", "--batch_size", "500"],
    ["explain", "kan-4-2"],
    ["evaluate", {run!r}],
    ["sweep", "x.ipynb"],
):
    try:
        command.main(arguments)
    except SystemExit as stop:
        print(stop.code)
"""


def installed_with(names):
    """The packages that are installed when these are, and nothing else."""
    found, todo = set(), list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name not in found:
            found.add(name)
            try:
                lines = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            needed = map(Requirement, lines)
            todo += [r.name for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def test_five_packages_are_enough_to_train_and_to_score_the_likelihood(tmp_path):
    enough = installed_with(HARD)
    modules = importlib.metadata.packages_distributions()
    lower = {m: {re.sub(r"[-_.]+", "-", d).lower() for d in ds} for m, ds in modules.items()}
    shown = [module for module, names in lower.items() if names & enough] + ["kanvae"]
    assert {"scipy", "pandas", "matplotlib", "torchvision"} <= modules.keys() - set(shown)
    names = {d.name for d in importlib.metadata.distributions()}
    kept = {d for d in names if re.sub(r"[-_.]+", "-", d).lower() in enough}
    hide = HIDE.format(shown=shown, known=list(modules), enough=kept)
    done = subprocess.run(
        [sys.executable, "-c", hide + USE.format(run=str(tmp_path / "run"))],
        capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "True"
    assert "validation ELBO" in lines[1]
    missing = "is not installed: it comes with pip install"
    assert re.fullmatch(rf"kanvae evaluate: \w+ {missing} 'kanvae\[evaluation\]'\.", lines[-2])
    assert re.fullmatch(rf"kanvae sweep: \w+ {missing} 'kanvae\[studies\]'\.", lines[-1])
