import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kanvae import VAE, Architecture
from kanvae.models import count_parameters, normal
from kanvae.studies import paper


@st.composite
def architectures(draw):
    widths = {
        "hidden_features": draw(st.integers(1, 500)),
        "latent_dim": draw(st.integers(1, 50)),
        "input_features": draw(st.sampled_from([784, 100])),
        "depth": draw(st.integers(1, 3)),
    }
    if draw(st.booleans()):
        return Architecture("linear", **widths)
    low = draw(st.floats(-5, 4, allow_subnormal=False))
    return Architecture(
        "kan",
        **widths,
        grid_size=draw(st.integers(1, 20)),
        spline_order=draw(st.integers(0, 5)),
        grid_range=(low, low + draw(st.floats(0.5, 3))),
        first_layer=draw(st.sampled_from(["kan", "linear"])),
    )


@settings(deadline=None)
@given(architectures())
def test_a_key_names_its_architecture(architecture):
    assert Architecture.parse(str(architecture)) == architecture


@pytest.mark.parametrize(
    "key", ["kan-35-15", "vae-400-20", "kan-35-15+grid_size=10+grid_range=-2.0..2.0"]
)
def test_keys_are_printed_as_they_are_read(key):
    assert str(Architecture.parse(key)) == key


@pytest.mark.parametrize(
    "key",
    ["", "kan", "mlp-40-20", "kan-35", "kan-35-15-2", "kan-35-15+height=3", "kan-35-15+grid_size=x",
     "kan-35-15+grid_range=1", "KAN-35-15", "kan--5-3", None],
)  # fmt: skip
def test_unknown_keys_are_refused_with_an_example(key):
    with pytest.raises(ValueError, match=r"unknown architecture .* such as vae-400-20"):
        Architecture.parse(key)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("kan-0-5", "hidden_features is 0"),
        ("kan-5-0", "latent_dim is 0"),
        ("kan-5-5+depth=0", "depth is 0"),
        ("kan-5-5+grid_range=2..1", "must begin below its end"),
        ("kan-5-5+grid_size=0", "grid_size is 0"),
        ("vae-5-5+grid_size=7", "linear layers have none"),
        ("kan-5-5+first_layer=conv", "first_layer is 'conv'"),
    ],
)
def test_impossible_values_are_refused(key, message):
    with pytest.raises(ValueError, match=message):
        Architecture.parse(key)


def test_a_linear_first_layer_takes_one_parameter_an_edge_and_bits():
    plain, model = (
        VAE(Architecture.parse(key)) for key in ("kan-8-3", "kan-8-3+first_layer=linear")
    )
    saved = 9 * 784 * 8 - 8  # a bias for each hidden node
    assert count_parameters(plain) - count_parameters(model) == saved
    x = torch.rand(5, 784) < 0.3
    torch.testing.assert_close(model.encode(x)[0], model.encode(x.float())[0])


@pytest.mark.parametrize("row", paper.TABLE_I, ids=lambda row: str(row.architecture))
def test_parameters_equal_the_papers_to_the_digit(row):
    assert count_parameters(VAE(row.architecture)) == row.parameters
    if row.architecture.layer == "kan":
        assert row.parameters == 10 * row.architecture.edges()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_deeper_models_have_ten_parameters_an_edge_too(depth):
    architecture = Architecture("kan", 7, 3, depth=depth)
    assert count_parameters(VAE(architecture)) == 10 * architecture.edges()


@pytest.mark.parametrize("key", ["vae-12-4", "kan-12-4", "vae-12-4+depth=3", "kan-12-4+depth=2"])
def test_shapes_and_ranges(key):
    model = VAE(Architecture.parse(key))
    x = torch.rand(5, 784).round()
    logits, mean, log_var = model(x)
    assert logits.shape == (5, 784)
    assert mean.shape == log_var.shape == (5, 4)
    for images in (model.sample_prior(5), model.sample_posterior(x), model.reconstruct(x)):
        assert images.shape == (5, 784)
        assert not images.requires_grad
        assert (images >= 0).all()
        assert (images <= 1).all()


def test_hidden_layers_have_a_relu_only_between_linear_layers():
    x = torch.rand(3, 784)
    for key, activation in (("vae-6-2", torch.relu), ("kan-6-2", lambda h: h)):
        model = VAE(Architecture.parse(key))
        hidden = activation(model.encoder_hidden(x))
        mean, log_var = model.encode(x)
        torch.testing.assert_close(mean, model.encoder_mean(hidden))
        torch.testing.assert_close(log_var, model.encoder_log_var(hidden))
        z = torch.randn(3, 2)
        torch.testing.assert_close(
            model.decode(z), model.decoder_logits(activation(model.decoder_hidden(z)))
        )


def test_every_hidden_layer_takes_part():
    for key in ("vae-6-2+depth=3", "kan-6-2+depth=3"):
        model = VAE(Architecture.parse(key))
        logits, mean, log_var = model(torch.rand(3, 784).round())
        (logits.sum() + mean.sum() + log_var.sum()).backward()
        assert all(p.grad is not None for p in model.parameters())
        names = {name.split(".")[0] for name, _ in model.named_parameters()}
        assert {"encoder_deeper", "decoder_deeper"} < names


def test_reparameterisation_has_the_mean_and_the_variance_asked_for():
    mean, log_var = torch.tensor([1.5, -2.0]), torch.tensor([-1.0, 0.7])
    generator = torch.Generator().manual_seed(0)
    z = VAE.reparameterize(mean.expand(200_000, 2), log_var.expand(200_000, 2), generator)
    error = 5 * (log_var.exp() / 200_000).sqrt()  # five standard errors
    assert ((z.mean(0) - mean).abs() < error).all()
    torch.testing.assert_close(z.var(0), log_var.exp(), rtol=0.02, atol=0)


def test_the_seed_determines_the_weights_and_leaves_the_global_generator_alone():
    key = Architecture.parse("kan-6-2")
    before = torch.get_rng_state()
    first, again, other = VAE(key, seed=1), VAE(key, seed=1), VAE(key, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.encoder_mean.base_weight, again.encoder_mean.base_weight)
    assert not torch.equal(first.encoder_mean.base_weight, other.encoder_mean.base_weight)


def test_noise_follows_its_generator():
    like = torch.zeros(1, dtype=torch.float64)
    a, b = (normal((3, 2), like, torch.Generator().manual_seed(4)) for _ in range(2))
    assert a.dtype == torch.float64
    assert torch.equal(a, b)
