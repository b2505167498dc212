"""The files of the image sets that have a name: where they lie, their checksums, their format.

They are those of `torchvision.datasets`. The bytes that are checked are the bytes that are read:
nothing else in the folder counts, and nothing is unpacked into it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from kanvae import files
from kanvae.extras import extra

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"  # how the names of files end
MNIST_FILES = {
    "train": (f"train-{IMAGES}", f"train-{LABELS}"),
    "test": (f"t10k-{IMAGES}", f"t10k-{LABELS}"),
}


class Source(NamedTuple):
    """Where the files of a set come from, and how they are read."""

    files: dict[str, tuple[str, str]]  # those of its images and of its labels, by their part
    kind: str = ""  # torchvision's class, where it is not called as the set is
    split: str = ""  # of EMNIST
    transposed: bool = False  # EMNIST keeps the columns of an image together
    first_label: int = 0
    archive: str = ""  # of all files, beside their single ones


def _emnist(split: str, first_label: int = 0) -> Source:
    files = {
        part: (
            f"emnist-{split}-{part}-images-idx3-ubyte",
            f"emnist-{split}-{part}-labels-idx1-ubyte",
        )
        for part in ("train", "test")
    }
    return Source(files, "EMNIST", split, True, first_label, "gzip.zip")


SOURCES = {
    "MNIST": Source(MNIST_FILES),
    "FashionMNIST": Source(MNIST_FILES),
    "KMNIST": Source(MNIST_FILES),
    "QMNIST": Source(
        {
            p: (f"qmnist-{p}-images-idx3-ubyte", f"qmnist-{p}-labels-idx2-int")
            for p in ("train", "test")
        }
    ),
    "EMNIST-letters": _emnist("letters", 1),
    "EMNIST-digits": _emnist("digits"),
}
# MD5 sums. Of an uncompressed file where they are known, since an archive may be compressed anew
# and its content may not change; else of the archive that torchvision downloads.
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
    "KMNIST": {
        "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    },
    "QMNIST": {
        "qmnist-train-images-idx3-ubyte.gz": "ed72d4157d28c017586c42bc6afe6370",
        "qmnist-train-labels-idx2-int.gz": "0058f8dd561b90ffdd0f734c6a30e5e4",
        "qmnist-test-images-idx3-ubyte.gz": "1394631089c404de565df7b7aeaf9412",
        "qmnist-test-labels-idx2-int.gz": "5b5b05890a5e13444e108efe57b788aa",
    },
    "EMNIST-letters": {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"},
    "EMNIST-digits": {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"},
}


class DataError(RuntimeError):
    """The files of a data set are damaged, or missing and out of reach."""


def root() -> Path:
    """The folder that holds the data sets.

    Raises:
        DataError: `$KANVAE_DATA` begins with ~, and nobody knows where this user's home is.
    """
    if named := files.named_folder("KANVAE_DATA", DataError):
        return named
    checkout = Path(__file__).resolve().parents[2] / "data"
    if (checkout / "MNIST" / "raw").is_dir():
        return checkout
    try:
        return Path("~/.cache/kanvae").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "kanvae"


def read(name: str, part: str) -> tuple[Tensor, Tensor]:
    """The training or test images of a named set, uint8 (N, D), and their labels (N,).

    Raises:
        DataError: the files are missing and out of reach, or damaged.
    """
    source = SOURCES[name]
    raw = root() / (source.kind or name) / "raw"
    images, labels = (_parse(_content(name, raw, file), raw / file) for file in source.files[part])
    if labels.ndim == 2:  # QMNIST's first column is the digit, the others say who wrote it
        labels = labels[:, 0]
    if images.ndim != 3 or len(images) != len(labels):
        raise DataError(f"{raw}: {source.files[part]} are not images and their labels.")
    if source.transposed:
        images = images.transpose(0, 2, 1)
    pixels = torch.from_numpy(images.reshape(len(images), -1).copy())
    return pixels, torch.from_numpy(labels.astype(np.int64)) - source.first_label


def _parse(content: bytes, path: Path) -> np.ndarray:
    """The array in an IDX file (LeCun's format: type, dimensions, numbers, all big-endian)."""
    kinds = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    try:
        kind, dimensions = kinds[content[2]], content[3]
        shape = np.frombuffer(content, ">i4", dimensions, 4)
        return np.frombuffer(content, kind, offset=4 + 4 * dimensions).reshape(shape)
    except (IndexError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not an IDX file ({error}).") from error


def _content(name: str, raw: Path, file: str) -> bytes:
    """The bytes of an uncompressed file, from it or from an archive of it, whichever is whole."""
    sums, archive = CHECKSUMS[name], SOURCES[name].archive
    plain, packed = raw / file, raw / f"{file}.gz"
    kept = raw / archive if archive else packed
    if not any(map(os.path.lexists, (plain, packed, kept))):
        _download(root(), name)
    if file not in sums and os.path.lexists(plain) and not os.path.lexists(kept):
        raise DataError(  # and while the former is there, torchvision does not download the latter
            f"{plain} cannot be checked without the archive that it came from, {kept.name}: put "
            "that beside it, or delete it and load again to download both."
        )
    if file in sums and os.path.lexists(plain):
        with contextlib.suppress(OSError):
            if _md5(content := plain.read_bytes()) == sums[file]:
                return content
        if not packed.exists():
            with reading(plain):
                plain.read_bytes()
            raise DataError(f"{plain} is damaged (its MD5 is not {sums[file]}). {_mend(plain)}")
    if f"{file}.gz" in sums or file in sums:
        with reading(packed):
            content = packed.read_bytes()
            whole = _md5(content) == sums.get(f"{file}.gz")
            content = gzip.decompress(content)
        if not whole and _md5(content) != sums.get(file):
            raise DataError(
                f"{packed} is damaged (the MD5 of its content or of itself is not "
                f"{sums.get(file) or sums[f'{file}.gz']}). {_mend(packed)}"
            )
        return content
    with reading(kept), kept.open("rb") as opened:
        if hashlib.file_digest(opened, "md5").hexdigest() != sums[archive]:
            raise DataError(f"{kept} is damaged (its MD5 is not {sums[archive]}). {_mend(kept)}")
        with zipfile.ZipFile(opened) as members:
            return gzip.decompress(members.read(f"gzip/{file}.gz"))


def _mend(path: Path) -> str:
    return (
        "Delete it and restore it from version control (git checkout), or load again to download "
        "it; KANVAE_DATA=folder reads another copy."
    )


@contextlib.contextmanager
def reading(path: Path, mend: str | None = None) -> Iterator[None]:
    """Say in words what is wrong with a file that is being read, by a DataError, and the cure."""
    mend = mend or _mend(path)
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing. {mend}") from error
    except (
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
    ) as error:
        raise DataError(f"{path} is damaged ({error}). {mend}") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}): make it readable. {mend}") from error


def _download(folder: Path, name: str) -> None:
    with extra("evaluation"):
        import torchvision  # only here: everything else works on tensors

    source = SOURCES[name]
    settings: dict[str, Any] = {"split": source.split} if source.split else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):  # the points of a sweep begin at the same moment
            for train in (True, False):
                kind = getattr(torchvision.datasets, source.kind or name)
                kind(folder, train=train, download=True, **settings)
    except (OSError, RuntimeError) as error:
        place = folder / (source.kind or name) / "raw"
        for made in (place, place.parent):  # torchvision's, before it finds that it is offline
            with contextlib.suppress(OSError):  # not empty, or not there
                made.rmdir()
        raise DataError(
            f"{name} is not in {folder} and cannot be downloaded ({str(error).splitlines()[0]}). "
            f"Go online, or put its archives into {place}, or name a folder that has them in "
            "KANVAE_DATA."
        ) from error


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
