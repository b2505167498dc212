"""Sets that are made once by this file, and kept in a folder of `runs/sets` of their own.

Two come with packages and have values that are not bits; they are `.npz` files for `kanvae.data`:

digits    1,797 grey digits of 8 x 8 pixels, 17 levels (scikit-learn)
diamonds  53,917 diamonds, seven continuous columns (plotnine)

Superpixels are graphs of digits (`kanvae.studies.elsewhere`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from kanvae import files, runs
from kanvae.extras import extra
from kanvae.training.configuration import without_words

# Columns of the diamonds and the step to which each is rounded there.
STEPS = {"carat": 0.01, "depth": 0.1, "table": 1, "price": 1, "x": 0.01, "y": 0.01, "z": 0.01}
LOGARITHMS = ("carat", "price")  # of columns that go over several powers of ten
LONGEST = 20.0  # millimetres; the three diamonds beyond it, and those of length 0, are misprints
SIDE = 28  # pixels, of an image
SUPERPIXELS = 25  # S, of an image
GREY = 4.0  # how many pixels of distance black is from white


def path(name: str) -> str:
    """The file of a set, written where it is not there yet.

    Raises:
        KeyError: there is no such set.
        MissingExtra: its package is not installed.
    """
    return stored(name, {"digits": digits, "diamonds": diamonds}[name])


def stored(name: str, make: Callable[[], dict[str, Any]]) -> str:
    """The `.npz` file of that name, written where it is not there yet.

    Args:
        make: gives its arrays by name.
    """
    digest = hashlib.sha256(without_words(Path(__file__)).encode()).hexdigest()[:8]
    target = runs.root() / "sets" / digest / f"{name}.npz"
    if not target.exists():
        buffer = io.BytesIO()
        np.savez(buffer, **make())
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(target, buffer.getvalue())
    return str(target)


def digits() -> dict[str, np.ndarray]:
    """The grey digits, in the order of their file."""
    with extra("evaluation"):
        from sklearn.datasets import load_digits

    found = load_digits()
    return {"pixels": found.data.astype(np.uint8), "labels": found.target, "levels": np.array(16)}


def diamonds() -> dict[str, np.ndarray]:
    """The table in an order of its own, since the file's is by price, scaled to mean 0 and width 1.

    A rounded value is spread evenly over the numbers that are rounded to it, without which a
    density could be as high as it likes at the few numbers that occur (Theis et al. 2016).
    """
    with extra("studies"):
        from plotnine.data import diamonds as found

    table = found[list(STEPS)]
    lengths = table[["x", "y", "z"]]
    table = table[((lengths > 0) & (lengths < LONGEST)).all(axis=1)]
    random = np.random.default_rng(0)
    values = table.to_numpy() + (random.random(table.shape) - 0.5) * list(STEPS.values())
    for column in map(list(STEPS).index, LOGARITHMS):
        values[:, column] = np.log(values[:, column])
    values = random.permutation(values)
    return {"pixels": ((values - values.mean(0)) / values.std(0)).astype(np.float32)}


def superpixels(pixels: Tensor) -> np.ndarray:
    """The superpixels of images (N, 784), (N, S, 4): brightness, x and y from -1 to 1, whether it
    is there; in images with fewer than S lit pixels some are not.

    Those of an image are the means of its lit pixels' k-means clusters by place and brightness.
    """
    with extra("evaluation"):
        from sklearn.cluster import KMeans

    found = np.zeros((len(pixels), SUPERPIXELS, 4), dtype=np.float32)
    centre = (SIDE - 1) / 2
    for nodes, image in zip(found, pixels.view(-1, SIDE, SIDE).numpy() / 255, strict=True):
        y, x = np.nonzero(image)
        points = np.stack((GREY * image[y, x], x - centre, y - centre), axis=1)
        if count := min(SUPERPIXELS, len(points)):
            means = KMeans(count, n_init=1, random_state=0).fit(points).cluster_centers_
            nodes[:count, :3] = means / (GREY, centre + 0.5, centre + 0.5)
            nodes[:count, 3] = 1
    return found
