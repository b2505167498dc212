"""Time and graphs: TKAN and TKAT against their packages, graphs against a dense computation."""

import functools
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kanvae.layers import ChebyshevLinear
from kanvae.layers.graph import GraphKAN, scaled_laplacian
from kanvae.layers.recurrent import TKAN, State, TKANCell
from kanvae.layers.transformer import TKAT

DOUBLE = torch.float64


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The packages tkan and tkat, on Keras with torch."""
    if sys.version_info >= (3, 13):
        pytest.skip("tkan and tkat are for Python below 3.13")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import tkan
        from tkat import tkat

        yield tkan, tkat


def copied(target, value, shape=None, transposed=True):
    """Put a Keras weight into one of ours."""
    value = value.value.detach()
    value = value.T if transposed and value.ndim == 2 else value
    with torch.no_grad():
        target.copy_(value if shape is None else value.reshape(shape))


def dense(ours, layer):
    copied(ours.weight, layer.kernel)
    copied(ours.bias, layer.bias)


def norm(ours, layer):
    copied(ours.weight, layer.gamma)
    copied(ours.bias, layer.beta)


def cell(ours, layer):
    """Give our TKAN cell the weights of a layer of the package."""
    their = layer.cell
    pairs = {"input_weight": their.kernel, "hidden_weight": their.recurrent_kernel,
             "bias": their.bias, "inner_input": their.sub_tkan_recurrent_kernel_inputs,
             "inner_state": their.sub_tkan_recurrent_kernel_states}  # fmt: skip
    for name, value in pairs.items():
        copied(getattr(ours, name), value)
    halves = their.sub_tkan_kernel.value.detach().unflatten(1, (2, -1))
    with torch.no_grad():
        ours.memory.copy_(halves.transpose(0, 1))
    copied(ours.output.weight, their.aggregated_weight)
    copied(ours.output.bias, their.aggregated_bias)
    for inner, kan in zip(ours.inner, their.tkan_sub_layers, strict=True):
        norm(inner.norm, kan.layer_norm)
        copied(inner.kan.base_weight, kan.base_weight)
        copied(inner.bias, kan.base_bias)
        outputs, inputs, count = inner.kan.spline_weight.shape
        copied(inner.kan.spline_weight, kan.spline_weight, (outputs, inputs, count))


def residual(ours, layer):
    dense(ours.skip, layer.skip_layer)
    dense(ours.first, layer.hidden_layer_1)
    dense(ours.second, layer.hidden_layer_2)
    gate(ours.gate, layer.gate_layer)
    norm(ours.norm, layer.add_and_norm_layer.norm_layer)


def gate(ours, layer):
    dense(ours.value, layer.dense_layer)
    dense(ours.gate, layer.gated_layer)


def selection(ours, layer):
    residual(ours.weights, layer.mlp_dense)
    for one, other in zip(ours.each, layer.grn_layers, strict=True):
        residual(one, other)


def test_a_tkan_is_the_packages(theirs):
    torch.manual_seed(1)
    x = torch.randn(3, 7, 5)
    layer = theirs[0].TKAN(
        6, sub_kan_configs=[None, None], sub_kan_output_dim=4, sub_kan_input_dim=3,
        return_sequences=True,
    )  # fmt: skip
    expected = layer(x)
    ours = TKAN(5, 6, inner_layers=2, inner_inputs=3, inner_outputs=4)
    cell(ours.cell, layer)
    found, state = ours(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state.hidden, expected[:, -1], rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(found)
    found.backward(upstream)
    expected.backward(upstream)
    their = layer.cell
    for grad, other in (
        (ours.cell.input_weight.grad.T, their.kernel),
        (ours.cell.inner_input.grad, their.sub_tkan_recurrent_kernel_inputs),
        (ours.cell.memory.grad.transpose(0, 1).flatten(1), their.sub_tkan_kernel),
        (ours.cell.inner[1].bias.grad, their.tkan_sub_layers[1].base_bias),
    ):
        torch.testing.assert_close(grad, other.value.grad, rtol=1e-4, atol=1e-5)


def test_a_tkat_is_the_packages(theirs):
    torch.manual_seed(1)
    x = torch.randn(3, 9 + 4, 5)
    model = theirs[1].TKAT(9, 3, 2, 4, 6, 2, 4)
    ours = TKAT(past=9, future=4, unknown=3, known=2, embedding=4, hidden=6, heads=2)
    named = {layer.name: layer for layer in model.layers}
    of = {type(layer).__name__: layer for layer in model.layers}
    for one, other in zip(ours.embedding, named["embedding_layer"].dense_layers, strict=True):
        dense(one, other)
    selection(ours.past_selection, named["vsn_past_features"])
    selection(ours.future_selection, named["vsn_future_features"])
    cell(ours.encoder.cell, named["encoder"].layer)
    cell(ours.decoder.cell, named["decoder"].layer)
    gate(ours.gate, of["Gate"])
    norm(ours.norm, of["AddAndNorm"].norm_layer)
    residual(ours.enrich, of["GRN"])
    attention = of["MultiHeadAttention"]
    for name in ("query", "key", "value"):
        layer, made = getattr(attention, f"{name}_dense"), getattr(ours.attention, name)
        with torch.no_grad():
            made.weight.copy_(layer.kernel.value.flatten(1).T)
            made.bias.copy_(layer.bias.value.flatten())
    with torch.no_grad():
        ours.attention.output.weight.copy_(attention.output_dense.kernel.value.flatten(0, 1).T)
        ours.attention.output.bias.copy_(attention.output_dense.bias.value)
    dense(ours.output, of["Dense"])
    torch.testing.assert_close(ours(x), model(x), rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == sum(
        int(np.prod(w.shape)) for w in model.trainable_weights
    )


def test_a_sequence_in_two_parts_gives_what_it_gives_whole():
    layer, x = TKAN(5, 6), torch.randn(3, 8, 5)
    whole, last = layer(x)
    first, state = layer(x[:, :3])
    second, again = layer(x[:, 3:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    assert isinstance(again, State)
    torch.testing.assert_close(again.inner, last.inner)


def test_a_forecast_does_not_look_at_what_is_unknown_of_the_future():
    for recurrent in (TKAN, functools.partial(nn.LSTM, batch_first=True)):
        model = TKAT(4, 3, 2, 1, 4, 6, 2, recurrent)
        x = torch.randn(5, 7, 3)
        y = model(x)
        assert y.shape == (5, 3)
        x[:, 4:, :2] = 9.0
        torch.testing.assert_close(model(x), y)
        x[:, 4:, 2] = 9.0
        assert not torch.allclose(model(x), y)


EDGES = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 2, 2], [1, 0, 2, 1, 0, 2, 2, 3, 2]])  # one to itself
WEIGHT = torch.tensor([1.0, 1, 2, 2, 0.5, 0.5, 3, 3, 9], dtype=DOUBLE)


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("make", [nn.Linear, ChebyshevLinear])
def test_a_graph_layer_is_the_dense_computation(steps, make):
    layer = GraphKAN(3, 2, steps, make, dtype=DOUBLE).double()
    x = torch.randn(5, 3, dtype=DOUBLE)  # node 4 has no edges
    adjacency = np.zeros((5, 5))
    for (a, b), w in zip(EDGES.T.tolist(), WEIGHT.tolist(), strict=True):
        adjacency[b, a] = w if a != b else 0
    degree = adjacency.sum(0)
    root = np.diag([1 / np.sqrt(d) if d else 0 for d in degree])
    laplacian = np.eye(5) - root @ adjacency @ root
    scaled = 2 / 2 * laplacian - np.eye(5)  # its eigenvalues are at most 2
    found = scaled_laplacian(EDGES, WEIGHT, x).to_dense().numpy()
    np.testing.assert_allclose(found, scaled, atol=1e-15)
    expected = layer.bias.expand(5, 2)
    angles, vectors = np.linalg.eigh(scaled)
    for k, part in enumerate(layer.layers):  # T_k(M) = V cos(k arccos lambda) V^T
        values = np.cos(k * np.arccos(np.clip(angles, -1, 1)))
        seen = vectors @ np.diag(values) @ vectors.T @ x.numpy()
        expected = expected + part(torch.from_numpy(seen))
    torch.testing.assert_close(layer(x, EDGES, WEIGHT), expected, rtol=1e-7, atol=1e-7)


def test_graphs_side_by_side_do_not_see_each_other():
    layer, x = GraphKAN(3, 2), torch.randn(8, 3)
    both = torch.cat((EDGES, EDGES + 4), dim=1)
    torch.testing.assert_close(layer(x, both)[4:], layer(x[4:], EDGES))
    layer(x, both).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in layer.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TKAN(0, 6), "input_size is 0"),
        (lambda: TKAN(5, 6, inner_layers=0), "inner_layers is 0"),
        (lambda: TKAT(4, 3, 2, 0, 4, 6, 2), "known is 0"),
        (lambda: TKAN(5, 6)(torch.zeros(2, 5)), r"shape \(2, 5\); give \(B, T, 5\)"),
        (lambda: TKANCell(5, 6)(torch.zeros(2, 4)), r"shape \(2, 4\); give \(B, 5\)"),
        (lambda: TKAT(4, 3, 1, 1, 4, 6, 2)(torch.zeros(2, 4, 2)), r"give \(B, 7, 2\)"),
        (lambda: GraphKAN(3, 2, 0), "steps is 0"),
        (lambda: GraphKAN(3, 2)(torch.zeros(3, 3), EDGES), "count nodes from 0"),
        (lambda: GraphKAN(3, 2)(torch.zeros(4, 3), EDGES.T), r"give whole numbers \(2, E\)"),
        (lambda: GraphKAN(3, 2)(torch.zeros(4, 3), EDGES, torch.ones(2)), "one number an edge"),
    ],
)
def test_what_cannot_be_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()
