"""Image sets as tensors in memory, split by name, binarised, checked against their checksums.

The files are those of `torchvision.datasets`. They are looked for in `$KANVAE_DATA`, else in
`data/` of the checkout, else in `~/.cache/kanvae`, and downloaded there by torchvision if they are
missing. The bytes that are checked are the bytes that are read: nothing else in the folder counts,
and nothing is unpacked into it. Of MNIST and FashionMNIST the sums are those of the uncompressed
files, packed or not; of KMNIST, QMNIST and EMNIST those of the archives as they are downloaded.

A set of your own is a `.npz` file, named by its path, with these arrays:

    pixels       (N, D) or (N, height, width): bool, whole numbers, or any real numbers
    labels       (N,) whole numbers, may be missing
    test_pixels, test_labels    likewise; where they are missing, the last sixth of the images are
                 the test set, and the training images end before it
    levels       the whole number that means white, 255 if it is missing
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kanvae.data import sources
from kanvae.data.sources import CHECKSUMS, SOURCES, DataError, root

__all__ = [
    "BINARIZATIONS", "CHECKSUMS", "REGIMES", "SOURCES", "SPLITS", "DataError", "Images", "binarize",
    "check", "fingerprint", "load", "prepare", "root",
]  # fmt: skip

SPLITS = ("train", "validation", "test")
REGIMES = {"paper": 10_000, "full": 50_000}  # their training images, of MNIST
BINARIZATIONS = ("threshold", "stochastic", "none")


class Images(NamedTuple):
    """A data set, or a part of one."""

    pixels: Tensor  # (N, D): uint8, 0 black to 255 white; or as one's own file has them
    labels: Tensor | None  # int64 (N,), from 0 on; None where a file of one's own has none


def load(name: str = "MNIST", split: str = "train", regime: str = "full") -> Images:
    """One split of an image set.

    The last sixth of the training file (of MNIST: images 50,000 to 59,999) is for validation in
    every regime. The training images are those before it: all of them ("full"), or the first 1,000
    of each class in the order of the file ("paper": what the paper's Figures 6 and 8 show).

    Args:
        name: one of `SOURCES`, or the path of a `.npz` file.
        split: "train", "validation" or "test".
        regime: "paper" or "full"; only the training images have regimes.

    Returns:
        `Images`, on the CPU.

    Raises:
        ValueError: an unknown set, split or regime.
        DataError: a file is damaged, unreadable, or missing and cannot be downloaded.
    """
    check(name, regime)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {list(SPLITS)}.")
    part = "test" if split == "test" else "train"
    pixels, labels = _own(Path(name), part) if _is_own(name) else sources.read(name, part)
    if split == "test":
        return Images(pixels, labels)
    first = len(pixels) - len(pixels) // 6  # of the images for validation
    if split == "validation":
        return Images(pixels[first:].clone(), None if labels is None else labels[first:].clone())
    rows = _rows(first, labels, regime, name)
    return Images(pixels[rows], None if labels is None else labels[rows])


def _rows(first: int, labels: Tensor | None, regime: str, name: str) -> Tensor:
    """Which of the images before the validation set a regime trains on."""
    if regime == "full":
        return torch.arange(first)
    if labels is None:
        raise ValueError(
            f"the regime 'paper' takes 1,000 images of each class, and {name} has no labels: "
            "choose regime 'full'."
        )
    of_class = [(labels[:first] == label).nonzero()[:1000, 0] for label in labels.unique()]
    return torch.cat(of_class).sort().values


def check(name: str, regime: str = "full") -> None:
    """Raise a ValueError if there is no such set or regime."""
    if name not in SOURCES and not _is_own(name):
        raise ValueError(
            f"unknown data set {name!r}: choose one of {list(SOURCES)}, or give the path of a .npz "
            "file."
        )
    if regime not in REGIMES:
        raise ValueError(f"unknown regime {regime!r}: choose one of {list(REGIMES)}.")


def fingerprint(name: str) -> str:
    """The MD5 sum of a set of one's own, "" for the named ones, which never change.

    Raises:
        DataError: the file cannot be read.
    """
    if not _is_own(name):
        return ""
    mend = "Put it back, or give the path of another .npz file with `pixels`."
    with sources.reading(Path(name), mend), Path(name).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def binarize(
    pixels: Tensor, threshold: float = 0.5, generator: torch.Generator | None = None
) -> Tensor:
    """Pixels that are on or off: (..., D), uint8 to 255 or float from 0 to 1 -> bool (..., D).

    Without a generator a pixel is on if its brightness (0 to 1) is above the threshold. With one,
    it is on with its brightness as probability, drawn anew at each call (stochastic binarisation),
    and the threshold plays no part. A bool says by its type that there are two values, which lets a
    KAN layer take a shorter way (`KANLinear`). What is bool already stays as it is.

    Raises:
        ValueError: pixels of another type.
    """
    if pixels.dtype == torch.bool:
        return pixels
    if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
        raise ValueError(f"pixels are of {pixels.dtype}: give uint8, or brightness from 0 to 1.")
    white = 1 if pixels.is_floating_point() else 255
    if generator is None:
        return pixels > threshold * white
    noise = torch.rand(pixels.shape, generator=generator, device=generator.device)
    return noise.to(pixels.device) * white < pixels


def prepare(
    pixels: Tensor, binarization: str = "threshold", threshold: float = 0.5, seed: int = 0
) -> Tensor:
    """Images (..., D) as a model sees them: bool, or with binarization "none" brightness, float.

    "stochastic" draws every pixel once, and the same at every call with the same seed, on any
    device: so that a validation or test set stays one set.

    Raises:
        ValueError: an unknown binarisation, or floats that are no brightness to binarise.
    """
    if binarization not in BINARIZATIONS:
        raise ValueError(f"binarization is {binarization!r}: choose one of {list(BINARIZATIONS)}.")
    if binarization != "none" and pixels.is_floating_point() and len(pixels):
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"the images go from {low:g} to {high:g}: scale them to brightness from 0 to 1, or "
                "take the binarization 'none' and a likelihood for such numbers."
            )
    if binarization == "none":
        return pixels / 255.0 if pixels.dtype == torch.uint8 else pixels.float()
    generator = torch.Generator().manual_seed(seed) if binarization == "stochastic" else None
    return binarize(pixels, threshold, generator)


def _is_own(name: str) -> bool:
    return str(name).endswith(".npz")


def _own(path: Path, part: str) -> tuple[Tensor, Tensor | None]:
    """The training or test images of a .npz file, and their labels."""
    if not path.exists():
        raise DataError(f"there is no file {path}: give the path of a .npz file with `pixels`.")
    again = "Save it again: numpy.savez(path, pixels=..., labels=...)."
    with sources.reading(path, again), path.open("rb") as opened:
        file = np.load(opened, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it is a .npy file")
        arrays = {key: file[key] for key in file.files}
    prefix = "test_" if part == "test" and "test_pixels" in arrays else ""
    if f"{prefix}pixels" not in arrays:
        raise DataError(f"{path} has no array `pixels`, only {sorted(arrays)}.")
    pixels = np.asarray(arrays[f"{prefix}pixels"])
    labels = arrays.get(f"{prefix}labels")
    if pixels.ndim < 2 or pixels.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: `pixels` is {pixels.dtype} of shape {pixels.shape}: it must be (N, D) or (N, "
            "height, width), bool or numbers."
        )
    if 0 in pixels.shape:
        raise DataError(f"{path}: `pixels` has the shape {pixels.shape}: it holds no pixel.")
    with np.errstate(over="ignore"):
        if pixels.dtype.kind == "f" and not np.isfinite(pixels.astype(np.float32)).all():
            raise DataError(f"{path}: `pixels` holds values that are not finite in float32.")
    if labels is not None and (
        labels.shape != pixels.shape[:1] or labels.dtype.kind not in "biu" or (labels < 0).any()
    ):
        raise DataError(
            f"{path}: `labels` is {labels.dtype} of shape {labels.shape}: it must be one whole "
            f"number, 0 or more, for each of the {len(pixels)} images."
        )
    widths = {key: math.prod(a.shape[1:]) for key, a in arrays.items() if key.endswith("pixels")}
    if len(set(widths.values())) > 1:
        raise DataError(f"{path}: images have {widths} pixels: they must have as many.")
    top = np.asarray(arrays.get("levels", 255))
    if top.size != 1 or top.dtype.kind not in "iu" or top.item() < 1:
        raise DataError(f"{path}: `levels` is {top.tolist()}: it must be a whole number above 0.")
    levels = int(top.item())
    if pixels.dtype.kind in "iu" and not (pixels.min() >= 0 and pixels.max() <= levels):
        raise DataError(
            f"{path}: `pixels` goes from {pixels.min()} to {pixels.max()}: whole numbers lie "
            f"between 0 and `levels`, here {levels}. Save `levels` too, or save floats."
        )
    if "test_pixels" not in arrays:
        first = len(pixels) - len(pixels) // 6
        rows = slice(first, None) if part == "test" else slice(first)
        pixels, labels = pixels[rows], None if labels is None else labels[rows]
    if len(pixels) == 0 or (part == "train" and len(pixels) < 6):
        raise DataError(f"{path} holds too few images for training, validation and test.")
    pixels = pixels.reshape(len(pixels), -1)
    if pixels.dtype.kind in "iu":
        pixels = pixels.astype(np.uint8) if levels == 255 else pixels / levels
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
    found = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return torch.from_numpy(np.ascontiguousarray(pixels)), found
