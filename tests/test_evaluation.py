import itertools
import json
import math
import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import make_blobs

from kanvae import Architecture, data, digits, evaluation, runs, training
from kanvae.evaluation import Statistics, frechet_distance, samples
from kanvae.studies import command


@pytest.fixture(scope="module")
def test_set():
    return data.load("MNIST", "test")


def test_distance_of_two_gaussians_in_closed_form():
    # diagonal covariances commute: the root of their product is the product of their roots
    a = Statistics(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]))
    b = Statistics(np.array([1.0, 1.0, 0.0]), np.diag([4.0, 4.0, 1.0]))
    assert frechet_distance(a, b) == pytest.approx(5 + 1 + 0 + 4, abs=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_distance_agrees_with_the_eigenvalues_of_the_product():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) for _ in range(2)]
    a, b = (Statistics(part.mean(0), np.cov(part, rowvar=False)) for part in parts)
    roots = np.sqrt(np.linalg.eigvals(a.covariance @ b.covariance).real)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance)
    assert frechet_distance(a, b) == pytest.approx(expected - 2 * roots.sum(), rel=1e-6)


def test_shipped_classifier_is_at_least_99_percent_right(test_set):
    model = digits.load_classifier()
    for x in (test_set.pixels / 255.0, data.binarize(test_set.pixels)):
        assert digits.accuracy(model, x, test_set.labels) >= 0.99


def test_recognition_tells_how_sure_and_how_varied_guesses_are():
    sure = digits.recognition(50 * torch.eye(10).repeat(3, 1))
    assert sure == pytest.approx({"confidence": 1, "recognised": 1, "variety": math.log2(10)})
    odds = torch.tensor([[0.95, 0.05], [0.55, 0.45], [0.9, 0.1], [0.85, 0.15]]).log()
    half = digits.recognition(odds)
    assert half == pytest.approx({"confidence": 0.8125, "recognised": 0.25, "variety": 0})


def test_statistics_are_those_of_the_features(test_set):
    features = evaluation.load_features("digits")
    found = evaluation.reference_statistics(features, test_set.pixels[:1500])
    with torch.no_grad():
        values = digits.load_classifier().features(test_set.pixels[:1500] / 255.0).double().numpy()
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(values.T), rtol=1e-4, atol=1e-3)


def test_noise_is_further_from_digits_than_digits_are(test_set):
    features = evaluation.load_features("digits")
    reference = evaluation.reference_statistics(features, test_set.pixels[:5000])
    others = evaluation.reference_statistics(features, test_set.pixels[5000:])
    noise = torch.randint(0, 256, (1000, 784), dtype=torch.uint8)
    far = evaluation.reference_statistics(features, noise)
    assert frechet_distance(others, reference) * 20 < frechet_distance(far, reference)


def test_distance_agrees_with_pytorch_fids_where_the_covariances_are_singular():
    """64 features of 40 images: its own function, with the root that today's scipy gives."""
    import scipy.linalg

    rng = np.random.default_rng(1)
    parts = [rng.normal(size=(40, 64)) @ rng.normal(size=(64, 64)) for _ in range(2)]
    a, b = (Statistics(part.mean(0), np.cov(part, rowvar=False)) for part in parts)
    offset = 1e-8 * np.eye(64)
    root = scipy.linalg.sqrtm((a.covariance + offset) @ (b.covariance + offset)).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)


def test_fidelity_and_diversity_are_those_of_their_authors_package(test_set, capsys):
    from prdc import compute_prdc

    features = evaluation.load_features("digits")
    real = evaluation.reference_values(features, test_set.pixels[:700])
    drawn = evaluation.reference_values(features, test_set.pixels[700:1500], binarized=True)
    found = evaluation.precision_recall(real, drawn)
    assert found == pytest.approx(compute_prdc(real, drawn, 5))
    assert 0.5 < found["precision"] < 1
    assert found["precision"] != pytest.approx(found["recall"], abs=1e-3)
    with pytest.raises(ValueError, match="there are 6 real images and 800 samples"):
        evaluation.precision_recall(real[:6], drawn)


def test_kernel_distance_is_the_mean_over_all_pairs():
    rng = np.random.default_rng(0)
    real, drawn = rng.normal(0, 2, (40, 3)), rng.normal(1, 1, (30, 3))
    scale = np.sqrt((real**2).mean())
    a, b = real / scale, drawn / scale

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    within = [np.mean([kernel(*pair) for pair in itertools.combinations(x, 2)]) for x in (a, b)]
    across = np.mean([kernel(x, y) for x in a for y in b])
    expected = pytest.approx(sum(within) - 2 * across)
    assert evaluation.kernel_distance(real, drawn) == expected
    assert evaluation.kernel_distance(3 * real, 3 * drawn) == expected  # whatever the scale
    many = rng.normal(0, 2, (2200, 3))
    assert abs(evaluation.kernel_distance(many[:1100], many[1100:])) < 0.02
    with pytest.raises(ValueError, match="needs two rows"):
        evaluation.kernel_distance(real[:1], drawn)


def test_features_that_are_not_finite_are_refused():
    features = evaluation.load_features("digits")
    with pytest.raises(ValueError, match="the digits features of 3 images cannot be compared"):
        evaluation.values(features, [torch.full((3, 784), torch.nan)])


def test_distances_are_repeatable_and_differ_between_seeds(test_set):
    model = Architecture.parse("kan-6-2").build()
    features = evaluation.load_features("digits")
    reference = evaluation.reference_statistics(features, test_set.pixels[:1000])
    first, again = (
        evaluation.frechet_distances(model, features, reference, samples=300, seeds=2)
        for _ in range(2)
    )
    assert first == again
    assert first[0] != first[1]
    with pytest.raises(ValueError, match="at least 2 and 1"):
        evaluation.frechet_distances(model, features, reference, samples=1)


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match=r"unknown features 'vgg': choose one of \['digits'"):
        evaluation.load_features("vgg")
    model, x = Architecture.parse("vae-4-2").build(), torch.rand(4, 784).round()
    for name in ("vgg", "auto"):  # a tensor is of no set that the book knows
        with pytest.raises(ValueError, match=rf"unknown features '{name}': .*scores take 'none'"):
            evaluation.evaluate(model, x, features=name)


def test_without_inceptions_weights_it_is_refused_and_nothing_replaces_it(monkeypatch, tmp_path):
    def offline(url, *args, **kwargs):
        raise URLError("no network")

    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(evaluation.FeaturesError, match=r"cannot be downloaded .*Go online once"):
        evaluation.load_features("inception-64")


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Random weights in the shape of pytorch-fid's, since the real ones cannot be shipped."""
    from pytorch_fid import inception

    torch.manual_seed(0)
    network = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("name", list(evaluation.INCEPTION_BLOCKS))
def test_inceptions_weights_are_read_from_the_named_file(name, inception_file, monkeypatch):
    monkeypatch.setenv("KANVAE_INCEPTION", str(inception_file))
    features = evaluation.load_features(name)
    assert features.name == name
    with torch.no_grad():
        values = features.extract(torch.rand(2, 784))
    assert values.shape == (2, int(name.partition("-")[2]))
    assert values.isfinite().all()


@pytest.mark.parametrize("name", list(evaluation.INCEPTION_BLOCKS))
def test_the_network_is_pytorch_fids(name, inception_file, monkeypatch, tmp_path):
    """From torch's hub cache, where pytorch-fid reads the same file itself."""
    from pytorch_fid import inception

    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / inception.FID_WEIGHTS_URL.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.symlink_to(inception_file)
    x = torch.rand(2, 784)
    theirs = inception.InceptionV3([evaluation.INCEPTION_BLOCKS[name]]).eval()
    with torch.no_grad():
        expected = theirs(x.view(-1, 1, 28, 28).expand(-1, 3, -1, -1))[0].mean(dim=(2, 3))
        found = evaluation.load_features(name).extract(x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("damage", "legacy", "named"),
    [
        *itertools.product(["half", "last bytes", "emptied"], [False, True], [False, True]),
        *itertools.product(["page", "folder"], [False], [False, True]),
        ("no file", False, True),  # without a name, it is downloaded
    ],
)
def test_a_cut_inception_file_is_named_with_what_to_do(
    inception_file, monkeypatch, tmp_path, damage, legacy, named
):
    from pytorch_fid.inception import FID_WEIGHTS_URL

    path = tmp_path / "hub" / "checkpoints" / FID_WEIGHTS_URL.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    if named:
        monkeypatch.setenv("KANVAE_INCEPTION", str(path))
    else:
        monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = {"a": torch.rand(1000), "b": torch.rand(1000)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    damaged = {
        "half": content[: len(content) // 2], "last bytes": content[:-10], "emptied": b"",
        "page": b"<html>404</html>",
    }  # fmt: skip
    if damage in damaged:
        path.write_bytes(damaged[damage])
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(evaluation.FeaturesError) as caught:
        evaluation.load_features("inception-2048")
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert "KANVAE_INCEPTION" in message if named else "Delete it" in message or damage == "folder"


def test_a_wrong_inception_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KANVAE_INCEPTION", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="there is no such file"):
        evaluation.load_features("inception-64")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other")
    monkeypatch.setenv("KANVAE_INCEPTION", str(tmp_path / "other"))
    with pytest.raises(ValueError, match="does not hold the weights"):
        evaluation.load_features("inception-64")


def test_likelihood_of_a_model_that_ignores_its_latents():
    model = Architecture("linear", 4, 2, input_features=12).build()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    x = torch.rand(5, 12).round()
    # every pixel a fair coin, and q equal to the prior: log p(x) is known exactly
    nll = evaluation.negative_log_likelihood(model, x, samples=7)
    assert nll == pytest.approx(12 * math.log(2), abs=1e-4)


def test_active_units_are_those_whose_means_vary():
    means = torch.randn(1000, 4) * torch.tensor([1.0, 0.5, 0.05, 0.0])
    assert evaluation.active_units(means) == 2


def test_latent_scores_tell_separated_digits_from_mixed_ones():
    points, labels = make_blobs(600, 3, centers=5, cluster_std=0.3, random_state=0)
    means, labels = torch.from_numpy(points), torch.from_numpy(labels)
    mixed = labels[torch.randperm(600)]
    assert evaluation.silhouette(means, labels) > 0.6
    assert evaluation.silhouette(means, mixed) < 0.05
    assert (
        evaluation.neighbour_accuracy(means[:400], labels[:400], means[400:], labels[400:]) > 0.98
    )
    assert evaluation.neighbour_accuracy(means[:400], mixed[:400], means[400:], mixed[400:]) < 0.4


def test_evaluation_gives_every_score_and_the_command_line_records_them(run):
    options = ["--frechet_samples", "200", "--frechet_seeds", "2"]
    options += ["--importance_samples", "5", "--likelihood_images", "50", "--device", "cpu"]
    command.main(["evaluate", str(run.path), *options])
    scores = json.loads((run.path / "metrics.json").read_text())
    assert scores["features"] == "digits"
    assert scores["frechet_samples"] == 200
    assert len(scores["frechet"]["digits grayscale"]) == 2
    assert scores["train_elbo"] == -(scores["train_reconstruction"] + scores["train_kl"])
    assert scores["parameters"] == 10 * Architecture.parse("kan-8-3").edges()
    assert scores["test_elbo"] == -(scores["test_reconstruction"] + scores["test_kl"])
    assert 0 <= scores["active_units"] <= 3
    assert 0 < scores["neighbour_accuracy"] < 1
    assert -1 < scores["silhouette"] < 1
    assert scores["test_nll"] < 784


def test_several_features_and_images_are_scored_under_their_names(run):
    settings = evaluation.Settings(
        frechet_images="grayscale,binarized", frechet_samples=100, frechet_seeds=1,
        fidelity_samples=50, importance_samples=1, likelihood_images=5, plane_images=100,
    )  # fmt: skip
    scores = evaluation.evaluate(run, settings)
    for kind in ("frechet", "kernel", "fidelity", "recognition"):
        assert list(scores[kind]) == ["digits grayscale", "digits binarized"]
        assert scores[kind]["digits grayscale"] != scores[kind]["digits binarized"]
    assert list(scores["fidelity"]["digits grayscale"]) == [
        "precision", "recall", "density", "coverage",
    ]  # fmt: skip
    model, drawn = training.load_model(run), training.random_stream(0, samples.PRIOR_STREAM)
    images = evaluation.sample_prior(model, 50, model.latent_dim, drawn)
    for kind, seen in (("grayscale", images), ("binarized", (images > 0.5).float())):
        expected = digits.recognition(digits.load_classifier()(seen))
        assert scores["recognition"][f"digits {kind}"] == pytest.approx(expected)
    means = evaluation.latent_means(model, data.binarize(data.load("MNIST", "test").pixels[:100]))
    plane = evaluation.plane(means)
    labels = data.load("MNIST", "test").labels[:100]
    assert scores["plane_silhouette"] == evaluation.silhouette(plane, labels)


def test_inception_counts_as_here_only_with_its_weights(inception_file, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    assert evaluation.features_here() == ["digits"]
    monkeypatch.setenv("KANVAE_INCEPTION", str(inception_file))
    assert evaluation.features_here() == ["digits", *evaluation.INCEPTION_BLOCKS]
    assert evaluation.features_here("FashionMNIST") == ["fashion", *evaluation.INCEPTION_BLOCKS]
    assert evaluation.features_here("KMNIST") == list(evaluation.INCEPTION_BLOCKS)
    assert evaluation.features_here("mine.npz") == []


def test_unknown_images_are_refused(trained_run):
    with pytest.raises(ValueError, match="frechet_images is 'colour': choose one of"):
        evaluation.evaluate(trained_run, frechet_images="colour")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("frechet_samples", 1),
        ("frechet_seeds", 0),
        ("fidelity_samples", 5),
        ("fidelity_samples", -3),
        ("importance_samples", 0),
        ("likelihood_images", -5),
        ("likelihood_images", 2.5),
        ("plane_images", 99),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_scored(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be a whole number"):
        evaluation.Settings(**{name: value})


def test_features_refuse_what_they_cannot_judge(run):
    other = run._replace(config=run.config | {"dataset": "FashionMNIST"})
    with pytest.raises(ValueError, match=r"'digits' features cannot .* choose from .'fashion'"):
        evaluation.evaluate(other, evaluation.Settings(features="digits"))
    with pytest.raises(ValueError, match="'fashion' features cannot judge the images of MNIST"):
        evaluation.evaluate(run, evaluation.Settings(features="digits,fashion"))
    with pytest.raises(ValueError, match=r"the features .'digits'. judge 28 x 28"):
        evaluation.evaluate(
            Architecture("kan", 4, 2, input_features=12).build(), torch.rand(9, 12).round(),
            features="digits",
        )  # fmt: skip


FASHION = Path(os.environ.get("KANVAE_DATA", "data")) / "FashionMNIST"


@pytest.mark.skipif(not FASHION.is_dir(), reason="FashionMNIST is not on this machine")
def test_the_shipped_fashion_classifier_is_as_right_as_its_notes_say():
    from safetensors import safe_open

    test = data.load("FashionMNIST", "test")
    with safe_open(digits.CLASSIFIERS["fashion"][1], "pt") as file:
        notes = file.metadata()
    images = {"grayscale": test.pixels / 255.0, "binarized": data.binarize(test.pixels)}
    for kind, x in images.items():
        found = digits.accuracy(digits.load_classifier(name="fashion"), x, test.labels)
        assert found == pytest.approx(float(notes[f"accuracy_{kind}"]), abs=0.001)
        assert found > 0.85


def test_references_are_binarised_as_the_run_is(run, monkeypatch, test_set):
    """At another threshold, real images and test scores follow it."""
    seen = []
    real = evaluation.frechet_distances

    def watch(model, features, reference, binarized, *rest, **how):
        seen.append((binarized, reference.mean.copy()))
        return real(model, features, reference, binarized, *rest, **how)

    monkeypatch.setattr(evaluation, "frechet_distances", watch)
    monkeypatch.setattr(data, "load", lambda *args: test_set)
    settings = evaluation.Settings(
        frechet_images="binarized", frechet_samples=50, frechet_seeds=1, importance_samples=1,
        likelihood_images=5,
    )  # fmt: skip
    features = evaluation.load_features("digits")
    for threshold in (0.5, 0.1):
        evaluation.evaluate(run._replace(config=run.config | {"threshold": threshold}), settings)
        images = (test_set.pixels > threshold * 255).float()
        expected = evaluation.summary(evaluation.values(features, images.split(1000)))
        np.testing.assert_allclose(seen.pop()[1], expected.mean, rtol=1e-5, atol=1e-5)


def test_stochastic_binarisation_holds_in_evaluation(run, monkeypatch, test_set):
    monkeypatch.setattr(data, "load", lambda *args: data.Images(*(part[:500] for part in test_set)))
    settings = evaluation.Settings(
        "none", importance_samples=1, likelihood_images=5, frechet_samples=50, frechet_seeds=1
    )
    stochastic = run._replace(config=run.config | {"binarization": "stochastic"})
    first, again = (evaluation.evaluate(stochastic, settings) for _ in range(2))
    assert first == again  # one test set, drawn once
    x = data.prepare(test_set.pixels[:500], "stochastic")
    terms = training.mean_terms(training.load_model(run), x, seed=0)
    assert (first["test_reconstruction"], first["test_kl"]) == pytest.approx(terms, rel=1e-6)
    assert evaluation.evaluate(run, settings)["test_elbo"] != first["test_elbo"]


@pytest.mark.parametrize("dataset", ["KMNIST", "EMNIST-letters"])
def test_a_set_that_no_classifier_knows_has_likelihood_and_latents_alone(
    run, monkeypatch, test_set, dataset
):
    monkeypatch.setattr(data, "load", lambda *args: data.Images(*(part[:500] for part in test_set)))
    settings = evaluation.Settings(importance_samples=1, likelihood_images=5, fidelity_samples=50)
    assert settings.features == "auto"
    found = evaluation.evaluate(run._replace(config=run.config | {"dataset": dataset}), settings)
    assert (found["features"], found["frechet"]) == ("none", {})
    assert not {"kernel", "fidelity", "recognition"} & set(found)
    assert np.isfinite(found["test_nll"])
    assert 0 < found["neighbour_accuracy"] < 1


def test_the_best_epochs_weights_are_scored_beside_the_lasts(run):
    best = {name: w + 0.01 for name, w in run.weights.items()}
    save_file(best, run.path / "best.safetensors")
    found = run._replace(provenance=run.provenance | {"best_epoch": 0})
    settings = evaluation.Settings("none", importance_samples=1, likelihood_images=5)
    last = evaluation.evaluate(found, settings)
    other = evaluation.evaluate(found, settings, weights="best")
    assert (last["weights"], other["weights"]) == ("last", "best")
    assert last["test_elbo"] != other["test_elbo"]
    with pytest.raises(ValueError, match="weights is 'first'"):
        evaluation.Settings(weights="first")


def test_a_run_of_a_regime_that_is_gone_is_refused_in_words(run):
    former = run._replace(config=run.config | {"regime": "figure6"})
    with pytest.raises(runs.RunError, match=r"regime 'figure6' of version 0\.1, .* `load_model`"):
        evaluation.evaluate(former, features="none")


def test_a_run_that_diverged_is_refused_at_once(run):
    weights = run.weights | {name: w * torch.nan for name, w in list(run.weights.items())[:1]}
    with pytest.raises(runs.RunError, match="holds values that are not finite, so that the"):
        evaluation.evaluate(run._replace(weights=weights))
    save_file(weights, run.path / "weights.safetensors")
    with pytest.raises(SystemExit, match="not finite") as stop:
        command.main(["evaluate", str(run.path), "--device", "cpu"])
    assert "\n" not in str(stop.value.code)
    model = Architecture("kan", 4, 2, input_features=12).build()
    model.requires_grad_(False)
    next(model.parameters()).fill_(torch.inf)
    with pytest.raises(ValueError, match="of the model is not finite"):
        evaluation.evaluate(model, torch.zeros(5, 12))


def test_what_layers_of_splines_see_beyond_their_grids_is_a_share():
    model = Architecture("kan", 4, 2, input_features=12).build()
    x = torch.rand(300, 12) < 0.5
    found = evaluation.evaluate(model, x, importance_samples=1, likelihood_images=300)
    shares = found["outside_grid"]
    assert shares.keys() == {"encoder.hidden.first", "encoder.mean", "encoder.log_var",
                             "decoder.latents", "decoder.pixels"}  # fmt: skip
    assert shares["encoder.hidden.first"] == 0  # 0 and 1 lie within -1 to 1
    means, log_vars = model.encode(x)
    apart = torch.distributions.Normal(means.detach(), (0.5 * log_vars.detach()).exp())
    one, minus = torch.ones(()), -torch.ones(())
    expected = 1 - float((apart.cdf(one) - apart.cdf(minus)).mean())
    assert shares["decoder.latents"] == pytest.approx(expected, abs=0.05)
    linear = Architecture("linear", 4, 2, input_features=12).build()
    found = evaluation.evaluate(linear, x, importance_samples=1, likelihood_images=10)
    assert found["outside_grid"] == {}


def test_a_model_of_ones_own_is_scored_with_features_of_ones_own():
    """A decoder that copies its latents, judged by the pixels: the distance is known."""

    class Identity(torch.nn.Module):
        likelihood = "gaussian-1"

        def __init__(self):
            super().__init__()
            self.shift = torch.nn.Parameter(torch.zeros(2))

        def encode(self, x):
            return x.clone(), torch.full_like(x, -20.0)

        def decode(self, z):
            return z + self.shift

        def forward(self, x, generator=None):
            mean, log_var = self.encode(x)
            return self.decode(mean), mean, log_var

    x = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)).clamp(0, 1)
    pixels = evaluation.Features("pixels", lambda images: images)
    found = evaluation.evaluate(
        Identity(), x, torch.arange(20_000) % 2, features=pixels, frechet_seeds=2,
        importance_samples=1, likelihood_images=10,
    )  # fmt: skip
    # samples are N(0, 1) cut to [0, 1], as the images are: no distance but that of the sampling
    assert max(found["frechet"]["pixels grayscale"]) < 1e-3
    assert found["features"] == "pixels"
    assert found["parameters"] == 2
    assert found["likelihood"] == "gaussian-1"
    assert "neighbour_accuracy" not in found
    assert abs(found["silhouette"]) < 0.01


class Blank(torch.nn.Module):
    """Any image is as good as any other: grey everywhere, with nothing to learn."""

    latent_dim = 1

    def encode(self, x):
        return torch.zeros(len(x), 1), torch.zeros(len(x), 1)

    def decode(self, z):
        return torch.zeros(len(z), 784)

    def forward(self, x, generator=None):
        return self.decode(x[:, :1]), *self.encode(x)


BOTH = torch.tensor([0, 1])


def test_labels_that_leave_nothing_to_tell_apart_have_no_silhouette():
    x, few = torch.rand(6, 784).round(), {"importance_samples": 1, "likelihood_images": 2}
    known = (x[:3], torch.zeros(3, dtype=torch.long))  # fewer than there are neighbours
    for labels in (torch.zeros(6, dtype=torch.long), torch.arange(6)):
        found = evaluation.evaluate(Blank(), x, labels, known=known, **few)
        assert "silhouette" not in found
        assert found["neighbour_accuracy"] == (labels == 0).double().mean()
    assert found["test_nll"] == pytest.approx(784 * np.log(2))


def test_samples_are_compared_with_bits_as_bits(run):
    few = {"features": "digits", "frechet_samples": 300, "frechet_seeds": 1}
    few |= {"importance_samples": 1, "likelihood_images": 2}
    both = few | {"frechet_images": "grayscale,binarized"}
    expected = evaluation.evaluate(run, **both)["frechet"]
    model, test = training.load_model(run), data.load("MNIST", "test").pixels
    bits = data.prepare(test, "threshold", 0.5)
    found = evaluation.evaluate(model, bits, **few)
    assert found["frechet_images"] == "binarized"
    assert found["frechet"] == {"digits binarized": expected["digits binarized"]}
    assert evaluation.evaluate(model, bits, grayscale=test / 255.0, **both)["frechet"] == expected


def test_a_buffer_that_is_not_a_number_is_named():
    model = Architecture("kan", 4, 2, input_features=12).build()
    model.encoder.hidden[0].grid[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"encoder.hidden.first.grid of the model is not a number"):
        evaluation.evaluate(model, torch.zeros(5, 12))


def test_features_refuse_images_that_are_not_brightness():
    x = torch.randn(6, 784)
    own = evaluation.Features("pixels", lambda images: images)
    for features in ("digits", own):
        with pytest.raises(ValueError, match="brightness from 0 to 1, and these images go from -"):
            evaluation.evaluate(Blank(), x, features=features, likelihood="gaussian-1")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": [0, 1]}, "labels must be a tensor"),
        ({"labels": torch.zeros(3)}, "each of 2 images"),
        ({"known": (torch.zeros(2, 784), torch.zeros(2))}, "known is given, and labels are not"),
        ({"labels": torch.zeros(2)}, "a tensor of one whole number for each"),
        ({"labels": BOTH, "known": torch.zeros(2, 784)}, "known must be a pair of tensors"),
        ({"labels": BOTH, "known": (np.zeros((2, 784)), BOTH)}, "known must be a pair of tensors"),
        ({"features": "digits", "frechet_images": "grayscale"}, "these images are bits"),
        ({"grayscale": torch.zeros(1, 784)}, r"grayscale has the shape \(1, 784\), and the images"),
        ({"weights": "best"}, "weights is of runs"),
        ({"features": ["digits"]}, "features is .'digits'.: give words"),
        ({"frechet_images": ["grayscale"]}, "frechet_images is .'grayscale'.: give words"),
    ],
)
def test_what_a_model_cannot_be_scored_with_is_said_first(settings, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(Blank(), torch.zeros(2, 784), **settings)


def test_a_model_that_cannot_decode_is_told_so():
    class Half(torch.nn.Linear):
        pass

    with pytest.raises(ValueError, match="Half has no `encode`"):
        evaluation.negative_log_likelihood(Half(3, 3), torch.zeros(2, 3), 1)


def test_command_line_refuses_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(SystemExit, match="there is no run at"):
        command.main(["evaluate", str(tmp_path / "none")])
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_scored_on_another_file(tmp_path):
    own = tmp_path / "own.npz"
    np.savez(own, pixels=np.random.default_rng(0).random((40, 9)))
    config = training.TrainingConfig(
        "vae-4-2+input_features=9", dataset=str(own), regime="full", epochs=1,
        binarization="none", likelihood="gaussian",
    )  # fmt: skip
    run = training.train(config, tmp_path / "run", progress=False)
    evaluation.evaluate(run, features="none")
    np.savez(own, pixels=np.random.default_rng(1).random((40, 9)))
    with pytest.raises(data.DataError, match=r"is not the file that .* was trained on"):
        evaluation.evaluate(run, features="none")
