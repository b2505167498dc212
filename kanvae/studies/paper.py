"""What the paper states, as data: Table I and the settings of its text.

"KAN-VAE: Combining Kolmogorov-Arnold Networks with Variational Auto-Encoders", A. Nik, 2024.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from kanvae.architectures import Architecture
from kanvae.training import TrainingConfig


class Row(NamedTuple):
    """A line of Table I."""

    name: str
    architecture: Architecture
    fid: float  # Fréchet Inception distance, mean of 5 evaluations; its feature layer is not stated
    parameters: int


TABLE_I = tuple(
    Row(name, Architecture.parse(key), fid, parameters)
    for name, key, fid, parameters in (
        ("VAE", "vae-400-20", 1.22, 652_824),
        ("KAN-VAE*", "kan-400-20", 1.19, 6_512_000),
        ("KAN-VAE", "kan-50-10", 1.50, 799_000),
        ("KAN-VAE", "kan-40-20", 1.44, 651_200),
        ("KAN-VAE", "kan-40-10", 1.45, 639_200),
        ("KAN-VAE**", "kan-35-15", 1.40, 564_550),
        ("KAN-VAE", "kan-30-20", 1.52, 488_400),
        ("KAN-VAE", "kan-20-10", 1.61, 319_600),
        ("KAN-VAE", "kan-10-5", 1.63, 158_300),
    )
)

# The models that the paper's Figures 6 to 9 show, by the names it gives them.
FEATURED = {row.name: row.architecture for row in TABLE_I if row.name != "KAN-VAE"}

# Figure 6, measured on its pictures by `reading`. The middles of its bands in the last forty
# columns of a picture, nats per image, to about one:
FIGURE_6_ENDS = {"VAE": (58.0, 28.8), "KAN-VAE*": (42.5, 29.5), "KAN-VAE**": (93.6, 17.3)}
# How many updates its curves have, by a line through the ticks of the axis, and the error that half
# a pixel of the drawing makes:
FIGURE_6_UPDATES = {"VAE": (9_390, 13), "KAN-VAE*": (9_063, 13), "KAN-VAE**": (9_063, 13)}
# The least and the greatest number that leave every tick on its pixel:
FIGURE_6_FITTING = {"VAE": (9_382, 9_413), "KAN-VAE*": (9_069, 9_079), "KAN-VAE**": (9_069, 9_079)}
# So the epochs of 313 updates, which is one of 10,000 images in batches of 32:
FIGURE_6_EPOCHS = {"VAE": 30, "KAN-VAE*": 29, "KAN-VAE**": 29}

FID_SEEDS = 5
EPOCHS = 30
# Of a training, where the text leaves it open: what comes nearest to the ends of Figure 6 among the
# candidates of the study "schedule" (the chapter on the paper's figures).
SETTINGS = {"scheduler_counts": "updates", "scheduler_patience": 600}
NEVER = {"scheduler_patience": 10}  # in epochs: the rate never falls, which fits nearly as well


def title(architecture: Architecture | str) -> str:
    """A model as the book names it: "KAN-VAE**, 35–15", or with options "VAE, 400–20, depth=2"."""
    model = Architecture.parse(str(architecture))
    names = {row.architecture: row.name for row in TABLE_I}
    kinds = {"kan": "KAN-VAE", "linear": "VAE"}
    kind = names.get(model, kinds.get(model.layer, model.layer))
    options = str(model).split("+")[1:]
    return ", ".join([kind, f"{model.hidden_features}–{model.latent_dim}", *options])


def config(key: str, regime: str = "paper", seed: int = 0, **settings: Any) -> TrainingConfig:
    """A training of the book, by default at the paper's setting."""
    return _config(key, regime, seed, **{"epochs": EPOCHS} | (settings or SETTINGS))


@functools.cache  # a table has each of some hundreds many times
def _config(key: str, regime: str, seed: int, **settings: Any) -> TrainingConfig:
    return TrainingConfig(Architecture.parse(key), regime=regime, seed=seed, **settings)
