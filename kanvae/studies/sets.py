"""Two sets that packages ship and whose values are not bits, as `.npz` files for `kanvae.data`.

digits    1,797 grey digits of 8 x 8 pixels, 17 levels (scikit-learn)
diamonds  53,917 diamonds, seven continuous columns (plotnine)
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from kanvae import files, runs
from kanvae.extras import extra

# Columns of the diamonds and the step to which each is rounded there.
STEPS = {"carat": 0.01, "depth": 0.1, "table": 1, "price": 1, "x": 0.01, "y": 0.01, "z": 0.01}
LOGARITHMS = ("carat", "price")  # of columns that go over several powers of ten
LONGEST = 20.0  # millimetres; the three diamonds beyond it, and those of length 0, are misprints


def path(name: str) -> str:
    """The file of a set, written to `runs/sets` where it is not there yet.

    Raises:
        KeyError: there is no such set.
        MissingExtra: its package is not installed.
    """
    target = runs.root() / "sets" / f"{name}.npz"
    if not target.exists():
        arrays: dict[str, Any] = {"digits": digits, "diamonds": diamonds}[name]()
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
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
