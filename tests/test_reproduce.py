import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from kanvae import Architecture, data, evaluation, runs
from kanvae.models import count_parameters
from kanvae.studies import collecting, command, location, paper, plan, reproduce, results, sizes
from kanvae.studies.plan import Job

QUICK = evaluation.Settings(
    frechet_images="grayscale,binarized", frechet_samples=100, fidelity_samples=50,
    importance_samples=2, likelihood_images=10,
)  # fmt: skip
KAN, VAE = "kan-8-3", "vae-6-2"


def make_small(patch, folder):
    """Reproducing on a few images, for two epochs; its results are its own."""
    patch.setenv("KANVAE_RUNS", str(folder))
    patch.setenv("KANVAE_RESULTS", str(folder / "results"))
    for name, value in {"SETTINGS": QUICK, "MORE_SAMPLES": 4, "FEWER_IMAGES": 5}.items():
        patch.setattr(reproduce, name, value)
    patch.setattr(paper, "EPOCHS", 2)
    patch.setattr(plan, "STUDIES", {"none": list})
    patch.setattr(paper, "FEATURED", {"KAN": Architecture.parse(KAN)})


def test_the_papers_setting_is_read_when_it_is_asked_for(monkeypatch):
    assert paper.config(KAN).epochs == 30
    monkeypatch.setattr(paper, "EPOCHS", 2)
    assert paper.config(KAN).epochs == 2


@pytest.fixture
def small(monkeypatch, tmp_path, quick):
    make_small(monkeypatch, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def once(tmp_path_factory, small_mnist):
    """The folder of two runs, trained, scored and in tables."""
    folder = tmp_path_factory.mktemp("reproduced") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *args, **kwargs: small_mnist)
        make_small(patch, folder)
        run("--workers", "0")
    return folder


@pytest.fixture
def reproduced(small, once):
    """A copy of it that a test may change."""
    return Path(shutil.copytree(once, small))


def run(*options, seeds="0"):
    command.main(["reproduce", "--rows", f"{KAN},{VAE}", "--seeds", seeds, *options])


def test_studies_hold_what_the_book_shows_once():
    every = plan.jobs(["schedule", "rates", "paper", "ablation", "depth", "full"])
    assert len({job.config for job in every}) == len(every) == len({job.name for job in every})
    found = {(str(j.config.architecture), j.config.regime, j.config.seed): j for j in every}
    for key in (*plan.TABLE, *plan.BASELINES):
        for regime, seeds in {"paper": 5, "full": 3}.items():
            assert all((key, regime, seed) in found for seed in range(seeds))
    assert all(job.config.epochs == 30 and job.config.batch_size == 32 for job in every)
    with pytest.raises(ValueError, match="there is no study 'base': choose from schedule"):
        plan.jobs(["base"])


@pytest.mark.parametrize("row", paper.TABLE_I[1:], ids=lambda row: str(row.architecture))
def test_a_baseline_has_as_many_parameters(row):
    equal = sizes.baseline(row.architecture)
    assert equal.layer == "linear"
    assert equal.latent_dim == row.architecture.latent_dim
    assert count_parameters(equal.build()) == pytest.approx(row.parameters, rel=0.007)


@pytest.mark.parametrize("kind", sizes.KINDS)
def test_kinds_keep_within_the_budget_and_use_it(kind):
    key = sizes.fitted(kind, 163_000)
    assert str(Architecture.parse(key)) == key
    assert 0.94 * 163_000 < count_parameters(Architecture.parse(key).build()) <= 163_000


@pytest.mark.parametrize("kind", sizes.BASES)
def test_other_bases_have_the_parameters_of_the_papers_model(kind):
    found = count_parameters(Architecture.parse(sizes.equal(kind)).build())
    assert found == pytest.approx(564_550, rel=0.01)


def known(monkeypatch, jobs, elbo):
    """Let the tables hold jobs with an ELBO each."""
    lines = [{"name": job.name, "validation_elbo": elbo(job.config)} for job in jobs]
    frame = pd.DataFrame(lines, columns=["name", "validation_elbo"]).drop_duplicates()
    monkeypatch.setattr(results, "scores", lambda **chosen: frame)


def tried(monkeypatch, elbo):
    """All tries of every kind, and the tables with them."""
    for _ in range(2):  # the falling rates, then the constant rate that they choose
        known(monkeypatch, jobs := plan.rates(), elbo)
    return jobs


def test_small_sets_have_models_of_one_size(monkeypatch):
    known(monkeypatch, [], None)
    jobs = plan.small()
    assert len(jobs) == 2 * len(sizes.FORMS) * 4  # tries; what follows from them waits for them
    for name, budget in (("digits", 9_936), ("diamonds", 2_068)):
        found = {
            sizes.parameters(str(job.config.architecture), job.config.likelihood)
            for job in jobs
            if job.config.dataset.endswith(f"{name}.npz")
        }
        assert max(found) == budget
        assert min(found) > 0.85 * budget


def test_constant_rates_are_tried_in_full_and_choose_nothing(monkeypatch):
    def elbo(config):  # the highest rate does best where it is held
        if config.scheduler == "constant":
            return config.learning_rate
        return -abs(config.learning_rate - 0.002)

    tries, kinds = tried(monkeypatch, elbo), ("ReLU", "KAN", "1 function", "4 functions")
    held = [job for job in plan.best() if job.scores == "validation"]
    assert {job.config.learning_rate for job in held} == set(plan.RATES)
    assert {job.config.scheduler for job in held} == {"constant"}
    assert len(held) == (len(kinds) + 1) * len(plan.RATES)  # and SiLU's
    known(monkeypatch, [*tries, *held], elbo)
    setting = plan.best_setting(plan.tries("vae-400-20"))
    assert setting == {"learning_rate": 0.002, "scheduler": "constant"}


def test_the_best_setting_is_the_best_on_validation(monkeypatch):
    def elbo(config):
        found = {("cosine", 0.002): -90.0, ("constant", 0.002): -91.0}
        return found.get((config.scheduler, config.learning_rate), -99.0)

    known(monkeypatch, [], elbo)
    falling = plan.tries("vae-400-20")
    assert [job.config.learning_rate for job in falling] == list(plan.RATES)
    assert {job.config.scheduler for job in falling} == {"cosine"}
    assert plan.at_best(["ReLU"], [3]) == falling  # first of all
    known(monkeypatch, falling, elbo)
    every = plan.tries("vae-400-20")
    assert every[:-1] == falling
    assert (every[-1].config.scheduler, every[-1].config.learning_rate) == ("constant", 0.002)
    assert plan.best_setting(every) is None  # its constant rate is missing
    known(monkeypatch, every, elbo)
    assert plan.best_setting(every) == {"learning_rate": 0.002, "scheduler": "cosine"}
    (job,) = plan.at_best(["ReLU"], [3], epochs=45)
    assert (job.config.learning_rate, job.config.epochs, job.config.seed) == (0.002, 45, 3)


def test_a_study_goes_on_with_what_its_own_tables_chose(small, monkeypatch):
    size = sizes.parameters("vae-4-2")
    monkeypatch.setattr(plan, "RATES", (0.01,))
    monkeypatch.setattr(sizes, "KINDS", {"tiny": "vae-{}-2"})
    monkeypatch.setattr(sizes, "BUDGET", size)
    study = {"best": lambda: plan.at_best(["tiny"], [0, 1], [size], scores="validation")}
    monkeypatch.setattr(plan, "STUDIES", study)
    monkeypatch.delenv("KANVAE_RESULTS")
    output = small / "tables"
    command.main(["reproduce", "--study", "best", "--workers", "0", "--output", str(output)])
    with location.using(output):
        found = results.scores(reading="best")
        (setting,) = {job.config.scheduler for job in plan.at_best(["tiny"], [1], [size])}
    assert sorted(zip(found["scheduler"], found["seed"], strict=True)) == sorted(
        [("cosine", 0), ("constant", 0), (setting, 1)]
    )
    best = found[found["seed"] == 0].set_index("scheduler")["validation_elbo"].idxmax()
    assert setting == best


def test_changing_grids_are_held_against_fixed_ones_for_as_many_epochs(monkeypatch):
    tried(monkeypatch, lambda c: -c.learning_rate)
    jobs = plan.grids()
    assert len(jobs) == len({job.name for job in jobs}) == 3 * 2 * 4
    assert {job.config.epochs for job in jobs} == {30}
    for key in ("kan-35-15", "shared-374-20+groups=4"):
        ways = [j.config for j in jobs if str(j.config.architecture).startswith(key)]
        grown = [way for way in ways if way.grid_sizes]
        assert len(ways) == 12
        assert {str(way.architecture) for way in grown} == {f"{key}+grid_size=3"}
        assert len({(way.learning_rate, way.scheduler) for way in ways}) == 1


def test_the_front_of_a_search_is_trained_with_seeds_that_it_has_not_seen(monkeypatch):
    trials = pd.DataFrame({"architecture": ["kan-9-3", "vae-90-3"], "front": [True, False]})
    about = {"config": {"regime": "paper", "epochs": 10, "schedule": "cosine", "seed": 0}}
    monkeypatch.setattr(results, "search", lambda: (trials, None, about))
    jobs, deeper = plan.front()[:15], plan.front()[15:]
    assert [job.config.seed for job in jobs[::3]] == [1, 2, 3, 4, 5]
    assert all(job.config.architecture.depth == 2 for job in deeper)
    assert {(job.config.seed, job.config.epochs, job.scores) for job in deeper} == {
        (0, 10, "validation")
    }
    assert len(deeper) == 8
    keys = ["kan-9-3", "vae-400-20", "vae-400-20+activation=silu"]
    assert [str(job.config.architecture) for job in jobs[:3]] == keys
    (how,) = {(job.config.epochs, job.config.scheduler, job.scores) for job in jobs}
    assert how == (10, "cosine", "brief")
    about["config"]["regime"] = "full"
    assert plan.front() == []


def test_other_sets_see_the_best_of_the_dial(monkeypatch):
    scores = {"shared-395-20": -3.0, sizes.fitted("16 functions", sizes.BUDGET): -1.0}

    def elbo(config):
        return scores.get(str(config.architecture), -2.0)

    known(monkeypatch, [], elbo)
    assert plan.contenders() == []
    tries = tried(monkeypatch, elbo)
    assert plan.contenders() == []  # the seeds are missing
    known(monkeypatch, tries + plan.at_best(sizes.DIAL, range(3)), elbo)
    best = ["ReLU", "SiLU", "16 functions", "4 functions", "one per edge"]
    assert plan.contenders() == best
    kan = [job for job in plan.fashion() if job.config.architecture.layer == "kan"]
    assert len(plan.fashion()) == len(best) * (2 * 5 + 3) + 5
    assert [job.config.seed for job in kan] == list(range(5))
    assert {job.config.dataset for job in plan.fashion()} == {"FashionMNIST"}


def test_models_of_table_one_and_in_figures_and_the_anchor_are_judged_twice():
    named = ["vae-400-20", "kan-400-20", "kan-35-15", "vae-4000-20", "vae-350-15"]
    jobs = [Job(plan.config(key)) for key in named] + plan.anchor()
    jobs += [Job(plan.config("vae-350-15", seed=3)), Job(plan.config("kan-40-10", seed=1))]
    assert all(map(reproduce.judged_twice, jobs))
    others = [plan.config("kan-35-15", "full"), plan.config("kan-35-15", epochs=3)]
    others += [plan.config("kan-9-3"), plan.config("kan-35-15+depth=2")]
    assert not any(reproduce.judged_twice(Job(config)) for config in others)


def test_a_run_is_trained_scored_and_written_to_the_tables(small, capsys):
    run("--status", seeds="1")
    assert "0 of 2 runs" in capsys.readouterr().out
    assert not small.exists()
    run("--device", "cpu", "--workers", "0", seeds="1")
    run("--status", seeds="1")
    assert "2 of 2 runs" in capsys.readouterr().out
    (path,) = (small / "reproduce").glob("kan-*")
    trained, scores = runs.read(path), results.scores(model=KAN)
    assert scores["reading"].tolist() == ["last", "best"]
    last, best = (scores.set_index("reading").loc[each] for each in ("last", "best"))
    assert last["parameters"] == 10 * Architecture.parse(KAN).edges()
    assert last["test_elbo"] == pytest.approx(trained.metrics["test_elbo"])
    assert best["test_nll"] == pytest.approx(trained.metrics["best"]["test_nll"])
    assert best["validation_elbo"] == pytest.approx(trained.elbo.max())
    assert best["epoch"] == trained.best_epoch
    assert 0 <= last["coverage_digits_binarized"] <= 1
    assert last["kernel_digits_grayscale"] == pytest.approx(
        trained.metrics["kernel"]["digits grayscale"]
    )
    assert last["updates"] == 20
    low, high = last["band_kl"] - 20, last["band_kl"] + 20
    assert low < trained.history["kl"][-1] < high
    assert len(results.learning()) == 2 * 2


def test_a_run_whose_line_is_there_is_done_wherever_it_was_made(reproduced, capsys):
    small = reproduced
    before = contents(small / "results")
    shutil.rmtree(small / "reproduce")
    run("--workers", "0")
    assert "2 runs, 2 of them done before" in capsys.readouterr().out
    assert not (small / "reproduce").exists()
    assert contents(small / "results") == before
    run("--workers", "0", seeds="0,1")  # others are written beside it
    assert len(results.scores()) == 8
    assert len(results.scores(seed=0, reading="best")) == 2
    assert set(before) <= set(contents(small / "results"))


def test_a_run_that_only_chooses_is_not_scored_on_test_images(small, monkeypatch):
    job = plan.Job(plan.config(VAE, learning_rate=0.01, scheduler="cosine"), "validation")
    monkeypatch.setattr(plan, "STUDIES", {"choice": lambda: [job]})
    command.main(["reproduce", "--study", "choice", "--workers", "0"])
    (line,) = results.scores(reading="best").to_dict("records")
    assert np.isfinite(line["validation_elbo"])
    assert not [name for name in line if name.startswith(("test_", "frechet_"))]
    assert (line["learning_rate"], line["scheduler"]) == (0.01, "cosine")
    assert line["name"] == f"{VAE}-MNIST-paper-epochs=2-learning_rate=0.01-scheduler=cosine-seed0"
    monkeypatch.setattr(plan, "STUDIES", {"more": lambda: [job._replace(scores="all")]})
    command.main(["reproduce", "--study", "more", "--workers", "0"])
    assert np.isfinite(results.scores(reading="best")["test_nll"]).all()


def test_a_finished_run_that_was_cut_is_named_and_the_others_are_collected(
    reproduced, capsys, tmp_path
):
    (cut,) = (reproduced / "reproduce").glob("vae-*")
    whole = (cut / "weights.safetensors").read_bytes()
    os.truncate(cut / "weights.safetensors", 1000)
    again = ["--output", str(tmp_path / "tables")]
    run("--status", *again)
    assert "0:damaged" in capsys.readouterr().out
    for more in ([], ["--collect"], ["--workers", "0"]):
        with pytest.raises(SystemExit) as stop:
            run(*again, *more)
        assert f"{cut} is damaged (weights.safetensors: " in str(stop.value.code)
        assert f"Delete {cut} and train it again." in str(stop.value.code)
    shutil.rmtree(cut)
    run(*again, "--workers", "0")
    assert (cut / "weights.safetensors").read_bytes() == whole
    run("--status", *again)
    assert "2 of 2 runs" in capsys.readouterr().out


def test_a_run_whose_grids_grew_is_told_with_what_it_has_in_the_end(small, monkeypatch):
    job = plan.Job(plan.config("shared-4-2", epochs=2, grid_sizes="9"), "brief")
    monkeypatch.setattr(plan, "STUDIES", {"grown": lambda: [job]})
    command.main(["reproduce", "--study", "grown", "--workers", "0"])
    (line,) = results.scores(reading="last").to_dict("records")
    assert line["parameters"] == sizes.parameters("shared-4-2+grid_size=9")
    assert 0 <= line["latents_outside_grid"] <= 1
    assert line["settings"] == "epochs=2,grid_sizes=9"


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_collecting_again_changes_no_byte(reproduced):
    before = contents(reproduced / "results")
    run("--collect")
    assert contents(reproduced / "results") == before
    shutil.rmtree(reproduced / "results")
    run("--collect")
    assert contents(reproduced / "results") == before


def test_tables_do_not_depend_on_which_run_was_written_first(reproduced, tmp_path):
    jobs = [plan.Job(plan.config(key)) for key in (KAN, VAE)]
    found = []
    for order in (jobs, jobs[::-1]):
        output = tmp_path / str(len(found))
        for job in order:
            collecting.collect(output, [(job, reproduce.folder(job))])
        found.append(contents(output))
    assert found[0] == found[1]


def test_a_featured_run_is_read_back_with_its_weights(reproduced):
    small = reproduced
    (original,) = (runs.read(p) for p in (small / "reproduce").glob("kan-*"))
    name = results.row_name(plan.config(KAN))
    copy = runs.read(small / "results" / "runs" / name)
    assert copy.weights.keys() == original.weights.keys()
    assert all(bool((copy.weights[k] == original.weights[k]).all()) for k in copy.weights)
    assert copy.history["kl"].tolist() == original.history["kl"].tolist()
    assert not (small / "results" / "runs" / results.row_name(plan.config(VAE))).exists()


def test_own_results_begin_as_a_copy_of_the_reference(reproduced, monkeypatch, capsys, tmp_path):
    small = reproduced
    (small / "results").rename(tmp_path / "reference")
    (tmp_path / "reference" / "provenance.json").write_text("{}")
    monkeypatch.setenv("KANVAE_RESULTS", str(tmp_path / "reference"))
    shutil.rmtree(small / "reproduce")
    run("--collect")
    assert f"2 runs in {small / 'results'}" in capsys.readouterr().out
    assert contents(small / "results") == contents(tmp_path / "reference")


def test_runs_that_fail_are_listed_and_the_others_go_on(tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (ROOT / "data" / "MNIST" / "raw").glob("*.gz"):
        (raw / path.name).write_bytes(path.read_bytes()[:1000])
    environment = {**os.environ, "KANVAE_DATA": str(tmp_path / "data")}
    environment["KANVAE_RUNS"] = str(tmp_path / "runs")
    command = [sys.executable, "-m", "kanvae", "reproduce", "--rows", "vae-6-2", "--seeds", "0,1"]
    done = subprocess.run(
        [*command, "--regime", "paper", "--device", "cpu"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-2:]
    assert [line.partition(":")[0] for line in sorted(last)] == [
        results.row_name(plan.config("vae-6-2", seed=seed)) for seed in (0, 1)
    ]
    assert all("is damaged" in line for line in last)
    assert "2 runs: 100%" in done.stderr
    assert " left " in done.stderr  # how much time


def test_seeds_that_no_run_has_are_said():
    options = argparse.Namespace(regime=None, rows=None, device="cpu")
    with pytest.raises(ValueError, match=r"these have seeds \[0, 1, 2\] and regimes \['paper'\]"):
        reproduce._chosen(options, ["depth"], [99])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "kan-0-5"], "hidden_features is 0"),
        (["--study", "all"], "there is no study 'all': choose from none"),
        (["--rows", "cnn-4"], "unknown architecture 'cnn-4'"),
        (["--regime", "half"], "unknown regime 'half'"),
        (["--seeds", "one"], "--seeds is 'one': give whole numbers, such as 0,1,2"),
        (["--device", "cuda:99"], "is not on this machine"),
        (["--workers", "-1"], "--workers is -1"),
        (["--study", "none"], "the study none plans no run from the tables in"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, message, small):
    with pytest.raises(SystemExit, match=message) as stop:
        command.main(["reproduce", *options])
    assert "\n" not in str(stop.value.code)
    assert not small.exists()
