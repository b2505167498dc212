import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

from kanvae import Architecture, data, evaluation, runs
from kanvae.models import count_parameters
from kanvae.studies import command, paper, reproduce, results
from kanvae.training import TrainingConfig

QUICK = evaluation.Settings(
    frechet_images="grayscale,binarized", frechet_samples=100, importance_samples=2,
    likelihood_images=10,
)  # fmt: skip


@pytest.fixture
def small(monkeypatch, tmp_path, quick):
    """Reproducing on a few images, for one epoch."""
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(reproduce, "SETTINGS", QUICK)
    monkeypatch.setattr(paper, "EPOCHS", 1)
    return tmp_path / "runs"


def test_by_default_it_is_all_that_the_book_shows():
    every = reproduce.configs()
    assert len(set(every)) == len(every)
    table = [str(row.architecture) for row in paper.TABLE_I]
    for regime in ("figure6", "full"):
        for seed in range(5):
            assert {TrainingConfig(key, regime=regime, seed=seed) for key in table} <= set(every)
    assert all(config.epochs == 30 and config.batch_size == 32 for config in every)


@pytest.mark.parametrize("row", paper.TABLE_I[1:], ids=lambda row: str(row.architecture))
def test_a_baseline_has_as_many_parameters(row):
    equal = reproduce.baseline(row.architecture)
    assert equal.layer == "linear"
    assert equal.latent_dim == row.architecture.latent_dim
    assert count_parameters(equal.build()) == pytest.approx(row.parameters, rel=0.007)


def test_a_run_is_trained_scored_and_collected(small, capsys):
    options = ["--rows", "kan-8-3,vae-6-2", "--regime", "figure6", "--seeds", "1"]
    command.main(["reproduce", *options, "--status"])
    assert "0 of 2 runs" in capsys.readouterr().out
    assert not small.exists()
    command.main(["reproduce", *options, "--device", "cpu", "--workers", "0"])
    command.main(["reproduce", *options, "--status"])
    assert "2 of 2 runs" in capsys.readouterr().out
    run = runs.read(small / "reproduce" / "kan-8-3-figure6-seed1")
    line = reproduce.line(run)
    assert line["parameters"] == 10 * Architecture.parse("kan-8-3").edges()
    assert line["test_elbo"] == run.metrics["test_elbo"]
    assert line["updates"] == 10
    assert len(reproduce.epoch_lines(run)) == 1


def test_a_finished_run_that_was_cut_is_named_and_the_others_are_collected(small, capsys, tmp_path):
    options = ["--rows", "kan-8-3,vae-6-2", "--regime", "figure6", "--seeds", "1"]
    command.main(["reproduce", *options, "--workers", "0"])
    cut = small / "reproduce" / "vae-6-2-figure6-seed1"
    whole = (cut / "best.safetensors").read_bytes()
    os.truncate(cut / "best.safetensors", 1000)
    command.main(["reproduce", *options, "--status"])
    assert "1:damaged" in capsys.readouterr().out
    again = ["reproduce", *options, "--output", str(tmp_path / "tables")]
    for more in ([], ["--collect"], ["--workers", "0"]):
        with pytest.raises(SystemExit) as stop:
            command.main([*again, *more])
        assert f"{cut} is damaged (best.safetensors: " in str(stop.value.code)
        assert f"Delete {cut} and train it again." in str(stop.value.code)
    shutil.rmtree(cut)
    command.main(["reproduce", *options, "--workers", "0"])
    assert (cut / "best.safetensors").read_bytes() == whole
    command.main(["reproduce", *options, "--status"])
    assert "2 of 2 runs" in capsys.readouterr().out


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory, small_mnist):
    """The folder of two runs on a few images."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *args, **kwargs: small_mnist)
        patch.setenv("KANVAE_RUNS", str(folder))
        patch.setattr(reproduce, "SETTINGS", QUICK)
        patch.setattr(paper, "EPOCHS", 1)
        options = ["--rows", "kan-8-3,vae-6-2", "--regime", "figure6", "--seeds", "0"]
        command.main(["reproduce", *options, "--workers", "0"])
    return folder


@pytest.fixture
def collected(small, two_runs, monkeypatch, tmp_path):
    """Two runs of the book, in tables."""
    shutil.copytree(two_runs, small)
    monkeypatch.setattr(reproduce, "MODELS", {"kan-8-3": "table", "vae-6-2": "baseline"})
    monkeypatch.setattr(
        reproduce, "configs", lambda *_: configs(("kan-8-3", "vae-6-2"), ["figure6"], [0])
    )
    monkeypatch.setattr(paper, "FEATURED", {"KAN": Architecture.parse("kan-8-3")})
    reproduce.collect(tmp_path / "results")
    return tmp_path / "results"


configs = reproduce.configs


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_collecting_again_changes_no_byte(collected):
    before = contents(collected)
    assert reproduce.collect(collected) == 2
    assert contents(collected) == before


def test_runs_that_are_not_here_keep_their_lines(collected, small):
    before = contents(collected)
    shutil.rmtree(small / "reproduce" / "vae-6-2-figure6-seed0")
    assert reproduce.collect(collected) == 2
    assert contents(collected) == before


def test_a_featured_run_is_read_back_with_its_weights(collected, small, monkeypatch):
    monkeypatch.setenv("KANVAE_RESULTS", str(collected))
    name = "kan-8-3-figure6-seed0"
    copy, original = (
        results.featured_run("kan-8-3", "figure6"),
        runs.read(small / "reproduce" / name),
    )
    assert copy.weights.keys() == original.weights.keys()
    assert all(bool((copy.weights[k] == original.weights[k]).all()) for k in copy.weights)
    assert copy.history["kl"].tolist() == original.history["kl"].tolist()
    assert not (collected / "vae-6-2-figure6-seed0").exists()


def test_tables_hold_what_the_runs_hold(collected, monkeypatch):
    monkeypatch.setenv("KANVAE_RESULTS", str(collected))
    assert results.table()["name"].tolist() == ["kan-8-3-figure6-seed0", "vae-6-2-figure6-seed0"]
    assert len(results.frechet()) == 2 * 2 * 5
    assert results.epochs().groupby("name").size().tolist() == [1, 1]
    assert isinstance(results.table(), pd.DataFrame)


def test_own_results_begin_as_a_copy_of_the_reference(collected, small, monkeypatch, capsys):
    monkeypatch.setenv("KANVAE_RESULTS", str(collected))
    shutil.rmtree(small / "reproduce")
    command.main(["reproduce", "--collect"])
    assert f"2 runs in {small / 'results'}" in capsys.readouterr().out
    assert contents(small / "results") == contents(collected)


def test_runs_that_fail_are_listed_and_the_others_go_on(tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (ROOT / "data" / "MNIST" / "raw").glob("*.gz"):
        (raw / path.name).write_bytes(path.read_bytes()[:1000])
    environment = {**os.environ, "KANVAE_DATA": str(tmp_path / "data")}
    environment["KANVAE_RUNS"] = str(tmp_path / "runs")
    command = [sys.executable, "-m", "kanvae", "reproduce", "--rows", "vae-6-2", "--seeds", "0,1"]
    done = subprocess.run(
        [*command, "--regime", "figure6", "--device", "cpu"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2:]
    assert [line.partition(":")[0] for line in sorted(last)] == [
        "vae-6-2-figure6-seed0",
        "vae-6-2-figure6-seed1",
    ]
    assert all("is damaged" in line for line in last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "kan-0-5"], "hidden_features is 0"),
        (["--rows", "cnn-4"], "unknown architecture 'cnn-4'"),
        (["--regime", "half"], "unknown regime 'half'"),
        (["--seeds", "one"], "--seeds is 'one': give whole numbers, such as 0,1,2"),
        (["--device", "cuda:99"], "is not on this machine"),
        (["--workers", "-1"], "--workers is -1"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, message, small):
    with pytest.raises(SystemExit, match=message) as stop:
        command.main(["reproduce", *options])
    assert "\n" not in str(stop.value.code)
    assert not small.exists()
