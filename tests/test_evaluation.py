import json
import math
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from kanvae import Architecture, data, digits, evaluation
from kanvae.evaluation import Statistics, frechet_distance


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
    model = digits.load()
    for x in (test_set.pixels / 255.0, data.binarize(test_set.pixels)):
        assert digits.accuracy(model, x, test_set.labels) >= 0.99


def test_statistics_are_those_of_the_features(test_set):
    features = evaluation.load_features("digits")
    found = evaluation.reference_statistics(features, test_set.pixels[:1500])
    with torch.no_grad():
        values = digits.load().features(test_set.pixels[:1500] / 255.0).double().numpy()
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(values.T), rtol=1e-4, atol=1e-3)


def test_noise_is_further_from_digits_than_digits_are(test_set):
    features = evaluation.load_features("digits")
    reference = evaluation.reference_statistics(features, test_set.pixels[:5000])
    others = evaluation.reference_statistics(features, test_set.pixels[5000:])
    noise = torch.randint(0, 256, (1000, 784), dtype=torch.uint8)
    far = evaluation.reference_statistics(features, noise)
    assert frechet_distance(others, reference) * 20 < frechet_distance(far, reference)


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


def test_without_inceptions_weights_the_digit_features_serve_and_say_so(monkeypatch, capsys):
    from pytorch_fid import inception

    def offline(url, progress):
        raise URLError("no network")

    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    monkeypatch.setattr(inception, "load_state_dict_from_url", offline)
    features = evaluation.load_features("inception-64")
    assert features.name == "digits"
    assert "digit features serve instead" in capsys.readouterr().err


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


def test_inceptions_weights_are_read_from_torchs_hub_cache(inception_file, monkeypatch, tmp_path):
    from pytorch_fid import inception

    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / inception.FID_WEIGHTS_URL.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    cached.symlink_to(inception_file)
    assert evaluation.load_features("inception-64").name == "inception-64"


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
    evaluation.main([str(run.path), *options])
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
        importance_samples=1, likelihood_images=5,
    )  # fmt: skip
    distances = evaluation.evaluate(run, settings)["frechet"]
    assert list(distances) == ["digits grayscale", "digits binarized"]
    assert distances["digits grayscale"] != distances["digits binarized"]


def test_inception_counts_as_here_only_with_its_weights(inception_file, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("KANVAE_INCEPTION", raising=False)
    assert evaluation.features_here() == ["digits"]
    monkeypatch.setenv("KANVAE_INCEPTION", str(inception_file))
    assert evaluation.features_here() == list(evaluation.FEATURES)


def test_unknown_images_are_refused(trained_run):
    with pytest.raises(ValueError, match="frechet_images is 'colour': choose grayscale"):
        evaluation.evaluate(trained_run, evaluation.Settings(frechet_images="colour"))


def test_command_line_refuses_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(SystemExit, match="there is no run at"):
        evaluation.main([str(tmp_path / "none")])
    assert list(tmp_path.iterdir()) == []
