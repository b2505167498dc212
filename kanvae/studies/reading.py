"""What the pictures of the paper say that its text does not: Figures 6 and 8, read pixel by pixel.

The author's pictures do not come with the book. `KANVAE_PAPER` names the PDF of the paper, or a
folder of pictures taken from it, and `read` repeats the reading; `kanvae.studies.results.reading`
has what was found. A picture is an array (height, width, 3), float32, from 0 to 255.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import ndimage

HALF = 127.5  # between black and white
SIDE, PADDING = 28, 2  # pixels of a digit, and around it, as torchvision's make_grid leaves them
ROWS, COLUMNS = 2, 16  # of the digits in a strip of Figure 8
TICKS = (2000.0, 100.0)  # from one label of Figure 6's axes to the next: updates, nats
AXES = (62.5, 387.5)  # its frame: where it begins, how wide it is (5 by 3 inches, 100 pixels each)
MARGIN = 0.05  # of a curve's length that matplotlib leaves free on either side
END_COLUMNS = 40  # of the picture, at the end of a curve, where its band is measured


class ReadingError(ValueError):
    """A picture does not show what is to be read from it, or there is no picture."""


class Curve(NamedTuple):
    """Where a curve of Figure 6 ends."""

    end: float  # on the horizontal axis
    low: float  # of the band, the median over its last columns; the line's width is part of it
    high: float


class Reading(NamedTuple):
    """What `read` finds, as tables."""

    inputs: pd.DataFrame  # of Figure 8, a line a tile
    brightness: pd.DataFrame  # of these tiles, by the grey value that MNIST has there
    threshold: float  # of 1
    curves: pd.DataFrame  # of Figure 6, a line a curve


def pictures(path: Path | str) -> dict[str, np.ndarray]:
    """The raster pictures of a PDF, or of a folder of PNG and JPEG files, by name.

    Raises:
        ReadingError: there is no such file, it is no PDF, or there is no picture in it that can be
            read.
    """
    from PIL import Image

    path = Path(path).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
        try:
            found = {file.stem: _colours(Image.open(file)) for file in files}
        except OSError as error:
            raise ReadingError(f"a picture in {path} cannot be read ({error}).") from error
    elif path.is_file():
        found = dict(_pictures_of_pdf(path))
    else:
        raise ReadingError(f"there is no {path}: name the paper's PDF or a folder of its pictures.")
    if not found:
        raise ReadingError(f"there is no picture in {path}: name the paper's PDF.")
    return found


def _pictures_of_pdf(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        import pypdf
    except ImportError as error:
        raise ReadingError(
            f"reading {path} needs pypdf: `pip install pypdf`, or name a folder of its pictures."
        ) from error
    seen = set()  # pages may share their pictures
    try:
        for number, page in enumerate(pypdf.PdfReader(path).pages, start=1):
            for i, picture in enumerate(page.images, start=1):
                if picture.image is not None and picture.data not in seen:
                    seen.add(picture.data)
                    yield f"page {number}, picture {i}", _colours(picture.image)
    except pypdf.errors.PyPdfError as error:
        raise ReadingError(f"{path} cannot be read as a PDF ({error}).") from error


def _colours(image: Any) -> np.ndarray:
    """A PIL image, on white."""
    from PIL import Image

    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"), np.float32)


def strips(picture: np.ndarray) -> list[np.ndarray]:
    """The digits of a picture of Figure 8 or 9, read at the centres of their pixels.

    A strip is two rows of sixteen digits, white on black. Its edges are found to a part of a pixel
    of the picture, and the grey between such pixels is interpolated linearly.

    Returns:
        The strips from top to bottom, each (32, 784) from 0 to 255, row by row.

    Raises:
        ReadingError: there is no such strip.
    """
    grey = picture.mean(2)
    dark = grey < HALF
    cells = np.array([ROWS, COLUMNS]) * (SIDE + PADDING) + PADDING  # down, across
    found = []
    black, _ = ndimage.label(dark.mean(1) > 0.5)  # rows of the picture, mostly black
    for (rows,) in ndimage.find_objects(black):
        first, last = rows.start, rows.stop
        columns = np.flatnonzero(dark[first:last].mean(0) > 0.5)
        if last - first < cells[0] / 2 or len(columns) == 0:
            continue
        left, right = int(columns[0]), int(columns[-1]) + 1
        down, across = np.median(grey[:, left:right], 1), np.median(grey[first:last], 0)
        start = np.array([_edge(down, first), _edge(across, left)])
        size = (np.array([_edge(down, last), _edge(across, right)]) - start) / cells  # of a cell
        if abs(size[0] / size[1] - 1) < 0.05:
            places = (np.arange(n)[:, None] * (SIDE + PADDING) for n in (ROWS, COLUMNS))
            y, x = (p + PADDING + np.arange(SIDE) + 0.5 for p in places)  # (2, 28), (16, 28)
            y, x = start[0] + y * size[0] - 0.5, start[1] + x * size[1] - 0.5
            grid = np.broadcast_arrays(y[:, None, :, None], x[None, :, None, :])  # (2, 16, 28, 28)
            read = ndimage.map_coordinates(grey, grid, order=1, mode="nearest")
            found.append(read.reshape(ROWS * COLUMNS, SIDE * SIDE))
    if not found:
        raise ReadingError("there is no strip of two rows of sixteen digits in this picture.")
    return found


def match(tiles: np.ndarray, images: np.ndarray) -> pd.DataFrame:
    """The image that is nearest to each tile by the number of pixels that differ.

    Args:
        tiles: (n, D) bool.
        images: (N, D) bool.

    Returns:
        A line a tile: index, the first of the nearest images; pixels_off; pixels_off_next, the
        same for the next best image; ties, how many other images are as near.
    """
    a, b = np.asarray(tiles, np.float32), np.asarray(images, np.float32)
    off = a.sum(1)[:, None] + b.sum(1) - 2 * a @ b.T  # (n, N); whole numbers, exact in float32
    nearest, following = np.partition(off, 1, axis=1)[:, :2].T
    ties = (off == nearest[:, None]).sum(1) - 1
    columns = {"index": off.argmin(1), "pixels_off": nearest, "pixels_off_next": following}
    return pd.DataFrame(columns | {"ties": ties}).astype(int)


def rank_within_digit(labels: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Which image of its digit an image is, counted from 1: labels (N,), indices (n,) -> (n,)."""
    return np.array([(labels[: i + 1] == labels[i]).sum() for i in indices])


def brightness(tiles: np.ndarray, images: np.ndarray) -> pd.DataFrame:
    """How bright a picture is on the mean where MNIST has a grey value.

    Args:
        tiles: (n, D) from 0 to 255, as `strips` reads them.
        images: (n, D) uint8, the images that they show.

    Returns:
        A line a grey value from 0 to 255: pixels, how many have it, and their mean brightness.
    """
    count = np.bincount(images.ravel(), minlength=256)
    total = np.bincount(images.ravel(), tiles.ravel(), 256)
    mean = np.divide(total, count, out=np.full(256, np.nan), where=count > 0)
    return pd.DataFrame({"pixels": count, "brightness": mean}).rename_axis("grey").round(1)


def threshold(found: pd.DataFrame) -> float:
    """The grey value (of 1) at which a picture turns from dark to light.

    Among the grey values from a fifth to four fifths, it is the step that leaves the least sum of
    squares.

    Args:
        found: by `brightness`.
    """
    inner = found.loc[51:204].dropna()
    below, sum_below = inner["pixels"].cumsum(), (inner["pixels"] * inner["brightness"]).cumsum()
    above, sum_above = below.iloc[-1] - below, sum_below.iloc[-1] - sum_below
    explained = (sum_below**2 / below + sum_above**2 / above)[above > 0]
    grey = explained.idxmax()
    return float(grey + inner.index[inner.index > grey][0]) / 2 / 255


def curves(picture: np.ndarray) -> dict[str, Curve]:
    """Where the two curves of a picture of Figure 6 end, by a line through the ticks of each axis.

    matplotlib moves a tick down or to the right onto the next whole pixel of the drawing, by half
    of one on the mean. For the bands that is taken off, which leaves about one nat. An end is read
    plainly, and up to a pixel of the drawing too short (27 updates); `fitting_ends` is sharper.

    Args:
        picture: as `pictures` gives it.

    Returns:
        "reconstruction" (blue) and "kl" (green).

    Raises:
        ReadingError: the picture has no frame with ticks, or not these two curves.
    """
    left, right, top, bottom, x_ticks, y_ticks = _frame(picture)
    zoom = (right - left) / np.floor(AXES[1])  # pixels of the picture to one of the drawing
    zero_x, per_x = _scale(x_ticks, TICKS[0])
    zero_y, per_y = _scale(y_ticks[::-1] - zoom / 2, TICKS[1])
    r, g, b = np.moveaxis(picture[top + 3 : bottom - 2, left + 3 : right - 2], 2, 0)
    found = {}
    for name, ink in {"reconstruction": b - (r + g) / 2, "kl": g - (r + b) / 2}.items():
        ink = 255 * np.clip(ink / max(float(ink.max()), 100.0), 0, 1)  # 255 where all is covered
        drawn = np.flatnonzero(ink.max(0) > HALF)
        if len(drawn) < END_COLUMNS or len(drawn) < 0.9 * (drawn[-1] - drawn[0]):
            raise ReadingError("this picture has no blue and green curve from left to right.")
        first, last = (left + 3 + _edge(ink.max(0), i) for i in (drawn[0], drawn[-1] + 1))
        edges = []
        for column in ink.T[drawn[-END_COLUMNS:]]:
            covered = np.flatnonzero(column > HALF)
            edges.append([_edge(column, covered[-1] + 1), _edge(column, covered[0])])
        low, high = (top + 3 + np.median(edges, 0) - zero_y) * per_y
        end = last + first - 2 * zero_x  # a line is as wide at its end as it is before zero
        found[name] = Curve(float(end * per_x), float(low), float(high))
    return found


def band(values: np.ndarray) -> tuple[float, float]:
    """Where the band of a curve (N,) ends: what `curves` measures on a picture, from the numbers.

    The lower and the upper edge in the last pixels of the drawing, the median over them.
    """
    pixels = END_COLUMNS // 2  # the paper's pictures have two columns to one of the drawing
    share = pixels * (1 + 2 * MARGIN) / AXES[1]  # of the curve's length
    columns = np.array_split(values[-max(round(len(values) * share), pixels) :], pixels)
    low, high = (np.median([edge(c) for c in columns if len(c)]) for edge in (np.min, np.max))
    return float(low), float(high)


def fitting_ends(picture: np.ndarray) -> tuple[float, float]:
    """The least and the greatest end of a curve that leave the ticks of Figure 6 where they are.

    matplotlib leaves a twentieth of a curve's length free on either side of it and moves each tick
    onto a whole pixel of the drawing; the pixels of all ticks together leave few lengths.

    Args:
        picture: as `pictures` gives it.

    Raises:
        ReadingError: the picture has no frame with ticks, or no length fits them.
    """
    left, right, _, _, ticks, _ = _frame(picture)
    start, width = AXES
    zoom = (right - left) / np.floor(width)  # pixels of the picture to one of the drawing
    zero, length = start + width * MARGIN / (1 + 2 * MARGIN), width / (1 + 2 * MARGIN)
    places = np.floor(zero + 0.5) + np.round((ticks[1:] - ticks[0]) / zoom)
    values = TICKS[0] * np.arange(1, len(ticks))
    low = float((length * values / (places + 0.5 - zero)).max())
    high = float((length * values / (places - 0.5 - zero)).min())
    if low > high:
        raise ReadingError(f"no curve has its ticks here on axes of {width} pixels.")
    return low, high


def read(path: Path | str, images: np.ndarray, labels: np.ndarray, others: np.ndarray) -> Reading:
    """Everything that the book says of Figures 6 and 8, from the paper's own pictures.

    Args:
        path: as for `pictures`.
        images, labels: the training images of MNIST, (N, 784) uint8 and (N,).
        others: its test images, (M, 784) uint8.

    Raises:
        ReadingError: the path cannot be read, or lacks one of the figures.
    """
    ends, tiles = [], {}
    for name, picture in pictures(path).items():
        with contextlib.suppress(ReadingError):
            bounds = fitting_ends(picture)
            for curve, found in curves(picture).items():
                ends.append((name, curve, found.end, *bounds, found.low, found.high))
        with contextlib.suppress(ReadingError):
            if len(both := strips(picture)) == 2:  # inputs above, samples below
                tiles[name] = both[0]
    if not ends or not tiles:
        raise ReadingError(f"{path} lacks learning curves or strips of digits: is it the paper?")
    seen = np.concatenate(list(tiles.values()))
    likely = images[match(seen > HALF, images > HALF)["index"]]
    step = threshold(brightness(seen, likely))  # and once more, at what they were thresholded at
    nearest = match(seen > HALF, images > step * 255)
    indices = nearest["index"].to_numpy()
    inputs = {
        "picture": np.repeat(list(tiles), ROWS * COLUMNS),
        "tile": np.tile(np.arange(ROWS * COLUMNS), len(tiles)),
        "training_index": indices,
        "digit": labels[indices],
        "rank_within_digit": rank_within_digit(labels, indices),
        "pixels_off": nearest["pixels_off"],
        "pixels_off_next_training_image": nearest["pixels_off_next"],
        "pixels_off_nearest_test_image": match(seen > HALF, others > step * 255)["pixels_off"],
    }
    names = ["picture", "curve", "end", "first_fitting", "last_fitting", "low", "high"]
    curve_table = pd.DataFrame(ends, columns=names).round(1)
    return Reading(pd.DataFrame(inputs), brightness(seen, images[indices]), step, curve_table)


def _scale(ticks: np.ndarray, step: float) -> tuple[float, float]:
    """Where an axis has its zero, and its units a pixel: a line through its ticks."""
    slope, zero = np.polyfit(np.arange(len(ticks)), ticks + 0.5, 1)
    return float(zero), float(step / slope)


def _frame(picture: np.ndarray) -> tuple[int, int, int, int, np.ndarray, np.ndarray]:
    """A frame's first and last column, first and last row, and the ticks below and beside it."""
    darkness = 255 - picture.max(2)
    columns = np.flatnonzero((darkness > HALF).mean(0) > 0.5)
    rows = np.flatnonzero((darkness > HALF).mean(1) > 0.5)
    if len(columns) < 2 or len(rows) < 2 or columns[0] < 4 or rows[-1] + 5 > len(picture):
        raise ReadingError("there is no frame around a diagram in this picture.")
    left, right, top, bottom = (int(i) for i in (columns[0], columns[-1], rows[0], rows[-1]))
    below = _ticks(darkness[bottom + 3 : bottom + 5].mean(0))
    beside = _ticks(darkness[:, left - 4 : left - 2].mean(1))
    if len(below) < 3 or len(beside) < 3:
        raise ReadingError("the frame of this picture has no ticks on its axes.")
    return left, right, top, bottom, below, beside


def _ticks(darkness: np.ndarray) -> np.ndarray:
    """Where the ticks beside a frame are, by their centres of mass."""
    labels, count = ndimage.label(darkness > HALF)
    return np.ravel(ndimage.center_of_mass(darkness, labels, range(1, count + 1)))


def _edge(profile: np.ndarray, place: int) -> float:
    """Where a profile passes one half, near the border before pixel `place`.

    Pixel i reaches from i to i + 1 and has its value at its centre.
    """
    if not 0 < place < len(profile):
        return float(place)
    before, after = float(profile[place - 1]), float(profile[place])
    return place - 0.5 + (HALF - before) / (after - before)
