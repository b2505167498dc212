import pytest
import torch
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from torch import nn

from kanvae import Architecture, KANLinear, SharedKANLinear
from kanvae.architectures import ACTIVATIONS, explain
from kanvae.layers import (
    ChebyshevLinear,
    FunctionLayer,
    GaussianLinear,
    JacobiLinear,
    RationalLinear,
    WaveletLinear,
)
from kanvae.layers.kinds import BASES, KINDS
from kanvae.layers.wavelet import WAVELETS
from kanvae.models import count_parameters
from kanvae.studies import paper

RANGES = st.floats(-5, 4, allow_subnormal=False).flatmap(
    lambda low: st.tuples(st.just(low), st.floats(low + 0.5, low + 3))
)
VALUES = {
    "groups": st.integers(1, 900), "grid_size": st.integers(1, 20),
    "spline_order": st.integers(0, 5), "grid_range": RANGES,
    "base": st.sampled_from(list(BASES)), "norm": st.sampled_from(["none", "layer", "own"]),
    "degree": st.integers(1, 9), "wavelet": st.sampled_from(list(WAVELETS)),
}  # fmt: skip
SCOPES = ("", "encoder.", "decoder.", "first.", "heads.", "latents.", "pixels.")
PLACED = {f"{scope}{name}": values for name, values in VALUES.items() for scope in SCOPES}
PLACES = dict.fromkeys(
    ("encoder", "decoder", "first", "hidden", "heads", "latents", "pixels"),
    st.sampled_from(list(KINDS)),
)


@st.composite
def architectures(draw):
    """Possible ones: of what is drawn, what concerns some layer."""
    widths = {
        "layer": draw(st.sampled_from(list(KINDS))),
        "hidden_features": draw(st.integers(1, 500)),
        "latent_dim": draw(st.integers(1, 50)),
        "input_features": draw(st.sampled_from([784, 100])),
        "depth": draw(st.integers(1, 3)),
    }
    kept = {}
    for name, value in draw(st.fixed_dictionaries({}, optional=PLACES | PLACED)).items():
        try:
            Architecture(**widths, settings=kept | {name: value})
        except ValueError:
            continue
        kept[name] = value
    try:
        return Architecture(**widths, settings=kept)
    except ValueError:  # Gaussians of one number have no norm
        reject()


ONE_FOR_ANOTHER = {"encoder.norm": "layer", "heads.norm": "none"}  # the one needs the other


@settings(deadline=None)
@given(architectures())
@example(Architecture("linear", 1, 1, settings=ONE_FOR_ANOTHER))
def test_a_key_names_its_architecture(architecture):
    assert Architecture.parse(str(architecture)) == architecture


@pytest.mark.parametrize(
    "key",
    ["kan-35-15", "vae-400-20", "kan-35-15+grid_size=10+grid_range=-2.0..2.0", "shared-374-20",
     "shared-374-20+groups=4", "vae-400-20+activation=silu", "kan-35-15+encoder=linear",
     "kan-35-15+depth=2+first=linear+hidden=shared", "shared-9-3+groups=4+heads.groups=1",
     "kan-35-15+first.grid_size=3+latents.grid_range=-3.0..3.0", "vae-9-3+norm=layer",
     "gaussian-35-15+norm=none", "chebyshev-35-15+degree=3", "jacobi-35-15+degree=6",
     "wavelet-35-15+wavelet=morlet", "rational-35-15+groups=4+base=gelu",
     "kan-35-15+heads=chebyshev+heads.degree=2", "gaussian-9-3+norm=layer+first=linear"],
)  # fmt: skip
def test_keys_are_printed_as_they_are_read(key):
    assert str(Architecture.parse(key)) == key


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("kan-35-15+grid_size=5", "kan-35-15"),
        ("kan-35-15+first=kan", "kan-35-15"),
        ("shared-9-3+groups=4+pixels.groups=4", "shared-9-3+groups=4"),
        ("vae-9-3+activation=relu", "vae-9-3"),
        ("shared-9-3+grid_range=-3..3", "shared-9-3"),
        ("kan-9-3+first=linear+grid_size=3", "kan-9-3+grid_size=3+first=linear"),
        ("rational-9-3+first=linear+groups=8", "rational-9-3"),
        ("kan-9-3+norm=own", "kan-9-3"),
        ("gaussian-9-3+norm=own", "gaussian-9-3"),
    ],
)
def test_what_changes_nothing_is_not_part_of_a_key(key, plain):
    one, other = Architecture.parse(key), Architecture.parse(plain)
    assert one.layers() == other.layers()
    assert str(one) == str(other) == plain


def test_keys_of_version_0_1_are_read():
    old, new = "kan-9-3+grid_size=7+first_layer=linear", "kan-9-3+grid_size=7+first=linear"
    assert Architecture.parse(old) == Architecture.parse(new)


@pytest.mark.parametrize(
    "key",
    ["", "kan", "mlp-40-20", "kan-35", "kan-35-15-2", "kan-35-15+height=3", "kan-35-15+grid_size=x",
     "kan-35-15+grid_range=1", "KAN-35-15", "kan--5-3", None, "kan-35-15+middle.grid_size=3",
     "kan-35-15+grid_size", "kan-35-15+heads.depth=2", "kan-35-15+kind=linear", "kan-3-1+=3",
     "kan-35-15++", f"kan-{'9' * 5000}-15"],
)  # fmt: skip
def test_unknown_keys_are_refused_with_an_example(key):
    with pytest.raises(ValueError, match=r"unknown architecture .* such as vae-400-20"):
        Architecture.parse(key)


@pytest.mark.parametrize(
    "part", ["gridsize=3", "middle.grid_size=3", "grid_size=x", "grid_range=1", "grid_size"]
)
def test_the_part_of_a_key_that_means_nothing_is_named(part):
    with pytest.raises(ValueError, match=f"unknown architecture .*, in its part '{part}':"):
        Architecture.parse(f"kan-35-15+norm=none+{part}+first=linear")


def test_a_model_of_any_size_is_explained_without_its_memory():
    assert explain("vae-9999999-20").splitlines()[-1].split()[-1] == "16,299,999,194"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("kan-0-5", "hidden_features is 0"),
        ("kan-5-5+depth=1001", "depth is 1001: it must be 1000 or less"),
        ("kan-5-0", "latent_dim is 0"),
        ("kan-99999999999-5", "hidden_features is 99999999999: it must be 10000000 or less"),
        ("kan-5-5+input_features=10000001", "input_features is 10000001: it must be 10000000 or"),
        ("chebyshev-5-5+degree=10001", "degree is 10001: it must be 10000 or less"),
        ("kan-5-5+heads.grid_size=99999", "heads.grid_size is 99999: it must be 10000 or less"),
        ("gaussian-8-1", "the latents layer of the decoder sees one .* latents.norm to none"),
        ("wavelet-1-8", "the heads layer of the encoder sees one number, .* heads.norm to none"),
        ("vae-1-8+norm=layer", "the heads layer of the encoder sees one number"),
        ("kan-5-5+depth=0", "depth is 0"),
        ("kan-5-5+grid_range=2..1", "must begin below its end"),
        ("kan-5-5+grid_range=-1e300..1e300", "its knots would coincide or overflow"),
        ("vae-5-5+latents=shared+grid_range=1.0..1.00000001", "would coincide or overflow"),
        ("kan-5-5+grid_size=3+grid_size=4", "sets grid_size more than once"),
        ("kan-5-5+grid_size=0", "grid_size is 0"),
        ("kan-5-5+heads.grid_size=0", "heads.grid_size is 0"),
        (
            "vae-5-5+grid_size=7",
            "grid_size is set, but no layer has it: layers that do are .*'kan'",
        ),
        ("kan-5-5+first=conv", "first is 'conv': choose one of .*'shared'"),
        ("kan-5-5+groups=4", r"groups is set, but no layer has it: .*\['shared', 'rational'\]"),
        ("shared-5-5+first.grid_size=4", "first.grid_size is set, but no layer there has it"),
        ("kan-5-5+hidden=linear", "hidden is set, but no layer there .* depth 1"),
        ("kan-5-5+activation=gelu", "activation is gelu, but no linear layer sees hidden units"),
        ("vae-5-5+activation=sine", "activation is 'sine'"),
        ("shared-5-5+groups=0", "groups is 0"),
        ("kan-5-5+base=prelu", "base is 'prelu'"),
        ("wavelet-5-5+wavelet=haar", "wavelet is 'haar'"),
        ("jacobi-5-5+pixels.degree=0", "pixels.degree is 0"),
        ("kan-5-5+degree=3", r"degree is set, .*\['chebyshev', 'jacobi'\]"),
    ],
)
def test_impossible_values_are_refused(key, message):
    with pytest.raises(ValueError, match=message):
        Architecture.parse(key)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": ["linear"]}, r"first is \['linear'\]: choose one of"),
        ({3: 4}, "there is no setting 3: choose from"),
    ],
)
def test_settings_of_other_types_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Architecture("kan", 35, 15, settings=settings)
    with pytest.raises(ValueError, match=r"layer is \['kan'\]"):
        Architecture(["kan"], 35, 15)


@pytest.mark.parametrize("row", paper.TABLE_I, ids=lambda row: str(row.architecture))
def test_parameters_equal_the_papers_to_the_digit(row):
    assert count_parameters(row.architecture.build()) == row.parameters
    if row.architecture.layer == "kan":
        assert row.parameters == 10 * row.architecture.edges()


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        ("shared-395-20", 784 * 395 + 395 + 395 * 9 + 395 * 40 + 40 + 20 * 9 + 20 * 395 + 395
         + 395 * 9 + 395 * 784 + 784),
        ("shared-374-20+groups=4", 784 * 374 + 374 + 374 * 9 * 8 + 374 * 40 + 40
         + 20 * 9 * 4 + 20 * 374 + 374 + 374 * 9 * 4 + 374 * 784 + 784),
        # one function per edge from the latents, one an input elsewhere
        ("shared-356-20+latents.groups=1000", 784 * 356 + 356 + 356 * 9 + 356 * 40 + 40
         + 20 * 9 * 356 + 20 * 356 + 356 + 356 * 9 + 356 * 784 + 784),
    ],
)  # fmt: skip
def test_shared_functions_are_counted_once(key, parameters):
    assert count_parameters(Architecture.parse(key).build()) == parameters


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        # 9 an edge, a bias an output, and a LayerNorm an input of each of five layers
        ("gaussian-35-15", 9 * (2 * 784 * 35 + 3 * 35 * 15) + (784 + 2 * 35 + 2 * 15)
         + 2 * (784 + 3 * 35 + 15)),
        ("chebyshev-35-15", 5 * (2 * 784 * 35 + 3 * 35 * 15)),
        # 3 an edge, and a BatchNorm an output
        ("wavelet-35-15", 3 * (2 * 784 * 35 + 3 * 35 * 15) + 2 * (784 + 2 * 35 + 2 * 15)),
        # a VAE, and a function before the heads and one before the pixels
        ("jacobi-400-20", 652_824 + 2 * 3),
        # a VAE, and before heads, from latents and before pixels one with 8 groups
        ("rational-400-20", 652_824 + 3 * (6 + 4 * 8)),
        ("rational-400-20+latents.groups=50", 652_824 + 2 * (6 + 4 * 8) + 6 + 4 * 20),
    ],
)  # fmt: skip
def test_other_basis_functions_are_counted(key, parameters):
    assert count_parameters(Architecture.parse(key).build()) == parameters


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_deeper_models_have_ten_parameters_an_edge_too(depth):
    architecture = Architecture("kan", 7, 3, depth=depth)
    assert count_parameters(architecture.build()) == 10 * architecture.edges()


def test_a_linear_first_layer_takes_one_parameter_an_edge_and_bits():
    plain, model = (Architecture.parse(key).build() for key in ("kan-8-3", "kan-8-3+first=linear"))
    saved = 9 * 784 * 8 - 8  # a bias for each hidden node
    assert count_parameters(plain) - count_parameters(model) == saved
    x = torch.rand(5, 784) < 0.3
    torch.testing.assert_close(model.encode(x)[0], model.encode(x.float())[0])


@pytest.mark.parametrize(
    ("key", "kinds"),
    [
        ("vae-6-2", [nn.Linear, nn.ReLU, nn.Linear, nn.Linear, nn.Linear, nn.ReLU, nn.Linear]),
        ("kan-6-2", [KANLinear] * 5),
        ("kan-6-2+first=linear", [nn.Linear, *[KANLinear] * 4]),
        ("kan-6-2+encoder=linear",
         [nn.Linear, nn.ReLU, nn.Linear, nn.Linear, KANLinear, KANLinear]),
        ("kan-6-2+decoder=linear", [KANLinear] * 3 + [nn.Linear, nn.ReLU, nn.Linear]),
        ("vae-6-2+pixels=shared",
         [nn.Linear, nn.ReLU, nn.Linear, nn.Linear, nn.Linear, SharedKANLinear]),
        ("shared-6-2", [nn.Linear] + [SharedKANLinear] * 3),
        ("vae-6-2+activation=gelu+heads.norm=layer",
         [nn.Linear, nn.LayerNorm, nn.GELU, nn.Linear, nn.Linear, nn.Linear, nn.GELU, nn.Linear]),
        ("kan-6-2+depth=2+norm=layer",
         [KANLinear, nn.LayerNorm, KANLinear, nn.LayerNorm, KANLinear, KANLinear,
          KANLinear, nn.LayerNorm, KANLinear, nn.LayerNorm, KANLinear]),
        ("gaussian-6-2", [GaussianLinear] * 5),
        ("chebyshev-6-2", [ChebyshevLinear] * 5),
        ("wavelet-6-2", [WaveletLinear] * 5),
        ("jacobi-6-2", [nn.Linear, JacobiLinear, nn.Linear, JacobiLinear]),
        ("rational-6-2", [nn.Linear] + [RationalLinear] * 3),
        ("gaussian-6-2+norm=layer",
         [GaussianLinear, nn.LayerNorm, GaussianLinear, GaussianLinear,
          GaussianLinear, nn.LayerNorm, GaussianLinear]),
        ("vae-6-2+heads=jacobi", [nn.Linear, JacobiLinear, nn.Linear, nn.ReLU, nn.Linear]),
    ],
)  # fmt: skip
def test_a_key_puts_layers_in_their_places(key, kinds):
    layers = (nn.Linear, FunctionLayer, nn.LayerNorm, *ACTIVATIONS.values())
    found, inside = [], ()
    for name, module in Architecture.parse(key).build().named_modules():
        if isinstance(module, layers) and not name.startswith(inside):
            found.append(type(module))
            inside = (f"{name}.",)  # the base function and the norm of a layer are no layers
    assert found == kinds


def test_settings_reach_their_layers():
    key = "kan-6-2+grid_size=7+base=tanh+latents.grid_range=-4..4+pixels.spline_order=2"
    model = Architecture.parse(key).build()
    layers = {name: m for name, m in model.named_modules() if isinstance(m, KANLinear)}
    assert {layer.grid_size for layer in layers.values()} == {7}
    assert {type(layer.base_activation) for layer in layers.values()} == {nn.Tanh}
    for name, layer in layers.items():
        order, end = layer.spline_order, float(layer.grid[0, layer.spline_order + 7])
        assert order == (2 if name == "decoder.pixels" else 3)
        assert end == pytest.approx(4 if name == "decoder.latents" else 1, abs=1e-6)


def test_settings_of_other_basis_functions_reach_their_layers():
    key = "gaussian-6-2+grid_size=3+norm=none+heads=chebyshev+heads.degree=2+pixels=wavelet"
    model = Architecture.parse(key + "+pixels.wavelet=dog").build()
    first, heads = model.encoder.hidden.first, model.encoder.mean
    assert (first.grid_size, heads.degree, model.decoder.pixels.wavelet) == (3, 2, "dog")
    assert not any(isinstance(m, nn.LayerNorm | nn.BatchNorm1d) for m in model.modules())


def test_from_latents_shared_functions_start_as_the_latents_themselves():
    model = Architecture.parse("shared-6-2").build()
    assert isinstance(model.decoder.latents.base_activation, nn.Identity)
    assert isinstance(model.decoder.pixels.base_activation, nn.SiLU)


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 100])
def test_heads_share_one_function_or_have_several_of_their_own(groups):
    model = Architecture.parse(f"shared-6-5+heads.groups={groups}").build()
    assert model.encoder.mean.groups == (1 if groups == 1 else 2 * min(groups, 5))


@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "tanh", "prelu", "none"])
def test_linear_models_take_every_activation(activation):
    model = Architecture.parse(f"vae-6-2+activation={activation}").build()
    x = torch.rand(3, 784)
    apply = ACTIVATIONS[activation]()
    mean, _ = model.encode(x)
    torch.testing.assert_close(mean, model.encoder.mean(apply(model.encoder.hidden.first(x))))
    if activation == "prelu":  # one slope a hidden unit
        assert model.decoder.activation_pixels.weight.shape == (6,)


def test_an_explanation_lists_layers_shapes_and_parameters():
    text = explain("kan-35-15")
    assert "564,550" in text
    (line,) = [line for line in text.splitlines() if line.startswith("decoder.pixels")]
    assert line.split()[1:4] == ["35", "784", "274,400"]
    assert "KANLinear" in line
    with pytest.raises(ValueError, match="unknown architecture"):
        explain("kan")


def test_the_seed_determines_the_weights_and_leaves_the_global_generator_alone():
    key = Architecture.parse("kan-6-2")
    before = torch.get_rng_state()
    first, again, other = key.build(seed=1), key.build(seed=1), key.build(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.encoder.mean.base_weight, again.encoder.mean.base_weight)
    assert not torch.equal(first.encoder.mean.base_weight, other.encoder.mean.base_weight)


@pytest.mark.parametrize("range_", [[-2, 2], (-1e16, 1e16), (-1, 3.5)])
def test_a_range_prints_and_parses_back_however_it_was_given(range_):
    architecture = Architecture("kan", 4, 2, settings={"grid_range": range_})
    assert Architecture.parse(str(architecture)) == architecture
    assert hash(architecture) == hash(Architecture.parse(str(architecture)))


def test_a_former_name_counts_as_its_new_one():
    with pytest.raises(ValueError, match="sets first more than once"):
        Architecture.parse("kan-4-2+first_layer=linear+first=kan")
