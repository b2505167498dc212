"""Scores of a latent space: how much of it is used, and how well it parts an image's classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kanvae import objective
from kanvae.extras import extra
from kanvae.training import grids, random_stream
from kanvae.training.updates import GRID_STREAM

SILHOUETTE_IMAGES = 5_000


@torch.no_grad()
def latent_means(model: nn.Module, x: Tensor) -> Tensor:
    """The means of q(z|x): images (N, D) -> (N, L)."""
    objective.check_parts(model)
    parts = (objective.as_input(model, part) for part in x.split(1000))
    return torch.cat([model.encode(part)[0] for part in parts])  # type: ignore[operator]


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """How many latents' means (N, L) have a variance above the threshold (Burda et al. 2015)."""
    return int((means.var(dim=0) > threshold).sum())


def neighbour_accuracy(
    known: Tensor, labels: Tensor, means: Tensor, truth: Tensor, k: int = 10
) -> float:
    """How often the `k` nearest known latent means vote for an image's label.

    Args:
        known: (N, L) latent means of labelled images, `labels` (N,) theirs; of fewer than `k`
            all vote.
        means: (M, L) latent means to label, `truth` (M,) their labels.
    """
    with extra("evaluation"):
        from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(k, len(known))).fit(known.numpy(), labels.numpy())
    return float(classifier.score(means.numpy(), truth.numpy()))


def silhouette(means: Tensor, labels: Tensor, images: int = SILHOUETTE_IMAGES) -> float:
    """The mean silhouette score of labels among the first `images` latent means (N, L): -1 to 1."""
    with extra("evaluation"):
        from sklearn.metrics import silhouette_score

    return float(silhouette_score(means[:images].numpy(), labels[:images].numpy()))


def plane(means: Tensor, seed: int = 0, perplexity: float = 30) -> Tensor:
    """The t-SNE plane (N, 2) of latent means (N, L), begun at their two principal components.

    Raises:
        ValueError: a perplexity that is not below N.
    """
    with extra("evaluation"):
        from sklearn.manifold import TSNE

    tsne = TSNE(perplexity=perplexity, random_state=seed, init="pca")
    return torch.from_numpy(tsne.fit_transform(means.numpy()))


def outside_grid(model: nn.Module, x: Tensor) -> dict[str, float]:
    """The share of what each layer of splines sees of images (N, ...) that lies beyond its grid."""
    noise, found = random_stream(0, GRID_STREAM, x.device), {}
    images = objective.as_input(model, x)
    for name, (layer, inputs) in grids.inputs_of_layers(model, images, noise).items():
        low, high = layer.grid[:, layer.spline_order], layer.grid[:, -1 - layer.spline_order]
        found[name] = float(((inputs < low) | (inputs > high)).cpu().double().mean())
    return found
