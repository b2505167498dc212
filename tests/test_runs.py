import json

import numpy as np
import pytest
import torch

from kanvae import runs


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


def test_scores_are_added_to_those_recorded(run):
    runs.record(run, {"a": 1, "b": [1.5]})
    runs.record(run, {"b": [2.5]})
    assert run.metrics == {"a": 1, "b": [2.5]}
    assert json.loads((run.path / "metrics.json").read_text()) == run.metrics


@pytest.mark.parametrize("name", ["config.json", "history.csv", "weights.safetensors"])
def test_a_missing_file_is_named(run, name):
    (run.path / name).unlink()
    with pytest.raises(runs.RunError, match=f"not a whole run: {name} is missing. Delete"):
        runs.read(run.path)


@pytest.mark.parametrize("name", ["config.json", "history.csv", "weights.safetensors"])
def test_a_damaged_file_is_found(run, name):
    path = run.path / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(runs.RunError, match="is damaged"):
        runs.read(run.path)


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
    runs.write_text(path, "before")

    def full(self, content):
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        runs.write_text(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


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
