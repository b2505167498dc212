"""A chapter over many parameters: a grid of points, each executed by papermill on a Dask cluster.

    kanvae sweep notebooks/04_training.ipynb -p architecture kan-20-10,kan-35-15 -p seed 0:5 \
        --output runs/sweep

The output folder, on this machine or in an object store (s3://, gs://), holds

    sweep.json  CHAPTER.ipynb       which chapter it is of, and a copy of it
    NAME/executed.ipynb .html       a point, executed; failed.ipynb if a cell of it failed
    NAME/result.json                its parameters, what it recorded, seconds, error
    NAME/runs/                      what it trained (on a local file system)
    table.csv  table.parquet        all points, a line each
    index.html                      the same to work with: sorted, filtered, plotted, with links

A point is done when its result says so. A sweep that was stopped in any way goes on where it was
when it is started again, and points may be added to a folder by another call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import Client
from tqdm import tqdm

from kanvae.studies import cluster, distributing, parameters, watching
from kanvae.studies.sweep.points import (
    Point,
    check_devices,
    check_points,
    describe,
    expand,
    parse_values,
    point_name,
    read_points,
)
from kanvae.studies.sweep.storage import SweepError, collect, is_local, open_folder, read_results
from kanvae.studies.sweep.worker import execute_point

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Point", "SweepError", "collect", "describe", "execute_point", "expand", "parse_values",
    "point_name", "read_points", "read_results", "sweep",
]  # fmt: skip


def sweep(
    notebook: Path | str,
    grid: Mapping[str, Iterable[Any]] | Sequence[Point],
    output: Path | str,
    paired: bool = False,
    retries: int = 0,
    scheduler: str | None = None,
    cluster_file: Path | str | None = None,
    workers: int | None = None,
    resources: Mapping[str, float] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Execute a chapter at every point of a grid, as far as that is not done; the table of it all.

    In a script, call it under `if __name__ == "__main__":`, since workers import the script.

    Args:
        grid: parameter -> values, or a list of points.
        output: a folder, or an address such as s3://bucket/folder.
        paired: take the lists of a grid side by side, not in all combinations.
        retries: how often a point is tried again after a cell of it failed.
        scheduler, cluster_file, workers: where to run, as in `cluster.start`.
        resources: what a worker must have to get a point, such as {"GPU": 1}.
        progress: whether to show a bar.

    Returns:
        A line a point of the folder, with the columns point, status ("done" or "failed"), the
        chapter's parameters, what it recorded, attempts, seconds, error and commit. The same
        stands in `table.csv` and `table.parquet`.

    Raises:
        ValueError: a point that cannot be valid; nothing was started.
        SweepError: the folder is of another chapter, or cannot be written.
        cluster.ClusterError: the cluster cannot be reached or made, or the folder is in use.
    """
    points = expand(grid, paired) if isinstance(grid, Mapping) else list(grid)
    here = not (scheduler or cluster_file)
    check_points(notebook, points, here)
    if retries < 0:
        raise ValueError(f"retries is {retries}: it must be 0 or more.")
    cluster.check_workers(workers, scheduler, cluster_file)
    output = str(output).rstrip("/")
    if is_local(output):
        output = str(Path(output).expanduser().absolute())
    try:
        # An object store needs no lock: writes are whole, and points are done at worst twice.
        with cluster.held(output) if is_local(output) else contextlib.nullcontext():
            open_folder(notebook, output)
            done = {n for n, result in read_results(output).items() if result["status"] == "done"}
            missing = {point_name(p): p for p in points if point_name(p) not in done}
            failed: dict[str, dict[str, Any]] = {}
            if missing:
                gpus = _gpus(notebook, missing.values()) if here else 0
                with cluster.start(scheduler, cluster_file, workers, gpus) as client:
                    failed = _execute_all(
                        client, output, Path(notebook).name, missing, len(points), retries,
                        resources, progress,
                    )  # fmt: skip
            return collect(output, failed)
    except OSError as error:
        raise SweepError(
            f"{output} cannot be written ({error}). Mend that and start the same sweep again: "
            "finished points stay finished."
        ) from error


def _gpus(notebook: Path | str, points: Iterable[Point]) -> int:
    """How many GPUs of this machine the points may use."""
    devices = check_devices(parameters.defaults(notebook), points)
    if not any(device.startswith("cuda") for device in devices):
        return 0
    import torch

    return torch.cuda.device_count()


def _execute_all(
    client: Client, output: str, notebook: str, missing: Mapping[str, Point], total: int,
    retries: int, resources: Mapping[str, float] | None, progress: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Execute the points that are missing, by name; the results of those that failed."""
    attempts = dict.fromkeys(missing, 1)
    failed: dict[str, dict[str, Any]] = {}

    def again(result: distributing.Result) -> bool:
        value = result.value or {}
        if value.get("status") == "done" or attempts[result.name] > retries:
            return False
        attempts[result.name] += 1
        return True

    tasks = ((name, (output, notebook, point)) for name, point in missing.items())
    if progress:
        tqdm.write(f"{total} points, {total - len(missing)} done before; {client.dashboard_link}")
    with (
        tqdm(total=total, initial=total - len(missing), unit="point", disable=not progress) as bar,
        watching.ticking(client, bar, failed),
        contextlib.closing(
            distributing.results(client, execute_point, tasks, again, resources=resources)
        ) as found,
    ):
        for result in found:
            value = result.value
            if value is None:  # the worker could not even say what happened
                value = {
                    "point": result.name, "parameters": missing[result.name], "status": "failed",
                    "error": result.error, "attempts": attempts[result.name],
                }  # fmt: skip
            if value["status"] != "done":
                failed[result.name] = value
            bar.update()
    return failed
