"""The study "elsewhere": other networks with KAN layers inside, each on a task of its own.

    rows     the digit of an image that is read row by row: TKAN, GRU, LSTM
    series   the carbon dioxide over Mauna Loa of the next weeks: TKAT, the same with LSTMs, a plain
             transformer encoder, and rules that learn nothing
    graphs   the digit of a graph of superpixels: graph convolutions of KAN or of linear layers

A line of data holds what a model sees and the answer. Every model of a task has as many parameters
as the KAN model, to 3 %.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kanvae import data
from kanvae.extras import extra
from kanvae.layers.graph import GraphKAN
from kanvae.layers.recurrent import TKAN
from kanvae.layers.transformer import TKAT
from kanvae.studies import sets
from kanvae.studies.others import Scores, Task, seeded
from kanvae.studies.sets import SIDE, SUPERPIXELS, superpixels

DIGITS = 10
HIDDEN = {"tkan": 64, "gru": 80, "lstm": 68}  # of models of one size

PAST, FUTURE = 65, 13  # weeks: five quarters to see, one to forecast
YEAR = 52
PARTS = (0.7, 0.15)  # of the series, for training and for validation; the rest is for test
VARIABLES = 3  # carbon dioxide, and sine and cosine of the time of the year, which are known

IMAGES = {"train": 5000, "validation": 2000, "test": 5000}
NEIGHBOURS, STEPS = 6, 3  # that a superpixel is joined to at least; the `steps` of a `GraphKAN`


# Digits -------------------------------------------------------------------------------------------
def answered(x: Tensor, labels: Tensor) -> Tensor:
    """Inputs (N, D) and their labels (N,) as one tensor (N, D + 1)."""
    return torch.cat((x, labels[:, None].to(x.dtype)), dim=1)


def classification(model: nn.Module, x: Tensor, generator: Any = None) -> tuple[Tensor, Tensor]:
    """The loss of a classifier on lines (B, D + 1): cross-entropy in nats and 0, scalars."""
    loss = F.cross_entropy(model(x[:, :-1]), x[:, -1].long())
    return loss, loss.new_zeros(())


@torch.no_grad()
def classified(model: nn.Module, x: Tensor) -> Scores:
    """Accuracy and cross-entropy of a classifier on lines (N, D + 1)."""
    x = _beside(model, x)
    logits = torch.cat([model(part[:, :-1]) for part in x.split(500)])
    labels = x[:, -1].long()
    return {
        "test_accuracy": float((logits.argmax(1) == labels).double().mean()),
        "test_cross_entropy": float(F.cross_entropy(logits, labels)),
    }


def mnist(part: str) -> tuple[Tensor, Tensor]:
    """A part of MNIST: pixels (N, 784) of type uint8, and labels (N,)."""
    found = data.load("MNIST", part, "paper")
    return found.pixels, torch.as_tensor(found.labels)


def row_images(part: str) -> Tensor:
    """A part of MNIST with labels, (N, 785): brightness from 0 to 1."""
    pixels, labels = mnist(part)
    return answered(data.prepare(pixels, "none"), labels)


class RowReader(nn.Module):
    """Reads an image row by row and says its digit at the end: (B, 784) -> (B, 10).

    Args:
        recurrent: makes the layer, called with the widths of a row and of its output.
        hidden: H, the width of its output.
    """

    def __init__(self, recurrent: Callable[[int, int], nn.Module], hidden: int) -> None:
        super().__init__()
        self.recurrent = recurrent(SIDE, hidden)
        self.head = nn.Linear(hidden, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 784) -> (B, 10)."""
        outputs, _ = self.recurrent(x.unflatten(-1, (SIDE, SIDE)))  # (B, 28, H)
        return self.head(outputs[:, -1])


# A series -----------------------------------------------------------------------------------------
class Series(NamedTuple):
    """Windows (N, past + future, 3) of each part of the series, none over a border between parts.

    Carbon dioxide is told from the last week of the past on, in units of `scale`.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    scale: float  # ppm; how much it varies within windows for training


@functools.cache
def series() -> Series:
    """Weekly carbon dioxide over Mauna Loa, 1958 to 2001 (statsmodels), parted in order of time.

    The weeks without a measurement, 59 of them and all in the training part, lie on straight lines.

    Raises:
        MissingExtra: statsmodels is not installed.
    """
    with extra("studies"):  # plotnine, which comes with it, needs it
        from statsmodels.datasets import co2

    table = co2.load_pandas().data["co2"].interpolate()
    values = torch.tensor(table.to_numpy(), dtype=torch.float64)
    angle = torch.tensor(2 * np.pi * table.index.day_of_year.to_numpy() / 365.25)
    return windows(values, angle)


def windows(values: Tensor, angle: Tensor) -> Series:
    """The windows of a series (T,) and of its times of the year (T,), in radians."""
    ends = [round(len(values) * PARTS[0]), round(len(values) * sum(PARTS)), len(values)]
    columns = torch.stack((values, angle.sin(), angle.cos()), dim=1)  # (T, 3)
    found: list[Tensor] = []
    start = 0
    for end in ends:
        part = columns[start:end].unfold(0, PAST + FUTURE, 1).transpose(1, 2).clone()
        part[..., 0] -= part[:, PAST - 1, :1].clone()
        found.append(part)
        start = end
    scale = float(found[0][..., 0].std())
    for part in found:
        part[..., 0] /= scale
    train, validation, test = (part.float() for part in found)
    return Series(train, validation, test, scale)


def forecast(model: nn.Module, x: Tensor, generator: Any = None) -> tuple[Tensor, Tensor]:
    """The loss of a forecast on windows (B, past + future, 3): mean square and 0, scalars."""
    loss = F.mse_loss(model(x), x[:, PAST:, 0])
    return loss, loss.new_zeros(())


@torch.no_grad()
def forecast_errors(model: nn.Module) -> Scores:
    """Root mean square errors on the test windows, ppm: of all weeks, and of the nth from now."""
    found = series()
    x = _beside(model, found.test)
    square = (found.scale * (model(x) - x[:, PAST:, 0]).double()).square().mean(0)
    weeks = {f"test_rmse_{n}": float(value.sqrt()) for n, value in enumerate(square, start=1)}
    return {"test_rmse": float(square.mean().sqrt())} | weeks


class Encoder(nn.Module):
    """A plain transformer encoder of a window, and a linear layer that sees all its steps.

    Args:
        width: of a step.
        heads: of attention.
        wide: of the hidden layer after it.
        depth: how many of both.
    """

    known: Tensor

    def __init__(self, width: int, heads: int, wide: int, depth: int) -> None:
        super().__init__()
        known = torch.ones(PAST + FUTURE, VARIABLES)
        known[PAST:, 0] = 0
        self.register_buffer("known", known, persistent=False)
        self.embedding = nn.Linear(VARIABLES, width)
        self.place = nn.Parameter(0.02 * torch.randn(PAST + FUTURE, width))
        layer = nn.TransformerEncoderLayer(width, heads, wide, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.output = nn.Linear((PAST + FUTURE) * width, FUTURE)

    def forward(self, x: Tensor) -> Tensor:
        """(B, past + future, 3) -> (B, future). What is unknown of the future is not looked at."""
        seen = self.embedding(x * self.known) + self.place
        return self.output(self.encoder(seen).flatten(1))


class Rule(nn.Module):
    """A forecast that learns nothing.

    Args:
        of: a window's carbon dioxide (B, past + future) -> the forecast (B, future).
    """

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        """(B, past + future, 3) -> (B, future)."""
        return self.of(x[..., 0])


def last_value(x: Tensor) -> Tensor:
    """What the last week had, (B, past + future) -> (B, future)."""
    return x[:, PAST - 1 : PAST].expand(-1, FUTURE)


def last_year(x: Tensor) -> Tensor:
    """What the same week had a year before, (B, past + future) -> (B, future)."""
    return x[:, PAST - YEAR : PAST - YEAR + FUTURE]


def last_change(x: Tensor) -> Tensor:
    """The last week, and what was added a year before, (B, past + future) -> (B, future)."""
    return last_value(x) + last_year(x) - x[:, PAST - YEAR - 1 : PAST - YEAR]


# Graphs -------------------------------------------------------------------------------------------
def graph_images(part: str) -> Tensor:
    """The superpixels of a part of MNIST with labels, (N, 4 S + 1), made once."""
    count = IMAGES[part]

    def make() -> dict[str, np.ndarray]:
        pixels, labels = mnist(part)
        return {"nodes": superpixels(pixels[:count]), "labels": labels[:count].numpy()}

    arrays = np.load(sets.stored(f"superpixels-{SUPERPIXELS}-{part}-{count}", make))
    nodes = torch.from_numpy(arrays["nodes"])
    return answered(nodes.flatten(1), torch.from_numpy(arrays["labels"]))


def neighbours(nodes: Tensor) -> Tensor:
    """The edges (2, E), both ways, between superpixels (B, S, 4) and the nearest of their image."""
    places, there = nodes[..., 1:3], nodes[..., 3] > 0
    far = torch.cdist(places, places)  # (B, S, S)
    joined = there.unsqueeze(1) & there.unsqueeze(2)
    joined &= ~torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
    near = far.masked_fill(~joined, math.inf).topk(NEIGHBOURS, largest=False).indices
    adjacency = torch.zeros_like(joined).scatter_(2, near, True) & joined
    graph, one, other = (adjacency | adjacency.transpose(1, 2)).nonzero().T
    return nodes.shape[1] * graph + torch.stack((one, other))


class GraphReader(nn.Module):
    """Three graph convolutions, with a norm after each, and the digit from the mean of all nodes.

    Args:
        width: of hidden nodes.
        make: makes the layers inside (`GraphKAN`).
        activation: after each norm; KAN layers need none.
    """

    def __init__(
        self, width: int, make: Callable[..., nn.Module] | None = None, activation: bool = False
    ) -> None:
        super().__init__()
        options: dict[str, Any] = {} if make is None else {"make": make}
        self.layers = nn.ModuleList(
            GraphKAN(width if n else 3, width, STEPS, **options) for n in range(3)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.layers)
        self.activation = nn.ReLU() if activation else nn.Identity()
        self.head = nn.Linear(width, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4 S) -> (B, 10)."""
        nodes = x.unflatten(-1, (SUPERPIXELS, 4))
        edges, hidden = neighbours(nodes), nodes[..., :3].flatten(0, 1)  # (B S, 3)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            hidden = self.activation(norm(layer(hidden, edges)))
        there = nodes[..., 3:]
        total = (hidden.unflatten(0, nodes.shape[:2]) * there).sum(1)  # (B, H)
        return self.head(total / there.sum(1).clamp(min=1))


def _beside(model: nn.Module, x: Tensor) -> Tensor:
    """Data (N, ...) on the device of a model."""
    weight = next(model.parameters(), None)
    return x if weight is None else x.to(weight.device)


def _learning(**makers: Callable[[], nn.Module]) -> dict[str, Callable[[int], nn.Module]]:
    return {name: functools.partial(seeded, make) for name, make in makers.items()}


def _series_parts() -> tuple[Tensor, Tensor]:
    return series().train, series().validation


_gru = functools.partial(nn.GRU, batch_first=True)
_lstm = functools.partial(nn.LSTM, batch_first=True)
_tkat = functools.partial(TKAT, PAST, FUTURE, 1, VARIABLES - 1)
_how = {"scheduler": "cosine"}
RATES = (0.001, 0.003, 0.01)
TASKS = {
    "rows": Task(
        models=_learning(
            tkan=lambda: RowReader(TKAN, HIDDEN["tkan"]),
            gru=lambda: RowReader(_gru, HIDDEN["gru"]),
            lstm=lambda: RowReader(_lstm, HIDDEN["lstm"]),
        ),
        data=lambda: (row_images("train"), row_images("validation")),
        score=lambda model: classified(model, row_images("test")),
        settings={"epochs": 20, "batch_size": 100, "loss": classification, **_how},
        rates=RATES,
    ),
    "series": Task(
        models=_learning(
            tkat=lambda: _tkat(8, 12, 2, TKAN),
            tkat_lstm=lambda: _tkat(8, 13, 2, _lstm),
            encoder=lambda: Encoder(16, 2, 64, 2),
            last_value=lambda: Rule(last_value),
            last_year=lambda: Rule(last_year),
            last_change=lambda: Rule(last_change),
        ),
        data=_series_parts,
        score=forecast_errors,
        settings={"epochs": 30, "batch_size": 32, "loss": forecast, **_how},
        rates=RATES,
    ),
    "graphs": Task(
        models=_learning(
            kan=lambda: GraphReader(16),
            linear=lambda: GraphReader(50, nn.Linear, activation=True),
        ),
        data=lambda: (graph_images("train"), graph_images("validation")),
        score=lambda model: classified(model, graph_images("test")),
        settings={"epochs": 30, "batch_size": 50, "loss": classification, **_how},
        rates=RATES,
    ),
}
