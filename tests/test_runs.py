import gzip
import importlib.util
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT

from kanvae import files, runs


def test_a_run_folder_holds_what_it_says(run):
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.json", "history.csv", "weights.safetensors", "best.safetensors"}
    assert run.config["architecture"] == "kan-8-3"
    assert run.history.dtype.names == runs.COLUMNS
    assert run.history["update"].tolist() == list(range(1, 11))
    assert np.isfinite(run.history["reconstruction"]).all()
    assert len(run.epochs) == 1
    assert run.epochs["update"] == [10]
    assert {"date", "device", "processor", "threads", "torch", "seconds"} <= run.provenance.keys()
    assert run.metrics == {}


def test_scores_replace_those_recorded_but_for_the_best_epochs(run):
    runs.record(run, {"a": 1, "b": [1.5], "best": {"a": 2}})
    runs.record(run, {"b": [2.5]})
    assert run.metrics == {"b": [2.5], "best": {"a": 2}}
    runs.record(run, {"best": {"a": 3}})
    assert run.metrics == {"best": {"a": 3}}
    assert json.loads((run.path / "metrics.json").read_text()) == run.metrics


@pytest.mark.parametrize("name", ["config.json", "history.csv", "weights.safetensors"])
def test_a_missing_file_is_named(run, name):
    (run.path / name).unlink()
    with pytest.raises(runs.RunError, match=f"not a whole run: {name} is missing. Delete"):
        runs.read(run.path)


NAMES = ["config.json", "history.csv", "weights.safetensors"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["begun", "half", "last line", "last byte", "emptied", "bytes"])
def test_a_damaged_file_is_found(run, name, damage):
    path = run.path / name
    content = path.read_bytes()
    cut = {
        "begun": content[:50], "half": content[: len(content) // 2], "emptied": b"",
        "last line": content[: content[:-1].rindex(b"\n") + 1], "last byte": content[:-1],
        "bytes": b"\x1f\x8b\xff" + content[3:],
    }  # fmt: skip
    if name == "config.json" and damage == "last byte":
        return  # a newline
    path.write_bytes(cut[damage])
    with pytest.raises(runs.RunError, match=r"is damaged .*Delete .* and train it again") as caught:
        runs.read(run.path)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [*NAMES, "best.safetensors", "metrics.json"])
@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_a_check_finds_every_cut_file_without_reading_it_all(run, name, part):
    runs.record(run, {"test_elbo": -100.0})
    runs.check(run.path)
    path = run.path / name
    os.truncate(path, int(part * path.stat().st_size))
    with pytest.raises(runs.RunError, match=rf"{name}.* is damaged|is damaged .{name}: .*Delete"):
        runs.check(run.path)
    path.unlink()
    if name != "metrics.json" and name != "best.safetensors":
        with pytest.raises(runs.RunError, match=f"{name} is missing"):
            runs.check(run.path)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"config": 3, "provenance": {}}'])
def test_a_configuration_of_another_form_is_found(run, text):
    (run.path / "config.json").write_text(text)
    with pytest.raises(runs.RunError, match=r"is damaged .config\.json"):
        runs.read(run.path)


def test_a_packed_history_that_was_cut_is_found(run):
    packed = gzip.compress((run.path / "history.csv").read_bytes())
    path = run.path / "history.csv.gz"
    path.write_bytes(packed)
    assert len(runs.read(run.path).history) == 10
    for content in (packed[:-8], packed[:20], b""):
        path.write_bytes(content)
        with pytest.raises(runs.RunError, match=r"is damaged .history\.csv\.gz"):
            runs.read(run.path)


def test_scores_that_were_cut_are_named(run):
    runs.record(run, {"a": 1})
    path = run.path / "metrics.json"
    for text in ('{"a": 1', "", "[1]", "\x00"):
        path.write_text(text)
        with pytest.raises(runs.RunError, match=r"metrics\.json is damaged .*evaluate"):
            runs.record(run, {"b": 2})
        assert path.read_text() == text
    path.unlink()
    runs.record(run, {"b": 2})
    assert run.metrics == {"b": 2}


def test_a_history_of_an_earlier_edition_is_read_by_name(run):
    path = run.path / "history.csv"
    path.write_text(path.read_text().replace("validation_", "test_"))
    old = runs.read(run.path)
    assert old.history.dtype.names == runs.OLD_COLUMNS
    np.testing.assert_array_equal(old.elbo, run.elbo)
    assert len(old.epochs) == 1


def test_the_best_weights_are_read(run):
    assert run.best_epoch == 1
    assert run.best_weights.keys() == run.weights.keys()
    with pytest.raises(runs.RunError, match="trained without validation"):
        _ = run._replace(provenance={}).best_weights


def test_no_run_and_half_a_run_are_told_apart(tmp_path):
    with pytest.raises(runs.RunError, match="there is no run at"):
        runs.read(tmp_path / "none")
    runs.partial(tmp_path / "half").mkdir()
    with pytest.raises(runs.RunError, match="half trained: start the same training again"):
        runs.read(tmp_path / "half")


def test_differences_of_configuration_are_listed(tmp_path):
    with pytest.raises(runs.RunError, match=r"epochs is 3 there, 4 here; seed is 0 there, 1 here"):
        runs.check_config(tmp_path, {"epochs": 3, "seed": 0}, {"epochs": 4, "seed": 1})
    runs.check_config(tmp_path, {"epochs": 3}, {"epochs": 3})


def test_a_run_being_trained_is_held_against_a_second_process(tmp_path):
    with (
        runs.unfinished(tmp_path / "run"),
        pytest.raises(runs.RunError, match="another process is training"),
        runs.unfinished(tmp_path / "run"),
    ):
        pass
    with runs.unfinished(tmp_path / "run") as folder:  # free again
        assert folder.is_dir()


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_text(path, "before")

    def full(self, content):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        files.write_text(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def commit_of(folder, **environment) -> str:
    """What the provenance says in a copy of this package at `folder`."""
    spec = importlib.util.spec_from_file_location("copied", folder / "kanvae" / "origin.py")
    copied = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        spec.loader.exec_module(copied)
        assert copied.checkout() == folder
        return copied.provenance()["commit"]


def test_the_commit_is_this_checkouts_or_none(tmp_path):
    def git(folder, *arguments):
        named = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", *named, *arguments], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    around = tmp_path / "around"
    copy = around / "book"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "kanvae", copy / "kanvae", ignore=ignored)
    shutil.copy(ROOT / "noxfile.py", copy)
    git(around, "init", "-q")
    git(around, "commit", "-q", "--allow-empty", "-m", "of somebody's thesis")
    assert commit_of(copy) == "none"
    assert commit_of(copy, GIT_DIR=str(around / ".git"), GIT_WORK_TREE=str(around)) == "none"
    git(copy, "init", "-q")
    git(copy, "add", "noxfile.py", "kanvae")
    git(copy, "commit", "-q", "-m", "the book")
    own = git(copy, "rev-parse", "HEAD")
    for environment in ({}, {"GIT_DIR": str(around / ".git")}, {"GIT_CEILING_DIRECTORIES": "/"}):
        found = commit_of(copy, **environment)
        assert found.removesuffix("-dirty") == own[: len(found.removesuffix("-dirty"))]
        assert len(found) >= 12
    shutil.rmtree(copy / ".git" / "objects")
    assert commit_of(copy) == "none"


def test_no_home_for_runs(monkeypatch):
    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    monkeypatch.setenv("KANVAE_RUNS", "~/runs")
    with pytest.raises(runs.RunError, match="this user has no home folder: give the whole path"):
        runs.root()


def test_an_attempt_that_began_nothing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), runs.unfinished(tmp_path / "run"):
        raise KeyboardInterrupt
    assert [path.suffix for path in tmp_path.iterdir()] in ([], [".lock"])


def test_runs_go_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path))
    assert runs.root() == tmp_path
    monkeypatch.delenv("KANVAE_RUNS")
    assert runs.root().name == "runs"


def test_weights_can_be_read_without_this_package(run):
    from safetensors.torch import load_file

    assert torch.equal(
        load_file(run.path / "weights.safetensors")["encoder.mean.grid"],
        run.weights["encoder.mean.grid"],
    )


def test_a_file_where_a_run_was_to_be_is_named_and_stays(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(runs.RunError, match="file is a file: name the folder of a run"):
        runs.read(tmp_path / "file")
    with (
        pytest.raises(runs.RunError, match="file is a file: name another folder"),
        runs.unfinished(tmp_path / "file" / "run"),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"
