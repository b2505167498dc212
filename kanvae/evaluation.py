"""Scores of a trained model: of its samples, its likelihood and its latent space.

The Fréchet distance uses the statistics and the distance of pytorch-fid (Heusel et al. 2017) over a
choice of features, whose name goes with every number:

    digits            64 features of the digit classifier that comes with the package
    inception-64      features of Inception v3 (ImageNet): after its first pooling, its second,
    inception-192     its auxiliary classifier's block, and its last pooling; they need weights that
    inception-768     are read from $KANVAE_INCEPTION, from torch's hub cache, or downloaded
    inception-2048
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kanvae import data, digits, objective, runs
from kanvae.models import VAE, count_parameters
from kanvae.training import load_model, mean_terms, random_stream, resolve_device

INCEPTION_BLOCKS = {"inception-64": 0, "inception-192": 1, "inception-768": 2, "inception-2048": 3}
FEATURES = ("digits", *INCEPTION_BLOCKS)

PRIOR_STREAM = 2**32 - 2  # the streams of random numbers that evaluation draws from
NLL_STREAM = 2**32 - 3


class Features(NamedTuple):
    """A map from images to the features that a Fréchet distance compares."""

    name: str
    extract: Callable[[Tensor], Tensor]  # images (B, 784) in [0, 1] -> (B, F)
    device: str


class Statistics(NamedTuple):
    """Mean (F,) and covariance (F, F) of the features of a set of images."""

    mean: np.ndarray
    covariance: np.ndarray


def features_here() -> list[str]:
    """The names of the features that this machine can compute without a download."""
    from pytorch_fid.inception import FID_WEIGHTS_URL

    named = os.environ.get("KANVAE_INCEPTION")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / FID_WEIGHTS_URL.rpartition("/")[2]
    return list(FEATURES) if named or cached.exists() else ["digits"]


def load_features(name: str, device: str = "cpu") -> Features:
    """The features of that name; where Inception's weights cannot be had, the digit features.

    The result's `name` is that of the features it really computes, and a line on standard error
    says so when they are not the ones asked for.

    Raises:
        ValueError: an unknown name, or $KANVAE_INCEPTION names no weights of this network.
    """
    if name not in FEATURES:
        raise ValueError(f"unknown features {name!r}: choose one of {list(FEATURES)}.")
    device = resolve_device(device)
    if name == "digits":
        return Features(name, digits.load(device).features, device)
    try:
        network = _inception(INCEPTION_BLOCKS[name]).to(device).eval()
    except (URLError, OSError) as error:
        print(
            f"Inception's weights are not on this machine and cannot be downloaded ({error}). The "
            "digit features serve instead. To use Inception, go online once, or name its weight "
            "file in KANVAE_INCEPTION.",
            file=sys.stderr,
        )
        return load_features("digits", device)

    def extract(x: Tensor) -> Tensor:
        images = x.view(-1, 1, 28, 28).expand(-1, 3, -1, -1)  # the network wants three colours
        return network(images)[0].mean(dim=(2, 3))

    return Features(name, extract, device)


def _inception(block: int) -> torch.nn.Module:
    """pytorch-fid's Inception v3 up to a block; the module's text says whence its weights."""
    from pytorch_fid import inception

    named = os.environ.get("KANVAE_INCEPTION")
    if not named:
        return inception.InceptionV3([block])
    if not Path(named).is_file():
        raise ValueError(f"KANVAE_INCEPTION is {named!r}, and there is no such file.")

    def read(url: str, progress: bool) -> dict[str, Tensor]:
        return torch.load(named, map_location="cpu", weights_only=True)

    try:
        with mock.patch.object(inception, "load_state_dict_from_url", read):  # it takes no path
            return inception.InceptionV3([block])
    except Exception as error:
        raise ValueError(
            f"KANVAE_INCEPTION is {named!r}, which does not hold the weights of pytorch-fid's "
            f"Inception v3 ({str(error).splitlines()[0]})."
        ) from error


@torch.no_grad()
def statistics(features: Features, images: Iterable[Tensor]) -> Statistics:
    """The statistics of pytorch-fid over batches of images (B, 784) in [0, 1]."""
    values = [
        features.extract(batch.to(features.device)).double().cpu().numpy() for batch in images
    ]
    every = np.concatenate(values)
    return Statistics(every.mean(axis=0), np.cov(every, rowvar=False))


def reference_statistics(features: Features, pixels: Tensor, binarized: bool = False) -> Statistics:
    """The statistics of real images, uint8 (N, 784), grayscale or thresholded at one half."""
    return statistics(features, (_real(part, binarized) for part in pixels.split(1000)))


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """`|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`, as pytorch-fid computes it; 0 if equal."""
    from pytorch_fid import fid_score

    # pytorch-fid 0.3 passes an argument to scipy's square root that newer scipys no longer take.
    with mock.patch.object(fid_score, "linalg", _Linalg):
        return float(fid_score.calculate_frechet_distance(*first, *second))


class _Linalg:
    @staticmethod
    def sqrtm(matrix: np.ndarray, disp: bool = True):
        import scipy.linalg

        root = scipy.linalg.sqrtm(matrix)
        return root if disp else (root, 0.0)


def frechet_distances(
    model: VAE,
    features: Features,
    reference: Statistics,
    binarized: bool = False,
    samples: int = 20_000,
    seeds: int = 5,
) -> list[float]:
    """Distances of sets of prior samples from real images, one for each evaluation seed.

    The samples are the decoder's pixel probabilities; with `binarized`, these thresholded at one
    half.

    Args:
        reference: of real images, with the same features and the same `binarized`.
        samples: images in a set (20,000 in the paper).
        seeds: how many sets (5 in the paper).

    Raises:
        ValueError: fewer than 2 samples or 1 seed.
    """
    if samples < 2 or seeds < 1:
        raise ValueError(f"samples is {samples} and seeds is {seeds}: at least 2 and 1 are needed.")
    distances = []
    for seed in range(seeds):
        generator = random_stream(seed, PRIOR_STREAM)
        sizes = [len(part) for part in torch.empty(samples).split(1000)]
        images = (model.sample_prior(size, generator) for size in sizes)
        drawn = ((x > 0.5).float() if binarized else x for x in images)
        distances.append(frechet_distance(statistics(features, drawn), reference))
    return distances


def _real(pixels: Tensor, binarized: bool) -> Tensor:
    return data.binarize(pixels).float() if binarized else pixels / 255.0


def negative_log_likelihood(model: VAE, x: Tensor, samples: int, seed: int = 0) -> float:
    """The importance-weighted estimate of -log p(x), mean over images (N, D), in nats per image."""
    generator = random_stream(seed, NLL_STREAM)
    return -float(objective.importance_weighted_bound(model, x, samples, generator).double().mean())


@torch.no_grad()
def latent_means(model: VAE, x: Tensor) -> Tensor:
    """The means of q(z|x): pixels (N, D) in {0, 1} -> (N, L)."""
    return torch.cat([model.encode(part)[0] for part in x.split(1000)])


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """How many latents' means (N, L) have a variance above the threshold (Burda et al. 2015)."""
    return int((means.var(dim=0) > threshold).sum())


def neighbour_accuracy(
    known: Tensor, labels: Tensor, means: Tensor, truth: Tensor, k: int = 10
) -> float:
    """How often the `k` nearest known latent means vote for an image's digit.

    Args:
        known: (N, L) latent means of labelled images, `labels` (N,) theirs.
        means: (M, L) latent means to label, `truth` (M,) their digits.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(k).fit(known.numpy(), labels.numpy())
    return float(classifier.score(means.numpy(), truth.numpy()))


def silhouette(means: Tensor, labels: Tensor, images: int = 5000) -> float:
    """The mean silhouette of the digits among the first `images` latent means (N, L): -1 to 1."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(means[:images].numpy(), labels[:images].numpy()))


class Settings(NamedTuple):
    """How thoroughly `evaluate` looks."""

    features: str = "digits"  # one or several of FEATURES, with commas between them
    frechet_images: str = "grayscale"  # and "binarized": real images and samples, both thresholded
    frechet_samples: int = 20_000
    frechet_seeds: int = 5
    importance_samples: int = 100
    likelihood_images: int = 1000  # the first so many of the test set


DEFAULT_SETTINGS = Settings()


def evaluate(
    run: runs.Run, settings: Settings = DEFAULT_SETTINGS, device: str = "cpu"
) -> dict[str, Any]:
    """Every score of a run. The settings and the names of the features stand among them.

    The Fréchet distances are a list, one a seed, for each kind of feature and image, under names
    such as "digits grayscale".

    Raises:
        ValueError: settings that are not allowed, or a device that is not here.
    """
    kinds = settings.frechet_images.split(",")
    for kind in kinds:
        if kind not in ("grayscale", "binarized"):
            raise ValueError(f"frechet_images is {kind!r}: choose grayscale, binarized or both.")
    dataset, threshold = run.config["dataset"], run.config["threshold"]
    model = load_model(run, resolve_device(device))
    where = next(model.parameters()).device
    train, test = data.load(dataset, train=True), data.load(dataset, train=False)
    x = data.binarize(test.pixels.to(where), threshold)
    scores: dict[str, Any] = dict(settings._asdict())

    found = {f.name: f for f in (load_features(n, device) for n in settings.features.split(","))}
    scores["features"] = ",".join(found)
    scores["frechet"] = {}
    for (name, features), kind in itertools.product(found.items(), kinds):
        binarized = kind == "binarized"
        reference = _cached_reference(features, dataset, train.pixels, binarized)
        scores["frechet"][f"{name} {kind}"] = frechet_distances(
            model, features, reference, binarized, settings.frechet_samples, settings.frechet_seeds
        )
    count = data.REGIMES[run.config["regime"]]
    seen = data.binarize(train.pixels[:count].to(where), threshold)
    train_reconstruction, train_kl = mean_terms(model, seen, seed=0)
    reconstruction, kl = mean_terms(model, x, seed=0)
    part = x[: settings.likelihood_images]
    means = latent_means(model, x).cpu()
    known = latent_means(model, seen).cpu()
    return scores | {
        "parameters": count_parameters(model),
        "train_reconstruction": train_reconstruction,
        "train_kl": train_kl,
        "train_elbo": -(train_reconstruction + train_kl),
        "test_reconstruction": reconstruction,
        "test_kl": kl,
        "test_elbo": -(reconstruction + kl),
        "test_nll": negative_log_likelihood(model, part, settings.importance_samples),
        "active_units": active_units(means),
        "neighbour_accuracy": neighbour_accuracy(known, train.labels[:count], means, test.labels),
        "silhouette": silhouette(means, test.labels),
    }


_references: dict[
    tuple[str, str, bool], Statistics
] = {}  # within a process; real images do not change


def _cached_reference(
    features: Features, dataset: str, pixels: Tensor, binarized: bool
) -> Statistics:
    key = (features.name, dataset, binarized)
    if key not in _references:
        _references[key] = reference_statistics(features, pixels, binarized)
    return _references[key]


def main(arguments: list[str] | None = None) -> None:
    """Evaluate run folders from the command line and record the scores in them."""
    parser = argparse.ArgumentParser(prog="python -m kanvae evaluate", description="Score runs.")
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="finished run folders")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... (auto)")
    for name, default in Settings()._asdict().items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"({default})")
    options = vars(parser.parse_args(arguments))
    device, run_dirs = options.pop("device"), options.pop("run_dirs")
    try:
        for run_dir in tqdm(run_dirs, desc="evaluating", unit="run"):
            run = runs.read(run_dir)
            runs.record(run, evaluate(run, Settings(**options), device))
    except (ValueError, runs.RunError, data.DataError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
