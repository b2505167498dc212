"""A transformer of time series with TKANs: TKAT (Genet and Inzirillo 2024, arXiv 2406.02486).

A temporal fusion transformer (Lim et al. 2021) whose encoder and decoder are TKANs. Letters: B
batch, T steps, V variables, E embedding, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import check_shape, check_whole
from kanvae.layers.recurrent import TKAN

EPS = 1e-3  # of the public tkat's norms


class _Gate(nn.Module):
    """A gated linear unit, (..., I) -> (..., O): a linear layer times the logistic of another."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.value = nn.Linear(in_features, out_features)
        self.gate = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


class _Residual(nn.Module):
    """A gated residual network, (..., I) -> (..., O): two layers, a gate, a way round, a norm."""

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.skip = nn.Linear(in_features, out_features)
        self.first = nn.Linear(in_features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.gate = _Gate(hidden, out_features)
        self.norm = nn.LayerNorm(out_features, EPS)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(F.elu(self.first(x)))
        return self.norm(self.skip(x) + self.gate(hidden))


class _Selection(nn.Module):
    """A mixture of variables, (B, T, E, V) -> (B, T, H), with weights that follow from all."""

    def __init__(self, variables: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.weights = _Residual(embedding * variables, hidden, variables)
        self.each = nn.ModuleList(_Residual(embedding, hidden, hidden) for _ in range(variables))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weights(x.flatten(-2)).softmax(-1)  # (B, T, V)
        parts = [each(part) for each, part in zip(self.each, x.unbind(-1), strict=True)]
        return (torch.stack(parts, -1) * weights.unsqueeze(-2)).sum(-1)


class _Attention(nn.Module):
    """Attention of all steps to all, (B, T, H) -> (B, T, H), with heads of H numbers each."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(hidden, heads * hidden) for _ in range(3))
        self.output = nn.Linear(heads * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        seen = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, H)
                for layer in (self.query, self.key, self.value))  # fmt: skip
        found = F.scaled_dot_product_attention(*seen)
        return self.output(found.transpose(1, 2).flatten(-2))


class TKAT(nn.Module):
    """A forecast from a past of all variables and a future of those that are known.

    Recurrent layers encode the past and decode the known future; all steps attend to each other,
    and a linear layer sees them all. As in the public tkat, whose attention has no mask either.

    Args:
        past, future: how many steps are given, and forecast.
        unknown, known: how many variables are known in the past only, and in the future too; the
            latter come last. `known` is 1 or more.
        embedding: E, the width of a variable's embedding.
        hidden: H.
        heads: of attention.
        recurrent: makes the encoder and the decoder, called with (H, H); `nn.LSTM` with
            `batch_first` gives the transformer that the paper compares with.

    Raises:
        ValueError: a size that is too small.
    """

    def __init__(
        self,
        past: int,
        future: int,
        unknown: int,
        known: int,
        embedding: int,
        hidden: int,
        heads: int,
        recurrent: Callable[[int, int], Any] = TKAN,
    ) -> None:
        super().__init__()
        for name, value in (
            ("past", past),
            ("future", future),
            ("known", known),
            ("embedding", embedding),
            ("hidden", hidden),
            ("heads", heads),
        ):
            check_whole(name, value, 1)  # fmt: skip
        check_whole("unknown", unknown, 0)
        self.past, self.future, self.known = past, future, known
        self.embedding = nn.ModuleList(nn.Linear(1, embedding) for _ in range(unknown + known))
        self.past_selection = _Selection(unknown + known, embedding, hidden)
        self.future_selection = _Selection(known, embedding, hidden)
        self.encoder, self.decoder = recurrent(hidden, hidden), recurrent(hidden, hidden)
        self.gate, self.norm = _Gate(hidden, hidden), nn.LayerNorm(hidden, EPS)
        self.enrich = _Residual(hidden, hidden, hidden)
        self.attention = _Attention(hidden, heads)
        self.output = nn.Linear((past + future) * hidden, future)

    def forward(self, x: Tensor) -> Tensor:
        """(B, past + future, V) -> (B, future). What is unknown of the future is not looked at.

        Raises:
            ValueError: an input of another shape.
        """
        check_shape(x, "B", self.past + self.future, len(self.embedding))
        parts = zip(self.embedding, x.split(1, dim=-1), strict=True)
        embedded = torch.stack([layer(part) for layer, part in parts], -1)  # (B, T, E, V)
        before = self.past_selection(embedded[:, : self.past])
        after = self.future_selection(embedded[:, self.past :, :, -self.known :])
        encoded, state = self.encoder(before)
        decoded, _ = self.decoder(after, state)
        history, selected = torch.cat((encoded, decoded), 1), torch.cat((before, after), 1)
        context = self.enrich(self.norm(self.gate(history) + selected))
        return self.output(self.attention(context).flatten(1))
