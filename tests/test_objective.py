import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from kanvae import VAE, Architecture, likelihoods, objective


@pytest.fixture
def model():
    return Architecture("kan", 6, 2, input_features=10).build(seed=3).double()


@pytest.fixture
def x():
    return (torch.rand(4, 10, dtype=torch.float64) > 0.5).double()


def test_reconstruction_is_the_bernoulli_log_likelihood():
    logits, x = 3 * torch.randn(4, 10), (torch.rand(4, 10) > 0.5).float()
    expected = -Bernoulli(logits=logits).log_prob(x).sum(1).mean()
    torch.testing.assert_close(objective.reconstruction(logits, x), expected)


def test_reconstruction_stays_finite_where_the_model_is_certain_and_wrong():
    loss = objective.reconstruction(torch.full((1, 1), 1e4), torch.zeros(1, 1))
    assert float(loss) == pytest.approx(1e4)


def test_kl_agrees_with_torch_distributions():
    mean, log_var = torch.randn(5, 3), torch.randn(5, 3)
    q = Normal(mean, (0.5 * log_var).exp())
    expected = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(objective.kl(mean, log_var), expected)
    assert objective.kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_gradients_of_the_loss(model, x):
    parameters = [p for p in model.parameters() if p.numel() < 20]
    names = [name for name, p in model.named_parameters() if p.numel() < 20]

    def loss(*values):
        replaced = dict(zip(names, values, strict=True))
        generator = torch.Generator().manual_seed(0)
        logits, mean, log_var = torch.func.functional_call(model, replaced, (x, generator))
        return objective.reconstruction(logits, x) + objective.kl(mean, log_var)

    assert torch.autograd.gradcheck(loss, parameters)


def test_bound_with_one_sample_is_the_elbo_on_average(model, x):
    batches, times = 100, 20  # as often are the same images in a batch
    repeated = x.repeat(times, 1)

    def generator(seed):
        return torch.Generator().manual_seed(seed)

    draws = torch.cat(
        [
            objective.importance_weighted_bound(model, repeated, 1, generator(seed))
            for seed in range(batches)
        ]
    )
    draws = draws.view(-1, len(x)).mean(1)  # each of all images
    losses = torch.stack(
        [
            objective.terms(model, repeated, generator(10_000 + seed)).loss.detach()
            for seed in range(batches)
        ]
    )
    error = (draws.var() / len(draws) + losses.var() / batches).sqrt()
    assert abs(float(draws.mean() + losses.mean())) < 5 * float(error)


def test_bound_approaches_the_likelihood_found_by_quadrature(model, x):
    # two latents: the integral over the prior on a fine grid is the likelihood
    axis = torch.linspace(-7, 7, 401, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)  # (160801, 2)
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    cell = 2 * math.log(float(axis[1] - axis[0]))
    with torch.no_grad():
        logits = model.decode(z)
    likelihood = torch.stack(
        [
            (Bernoulli(logits=logits).log_prob(row).sum(1) + log_prior + cell).logsumexp(0)
            for row in x
        ]
    )
    generator = torch.Generator().manual_seed(0)
    bound = objective.importance_weighted_bound(model, x, 20_000, generator)
    torch.testing.assert_close(bound, likelihood, rtol=0, atol=0.02)
    few = objective.importance_weighted_bound(model, x.repeat(500, 1), 1, generator)
    assert float(few.mean()) < float(likelihood.mean())


def test_bound_does_not_depend_on_how_many_rows_are_decoded_at_once(model, x, monkeypatch):
    # with the noise switched off the pieces must add up to the same number
    monkeypatch.setattr(VAE, "reparameterize", staticmethod(lambda mean, log_var, _: mean))
    whole = objective.importance_weighted_bound(model, x, 13)
    pieces = objective.importance_weighted_bound(model, x, 13, rows=3)
    torch.testing.assert_close(pieces, whole)


def test_bound_decodes_no_more_rows_at_once_than_asked(model, x, monkeypatch):
    seen = []
    decode = VAE.decode

    def watch(self, z):
        seen.append(z.shape[:-1].numel())
        return decode(self, z)

    monkeypatch.setattr(VAE, "decode", watch)
    objective.importance_weighted_bound(model, x.repeat(5, 1), 50, rows=16)
    assert max(seen) <= 16


@pytest.mark.parametrize("arguments", [{"samples": 0}, {"samples": 1, "rows": 0}])
def test_impossible_settings_are_refused(model, x, arguments):
    with pytest.raises(ValueError, match="must be 1 or more"):
        objective.importance_weighted_bound(model, x, **arguments)


@pytest.mark.parametrize(
    ("likelihood", "given", "needed"),
    [("gaussian", 9, 18), ("gaussian-1", 1, 9), ("binomial-4", 1, 9)],
)
def test_a_decoder_of_another_width_is_refused(likelihood, given, needed):
    message = (
        f"the decoder gives {given} numbers an image: for 9 pixels {likelihood} needs {needed}"
    )
    with pytest.raises(ValueError, match=message):
        objective.reconstruction(
            torch.zeros(2, given), torch.zeros(2, 9), likelihoods.named(likelihood)
        )
