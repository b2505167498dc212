import math

import numpy as np
import pytest
import scipy.stats
import torch

from kanvae import Architecture, likelihoods, objective
from kanvae.likelihoods import Bernoulli, Binomial, Gaussian

NAMES = [
    "bernoulli",
    "binomial-255",
    "binomial-16",
    "gaussian",
    "gaussian-0.1",
    "gaussian-1",
    "gaussian-0.123456789",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_reads_back(name):
    assert str(likelihoods.named(name)) == name
    assert likelihoods.named(str(likelihoods.named(name))) == likelihoods.named(name)


@pytest.mark.parametrize(
    "name", ["", "poisson", "bernoulli-2", "binomial-0", "binomial-x", "binomial-2.5",
             "gaussian--1", "gaussian-0", "gaussian-nan", "gaussian-inf"],
)  # fmt: skip
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=r"unknown likelihood .*: choose bernoulli"):
        likelihoods.named(name)


@pytest.mark.parametrize(("kind", "settings"), [
    (Binomial, {"levels": 0}), (Binomial, {"levels": 1.5}), (Binomial, {"levels": True}),
    (Gaussian, {"sigma": 0.0}), (Gaussian, {"sigma": -1}), (Gaussian, {"least": 0.0}),
])  # fmt: skip
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)


def test_levels_may_be_a_number_of_numpy():
    assert Binomial(np.int64(16)) == Binomial(16)
    assert str(Binomial(np.int64(16))) == "binomial-16"


@pytest.mark.parametrize("grad", [True, False])
def test_log_probabilities_are_scipys(grad):
    """Each against scipy.stats, in both modes: with gradients Bernoulli takes another way."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(3, 4, 7))
    p = 1 / (1 + np.exp(-logits))
    bits, k = rng.integers(0, 2, (4, 7)), rng.integers(0, 17, (4, 7))
    real, s = rng.normal(size=(4, 7)), rng.normal(size=(3, 4, 7))
    sigma = 0.01 + np.log1p(np.exp(s))
    both = np.concatenate([logits, s], axis=-1)
    cases = [
        (Bernoulli(), logits, bits, scipy.stats.bernoulli.logpmf(bits, p)),
        (Binomial(16), logits, k / 16, scipy.stats.binom.logpmf(k, 16, p)),
        (Gaussian(), both, real, scipy.stats.norm.logpdf(real, logits, sigma)),
        (Gaussian(0.3), logits, real, scipy.stats.norm.logpdf(real, logits, 0.3)),
    ]
    for judge, parameters, x, expected in cases:
        with torch.set_grad_enabled(grad):
            found = judge.log_prob(torch.tensor(parameters), torch.tensor(x, dtype=torch.float64))
        np.testing.assert_allclose(found, expected.sum(-1), rtol=1e-10)
        assert judge.outputs(7) == parameters.shape[-1]


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    judge = likelihoods.named(name)
    parameters = torch.randn(3, judge.outputs(5), dtype=torch.float64, requires_grad=True)
    x = torch.rand(3, 5, dtype=torch.float64).round()
    assert torch.autograd.gradcheck(lambda p: judge.log_prob(p, x), parameters)


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_the_mean_and_can_be_judged(name):
    judge = likelihoods.named(name)
    parameters = torch.randn(1, judge.outputs(5)).repeat(20_000, 1)
    drawn = judge.sample(parameters, torch.Generator().manual_seed(0))
    again = judge.sample(parameters, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    judge.check(drawn)
    error = 5 * drawn.std(0) / math.sqrt(len(drawn)) + 1e-6
    assert ((drawn.mean(0) - judge.mean(parameters[0])).abs() <= error).all()


def test_a_learned_deviation_has_a_floor():
    """A pixel that never changes does not make the likelihood infinite."""
    parameters = torch.cat((torch.zeros(1, 3), torch.full((1, 3), -1e4)), dim=1)
    found = Gaussian(least=0.02).log_prob(parameters, torch.zeros(1, 3))
    assert float(found) == pytest.approx(-3 * math.log(0.02 * math.sqrt(2 * math.pi)), rel=1e-5)


GREY = torch.tensor([[0.0, 0.3, 1.0]])


@pytest.mark.parametrize(("name", "x", "message"), [
    ("bernoulli", GREY, "binomial-255 or gaussian"),
    ("bernoulli", GREY * 255, "the images hold 76.5, and a Bernoulli likelihood judges"),
    ("binomial-16", GREY, "the images hold 0.3, and the likelihood binomial-16 judges the 17"),
    ("binomial-255", GREY * 255, "the images hold 76.5"),
    ("binomial-255", -GREY, "the images hold -0.3"),
    ("gaussian", GREY / 0, "not finite"),
    ("gaussian", (GREY * 255).to(torch.uint8), "the images are uint8: give float"),
    ("binomial-16", GREY.long(), "the images are int64"),
    ("bernoulli", GREY[:0], "there are no images"),
])  # fmt: skip
def test_other_data_is_refused(name, x, message):
    with pytest.raises(ValueError, match=message):
        likelihoods.named(name).check(x)


def test_what_each_can_judge_passes():
    for name, x in (
        ("bernoulli", GREY > 0.5), ("bernoulli", GREY.round()),
        ("binomial-255", torch.arange(256) / 255), ("binomial-65535", torch.arange(65536) / 65535),
        ("binomial-10", GREY), ("gaussian", 100 * GREY), ("binomial-16", GREY > 0.5),
    ):  # fmt: skip
        likelihoods.named(name).check(x)
    Bernoulli().check(GREY, training=True)  # as the mean of its stochastic binarisations


def test_grey_pixels_in_training_are_the_mean_over_their_binarisations():
    logits, grey = torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([[0.2, 0.5, 0.9]])
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    chance = (every * grey + (1 - every) * (1 - grey)).prod(1)
    expected = -(chance * Bernoulli().log_prob(logits.expand(8, 3), every)).sum()
    torch.testing.assert_close(objective.reconstruction(logits, grey), expected)


def test_a_models_own_likelihood_holds_unless_another_is_given():
    class Model:
        likelihood = "binomial-16"

    assert likelihoods.of(Model()) == Binomial(16)
    assert likelihoods.of(Model(), "gaussian") == Gaussian()
    assert likelihoods.of(object()) == Bernoulli()


@pytest.mark.parametrize("name", ["binomial-16", "gaussian", "gaussian-0.5"])
def test_the_bound_approaches_the_likelihood_found_by_quadrature(name):
    """One latent: the integral over the prior on a fine grid is the likelihood."""
    judge = likelihoods.named(name)
    model = Architecture("kan", 6, 1, input_features=4).build(3, judge).double()
    x = (torch.rand(5, 4, dtype=torch.float64) * 16).round() / 16
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64).unsqueeze(1)
    with torch.no_grad():
        inner = torch.stack([judge.log_prob(model.decode(z), row) for row in x])
    log_prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    expected = (inner + log_prior + math.log(16 / 4000)).logsumexp(1)
    generator = torch.Generator().manual_seed(0)
    found = objective.importance_weighted_bound(model, x, 20_000, generator)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)
