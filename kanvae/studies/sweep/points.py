"""The points of a sweep: grids, lists from files, the words of the command line."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import nbformat
import yaml

from kanvae.studies import parameters

Point = dict[str, Any]


def expand(grid: Mapping[str, Any], paired: bool = False) -> list[Point]:
    """The points of a grid: all combinations, or, if `paired`, the first values, the second, ...

    Args:
        grid: by the names of parameters, their values, or a single one.

    Raises:
        ValueError: a parameter without values, or paired lists of different lengths.
    """
    lists = {
        name: list(values)
        if isinstance(values, Iterable) and not isinstance(values, str)
        else [values]
        for name, values in grid.items()
    }
    for name, values in lists.items():
        if not values:
            raise ValueError(f"{name} has no values: give at least one.")
    if paired and len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
        raise ValueError(f"paired lists must be equally long; {counts}.")
    rows = zip(*lists.values(), strict=True) if paired else itertools.product(*lists.values())
    return [dict(zip(lists, row, strict=True)) for row in rows]


def parse_values(text: str, default: Any) -> list[Any]:
    """The values that a word of the command line means: `1,2,5`, `0:5`, `0:10:2`, `kan-20-10`.

    A range has no end, as in Python; words are ranges only where the default is a whole number.
    Commas within brackets do not part values: `(-1,1),(-2,2)` are two.

    Raises:
        ValueError: a range of no numbers.
    """
    found: list[Any] = []
    for part in [text] if isinstance(default, dict) else re.split(r",(?![^(\[{]*[)\]}])", text):
        ends = re.fullmatch(r"(-?\d+):(-?\d+)(?::(-?\d+))?", part)
        if ends and type(default) is int:
            steps = [int(end) for end in ends.groups() if end is not None]
            if (len(steps) == 3 and steps[2] == 0) or not range(*steps):
                raise ValueError(f"the range {part!r} holds no number: write it as 0:5 or 0:10:2.")
            found += range(*steps)
        else:
            found.append(parameters.parse_value(part, default))
    return found


def read_points(file: Path | str, known: Mapping[str, Any]) -> list[Point]:
    """The points of a file: CSV with a column a parameter, or YAML with a list of points or a grid.

    Raises:
        ValueError: the file cannot be read as either.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8-sig")  # a spreadsheet puts a mark at the beginning
        if path.suffix == ".csv":
            lines = list(csv.DictReader(text.splitlines(), strict=True))
            return [
                {k: parameters.parse_value(str(v), known.get(str(k))) for k, v in line.items()}
                for line in lines
            ]
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
    if isinstance(content, dict):
        return expand({k: v if isinstance(v, list) else [v] for k, v in content.items()})
    if isinstance(content, list) and all(isinstance(point, dict) for point in content):
        return content
    raise ValueError(
        f"{path} holds neither a list of points (`- seed: 0`) nor a grid (`seed: [0, 1]`)."
    )


def check_points(notebook: Path | str, points: Sequence[Point], devices: bool = True) -> None:
    """Raise a ValueError if a point cannot be valid: by name, by type, or as a training.

    Args:
        devices: whether the points run on this machine, so that a device must be here.
    """
    known = parameters.defaults(notebook)
    if not points:
        raise ValueError("there is no point to execute: give a parameter with -p, or --points.")
    for point in points:
        parameters.check(notebook, point, known)
    if devices:
        check_devices(known, points)
    if _imports_kanvae(notebook):
        _check_trainings(known, points)
    name, count = Counter(point_name(point) for point in points).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the point {name} is there {count} times: leave it in once.")


def check_devices(known: Mapping[str, Any], points: Iterable[Point]) -> set[str]:
    """The devices of the points, as torch names them; torch is not asked for "cpu".

    Args:
        known: the defaults of the chapter.

    Raises:
        ValueError: one is not on this machine.
    """
    wanted = {str(point.get("device", known.get("device", "cpu"))) for point in points}
    if wanted <= {"cpu"}:
        return wanted
    from kanvae.training import resolve_device

    return set(map(resolve_device, wanted))


def _imports_kanvae(notebook: Path | str) -> bool:
    """Whether parameters may be settings of trainings: torch need not be loaded for others."""
    cells = nbformat.read(notebook, as_version=4).cells
    line = re.compile(r"^[^#\n]*\b(from|import)\b[^#\n]*\bkanvae\b", re.MULTILINE)
    return any(cell.cell_type == "code" and line.search(cell.source) for cell in cells)


def _check_trainings(known: dict[str, Any], points: Iterable[Point]) -> None:
    """Raise a ValueError if the settings of a point's training are not possible."""
    from kanvae.training import TrainingConfig

    trained = {field.name for field in fields(TrainingConfig)} - {"device"}
    for point in points:
        settings = {k: v for k, v in (known | point).items() if k in trained}
        if settings.keys() & point.keys():
            try:
                TrainingConfig(**{"architecture": "vae-400-20", **settings})
            except ValueError as error:
                raise ValueError(f"the point {describe(point)} is not possible: {error}") from error


def describe(point: Point) -> str:
    """A point in words: `architecture=kan-20-10, seed=0`."""
    return ", ".join(f"{name}={value}" for name, value in point.items()) or "(all defaults)"


def point_name(point: Point) -> str:
    """The name of a point's folder: its parameters, and a digest that keeps it unique."""
    text = json.dumps(point, sort_keys=True, default=repr)
    words = ",".join(f"{name}={value}" for name, value in sorted(point.items()))
    short = re.sub(r"[^\w.=,+-]", "_", words, flags=re.ASCII)[:80]
    return f"{short}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def in_order(point: Point) -> list[tuple[str, bool, Any]]:
    """A key that sorts points by their values, numbers as numbers."""
    return [
        (name, False, value) if isinstance(value, int | float) else (name, True, str(value))
        for name, value in sorted(point.items())
    ]
