"""The results that come with the book: whole, consistent, and true of the weights beside them."""

import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from kanvae import Architecture, data, evaluation, files, runs
from kanvae.models import count_parameters
from kanvae.studies import (
    convolution,
    elsewhere,
    location,
    others,
    paper,
    plan,
    results,
    sets,
    sizes,
)
from kanvae.training import TrainingConfig, load_model, mean_terms

REFERENCE = ROOT / "book" / "results"


@pytest.fixture(autouse=True)
def _reference(monkeypatch):
    monkeypatch.setenv("KANVAE_RESULTS", str(REFERENCE))


SCORED = ("brief", "all")


@pytest.fixture(scope="module")
def lines():
    return pd.read_csv(REFERENCE / "runs" / "scores.csv").set_index(["name", "reading"])


@pytest.fixture(scope="module")
def last(lines):
    return lines.xs("last", level="reading")


def test_every_run_stands_in_every_file_once(lines):
    assert lines.index.is_unique
    names = sorted(set(lines.index.get_level_values("name")))
    assert len(lines) == 2 * len(names)
    assert sorted(results.provenance()) == names
    assert sorted(results.learning()["name"].unique()) == names


def test_a_line_follows_from_its_configuration(last):
    @functools.cache
    def images(dataset, regime):
        dataset = "MNIST" if dataset == "FashionMNIST" else dataset  # as many; it need not be here
        return len(data.load(dataset, regime=regime).pixels)

    @functools.cache
    def parameters(architecture, likelihood="bernoulli"):
        return count_parameters(architecture.build(likelihood=likelihood))

    for name, found in results.provenance().items():
        given = dict(found["config"])
        checksum = given.pop("dataset_md5", None)
        if checksum:  # one of the book's own sets: it is made again
            given["dataset"] = sets.path(Path(given["dataset"]).stem)
        config, line = TrainingConfig(**given), last.loc[name]
        assert config.to_dict().get("dataset_md5") == checksum
        assert name == results.row_name(config)
        assert line["model"] == str(config.architecture)
        assert line["regime"] == config.regime
        assert line["epoch"] == config.epochs
        batches = math.ceil(images(config.dataset, config.regime) / config.batch_size)
        assert line["updates"] == config.epochs * batches
        expected = parameters(config.architecture, config.likelihood)
        if config.grid_sizes:  # all grids grew but the first layer's, which sees bits
            start = dict(config.architecture.settings)["grid_size"]
            end = int(config.grid_sizes.split(",")[-1])
            key = str(config.architecture).replace(f"grid_size={start}", f"grid_size={end}")
            layer = config.architecture.layers()["encoder", "first"]
            first = config.architecture.input_features * config.architecture.hidden_features
            first *= layer.kind == "kan"  # a linear one has no grid
            expected = parameters(Architecture.parse(key)) - first * (end - start)
            assert expected > parameters(config.architecture)
        assert line["parameters"] == expected
    assert set(results.provenance()) <= {job.name for job in plan.jobs(plan.STUDIES)}


def test_every_training_says_where_it_ran_and_on_which_clean_commit():
    for found in results.provenance().values():
        for field in ("date", "commit", "device", "processor", "torch", "seconds", "peak_memory"):
            assert found[field], field
        assert "dirty" not in found["commit"]


@pytest.mark.parametrize("study", others.STUDIES)
def test_other_networks_are_all_there_from_clean_commits(study):
    table = others.table(location.root(), study)
    jobs = {job.name: job for job in others.jobs(study, table)}
    text = (location.root() / study / "provenance.json").read_text(encoding="utf-8")
    every = json.loads(text)
    assert sorted(table["name"]) == sorted([*every, *every])  # a line for each reading
    scored = {name: found["scores"] for name, found in every.items()}
    assert scored == {name: job.scores for name, job in jobs.items()}
    for found in every.values():
        assert found["commit"]
        assert "dirty" not in found["commit"]


def test_runs_at_the_papers_setting_have_it():
    every = results.provenance()
    for name in results.at_paper()["name"].unique():
        config = every[name]["config"]
        assert (config["learning_rate"], config["batch_size"]) == (0.002, 32)
        assert (config["scheduler"], config["scheduler_factor"]) == ("plateau", 0.5)
        assert config["epochs"] == paper.EPOCHS


def test_runs_at_the_papers_setting_are_told_from_others(last):
    lines = results.at_paper(reading="last").set_index("name")
    assert (lines["learning_rate"] == 0.002).all()
    assert (lines["scheduler"] == "plateau").all()
    assert set(map(str, paper.FEATURED.values())) <= set(lines["model"])
    others = last.loc[last.index.difference(lines.index)]
    own = (last["learning_rate"] == 0.002) & (last["scheduler"] == "plateau")
    assert not (own & (last["settings"] == lines["settings"].iloc[0]))[others.index].any()


def test_the_rate_fell_late_at_the_papers_setting():
    """As the chapter on the paper's figures chose it: after 600 updates without a better batch."""
    names = results.at_paper(regime="paper")["name"].unique()
    epochs = results.learning().set_index("name").loc[names]
    first, end = (epochs[epochs["epoch"] == at]["learning_rate"] for at in (1, paper.EPOCHS))
    assert (first == 0.002).all()
    assert (end < 0.002).all()


def test_times_and_memory_are_those_of_the_provenance(last):
    for name, found in results.provenance().items():
        assert last.loc[name, "cpu_seconds"] == pytest.approx(found["cpu_seconds"], rel=1e-5)
        peak = found["peak_memory"] / 1e6
        assert last.loc[name, "peak_megabytes"] == pytest.approx(peak, rel=1e-5)


@pytest.mark.parametrize("name", paper.FEATURED)
def test_distances_are_means_of_five_evaluations(name, last):
    run = results.featured_run(paper.FEATURED[name])
    line, found = last.loc[run.path.name], run.metrics["frechet"]
    assert set(found) == {"digits grayscale", "digits binarized"}
    assert (run.metrics["importance_samples"], run.metrics["likelihood_images"]) == (500, 10_000)
    for kind, values in found.items():
        assert len(values) == paper.FID_SEEDS
        column = f"frechet_{kind.replace(' ', '_')}"
        assert line[column] == pytest.approx(np.mean(values), rel=1e-5)
        assert line[f"{column}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-4)


def test_last_epochs_agree_with_the_scores(lines, last):
    epochs = results.learning()
    assert (epochs.groupby("name").size() == last["epoch"]).all()
    end = epochs.groupby("name").last()
    for term in ("reconstruction", "kl"):
        difference = end[f"validation_{term}"] - last[f"validation_{term}"]
        assert difference.abs().max() < 1e-4
    elbo = -(epochs["validation_reconstruction"] + epochs["validation_kl"])
    top = elbo.groupby(epochs["name"]).max()
    best = lines.xs("best", level="reading")["validation_elbo"]
    assert (top - best).abs().max() < 1e-4
    for part in ("train", "test"):
        terms = lines[f"{part}_reconstruction"] + lines[f"{part}_kl"]
        assert (lines[f"{part}_elbo"] + terms).abs().max() < 1e-3
    scored = lines.dropna(subset=["test_nll"])
    assert (scored["test_nll"] < -scored["test_elbo"]).all()


def test_only_runs_that_choose_nothing_are_scored_on_test_images(last):
    scores = {name: found["scores"] for name, found in results.provenance().items()}
    judged = pd.Series(scores).isin(SCORED)
    assert (last["test_nll"].notna() == judged[last.index]).all()


@pytest.mark.parametrize("name", paper.FEATURED)
def test_weights_that_come_with_the_book_have_the_scores_of_their_line(name, last):
    run = results.featured_run(paper.FEATURED[name])
    line = last.loc[run.path.name]
    model = load_model(run)
    test = data.load("MNIST", "test")
    x = data.binarize(test.pixels)
    reconstruction, kl = mean_terms(model, x, seed=0)
    assert reconstruction == pytest.approx(line["test_reconstruction"], abs=0.005)
    assert kl == pytest.approx(line["test_kl"], abs=0.005)
    means = evaluation.latent_means(model, x)
    assert evaluation.active_units(means) == line["active_units"]
    assert evaluation.silhouette(means, test.labels) == pytest.approx(line["silhouette"], abs=5e-4)
    features = evaluation.load_features("digits")
    reference = evaluation.reference_statistics(features, test.pixels)
    distances = evaluation.frechet_distances(model, features, reference, seeds=paper.FID_SEEDS)
    assert np.mean(distances) == pytest.approx(line["frechet_digits_grayscale"], abs=0.5)


def test_the_recommended_model_is_the_best_on_validation_and_has_the_scores_of_its_line():
    known = results.scores(reading="best").set_index("name")["validation_elbo"]
    found = {}
    for kind in sizes.DIAL:
        jobs = plan.at_best([kind], range(3))  # it was chosen when there were no others
        if jobs[0].config.seed == jobs[-1].config.seed:
            continue  # its setting is not known yet
        there = [job.name for job in jobs if job.name in known.index]
        found[known[there].mean()] = there[0]
    assert found[max(found)] == results.RECOMMENDED
    run = results.recommended()
    line = results.scores(name=results.RECOMMENDED, reading="last").iloc[0]
    x = data.binarize(data.load("MNIST", "test").pixels)
    reconstruction, kl = mean_terms(load_model(run), x, seed=0)
    assert reconstruction == pytest.approx(line["test_reconstruction"], abs=0.005)
    assert kl == pytest.approx(line["test_kl"], abs=0.005)


@pytest.mark.parametrize("name", paper.FEATURED)
def test_learning_curves_are_whole(name):
    history = results.featured_run(paper.FEATURED[name]).history
    assert len(history) == 9390
    assert np.isfinite(history["reconstruction"]).all()
    assert np.isfinite(history["validation_kl"]).sum() == paper.EPOCHS


def test_the_search_is_whole_and_its_front_is_one():
    trials, curves, about = results.search()
    assert about["config"]["regime"] == "paper"
    assert not any(trial["commit"].endswith("dirty") for trial in about["trials"])
    assert (trials.groupby("layer").size() >= 40).all()  # enough to speak of each kind
    assert trials["trial"].is_unique
    assert (curves.groupby("trial").size() == trials.set_index("trial")["epochs"]).all()
    complete = trials[trials["state"] == "complete"]
    assert (complete["epochs"] == about["config"]["epochs"]).all()
    rows = {str(row.architecture) for row in paper.TABLE_I}
    assert set(complete.loc[complete["row"].notna(), "architecture"]) == rows
    assert {trial["trial"] for trial in about["trials"]} == set(complete["trial"])
    for line in trials.itertuples():
        architecture = Architecture.parse(line.architecture)
        assert line.parameters == count_parameters(architecture.build())
        assert (line.layer, line.depth) == (architecture.layer, architecture.depth)
    front = complete[complete["front"]].sort_values("parameters")
    assert front["score"].is_monotonic_decreasing
    for line in complete[~complete["front"]].itertuples():
        below = front[front["parameters"] <= line.parameters]
        assert (below["score"] <= line.score).any()


def test_what_was_measured_of_sweeps_says_where_and_lost_nothing():
    tables, measured = results.measured("sweeps")
    assert tables.keys() == measured.keys() == {"overhead", "throughput", "scheduling", "soak"}
    for where in measured.values():
        assert where["processor"]
        assert where["commit"]
    soak = tables["soak"].set_index("work")
    assert set(soak.index) == {"training", "sweep", "search", "reproduction"}
    assert (soak[["lost", "wrong", "left_behind", "not_restarted"]] == 0).all(axis=None)


def test_what_was_measured_of_updates_says_where_of_a_clean_commit_and_of_all_models():
    tables, measured = results.measured("updates")
    tasks = {"convolution": convolution.TASKS["MNIST"], **elsewhere.TASKS}
    assert tables.keys() == measured.keys() == {"sizes", "units", "bases", *tasks}
    for group, where in measured.items():
        assert where["processor"]
        assert re.fullmatch("[0-9a-f]{12}", where["commit"])
        assert where["threads"] == 1 or group not in elsewhere.TASKS
        assert where["rounds"] == 25  # as captions say
        table = tables[group].set_index("model")
        assert (table["relative"] - table["ms"] / table["ms"].iloc[0]).abs().max() < 0.002
        if group in tasks:
            learned = [k for k, make in tasks[group].models.items() if count_parameters(make(0))]
            assert list(table.index) == learned
        else:
            assert [str(Architecture.parse(key)) for key in table.index] == list(table.index)


def test_the_results_stay_small():
    size = sum(path.stat().st_size for path in REFERENCE.rglob("*") if path.is_file())
    assert size < 30e6


def test_what_is_missing_is_named_with_what_is_there():
    with pytest.raises(runs.RunError, match=r"no runs/kan-1-1-\S+ .* The runs there are .*kan-35"):
        results.featured_run("kan-1-1")


def test_a_table_is_read_again_when_another_stands_there_and_stays_as_it_is_there(tmp_path):
    table = tmp_path / "runs" / "scores.csv"
    table.parent.mkdir()
    files.write_text(table, "name,reading,nll\na,best,1\n")
    with location.using(tmp_path):
        found = results.scores()
        found["nll"] = 5
        assert results.scores()["nll"].tolist() == [1]
        files.write_text(table, "name,reading,nll\na,best,2\n")
        assert results.scores()["nll"].tolist() == [2]


def test_own_results_come_before_the_reference(monkeypatch, tmp_path):
    monkeypatch.delenv("KANVAE_RESULTS")
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path))
    assert location.root() == REFERENCE
    (tmp_path / "results").mkdir()
    assert location.root() == REFERENCE
    (tmp_path / "results" / "runs").mkdir()
    assert location.root() == tmp_path / "results"


def test_no_home_for_results(monkeypatch):
    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    monkeypatch.setenv("KANVAE_RESULTS", "~/results")
    with pytest.raises(runs.RunError, match=r"KANVAE_RESULTS is .* no home folder: give the whole"):
        location.root()


def between(values):
    records = [
        {"model": model, "seed": seed, "score": score}
        for model, scores in values.items()
        for seed, score in enumerate(scores)
    ]
    return results.difference(pd.DataFrame(records), "a", "b", "score")


def test_a_difference_has_welchs_interval():
    # variances 1 / 3 and 4 / 3 of the means: 2.9412 degrees of freedom, t(0.975) = 3.2178
    found = between({"a": [11.0, 12.0, 13.0], "b": [8.0, 10.0, 12.0]})
    error = (5 / 3) ** 0.5
    assert found.mean == pytest.approx(2)
    assert (found.high - 2) / error == pytest.approx(3.2178, abs=1e-3)
    assert 2 - found.low == pytest.approx(found.high - 2)
    assert found.seeds == 3
    assert str(found) == "+2.0 (95 %: -2.2 to +6.2)"


def test_an_interval_holds_the_mean_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(1000, 2, 5, generator=generator)
    inside = 0
    for a, b in draws.tolist():
        found = between({"a": a, "b": [3 * value for value in b]})  # with unequal spread
        inside += found.low < 0 < found.high
    assert 930 <= inside <= 968  # 950 expected, standard deviation 7


def test_a_family_of_differences_is_judged_as_a_whole():
    def known(p):
        return results.Difference(1.0, 0.5, 1.5, p, 5)

    family = {"a": known(0.04), "b": known(0.001), "c": known(0.02), "d": known(0.9)}
    assert list(results.clear(family)) == ["b"]  # 0.001 < 0.05 / 4, but 0.02 > 0.05 / 3
    assert list(results.clear({"a": known(0.04)})) == ["a"]
    assert list(results.clear({str(p): known(p) for p in (0.01, 0.02, 0.03)})) == [
        "0.01", "0.02", "0.03",
    ]  # fmt: skip
    alone = results.Difference(1.0, math.nan, math.nan, math.nan, 1)
    assert results.clear({"a": alone, "b": known(0.03)}) == {"b": known(0.03)}


def test_one_seed_has_no_interval():
    found = between({"a": [3.0], "b": [1.0, 2.0]})
    assert found.mean == 1.5
    assert math.isnan(found.low)
    assert str(found) == "+1.5"


def test_spreads_are_written_with_what_there_is():
    assert results.spread(pd.Series([1.0, 3.0]), 1) == "2.0 ± 1.4"
    assert results.spread(pd.Series([1.0]), 0) == "1 (1 seed)"
    assert results.spread(pd.Series([], dtype=float)) == "missing"


def test_a_summary_has_a_line_a_model_that_was_trained():
    lines = pd.DataFrame(
        {"model": ["a", "a", "b"], "parameters": [5, 5, 7], "score": [1.0, 3.0, 4]}
    )
    found = results.summary(lines, {"first": "a", "second": "b", "third": "c"}, {"s": ("score", 1)})
    assert found.to_dict("index") == {
        "first": {"parameters": 5, "s": "2.0 ± 1.4", "seeds": 2},
        "second": {"parameters": 7, "s": "4.0", "seeds": 1},
    }


def test_a_title_is_of_one_model_alone():
    models = results.scores()["model"].unique()
    titles = [paper.title(model) for model in models]
    assert len(models) > 40
    assert len(set(titles)) == len(titles)
    assert paper.title("vae-400-20+depth=2") == "VAE, 400–20, depth=2"
