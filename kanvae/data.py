"""Image data sets as tensors in memory, checked against their checksums.

The files are those of `torchvision.datasets`. They are looked for in `$KANVAE_DATA`, else in
`data/` of the checkout, else in `~/.cache/kanvae`, and downloaded there by torchvision if they are
missing.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from torch import Tensor

# MD5 sums of the uncompressed files: an archive may be compressed anew, its content may not change.
CHECKSUMS = {
    "MNIST": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
REGIMES = {"figure6": 10_000, "full": 60_000}  # how many of the training images, from the first on


class Images(NamedTuple):
    """A data set, or a part of one."""

    pixels: Tensor  # uint8 (N, 784), 0 black to 255 white
    labels: Tensor  # int64 (N,)


class DataError(RuntimeError):
    """The files of a data set are damaged, or missing and out of reach."""


def root() -> Path:
    """The folder that holds the data sets."""
    if named := os.environ.get("KANVAE_DATA"):
        return Path(named).expanduser()
    checkout = Path(__file__).resolve().parents[1] / "data"
    if (checkout / "MNIST" / "raw").is_dir():
        return checkout
    return Path("~/.cache/kanvae").expanduser()


def load(name: str = "MNIST", train: bool = True, regime: str = "full") -> Images:
    """The training images of a regime, or the whole test set.

    Args:
        name: "MNIST" or "FashionMNIST".
        train: whether to read the training set; the test set has no regimes.
        regime: "figure6" (the first 10,000 images, as in the paper's Figure 6) or "full" (60,000).

    Returns:
        `Images`, on the CPU.

    Raises:
        ValueError: an unknown data set or regime.
        DataError: a file is damaged, or missing and cannot be downloaded or written.
    """
    check(name, regime)
    folder = root()
    for file, checksum in CHECKSUMS[name].items():
        _provide(folder, name, file, checksum)
    import torchvision  # only here: everything else works on tensors

    files = getattr(torchvision.datasets, name)(folder, train=train)
    pixels = files.data.reshape(len(files.data), -1)
    limit = REGIMES[regime] if train else len(pixels)
    return Images(pixels[:limit].clone(), files.targets[:limit].clone())


def check(name: str, regime: str) -> None:
    """Raise a ValueError if there is no such data set or regime."""
    if name not in CHECKSUMS:
        raise ValueError(f"unknown data set {name!r}: choose one of {list(CHECKSUMS)}.")
    if regime not in REGIMES:
        raise ValueError(f"unknown regime {regime!r}: choose one of {list(REGIMES)}.")


def binarize(
    pixels: Tensor, threshold: float = 0.5, generator: torch.Generator | None = None
) -> Tensor:
    """Pixels that are on or off: uint8 (..., D) -> bool (..., D).

    Without a generator a pixel is on if its brightness (0 to 1) is above the threshold. With one,
    it is on with its brightness as probability, drawn anew at each call (stochastic binarisation),
    and the threshold plays no part. A bool says by its type that there are two values, which lets a
    KAN layer take a shorter way (`KANLinear`).
    """
    if generator is None:
        return pixels > threshold * 255
    noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
    return noise * 255 < pixels


def _provide(folder: Path, name: str, file: str, checksum: str) -> None:
    """See to it that the uncompressed file is there and whole."""
    raw = folder / name / "raw"
    target, archive = raw / file, raw / f"{file}.gz"
    if target.exists() and _md5(target) == checksum:
        return
    if not archive.exists() and not target.exists():
        _download(folder, name)
        if target.exists() and _md5(target) == checksum:
            return
    mend = (
        "Delete it and restore it from version control (git checkout), or delete it and load again "
        "to download it; KANVAE_DATA=folder reads another copy."
    )
    if not archive.exists():
        raise DataError(f"{target} is damaged (its MD5 is not {checksum}). {mend}")
    try:
        content = gzip.decompress(archive.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{archive} is damaged ({error}). {mend}") from error
    if hashlib.md5(content).hexdigest() != checksum:
        raise DataError(f"{archive} is damaged (its content's MD5 is not {checksum}). {mend}")
    part = raw / f"{file}.{os.getpid()}"  # so that no other process sees half a file
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{archive} cannot be unpacked beside itself ({error}). Copy {folder} to a place that "
            "can be written and name it in KANVAE_DATA."
        ) from error


def _download(folder: Path, name: str) -> None:
    import torchvision

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):  # the points of a sweep begin at the same moment
            getattr(torchvision.datasets, name)(folder, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{name} is not in {folder} and cannot be downloaded ({str(error).splitlines()[0]}). "
            f"Go online, or put its four .gz files into {folder / name / 'raw'}, or name a folder "
            "that has them in KANVAE_DATA."
        ) from error


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
