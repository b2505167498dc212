import pickle

import pytest
import torch
from torch import nn

from kanvae import VAE, Architecture, Decoder, Encoder
from kanvae.models import normal

KEYS = ["vae-12-4", "kan-12-4", "vae-12-4+depth=3", "kan-12-4+depth=2", "shared-12-4+groups=3",
        "kan-12-4+decoder=linear", "shared-12-4+depth=2+norm=layer"]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_shapes_and_ranges(key):
    model = Architecture.parse(key).build()
    x = torch.rand(5, 784).round()
    logits, mean, log_var = model(x)
    assert logits.shape == (5, 784)
    assert mean.shape == log_var.shape == (5, 4)
    for images in (model.sample_prior(5), model.sample_posterior(x), model.reconstruct(x)):
        assert images.shape == (5, 784)
        assert not images.requires_grad
        assert (images >= 0).all()
        assert (images <= 1).all()


@pytest.mark.parametrize("key", KEYS)
def test_every_layer_takes_part(key):
    model = Architecture.parse(key).build()
    logits, mean, log_var = model(torch.rand(3, 784).round())
    (logits.sum() + mean.sum() + log_var.sum()).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("key", KEYS)
def test_bits_are_zeros_and_ones(key):
    model, x = Architecture.parse(key).build(), torch.rand(3, 784) < 0.3
    for found, expected in zip(model.encode(x), model.encode(x.float()), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_model_of_ones_own_layers():
    encoder = Encoder({"a": nn.Linear(30, 7), "b": nn.GELU()}, nn.Linear(7, 2), nn.Linear(7, 2))
    halves = Encoder({"a": nn.Linear(30, 7)}, nn.Linear(7, 4))
    decoder = Decoder(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 30))
    x = torch.rand(3, 30)
    for model in (VAE(encoder, decoder), VAE(halves, decoder), VAE(halves, decoder, 2)):
        assert model.latent_dim == 2
        assert model(x)[0].shape == (3, 30)
        assert model.sample_prior(5).shape == (5, 30)
        assert [part.shape for part in model.encode(x)] == [(3, 2), (3, 2)]
    mean, log_var = halves(x)
    torch.testing.assert_close(torch.cat((mean, log_var), 1), halves.mean(halves.hidden.a(x)))


def test_an_encoder_that_does_not_tell_its_latents_needs_them_told():
    with pytest.raises(ValueError, match="latent_dim is not given, and Linear has no layer `mean`"):
        VAE(nn.Linear(30, 4), nn.Linear(2, 30))
    with pytest.raises(ValueError, match=r"`mean` gives 5 numbers: .* an even number of outputs"):
        VAE(Encoder({}, nn.Linear(30, 5)), nn.Linear(2, 30))


@pytest.mark.parametrize("key", KEYS)
def test_a_model_is_pickled_whole(key):
    model, x = Architecture.parse(key).build(), torch.rand(2, 784)
    again = pickle.loads(pickle.dumps(model))
    torch.testing.assert_close(again.encode(x), model.encode(x), rtol=0, atol=0)


def test_weights_of_version_0_1_load():
    model = Architecture.parse("kan-6-2+depth=2").build(seed=1)
    old = {
        "encoder.hidden.first": "encoder_hidden", "encoder.hidden.hidden1": "encoder_deeper.0",
        "encoder.mean": "encoder_mean", "encoder.log_var": "encoder_log_var",
        "decoder.latents": "decoder_hidden", "decoder.hidden1": "decoder_deeper.0",
        "decoder.pixels": "decoder_logits",
    }  # fmt: skip
    state = {}
    for name, weight in model.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"{old[layer]}.{kind}"] = weight
    other = Architecture.parse("kan-6-2+depth=2").build(seed=2)
    other.load_state_dict(state)
    assert all(torch.equal(w, model.state_dict()[name]) for name, w in other.state_dict().items())


def test_reparameterisation_has_the_mean_and_the_variance_asked_for():
    mean, log_var = torch.tensor([1.5, -2.0]), torch.tensor([-1.0, 0.7])
    generator = torch.Generator().manual_seed(0)
    z = VAE.reparameterize(mean.expand(200_000, 2), log_var.expand(200_000, 2), generator)
    error = 5 * (log_var.exp() / 200_000).sqrt()  # five standard errors
    assert ((z.mean(0) - mean).abs() < error).all()
    torch.testing.assert_close(z.var(0), log_var.exp(), rtol=0.02, atol=0)


def test_noise_follows_its_generator():
    like = torch.zeros(1, dtype=torch.float64)
    a, b = (normal((3, 2), like, torch.Generator().manual_seed(4)) for _ in range(2))
    assert a.dtype == torch.float64
    assert torch.equal(a, b)
