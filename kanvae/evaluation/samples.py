"""Samples of a model, and their distances from real images in the space of features.

Three ways of looking: the Fréchet distance of two Gaussians, the kernel distance, which assumes no
Gaussian, and precision, recall, density and coverage, which tell fidelity from diversity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanvae import data, likelihoods, objective
from kanvae.evaluation.features import (
    Features,
    Statistics,
    frechet_distance,
    summary,
    values,
)
from kanvae.extras import extra
from kanvae.likelihoods import BERNOULLI, Likelihood
from kanvae.models import normal
from kanvae.training import random_stream

PRIOR_STREAM = 2**32 - 2  # of random numbers
NEIGHBOURS = 5  # of the balls of precision and its kin, as their paper has them


def sample_prior(
    model: nn.Module,
    count: int,
    latent_dim: int,
    generator: torch.Generator | None = None,
    likelihood: Likelihood | str | None = None,
) -> Tensor:
    """The means of p(x|z) for latents drawn from the prior N(0, 1): (count, D), in [0, 1] or not.

    Raises:
        ValueError: the model cannot decode.
    """
    objective.check_parts(model)
    with torch.no_grad():
        z = normal((count, latent_dim), next(model.parameters(), torch.empty(0)), generator)
        return likelihoods.of(model, likelihood).mean(model.decode(z).flatten(1))  # type: ignore[operator]


def sample_features(
    model: nn.Module,
    features: Features,
    binarized: bool = False,
    samples: int = 20_000,
    seed: int = 0,
    *,
    latent_dim: int | None = None,
    likelihood: Likelihood | str | None = None,
    binarization: str = "threshold",
    threshold: float = 0.5,
) -> np.ndarray:
    """The features of prior samples: (samples, F).

    The samples are the means of p(x|z), between 0 and 1. With `binarized`, Bernoulli pixels are on
    where they are so more likely than not, or drawn where `binarization` is "stochastic"; grey ones
    where they are above the threshold, as in the real images.

    Args:
        seed: of the latents, whose first ones do not depend on how many there are.
        latent_dim: L; by default the model's own (`model.latent_dim`).

    Raises:
        ValueError: fewer than 2 samples, or features that are not finite.
    """
    judge = likelihoods.of(model, likelihood)
    width = latent_dim or _latent_dim(model)
    cut = 0.5 if judge == BERNOULLI else threshold
    generator = random_stream(seed, PRIOR_STREAM)
    anew = generator if judge == BERNOULLI and binarization == "stochastic" else None

    def drawn() -> Iterator[Tensor]:
        for part in torch.empty(samples).split(1000):
            x = sample_prior(model, len(part), width, generator, judge).float().clamp(0, 1)
            yield data.binarize(x, cut, anew).float() if binarized else x

    return values(features, drawn())


def frechet_distances(
    model: nn.Module,
    features: Features,
    reference: Statistics,
    binarized: bool = False,
    samples: int = 20_000,
    seeds: int = 5,
    **how: Any,
) -> list[float]:
    """Distances of sets of prior samples from real images, one for each evaluation seed.

    Args:
        reference: of real images, with the same features and the same `binarized`.
        samples: images in a set (20,000 in the paper).
        seeds: how many sets (5 in the paper).
        **how: latent_dim, likelihood, binarization and threshold, as in `sample_features`.

    Raises:
        ValueError: fewer than 2 samples or 1 seed.
    """
    if samples < 2 or seeds < 1:
        raise ValueError(f"samples is {samples} and seeds is {seeds}: at least 2 and 1 are needed.")
    found = (
        sample_features(model, features, binarized, samples, seed, **how) for seed in range(seeds)
    )
    return [frechet_distance(summary(each), reference) for each in found]


def kernel_distance(real: np.ndarray, drawn: np.ndarray) -> float:
    """The unbiased squared distance of features (N, F) and (M, F): about 0 where they are alike.

    The maximum mean discrepancy with the kernel (a.b / F + 1)^3 (Bińkowski et al. 2018), over all
    pairs in place of the mean over subsets. Both sets are divided by the root mean square of the
    real features, so that the kernel does not depend on a classifier's scale.

    Raises:
        ValueError: fewer than two rows in one of them.
    """
    if min(len(real), len(drawn)) < 2:
        raise ValueError("a kernel distance needs two rows of features or more on either side.")
    scale = np.sqrt(np.square(real).mean() * real.shape[1])  # with the F of the kernel
    first, second = real / scale, drawn / scale

    def total(a: np.ndarray, b: np.ndarray) -> float:
        found = 0.0
        for part in np.array_split(a, len(a) // 1000 + 1):
            product = part @ b.T + 1
            found += float(np.vdot(product * product, product))
        return found

    def within(a: np.ndarray) -> float:  # without the pairs of a row with itself
        alone = float(((np.square(a).sum(1) + 1) ** 3).sum())
        return (total(a, a) - alone) / (len(a) * (len(a) - 1))

    across = total(first, second) / (len(first) * len(second))
    return within(first) + within(second) - 2 * across


def precision_recall(real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage of samples, over features (N, F), (M, F).

    Precision and density say how near samples lie to real images, recall and coverage how many of
    the real images they reach; density may exceed 1 (Kynkäänniemi et al. 2019; Naeem et al. 2020,
    with balls that reach to the fifth neighbour).

    Raises:
        ValueError: fewer than seven rows on either side.
    """
    if min(len(real), len(drawn)) < NEIGHBOURS + 2:
        raise ValueError(
            f"there are {len(real)} real images and {len(drawn)} samples: precision and recall "
            f"need {NEIGHBOURS + 2} of each or more."
        )
    with extra("evaluation"):
        from sklearn.metrics import pairwise_distances_chunked
        from sklearn.neighbors import NearestNeighbors

    def radii(rows: np.ndarray) -> np.ndarray:  # to a row's fifth neighbour but itself
        found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, algorithm="brute").fit(rows)
        return found.kneighbors(rows)[0][:, -1]

    around_real, around_drawn = radii(real), radii(drawn)
    reached = np.zeros(len(real), bool)
    nearest = np.full(len(real), np.inf)
    balls: list[int] = []  # of real images, how many a sample lies in
    for distances in pairwise_distances_chunked(drawn, real):  # (some samples, N)
        own = around_drawn[len(balls) : len(balls) + len(distances)].reshape(-1, 1)
        balls += (distances < around_real).sum(1).tolist()
        reached |= (distances < own).any(0)
        nearest = np.minimum(nearest, distances.min(0))
    return {
        "precision": float(np.mean(np.array(balls) > 0)),
        "recall": float(reached.mean()),
        "density": float(np.mean(balls)) / NEIGHBOURS,
        "coverage": float((nearest < around_real).mean()),
    }


def _latent_dim(model: Any) -> int:
    found = getattr(model, "latent_dim", None)
    if found is None:
        raise ValueError(f"{type(model).__name__} has no `latent_dim`: give latent_dim.")
    return found
