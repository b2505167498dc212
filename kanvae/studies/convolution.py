"""The study "convolution": the convolutional VAE and its twins of one size, on two sets of images.

Regime `paper`, batches of 32, 20 epochs, and a cosine schedule. The likelihood takes fewer images
and samples than that of dense models: these decoders cost some thirty times as much an image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from kanvae import data, evaluation
from kanvae.convolutional import TWINS, convolutional_vae
from kanvae.evaluation.features import JUDGES
from kanvae.models import VAE
from kanvae.studies.others import Scores, Task

# What is scored on test images; of `evaluation.Settings`.
SETTINGS: dict[str, Any] = {
    "frechet_images": "grayscale,binarized", "importance_samples": 200,
    "likelihood_images": 1_000,
}  # fmt: skip
COPIED = ("test_reconstruction", "test_kl", "test_elbo", "test_nll", "active_units", "silhouette")


def twin(kind: str, dense: str, seed: int, activation: Callable[[], nn.Module] = nn.ReLU) -> VAE:
    """The model of a pair of kinds in `TWINS`; the seed determines its first weights."""
    channels = TWINS[kind, dense]
    return convolutional_vae(kind, channels, dense=dense, seed=seed, activation=activation)


def images(dataset: str) -> tuple[Tensor, Tensor]:
    """The images for training and for validation, bool (N, 784) each."""
    train, validation = (data.load(dataset, part, "paper") for part in ("train", "validation"))
    return data.prepare(train.pixels), data.prepare(validation.pixels)


def scores(dataset: str, model: nn.Module) -> Scores:
    """The scores of a trained model on test images: terms, likelihood, Fréchet distances."""
    test = data.load(dataset, "test")
    found = evaluation.evaluate_model(
        model, data.prepare(test.pixels), test.labels, features=JUDGES[dataset],
        grayscale=test.pixels / 255.0, **SETTINGS,
    )  # fmt: skip
    line = {name: float(found[name]) for name in COPIED}
    for kind, distances in found["frechet"].items():
        line[column := f"frechet_{kind.replace(' ', '_')}"] = float(np.mean(distances))
        line[f"{column}_std"] = float(np.std(distances, ddof=1))
    return line


MODELS = {
    kind if kind == dense else f"{kind}-{dense}": functools.partial(twin, kind, dense)
    for kind, dense in TWINS
} | {"silu": functools.partial(twin, "linear", "linear", activation=nn.SiLU)}
TASKS = {
    dataset: Task(
        models=MODELS,
        data=functools.partial(images, dataset),
        score=functools.partial(scores, dataset),
        settings={"epochs": 20, "batch_size": 32, "scheduler": "cosine"},
        rates=(0.001, 0.002),
    )
    for dataset in ("MNIST", "FashionMNIST")
}
