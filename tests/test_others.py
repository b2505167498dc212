"""The studies of `kanvae.studies.others`: what is compared, how it is chosen, what is written."""

import contextlib
import functools
import json
import math
import pickle
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from kanvae import data
from kanvae.models import count_parameters
from kanvae.studies import (
    collecting,
    command,
    convolution,
    distributing,
    elsewhere,
    others,
    plan,
    results,
    sets,
)
from kanvae.studies.distributing import Result
from kanvae.studies.others import Job, Task

QUICK = {"frechet_images": "grayscale,binarized", "importance_samples": 2,
         "likelihood_images": 10, "frechet_samples": 70, "frechet_seeds": 2}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """Where runs and results go."""
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("KANVAE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def reproduce(folder, *options):
    command.main(["reproduce", "--device", "cpu", "--output", str(folder), *options])


# What is compared ---------------------------------------------------------------------------------
@pytest.mark.parametrize("study", others.STUDIES)
def test_models_of_a_task_have_as_many_parameters(study):
    for name, task in others.tasks(study).items():
        sizes = [count_parameters(make(0)) for make in task.models.values()]
        learning = [size for size in sizes if size]
        assert len(learning) > 1
        assert max(learning) < 1.03 * min(learning), name


@pytest.mark.parametrize("study", others.STUDIES)
def test_the_seed_determines_first_weights(study):
    before = torch.get_rng_state()
    for task in others.tasks(study).values():
        for make in task.models.values():
            one, again, other = (list(make(seed).parameters()) for seed in (1, 1, 2))
            assert all(map(torch.equal, one, again))
            assert not one or not all(map(torch.equal, one, other))
    assert torch.equal(torch.get_rng_state(), before)


def weeks(part, rate):
    """The weeks that each window holds, of a series whose angle is `rate` a week."""
    return (part[..., 1].double().asin() / rate).round().long()


def test_windows_lie_in_one_part_and_parts_follow_each_other():
    count, rate = 700, 1e-3
    time = torch.arange(count, dtype=torch.float64)
    found = elsewhere.windows(time, rate * time)
    parts = [weeks(part, rate) for part in found[:3]]
    assert parts[0].min() == 0
    for before, after in ((parts[0], parts[1]), (parts[1], parts[2])):
        assert after.min() == before.max() + 1
    assert parts[2].max() == count - 1
    for part in parts:
        assert bool((part.diff(dim=1) == 1).all())
        assert bool((part.diff(dim=0) == 1).all())


def test_a_series_is_scaled_by_its_training_part_alone():
    torch.manual_seed(1)
    values, angle = torch.randn(700, dtype=torch.float64), torch.zeros(700, dtype=torch.float64)
    before = elsewhere.windows(values, angle)
    values[490:] = 1000 * values[490:] + 5
    after = elsewhere.windows(values, angle)
    assert after.scale == before.scale
    assert torch.equal(after.train, before.train)
    assert before.train[..., 0].std() == pytest.approx(1, rel=1e-5)
    assert not torch.allclose(after.validation, before.validation)


def test_rules_are_exact_where_they_should_be():
    time = torch.arange(700, dtype=torch.float64)
    season, angle = torch.sin(2 * math.pi * time / 52), 0 * time
    x = elsewhere.windows(season, angle).test
    truth = x[:, elsewhere.PAST :, 0]
    torch.testing.assert_close(elsewhere.last_year(x[..., 0]), truth, atol=1e-5, rtol=0)
    rising = elsewhere.windows(season + 0.1 * time, angle).test
    truth = rising[:, elsewhere.PAST :, 0]
    torch.testing.assert_close(elsewhere.last_change(rising[..., 0]), truth, atol=1e-5, rtol=0)
    assert elsewhere.last_value(rising[..., 0]).abs().max() == 0


def test_errors_are_in_the_units_of_the_series(monkeypatch):
    time = torch.arange(700, dtype=torch.float64)
    found = elsewhere.windows(0.5 * time, 0 * time)
    monkeypatch.setattr(elsewhere, "series", lambda: found)
    scores = elsewhere.forecast_errors(elsewhere.Rule(elsewhere.last_value))
    steps = np.arange(1, elsewhere.FUTURE + 1)
    assert [scores[f"test_rmse_{n}"] for n in steps] == pytest.approx(0.5 * steps, rel=1e-5)
    assert scores["test_rmse"] == pytest.approx(0.5 * np.sqrt((steps**2).mean()), rel=1e-5)


def test_the_real_series_is_whole_and_its_gaps_lie_in_the_training_part():
    from statsmodels.datasets import co2

    table = co2.load_pandas().data["co2"]
    missing = np.flatnonzero(table.isna())
    assert missing.max() < round(elsewhere.PARTS[0] * len(table))
    found = elsewhere.series()
    assert all(bool(part.isfinite().all()) for part in found[:3])
    last = found.scale * found.test[-1, elsewhere.PAST :, 0]
    ends = table.to_numpy()[-elsewhere.FUTURE :] - table.to_numpy()[-elsewhere.FUTURE - 1]
    np.testing.assert_allclose(last.numpy(), ends, atol=1e-3)


def test_forecasts_do_not_look_at_the_future():
    for name, make in elsewhere.TASKS["series"].models.items():
        model, x = make(0).eval(), torch.randn(3, elsewhere.PAST + elsewhere.FUTURE, 3)
        y = model(x).clone()
        x[:, elsewhere.PAST :, 0] = 9.0
        torch.testing.assert_close(model(x), y, msg=name)


def test_superpixels_keep_an_images_mean_and_leave_out_what_is_not_there():
    image = torch.zeros(3, 28, 28, dtype=torch.uint8)
    image[0, 5, 3:9] = torch.tensor([10, 50, 255, 255, 7, 1])  # six lit pixels, each a superpixel
    image[1, 8:20, 8:20] = 255
    found = sets.superpixels(image.flatten(1))
    assert found[:, :, 3].sum(1).tolist() == [6, sets.SUPERPIXELS, 0]
    ones = sorted(found[0, :6, :3].tolist(), key=lambda node: node[1])
    expected = [
        (v / 255, (x - 13.5) / 14, (5 - 13.5) / 14)
        for x, v in enumerate(image[0, 5, 3:9].tolist(), start=3)
    ]
    np.testing.assert_allclose(ones, expected, atol=1e-6)
    np.testing.assert_allclose(found[1, :, 0], 1, atol=1e-6)
    assert np.ptp(found[1, :, 1]) < 12 / 14
    assert np.isfinite(found).all()


def test_edges_join_near_superpixels_of_one_image_both_ways():
    nodes = torch.rand(3, sets.SUPERPIXELS, 4)
    nodes[..., 3] = 1
    nodes[1, 7:, 3] = 0
    nodes[2, :, 3] = 0
    one, other = elsewhere.neighbours(nodes)
    assert bool((one // sets.SUPERPIXELS == other // sets.SUPERPIXELS).all())
    assert bool((one != other).all())
    edges = set(zip(one.tolist(), other.tolist(), strict=True))
    assert edges == {(b, a) for a, b in edges}
    degrees = one.bincount(minlength=3 * sets.SUPERPIXELS).view(3, -1)
    assert bool((degrees[0] >= elsewhere.NEIGHBOURS).all())
    assert degrees[1].tolist() == [6] * 7 + [0] * (sets.SUPERPIXELS - 7)
    places = nodes[0, :, 1:3].numpy()
    nearest = np.argsort(np.linalg.norm(places - places[4], axis=1))[1 : elsewhere.NEIGHBOURS + 1]
    assert {(4, n) for n in nearest} <= edges


@pytest.mark.parametrize("kind", ["kan", "linear"])
def test_what_is_not_there_of_a_graph_changes_nothing(kind):
    model = elsewhere.TASKS["graphs"].models[kind](0)
    nodes = torch.rand(2, sets.SUPERPIXELS, 4)
    nodes[..., 3] = 1
    nodes[1, 9:, 3] = 0
    y = model(nodes.flatten(1))
    nodes[1, 9:, :3] = torch.rand(sets.SUPERPIXELS - 9, 3)
    torch.testing.assert_close(model(nodes.flatten(1)), y)
    order = torch.randperm(sets.SUPERPIXELS)
    torch.testing.assert_close(model(nodes[:, order].flatten(1)), y, rtol=1e-4, atol=1e-5)


def test_training_never_sees_test_images(monkeypatch, small_mnist):
    seen = []

    def load(name, part="train", regime="full"):
        seen.append((name, part, regime))
        return small_mnist

    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr(elsewhere, "IMAGES", dict.fromkeys(data.SPLITS, 2))
    for task in (*elsewhere.TASKS.values(), *convolution.TASKS.values()):
        images, validation = task.data()
        assert len(images)
        assert len(validation)
    assert {part for _, part, _ in seen} == {"train", "validation"}
    assert {regime for _, part, regime in seen if part == "train"} == {"paper"}


# How it is chosen ---------------------------------------------------------------------------------
def learned(job, loss, test):
    line = {"name": job.name, "validation_loss": loss, "test_accuracy": test}
    return [line | {"reading": "best"}, line | {"reading": "last", "validation_loss": 1 - loss}]


def test_the_learning_rate_is_chosen_on_validation_data_alone():
    tried = [Job("elsewhere", "rows", "gru", rate, 0, "validation") for rate in (0.1, 0.2, 0.3)]
    losses, tests = (0.5, 0.2, math.inf), (0.1, 0.2, 0.9)
    lines = [learned(*each) for each in zip(tried, losses, tests, strict=True)]
    assert others.best_rate(tried, pd.DataFrame([*chain(*lines)])) == 0.2
    assert others.best_rate(tried, pd.DataFrame([*chain(*lines[:2])])) is None


def test_the_best_learning_rate_gets_all_seeds_and_test_scores(folder):
    empty = others.table(folder, "elsewhere")
    first = others.jobs("elsewhere", empty)
    rules = [job for job in first if job.learning_rate == 0]
    assert {job.model for job in rules} == {"last_value", "last_year", "last_change"}
    tried = [job for job in first if job.learning_rate]
    assert {(job.scores, job.seed) for job in tried} == {("validation", 0)}
    assert len(tried) == 3 * 8
    lines = [*chain(*(learned(job, job.learning_rate, 0.0) for job in tried))]
    then = others.jobs("elsewhere", pd.DataFrame(lines))
    final = [job for job in then if job.scores == "all" and job.learning_rate]
    assert {job.learning_rate for job in final} == {0.001}
    assert len(final) == len(others.SEEDS) * 8
    assert len(then) == 3 + 8 * (2 + len(others.SEEDS))
    assert {job.name for job in tried} <= {job.name for job in then}


# What is trained and written ----------------------------------------------------------------------
@pytest.fixture
def twins(monkeypatch, quick):
    """The convolutional study with two small models, two epochs and a few images."""
    monkeypatch.setattr(convolution, "SETTINGS", QUICK)
    monkeypatch.setattr(
        convolution, "TWINS", {("linear", "linear"): (3, 4), ("kan", "kan"): (2, 2)}
    )
    models = {kind: functools.partial(convolution.twin, kind, kind) for kind in ("linear", "kan")}
    task = convolution.TASKS["MNIST"]
    small = task._replace(
        models=models, settings=task.settings | {"epochs": 2}, rates=(0.001, 0.01)
    )
    monkeypatch.setattr(convolution, "TASKS", {"MNIST": small})
    return small


def test_convolutions_are_trained_scored_and_written_once(twins, folder, capsys, monkeypatch):
    options = ["--study", "convolution", "--workers", "0"]
    reproduce(folder, *options, "--status")
    assert "0 of 4 runs of convolution" in capsys.readouterr().out
    reproduce(folder, *options, "--seeds", "0")
    found = results.study("convolution")
    assert len(found) == 4 * 2
    scored = found[found["test_nll"].notna()]
    assert set(scored["model"]) == {"linear", "kan"}
    assert set(scored["learning_rate"]) == {0.01}  # two epochs are too few for a lower one
    assert scored.groupby("model").size().tolist() == [2, 2]
    for _, line in scored.iterrows():
        assert line["test_elbo"] < -100
        assert line["frechet_digits_binarized"] > 0
        assert line["seconds"] > 0
        assert line["parameters"] == count_parameters(twins.models[line["model"]](0))
    assert np.isfinite(found["validation_loss"]).all()
    about = json.loads((folder / "convolution" / "provenance.json").read_text())
    assert set(about) == set(found["name"])
    one = about["MNIST-kan-learning_rate=0.01-seed0"]
    assert one["config"]["epochs"] == 2
    assert {"commit", "processor", "torch", "code", "cpu_seconds"} <= one.keys()
    before = (folder / "convolution" / "scores.csv").read_bytes()
    monkeypatch.setattr(others, "complete", None)  # nothing is left to do
    monkeypatch.setattr(others.runs, "root", lambda: folder / "nowhere")
    reproduce(folder, *options, "--seeds", "0")
    assert (folder / "convolution" / "scores.csv").read_bytes() == before
    reproduce(folder, *options, "--status")
    assert "4 of 8 runs of convolution" in capsys.readouterr().out


class Stop(Exception):
    """What stops a training."""


def test_a_stopped_training_goes_on_where_it_was(twins, monkeypatch, tmp_path):
    job = Job("convolution", "MNIST", "kan", 0.01, 1, "validation")
    epochs = []

    def after(epoch):
        epochs.append(epoch.number)
        if epoch.number == 1:
            raise Stop

    def give(**settings):
        small = twins._replace(settings=twins.settings | settings)
        monkeypatch.setattr(convolution, "TASKS", {"MNIST": small})

    give(after_epoch=after)
    with pytest.raises(Stop):
        others.complete(job, progress=False)
    assert others.state(job, {}) == "begun"
    stopped = others.complete(job, progress=False)
    assert epochs == [1, 2]
    give()
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path / "other"))
    whole = others.complete(job, progress=False)
    for one, other in zip(stopped.lines, whole.lines, strict=True):
        assert one["validation_loss"] == other["validation_loss"]
        assert one["epoch"] == other["epoch"]


def test_the_best_epoch_is_read_with_its_weights(quick):
    model, x = nn.Linear(784, 10), elsewhere.row_images("train")
    fitted = others.fit(
        model, x, x, loss=elsewhere.classification, likelihood="gaussian", epochs=2,
        progress=False, learning_rate=0.01,
    )  # fmt: skip
    none = {name: 0 * weight for name, weight in model.state_dict().items()}
    fitted = fitted._replace(best_epoch=1, best_weights=none)
    last, best = others._readings(model, fitted, lambda m: elsewhere.classified(m, x))
    assert (last["epoch"], best["epoch"]) == (2, 1)
    assert best["test_cross_entropy"] == pytest.approx(math.log(10), rel=1e-5)  # weights are 0
    assert last["test_cross_entropy"] < 2
    assert last["seconds"] > best["seconds"]


@pytest.fixture
def small(monkeypatch, small_mnist):
    """The tasks of "elsewhere" with few data; images of 0 and 1 alone, the same in all parts."""
    two = small_mnist.labels < 2
    images = data.Images(small_mnist.pixels[two], small_mnist.labels[two])
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: images)
    found = elsewhere.series()
    few = found._replace(train=found.train[::10], validation=found.validation[::10])
    monkeypatch.setattr(elsewhere, "series", lambda: few)
    monkeypatch.setattr(elsewhere, "IMAGES", dict.fromkeys(data.SPLITS, 50))
    monkeypatch.setattr(elsewhere, "HIDDEN", {"tkan": 16, "gru": 20, "lstm": 17})

    def give(name, epochs, **settings):
        task = elsewhere.TASKS[name]
        task = task._replace(settings=task.settings | {"epochs": epochs, **settings})
        monkeypatch.setattr(elsewhere, "TASKS", {name: task})
        return task

    return give


@pytest.mark.parametrize(("model", "epochs"), [("tkan", 5), ("gru", 5)])
def test_rows_are_learned(small, model, epochs):
    small("rows", epochs, batch_size=8)
    last, _ = others.complete(Job("elsewhere", "rows", model, 0.02, 0), False).lines
    assert last["test_accuracy"] > 0.9


@pytest.mark.parametrize(("model", "epochs"), [("tkat", 2), ("encoder", 8)])
def test_series_are_forecast_better_than_by_the_last_value(small, model, epochs):
    small("series", epochs)
    naive, _ = others.complete(Job("elsewhere", "series", "last_value", 0.0, 0), False).lines
    last, _ = others.complete(Job("elsewhere", "series", model, 0.01, 0), False).lines
    assert naive["parameters"] == 0
    assert last["test_rmse"] < naive["test_rmse"]


def test_graphs_are_learned_and_made_once(small, monkeypatch):
    small("graphs", 5, batch_size=5)
    job = Job("elsewhere", "graphs", "kan", 0.01, 0)
    last, _ = others.complete(job, False).lines
    assert last["test_accuracy"] > 0.9
    monkeypatch.setattr(elsewhere, "superpixels", None)
    small("graphs", 1)
    lines = others.complete(job._replace(model="linear"), False).lines
    assert math.isfinite(lines[0]["test_cross_entropy"])


def test_a_run_that_only_chooses_has_no_test_scores(small):
    small("rows", 1)
    found = others.complete(Job("elsewhere", "rows", "gru", 0.01, 0, "validation"), False)
    assert [line["reading"] for line in found.lines] == ["last", "best"]
    assert not [name for line in found.lines for name in line if name.startswith("test")]
    assert found.about["scores"] == "validation"


def test_a_training_that_diverges_is_an_outcome_and_not_chosen(monkeypatch, folder):
    def diverging(model, x, generator=None):
        loss = model(x).square().mean() * math.nan
        return loss, 0 * loss

    x = torch.ones(4, 3)
    task = Task(
        models={"line": functools.partial(others.seeded, lambda: nn.Linear(3, 1))},
        data=lambda: (x, x),
        score=lambda model: {},
        settings={"epochs": 1, "loss": diverging},
        rates=(0.1, 0.2),
    )
    monkeypatch.setattr(elsewhere, "TASKS", {"none": task})
    outcome = others.complete(Job("elsewhere", "none", "line", 0.1, 0, "validation"), False)
    assert [line["validation_loss"] for line in outcome.lines] == [math.inf] * 2
    assert "diverged" in outcome.about["diverged"]
    others.write(folder, "elsewhere", outcome)
    assert results.study("elsewhere", reading="best")["validation_loss"].tolist() == [math.inf]


def test_several_runs_at_a_time_are_written_as_they_finish(folder, monkeypatch):
    def in_turn(client, work, todo):
        """Like `distributing.results`, with what goes between processes as bytes."""
        for name, arguments in pickle.loads(pickle.dumps(todo)):
            try:
                value = pickle.dumps(pickle.loads(pickle.dumps(work))(*arguments))
                yield Result(name, pickle.loads(value), None)
            except KeyError as error:
                yield Result(name, None, repr(error))

    monkeypatch.setattr(distributing.cluster, "start", lambda workers: contextlib.nullcontext())
    monkeypatch.setattr(distributing, "results", in_turn)
    jobs = [Job("elsewhere", "series", f"last_{name}", 0.0, 0) for name in ("year", "none")]
    monkeypatch.setattr(others, "chosen", lambda *args: jobs)
    failed = others.run("elsewhere", folder, None, "cpu", 2)
    assert failed == ["series-last_none-learning_rate=0-seed0: KeyError('last_none')"]
    assert results.study("elsewhere")["reading"].tolist() == ["last", "best"]
    assert collecting.scored(folder, "elsewhere") == {jobs[0].name: "all"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study", "paper,conv"], "there is no study 'conv': choose from schedule, .* elsewhere"),
        (["--study", "convolution", "--rows", "vae-6-2"], "--rows chooses from other studies than"),
        (["--study", "elsewhere", "--seeds", "a"], "--seeds is 'a'"),
        (["--study", "elsewhere", "--workers", "-1"], "--workers is -1"),
    ],
)
def test_impossible_options_are_refused(options, message, folder):
    with pytest.raises(SystemExit, match=message):
        command.main(["reproduce", *options])
    assert not folder.exists()


def test_all_studies_are_meant_where_none_is_named(capsys, folder, monkeypatch):
    monkeypatch.setattr(plan, "STUDIES", {"none": list})
    reproduce(folder, "--status", "--seeds", "0")
    text = capsys.readouterr().out
    assert "0 of 0 runs are trained and scored" in text
    assert "0 of 20 runs of convolution" in text
    assert "0 of 27 runs of elsewhere" in text
    reproduce(folder, "--status", "--rows", "vae-6-2")
    assert "of elsewhere" not in capsys.readouterr().out
