"""Scores of a trained model: of its samples, its likelihood and its latent space.

`evaluate` scores a run, or anybody's model on anybody's images. Samples are judged by the Fréchet
distance over a choice of `kanvae.evaluation.features`. Real images are those of the test set,
which is scored once a training is over.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kanvae import data, digits, likelihoods, objective, runs
from kanvae.evaluation.features import (
    FEATURES,
    INCEPTION_BLOCKS,
    JUDGES,
    Features,
    FeaturesError,
    Statistics,
    features_for,
    features_here,
    frechet_distance,
    load_features,
    reference_statistics,
    reference_values,
    summary,
    values,
)
from kanvae.evaluation.latents import (
    SILHOUETTE_IMAGES,
    active_units,
    latent_means,
    neighbour_accuracy,
    outside_grid,
    plane,
    silhouette,
)
from kanvae.evaluation.samples import (
    frechet_distances,
    kernel_distance,
    precision_recall,
    sample_features,
    sample_prior,
)
from kanvae.evaluation.settings import Settings
from kanvae.layers.function_layer import check_text
from kanvae.likelihoods import Likelihood
from kanvae.models import count_parameters
from kanvae.training import load_model, mean_terms, random_stream, resolve_device

__all__ = [
    "FEATURES", "INCEPTION_BLOCKS", "Features", "FeaturesError", "Settings", "Statistics",
    "active_units", "evaluate", "evaluate_model", "evaluate_run", "features_for", "features_here",
    "frechet_distance", "frechet_distances", "kernel_distance", "latent_means", "load_features",
    "negative_log_likelihood", "neighbour_accuracy", "plane", "precision_recall",
    "reference_statistics", "reference_values", "sample_features", "sample_prior", "silhouette",
    "summary", "values",
]  # fmt: skip

NLL_STREAM = 2**32 - 3  # of random numbers


def negative_log_likelihood(
    model: nn.Module,
    x: Tensor,
    samples: int,
    seed: int = 0,
    likelihood: Likelihood | str | None = None,
) -> float:
    """The importance-weighted estimate of -log p(x), mean over images (N, D), in nats per image."""
    generator = random_stream(seed, NLL_STREAM)
    bound = objective.importance_weighted_bound(model, x, samples, generator, likelihood=likelihood)
    return -float(bound.cpu().double().mean())


DEFAULT_SETTINGS = Settings()


def evaluate(subject: runs.Run | nn.Module, *arguments: Any, **settings: Any) -> dict[str, Any]:
    """Every score of a run (`evaluate_run`) or of anybody's model on images (`evaluate_model`)."""
    if isinstance(subject, runs.Run):
        return evaluate_run(subject, *arguments, **settings)
    return evaluate_model(subject, *arguments, **settings)


def evaluate_model(
    model: nn.Module,
    images: Tensor,
    labels: Tensor | None = None,
    *,
    features: str | Features = "none",
    known: tuple[Tensor, Tensor] | None = None,
    grayscale: Tensor | None = None,
    likelihood: Likelihood | str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Every score of anybody's model on test images.

    The settings and the names of the features stand among the scores. The Fréchet distances are a
    list, one a seed, for each kind of feature and image, under names such as "digits grayscale".

    Args:
        model: a module on its device, with `encode` and `decode` (`kanvae.objective`).
        images: (N, ...) as the likelihood can judge them.
        labels: (N,) of them; without any, the latent space is scored by its active units alone, and
            without two classes or more it has no silhouette.
        features: names with commas between them, "none", or a map of one's own.
        known: other images, such as those it was trained on, and their labels.
        grayscale: (N, ...), the images as they were before they became bits, from 0 to 1: what
            "grayscale" samples are compared with. Without them bits are compared as bits.
        likelihood: by default the model's own, else Bernoulli.
        **settings: any other field of `Settings` but `weights`.

    Raises:
        FeaturesError: features that cannot judge these images.
        ValueError: settings that are not allowed, images that the likelihood cannot judge, labels
            that do not fit, or weights that are not finite.
    """
    if "weights" in settings:
        raise ValueError("weights is of runs: load those that you mean into the model.")
    if known is not None and labels is None:
        raise ValueError("known is given, and labels are not: it is there to judge them.")
    chosen = Settings(**settings)
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise ValueError(f"{name} of the model is not finite: its training diverged.")
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and bool(buffer.isnan().any()):  # masks may be infinite
            raise ValueError(f"{name} of the model is not a number: its training diverged.")
    judge = likelihoods.of(model, likelihood)
    where = next(model.parameters(), torch.empty(0)).device
    judge.check(images)
    if known is not None and not (
        isinstance(known, tuple | list) and [isinstance(x, Tensor) for x in known] == [True, True]
    ):
        raise ValueError("known must be a pair of tensors: images, and a label for each.")
    for x, y in ((images, labels), known or (images, None)):
        if y is not None and (
            not isinstance(y, Tensor) or y.shape != (len(x),) or y.is_floating_point()
        ):
            raise ValueError(
                f"labels must be a tensor of one whole number for each of {len(x)} images."
            )
    model.eval()
    x = images.to(where)
    maps = [features] if isinstance(features, Features) else _maps(features, str(where))
    if any(f.name in FEATURES for f in maps) and images.flatten(1).shape[1] != 784:
        raise FeaturesError(
            f"the features {[f.name for f in maps]} judge 28 x 28 pixels, and these images have "
            f"{images.flatten(1).shape[1]}: choose 'none', or give `Features` of your own."
        )
    if grayscale is not None and grayscale.shape != images.shape:
        raise ValueError(
            f"grayscale has the shape {tuple(grayscale.shape)}, and the images, which it shows, "
            f"{tuple(images.shape)}."
        )
    shown = images if grayscale is None else grayscale
    low, high = float(shown.min()), float(shown.max())
    if maps and (low < 0 or high > 1):
        raise FeaturesError(
            f"features compare brightness from 0 to 1, and these images go from {low:g} to "
            f"{high:g}: choose 'none', or scale them."
        )
    if maps and grayscale is None and bool(((images == 0) | (images == 1)).all()):
        if "grayscale" in settings.get("frechet_images", ""):
            raise FeaturesError(
                "frechet_images asks for 'grayscale', and these images are bits: choose "
                "'binarized', or give what they were as `grayscale`."
            )
        chosen = replace(chosen, frechet_images="binarized")
    real = {"binarized": images, "grayscale": shown}
    references = {
        (f.name, kind): reference_values(f, real[kind].flatten(1).float(), kind == "binarized")
        for f, kind in itertools.product(maps, chosen.kinds)
    }
    scores = _scores(model, x, labels, known, maps, references, judge, chosen)
    del scores["weights"]  # they are the model's
    return scores


def evaluate_run(
    run: runs.Run, settings: Settings = DEFAULT_SETTINGS, device: str = "cpu", **others: Any
) -> dict[str, Any]:
    """Every score of a run. The settings and the names of the features stand among them.

    Settings can also be named one by one, as `evaluate_model` takes them.

    The images and their binarisation are those of its configuration: its test set is scored, and is
    the reference of the Fréchet distances, which are a list, one a seed, for each kind of feature
    and image, under names such as "digits grayscale".

    Raises:
        ValueError: settings that are not allowed, a device that is not here, or features that
            cannot judge these images.
        data.DataError: images are missing or damaged, or are not those that the run was trained on.
        runs.RunError: a weight is not finite, or the run has no best epoch, or is of a regime of an
            earlier version.
    """
    settings = replace(settings, **others)
    c = run.config
    dataset, binarization, threshold = c["dataset"], c["binarization"], c["threshold"]
    names = _names(settings.features, dataset)
    where = resolve_device(device)
    if c["regime"] not in data.REGIMES:
        raise runs.RunError(
            f"{run.path} was trained in the regime {c['regime']!r} of version 0.1, which is gone: "
            "read it with `load_model`, and give that to `evaluation.evaluate` with images."
        )
    if c.get("dataset_md5", "") not in ("", data.fingerprint(dataset)):
        raise data.DataError(
            f"{dataset} is not the file that {run.path} was trained on, whose MD5 sum is "
            f"{c['dataset_md5']}: bring that back, or train on this one."
        )
    model = load_model(run, where, best=settings.weights == "best")
    maps = _maps(names, where)
    train, test = data.load(dataset, "train", c["regime"]), data.load(dataset, "test")
    x, seen = (
        data.prepare(part.pixels, binarization, threshold).to(where) for part in (test, train)
    )
    key = (dataset, c.get("dataset_md5"), binarization, threshold)
    references = {
        (f.name, kind): _cached_reference(key, f, kind, test.pixels)
        for f, kind in itertools.product(maps, settings.kinds)
    }
    known = None if train.labels is None else (seen, train.labels)
    judge = likelihoods.of(model)
    how = {"binarization": binarization, "threshold": threshold}
    scores = _scores(model, x, test.labels, known, maps, references, judge, settings, **how)
    reconstruction, kl = mean_terms(model, seen, seed=0)
    return scores | {
        "train_reconstruction": reconstruction,
        "train_kl": kl,
        "train_elbo": -(reconstruction + kl),
    }


def _scores(
    model: Any,
    x: Tensor,
    labels: Tensor | None,
    known: tuple[Tensor, Tensor] | None,
    maps: list[Features],
    references: dict[tuple[str, str], np.ndarray],
    likelihood: Likelihood,
    settings: Settings,
    **how: Any,
) -> dict[str, Any]:
    """All scores of a model on test images in the form that it takes."""
    part = x[: settings.likelihood_images]
    loss = functools.partial(objective.terms, likelihood=likelihood)
    reconstruction, kl = mean_terms(model, x, seed=0, loss=loss)
    means = latent_means(model, x).cpu()
    scores = asdict(settings) | {
        "features": ",".join(f.name for f in maps) or "none",
        "likelihood": str(likelihood),
        "parameters": count_parameters(model),
        "test_reconstruction": reconstruction,
        "test_kl": kl,
        "test_elbo": -(reconstruction + kl),
        "test_nll": negative_log_likelihood(
            model, part, settings.importance_samples, likelihood=likelihood
        ),
        "active_units": active_units(means),
        "outside_grid": outside_grid(model, part[:1000]),
        "frechet": {},
    }
    how |= {"latent_dim": means.shape[1], "likelihood": likelihood}
    counts = (settings.frechet_samples, settings.frechet_seeds)
    for features, kind in itertools.product(maps, settings.kinds):
        name, real = f"{features.name} {kind}", references[features.name, kind]
        subject = (model, features)
        scores["frechet"][name] = frechet_distances(
            *subject, summary(real), kind == "binarized", *counts, **how
        )
        if count := settings.fidelity_samples:
            drawn = sample_features(*subject, kind == "binarized", count, **how)
            scores.setdefault("kernel", {})[name] = kernel_distance(real, drawn)
            scores.setdefault("fidelity", {})[name] = precision_recall(real, drawn)
            if features.classify is not None:
                logits = features.classify(torch.from_numpy(drawn).float().to(features.device))
                scores.setdefault("recognition", {})[name] = digits.recognition(logits)
    if labels is not None:
        first = labels[:SILHOUETTE_IMAGES]
        if 1 < len(first.unique()) < len(first):  # else there is nothing to tell apart
            scores["silhouette"] = silhouette(means, labels)
            if count := settings.plane_images:
                scores["plane_silhouette"] = silhouette(plane(means[:count]), labels[:count])
        if known is not None:
            seen = latent_means(model, known[0].to(x.device)).cpu()
            scores["neighbour_accuracy"] = neighbour_accuracy(seen, known[1], means, labels)
    return scores


def _names(asked: str, dataset: str) -> str:
    """The names of the features for a data set.

    Raises:
        FeaturesError: some of those asked for cannot judge its images.
    """
    able = features_for(dataset)
    if asked == "auto":
        return JUDGES.get(dataset, "none")
    for name in asked.split(","):
        if name in FEATURES and name not in able:
            raise FeaturesError(
                f"{name!r} features cannot judge the images of {dataset}: choose from "
                f"{[*able, 'none']}."
            )
    return asked


def _maps(names: str, device: str) -> list[Features]:
    check_text("features", names)
    chosen = [name for name in dict.fromkeys(names.split(",")) if name not in ("none", "")]
    return [load_features(name, device) for name in chosen]


_references: dict[tuple, np.ndarray] = {}  # within a process; real images do not change


def _cached_reference(key: tuple, features: Features, kind: str, pixels: Tensor) -> np.ndarray:
    """The features of the test set of a run, binarised as the run's images are."""
    _, _, binarization, threshold = key
    how = ("none" if kind == "grayscale" else "threshold", threshold)
    if kind == "binarized" and binarization == "stochastic":
        how = ("stochastic", threshold)
    full = (features.name, *key[:2], "test", *how)
    if full not in _references:
        images = data.prepare(pixels, *how)
        _references[full] = values(features, (part.float() for part in images.split(1000)))
    return _references[full]
