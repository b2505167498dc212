import math

import pytest
import torch
import torch.nn.functional as F
from convkan import ConvKAN
from torch import nn

from kanvae import data, evaluation
from kanvae.convolutional import TWINS, convolutional_vae
from kanvae.layers import KANLinear, SharedKANLinear
from kanvae.layers.convolution import FunctionConv2d, FunctionConvTranspose2d
from kanvae.models import count_parameters
from kanvae.training import fit

DOUBLE = torch.float64
SIZES = pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 0), (4, 2, 1), (2, 3, 2)])


def images(*leading, channels=2):
    return torch.randn(*leading, channels, 9, 8, dtype=DOUBLE)


@SIZES
def test_with_linear_layers_these_are_torchs_convolutions(size, stride, padding):
    where = {"stride": stride, "padding": padding, "dtype": DOUBLE}
    ours = FunctionConv2d(2, 3, size, stride, padding, nn.Linear, dtype=DOUBLE)
    torchs, x = nn.Conv2d(2, 3, size, **where), images(5)
    with torch.no_grad():
        torchs.weight.copy_(ours.layer.weight.view(3, 2, size, size))
        torchs.bias.copy_(ours.layer.bias)
    torch.testing.assert_close(ours(x), torchs(x))
    back = FunctionConvTranspose2d(2, 3, size, stride, padding, nn.Linear, bias=False, dtype=DOUBLE)
    torchs = nn.ConvTranspose2d(2, 3, size, bias=False, **where)
    with torch.no_grad():
        torchs.weight.copy_(back.layer.weight.T.reshape(2, 3, size, size))
    torch.testing.assert_close(back(x), torchs(x))


@SIZES
def test_values_and_gradients_are_convkans(size, stride, padding):
    ours = FunctionConv2d(2, 3, size, stride, padding, scale_noise=3.0, dtype=DOUBLE)
    theirs = ConvKAN(2, 3, size, stride, padding).double()
    names = ("base_weight", "spline_weight", "spline_scaler")
    with torch.no_grad():
        theirs.kan_layer.grid.copy_(ours.layer.grid)
        for name in names:
            getattr(theirs.kan_layer, name).copy_(getattr(ours.layer, name))
    x = images(5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-6, atol=1e-6)
    upstream = torch.randn_like(ours(x))
    ours(x).backward(upstream)
    theirs(x).backward(upstream)
    for name in names:
        expected = getattr(theirs.kan_layer, name).grad[0]
        torch.testing.assert_close(getattr(ours.layer, name).grad, expected, rtol=1e-5, atol=1e-5)


def test_the_public_layer_of_one_kan_for_each_pair_of_channels_is_the_same():
    """Convolutional-KANs has a KAN layer of k^2 inputs and one output a pair; written out."""
    conv = FunctionConv2d(2, 3, 3, stride=2, padding=1, scale_noise=3.0, dtype=DOUBLE)
    x = images(4)
    padded, expected = F.pad(x, (1, 1, 1, 1)), torch.zeros(4, 3, 5, 4, dtype=DOUBLE)
    for o in range(3):
        for c in range(2):
            kernel, part = KANLinear(9, 1, dtype=DOUBLE), slice(9 * c, 9 * c + 9)
            kernel.load_state_dict(
                {
                    name: value[part] if name == "grid" else value[o : o + 1, part]
                    for name, value in conv.layer.state_dict().items()
                }
            )
            for h in range(5):
                for w in range(4):
                    patch = padded[:, c, 2 * h : 2 * h + 3, 2 * w : 2 * w + 3]
                    expected[:, o, h, w] += kernel(patch.reshape(4, 9))[:, 0]
    torch.testing.assert_close(conv(x), expected)


def test_shared_functions_are_the_patchs_and_kernels_weigh_them():
    conv = FunctionConv2d(2, 3, 3, make=SharedKANLinear, scale_noise=3.0, dtype=DOUBLE)
    x, layer = images(4), conv.layer
    expected = torch.zeros(4, 3, 7, 6, dtype=DOUBLE)
    for h in range(7):
        for w in range(6):
            patch = x[:, :, h : h + 3, w : w + 3].reshape(4, 18)  # channels, rows, columns
            expected[:, :, h, w] = layer.functions(patch)[0] @ layer.weight.T + layer.bias
    torch.testing.assert_close(conv(x), expected)


def test_a_transposed_convolution_adds_up_what_pixels_make():
    conv = FunctionConvTranspose2d(2, 3, 4, 2, 1, scale_noise=3.0, dtype=DOUBLE)
    x = images(4)
    expected = torch.zeros(4, 3, 20, 18, dtype=DOUBLE)
    for h in range(9):
        for w in range(8):
            made = conv.layer(x[:, :, h, w]).view(4, 3, 4, 4)
            expected[:, :, 2 * h : 2 * h + 4, 2 * w : 2 * w + 4] += made
    torch.testing.assert_close(conv(x), expected[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize("kind", [FunctionConv2d, FunctionConvTranspose2d])
def test_every_number_of_leading_dimensions_is_taken(kind):
    conv, x = kind(2, 3, 4, 2, 1, dtype=DOUBLE), images(3, 5)
    y = conv(x)
    torch.testing.assert_close(conv(x[1]), y[1])
    torch.testing.assert_close(conv(x[1, 2]), y[1, 2])
    assert conv(images(0)).shape == (0, *y.shape[2:])


@pytest.mark.parametrize("kind", [FunctionConv2d, FunctionConvTranspose2d])
def test_zeros_and_ones_of_dtype_bool_give_what_floats_give(kind):
    conv, x = kind(2, 3, 4, 2, 1), images(5) > 0
    torch.testing.assert_close(conv(x), conv(x.float()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FunctionConv2d(0, 3, 3), "in_channels is 0"),
        (lambda: FunctionConv2d(2, 3, 3, stride=0), "stride is 0"),
        (lambda: FunctionConvTranspose2d(2, 3, 3, padding=-1), "padding is -1"),
        (lambda: FunctionConv2d(2, 3, 3)(torch.zeros(1, 3, 9, 9)), r"give images \(..., 2, height"),
        (lambda: FunctionConv2d(2, 3, 9)(torch.zeros(2, 8, 8)), "smaller than a patch of 9 x 9"),
        (lambda: convolutional_vae("conv"), "kind is 'conv': choose one of"),
        (lambda: convolutional_vae("kan", groups=2), r"no such option: theirs are \['grid_size'"),
        (lambda: convolutional_vae("kan", grid_size=0), "grid_size is 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_twins_are_of_one_size():
    for (kind, dense), channels in TWINS.items():
        size = count_parameters(convolutional_vae(kind, channels, dense=dense))
        assert size == pytest.approx(258_025, rel=0.01), kind


@pytest.mark.parametrize(
    ("kind", "dense"),
    [("linear", None), ("kan", None), ("kan", "linear"), ("shared", None), ("wavelet", "gaussian"),
     ("rational", None)],
)  # fmt: skip
def test_convolutional_models_are_trained_and_scored(kind, dense, small_mnist):
    model, x = convolutional_vae(kind, (3, 4), 4, dense), data.binarize(small_mnist.pixels)
    fitted = fit(model, x, x, epochs=2, learning_rate=0.01, progress=False)
    loss = fitted.history["reconstruction"]
    assert loss[-5:].mean() < loss[:5].mean()
    scores = evaluation.evaluate(model, x[:40], features="none", importance_samples=3)
    assert math.isfinite(scores["test_nll"])
    assert model.decode(torch.zeros(2, 4)).shape == (2, 784)


def test_units_may_be_others_than_relu():
    made = convolutional_vae("linear", (2, 2), activation=nn.SiLU)
    names = [type(part).__name__ for part in made.modules()]
    assert names.count("SiLU") == 4
    assert "ReLU" not in names
    assert count_parameters(made) == count_parameters(convolutional_vae("linear", (2, 2)))


def test_the_seed_determines_a_convolutional_model():
    before = torch.get_rng_state()
    one, again, other = (convolutional_vae("kan", (2, 2), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.rand(3, 784)
    torch.testing.assert_close(one.encode(x), again.encode(x))
    assert not torch.equal(one.encode(x)[0], other.encode(x)[0])
