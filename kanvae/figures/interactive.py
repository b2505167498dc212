"""Figures that readers can touch: in the book, a script draws them where the picture stands.

A chapter gives the data and the static picture; a notebook shows the picture alone, and so do paper
and pages without scripts. The scripts are `book/_static/figure-KIND.js`; they need no kernel and no
network, since `book/build.py` puts the data into the page.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

KINDS = ("spline", "edge", "network", "latent", "points", "scores")
KEY = "kanvae-figure"  # of the metadata of an output that holds a figure's data
PACKED = ("uint8", "uint16", "float16", "float32")  # the types of arrays that the scripts read


@dataclass(frozen=True)
class Interactive:
    """A static picture, and what a script needs to draw it anew; made by `figure`.

    Args:
        kind: one of `KINDS`.
        data: as JSON holds it.
        static: the picture.
    """

    kind: str
    data: dict[str, Any]
    static: Figure

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        picture = io.BytesIO()
        self.static.savefig(picture, format="png", bbox_inches="tight")
        shown = {
            "image/png": base64.b64encode(picture.getvalue()).decode(),
            "text/plain": str(self),
        }
        return shown, {KEY: {"kind": self.kind, "data": self.data}}

    def __str__(self) -> str:
        return f"<an interactive figure of kind {self.kind!r}>"

    __repr__ = __str__


def figure(kind: str, data: Mapping[str, Any], static: Figure) -> Interactive:
    """A figure that the book's page makes interactive.

    Args:
        kind: one of `KINDS`. What its data must hold stands at the head of its script.
        data: numbers, words, lists and mappings; numpy arrays and tensors of a type in `PACKED` go
            to the page as they are, and those of other types as lists. Numbers that are not finite
            become null.
        static: the picture that stands where no script runs.

    Raises:
        ValueError: an unknown kind, or data that cannot be written as JSON.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no interactive figure {kind!r}: there are {', '.join(KINDS)}.")
    return Interactive(kind, {name: _plain(name, value) for name, value in data.items()}, static)


def _plain(name: str, value: Any) -> Any:
    """The value as JSON holds it; `name` says where it is."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(f"{name}[{i}]", part) for i, part in enumerate(value)]
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.name not in PACKED:
            return _plain(name, array.tolist())
        content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        return {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "base64": base64.b64encode(content).decode(),
        }
    raise ValueError(
        f"{name} is a {type(value).__name__}: give numbers, words, arrays, lists or mappings."
    )


def histograms(values: Any, ends: Sequence[float], bins: int = 60) -> dict[str, Any]:
    """How the inputs of a layer are spread, for a figure of kind "network".

    Args:
        values: (N, I) inputs, N below 65,536.
        ends: (E,) the shares within these of zero are wanted.

    Returns:
        low, high (I,): where the histogram of each input begins and ends; counts (I, bins); inside
        (I, E): the shares.
    """
    columns = np.asarray(values).T  # (I, N)
    low, high = columns.min(1), columns.max(1)
    counts = [np.histogram(x, bins, (a, b))[0] for x, a, b in zip(columns, low, high, strict=True)]
    inside = [[np.mean(np.abs(x) <= end) for end in ends] for x in columns]
    return {
        "low": low.astype("float32"),
        "high": high.astype("float32"),
        "counts": np.array(counts, "uint16"),
        "inside": np.array(inside, "float32"),
    }


def sheet(images: Any, columns: int = 100) -> str:
    """Binary images on one sheet, as the address of a PNG that a page can hold.

    Args:
        images: (N, D) square images of zeros and ones.
        columns: images in a row of the sheet.

    Returns:
        A data URI; image i stands in row i // columns, column i % columns, ones in white.
    """
    from PIL import Image

    bits = np.asarray(images, bool)
    side = round(bits.shape[1] ** 0.5)
    rows = -(-len(bits) // columns)
    filled = np.zeros((rows * columns, side, side), bool)
    filled[: len(bits)] = bits.reshape(-1, side, side)
    whole = filled.reshape(rows, columns, side, side).swapaxes(1, 2)
    content = io.BytesIO()
    picture = Image.fromarray(whole.reshape(rows * side, columns * side))
    picture.save(content, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
