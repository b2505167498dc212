"""`kanvae sweep`: a sweep from the command line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from kanvae import runs
from kanvae.studies import parameters
from kanvae.studies.sweep import read_results, sweep
from kanvae.studies.sweep.points import (
    Point,
    check_points,
    describe,
    expand,
    parse_values,
    point_name,
    read_points,
)


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The arguments of `kanvae sweep`."""
    parser.add_argument("notebook")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUES"),
        help="values such as 1,2,5 or 0:5 or kan-20-10,kan-35-15; may be repeated",
    )  # fmt: skip
    parser.add_argument("--points", help="CSV or YAML file of points, each combined with the grid")
    parser.add_argument("--zip", action="store_true", help="pair the lists of -p, value by value")
    parser.add_argument("--output", help="folder or address (runs/sweeps/NOTEBOOK)")
    parser.add_argument("--retries", type=int, default=0, help="of a point whose cell failed (0)")
    parser.add_argument("--workers", type=int, help="here (a core each, or a GPU each)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", help="address of a running Dask scheduler")
    where.add_argument("--cluster", help="YAML file of a cluster, such as clusters/slurm.yaml")
    parser.add_argument("--resources", default="", help="that a worker must have, such as GPU=1")
    parser.add_argument("--dry-run", action="store_true", help="check, and show what would run")


def command(options: argparse.Namespace) -> str | None:
    """Sweep as the options say; what failed, if anything did."""
    points = _points(options)
    output = options.output or str(runs.root() / "sweeps" / Path(options.notebook).stem)
    check_points(options.notebook, points, not (options.scheduler or options.cluster))
    print(f"{len(points)} points, to {output}", flush=True)
    if options.dry_run:
        _show(points, output)
        return None
    table = sweep(
        options.notebook, points, output, retries=options.retries, workers=options.workers,
        scheduler=options.scheduler, cluster_file=options.cluster,
        resources=_resources(options.resources),
    )  # fmt: skip
    wanted = {point_name(point) for point in points}
    bad = table[table["point"].isin(wanted) & (table["status"] != "done")]
    print(f"{len(wanted) - len(bad)} of {len(wanted)} points are done: {output}/index.html")
    if bad.empty:
        return None
    listed = [f"  {line['point']}: {line['error']}" for line in bad.to_dict("records")]
    return "\n".join([f"{len(bad)} failed:", *listed])


def _points(options: argparse.Namespace) -> list[Point]:
    known = parameters.defaults(options.notebook)
    grid: dict[str, list[Any]] = {}
    for name, text in options.parameter:
        if name in grid:
            raise ValueError(f"-p {name} is given twice: write its values into one list.")
        text = os.fsencode(text).decode("utf-8", "replace")  # also where the locale is not UTF-8
        grid[name] = parse_values(text, known.get(name))
    points = expand(grid, options.zip)
    if options.points:
        listed = read_points(options.points, known)
        points = [first | second for first in listed for second in points]
    return points


def _resources(text: str) -> dict[str, float] | None:
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        return {name: float(amount) for name, amount in pairs} or None
    except ValueError:
        raise ValueError(f"--resources is {text!r}: write it as GPU=1.") from None


def _show(points: list[Point], output: str) -> None:
    done = {n for n, result in read_results(output).items() if result["status"] == "done"}
    for point in points[:20]:
        print(f"  {'done' if point_name(point) in done else 'to do'}: {describe(point)}")
    if len(points) > 20:
        print(f"  ... and {len(points) - 20} more")
    print(f"{sum(point_name(point) not in done for point in points)} to do")
