"""Recurrent layers with KAN layers inside: TKAN (Genet and Inzirillo 2024, arXiv 2405.07344).

An LSTM whose output gate comes from small recurrent KAN layers with memories of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae.layers.function_layer import check_shape, check_whole, parameter
from kanvae.layers.kan import KANLinear


class State(NamedTuple):
    """What a cell remembers: hidden and cell (B, H), and inner (n, B, S), of its n KAN layers."""

    hidden: Tensor
    cell: Tensor
    inner: Tensor


class NormedKAN(nn.Module):
    """The KAN layer of the public keras_efficient_kan: of normed inputs, with ReLU and a bias.

    Args:
        in_features, out_features, grid_size, spline_order: as in `KANLinear`.
    """

    def __init__(
        self, in_features: int, out_features: int, grid_size: int = 3, spline_order: int = 3
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_features, eps=1e-3)
        self.kan = KANLinear(
            in_features, out_features, grid_size, spline_order, base_activation=nn.ReLU,
            enable_standalone_scale_spline=False,
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return self.kan(self.norm(x)) + self.bias


class TKANCell(nn.Module):
    """One step of a TKAN: x (B, I) and a state -> the next state.

    Gates i, f and candidate g come from x and the hidden state as in an LSTM, all through the
    logistic function; c' = f c + i tanh(g). KAN layer k sees x U_k + s_k V_k, its output o_k goes
    into its memory, s_k' = a_k o_k + b_k s_k, and all of them into h' = sigmoid(W o + d) tanh(c').

    As in the public tkan with the backends of torch and JAX; with TensorFlow's it leaves out the
    tanh of g. Initial values as there: Glorot-uniform from inputs, orthogonal from states, 1 for
    the bias of f; those of the KAN layers are `KANLinear`'s.

    Args:
        input_size: I, 1 or more.
        hidden_size: H, 1 or more.
        inner_layers: n, 1 or more.
        inner_inputs, inner_outputs: the widths of the KAN layers, the latter S; I by default.
        make: makes a KAN layer, called with its widths.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        inner_layers: int = 1,
        inner_inputs: int | None = None,
        inner_outputs: int | None = None,
        make: Callable[[int, int], nn.Module] = NormedKAN,
    ) -> None:
        super().__init__()
        into = input_size if inner_inputs is None else inner_inputs
        out = input_size if inner_outputs is None else inner_outputs
        for name, value in {"input_size": input_size, "hidden_size": hidden_size,
                            "inner_inputs": into, "inner_outputs": out,
                            "inner_layers": inner_layers}.items():  # fmt: skip
            check_whole(name, value, 1)
        empty, self.hidden_size = functools.partial(parameter, device=None, dtype=None), hidden_size
        self.input_weight = empty(3 * hidden_size, input_size)
        self.hidden_weight = empty(3 * hidden_size, hidden_size)
        self.bias = empty(3 * hidden_size)
        self.inner = nn.ModuleList(make(into, out) for _ in range(inner_layers))
        self.inner_input = empty(inner_layers, input_size, into)  # U
        self.inner_state = empty(inner_layers, out, into)  # V
        self.memory = empty(2, inner_layers, out)  # a, b
        self.output = nn.Linear(inner_layers * out, hidden_size)  # W, d
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights, but for those of the KAN layers."""
        for weight in (self.input_weight, self.output.weight):
            nn.init.xavier_uniform_(weight)
        for weight in (self.hidden_weight, self.inner_input, self.inner_state, self.memory):
            nn.init.orthogonal_(weight.view(-1, weight.shape[-1]))
        nn.init.zeros_(self.bias)
        nn.init.ones_(self.bias[self.hidden_size : 2 * self.hidden_size])  # remember at first
        nn.init.zeros_(self.output.bias)

    def start(self, x: Tensor) -> State:
        """The state before the first step, zeros, for inputs (B, I)."""
        hidden = x.new_zeros(len(x), self.hidden_size)
        return State(hidden, hidden, x.new_zeros(len(self.inner), len(x), self.memory.shape[-1]))

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """(B, I) and the last state -> the next; its hidden is the output (B, H).

        Raises:
            ValueError: an input of another shape.
        """
        check_shape(x, "B", self.input_weight.shape[1])
        hidden, cell, inner = self.start(x) if state is None else state
        gates = F.linear(x, self.input_weight, self.bias) + F.linear(hidden, self.hidden_weight)
        i, f, g = torch.sigmoid(gates).chunk(3, dim=-1)
        cell = f * cell + i * torch.tanh(g)
        seen = x @ self.inner_input + inner @ self.inner_state  # (n, B, inner inputs)
        found = torch.stack([kan(part) for kan, part in zip(self.inner, seen, strict=True)])
        new, old = self.memory.unsqueeze(2)
        gate = torch.sigmoid(self.output(found.movedim(0, 1).flatten(1)))
        return State(gate * torch.tanh(cell), cell, new * found + old * inner)


class TKAN(nn.Module):
    """A TKAN cell along a sequence, as `nn.LSTM` with `batch_first`: (B, T, I) -> (B, T, H).

    It takes about thirty times as long: each step goes through Python, a norm and a KAN layer.

    Args:
        input_size, hidden_size: I and H.
        options: of the `TKANCell`.
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__()
        self.cell = TKANCell(input_size, hidden_size, **options)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """(B, T, I) and a state, zeros by default -> all outputs (B, T, H), and the last state.

        Raises:
            ValueError: an input of another shape.
        """
        check_shape(x, "B", "T", self.cell.input_weight.shape[1])
        state = self.cell.start(x[:, 0]) if state is None else state
        found = []
        for step in x.unbind(1):
            state = self.cell(step, state)
            found.append(state.hidden)
        return torch.stack(found, dim=1), state
