"""Features of images, and the Fréchet distance of two sets of images over them.

The distance is that of Heusel et al. 2017, over a choice of features, whose name goes with every
number:

    digits            64 features of a small classifier of MNIST that comes with the package
    fashion           64 features of the same classifier, trained on FashionMNIST
    inception-64      features of Inception v3 (ImageNet): after its first pooling, its second,
    inception-192     its auxiliary classifier's block, and its last pooling; they need weights that
    inception-768     are read from $KANVAE_INCEPTION, from torch's hub cache, or downloaded
    inception-2048
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor, nn

from kanvae import data, digits
from kanvae.extras import extra
from kanvae.training.checkpoints import read_tensors
from kanvae.training.configuration import resolve_device

INCEPTION_BLOCKS = {"inception-64": 0, "inception-192": 1, "inception-768": 2, "inception-2048": 3}
FEATURES = (*digits.CLASSIFIERS, *INCEPTION_BLOCKS)
JUDGES = {  # the classifier that knows what a set shows; Inception knows all images alike
    "MNIST": "digits", "QMNIST": "digits", "EMNIST-digits": "digits", "FashionMNIST": "fashion",
}  # fmt: skip


class FeaturesError(ValueError):
    """Features that are unknown, out of reach on this machine, or blind to these images."""


class Features(NamedTuple):
    """A map from images to the features that a Fréchet distance compares."""

    name: str
    extract: Callable[[Tensor], Tensor]  # images (B, D) in [0, 1] -> (B, F)
    device: str = "cpu"
    classify: Callable[[Tensor], Tensor] | None = None  # features (N, F) -> logits of classes


class Statistics(NamedTuple):
    """Mean (F,) and covariance (F, F) of the features of a set of images."""

    mean: np.ndarray
    covariance: np.ndarray


def features_for(dataset: str) -> list[str]:
    """The names of the features that can judge the images of a set."""
    if dataset not in data.SOURCES:
        return []
    return [*([JUDGES[dataset]] if dataset in JUDGES else []), *INCEPTION_BLOCKS]


def features_here(dataset: str = "MNIST") -> list[str]:
    """Those of them that this machine can compute without a download."""
    inception = os.environ.get("KANVAE_INCEPTION") or _hub_file().exists()
    return [name for name in features_for(dataset) if inception or name in digits.CLASSIFIERS]


def load_features(name: str, device: str = "cpu") -> Features:
    """The features of that name.

    Raises:
        FeaturesError: an unknown name, or Inception's weights are damaged, or not on this machine
            and out of reach. `features_here` says which there are.
    """
    if name not in FEATURES:
        raise FeaturesError(
            f"unknown features {name!r}: choose one of {list(FEATURES)}; scores take 'none' too, "
            "and those of a run 'auto', which stands for what its set has."
        )
    device = resolve_device(device)
    if name in digits.CLASSIFIERS:
        classifier = digits.load_classifier(device, name)
        return Features(name, classifier.features, device, classifier.logits)
    network = _inception(INCEPTION_BLOCKS[name]).to(device).eval()

    def extract(x: Tensor) -> Tensor:
        images = x.view(-1, 1, 28, 28).expand(-1, 3, -1, -1)  # the network wants three colours
        large = nn.functional.interpolate(images, size=(299, 299), mode="bilinear")
        return network(2 * large - 1).mean(dim=(2, 3))

    return Features(name, extract, device)


def _hub_file() -> Path:
    with extra("evaluation"):
        from pytorch_fid.inception import FID_WEIGHTS_URL

    return Path(torch.hub.get_dir()) / "checkpoints" / FID_WEIGHTS_URL.rpartition("/")[2]


def _inception(block: int) -> nn.Module:
    """pytorch-fid's Inception v3 up to a block: torchvision's, with the layers that differ."""
    with extra("evaluation"):
        import torchvision
        from pytorch_fid import inception as fid

    weights = _inception_weights()
    network = torchvision.models.inception_v3(
        num_classes=1008, aux_logits=False, weights=None, init_weights=False
    )
    for name, pool in (("5b", 32), ("5c", 64), ("5d", 64)):
        width = {"5b": 192, "5c": 256, "5d": 288}[name]
        setattr(network, f"Mixed_{name}", fid.FIDInceptionA(width, pool_features=pool))
    for name, channels in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(network, f"Mixed_{name}", fid.FIDInceptionC(768, channels_7x7=channels))
    network.Mixed_7b, network.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    path, state = weights
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise FeaturesError(
            f"{path} does not hold the weights of pytorch-fid's Inception v3 "
            f"({str(error).splitlines()[0]}). {_mend(path)}"
        ) from error
    ends = ["maxpool1", "maxpool2", "Mixed_6e", "Mixed_7c"]
    stages = [(name, part) for name, part in network.named_children() if name != "AuxLogits"]
    last = [name for name, _ in stages].index(ends[block])
    return nn.Sequential(*(part for _, part in stages[: last + 1]))


def _inception_weights() -> tuple[Path, Any]:
    """The file of Inception's weights, downloaded if need be, and what it holds."""
    with extra("evaluation"):
        from pytorch_fid.inception import FID_WEIGHTS_URL

    named = os.environ.get("KANVAE_INCEPTION")
    path = Path(named) if named else _hub_file()
    if named and not path.is_file():
        raise FeaturesError(f"KANVAE_INCEPTION is {named!r}, and there is no such file.")
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            hash_prefix = path.stem.rpartition("-")[2]
            torch.hub.download_url_to_file(FID_WEIGHTS_URL, str(path), hash_prefix)
        except (URLError, OSError, RuntimeError) as error:
            raise FeaturesError(
                f"Inception's weights are not on this machine and cannot be downloaded ({error}). "
                "Go online once, name their file in KANVAE_INCEPTION, or choose other features."
            ) from error
    try:
        return path, read_tensors(path)
    except OSError as error:
        raise FeaturesError(
            f"{path} cannot be read ({error.strerror}): make it readable."
        ) from error
    except ValueError as error:
        raise FeaturesError(f"{path} is damaged ({error}). {_mend(path)}") from error


def _mend(path: Path) -> str:
    if os.environ.get("KANVAE_INCEPTION"):
        return "Name another file in KANVAE_INCEPTION, or unset it."
    return "Delete it, and it is downloaded again."


@torch.no_grad()
def values(features: Features, images: Iterable[Tensor]) -> np.ndarray:
    """The features of batches of images (B, D) in [0, 1]: (N, F) in double precision.

    Raises:
        ValueError: fewer than two images, or features that are not finite.
    """
    parts = [features.extract(batch.to(features.device)).cpu().double().numpy() for batch in images]
    every = np.concatenate(parts)
    if len(every) < 2 or not np.isfinite(every).all():
        raise ValueError(
            f"the {features.name} features of {len(every)} images cannot be compared: there must "
            "be two images or more, and their pixels and features must be finite numbers."
        )
    return every


def summary(values: np.ndarray) -> Statistics:
    """The mean and covariance of features (N, F)."""
    return Statistics(values.mean(axis=0), np.cov(values, rowvar=False))


def reference_statistics(
    features: Features, pixels: Tensor, binarized: bool = False, threshold: float = 0.5
) -> Statistics:
    """The statistics of real images (N, D), grayscale or thresholded."""
    return summary(reference_values(features, pixels, binarized, threshold))


def reference_values(
    features: Features, pixels: Tensor, binarized: bool = False, threshold: float = 0.5
) -> np.ndarray:
    """The features (N, F) of real images (N, D), grayscale or thresholded."""
    how = "threshold" if binarized else "none"
    return values(features, (data.prepare(x, how, threshold).float() for x in pixels.split(1000)))


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """`|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`; 0 if equal (Heusel et al. 2017, equation 6).

    The trace of the root is the sum of the singular values of C1^(1/2) C2^(1/2).
    """
    with extra("evaluation"):
        import scipy.linalg

    def root(covariance: np.ndarray) -> np.ndarray:
        values, vectors = scipy.linalg.eigh(np.atleast_2d(covariance))
        return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T

    mixed = scipy.linalg.svdvals(root(first.covariance) @ root(second.covariance)).sum()
    traces = np.trace(np.atleast_2d(first.covariance)) + np.trace(np.atleast_2d(second.covariance))
    return float(((first.mean - second.mean) ** 2).sum() + traces - 2 * mixed)
