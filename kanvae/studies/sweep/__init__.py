"""A chapter over many parameters: a grid of points, each executed by papermill on a Dask cluster.

    python -m kanvae sweep notebooks/04_training.ipynb -p architecture kan-20-10,kan-35-15 \
        -p seed 0:5 --output runs/sweep

The output folder, on this machine or in an object store (s3://, gs://), holds

    sweep.json  CHAPTER.ipynb       which chapter it is of, and a copy of it
    NAME/executed.ipynb             a point, executed; failed.ipynb if a cell of it failed
    NAME/result.json                its parameters, what it recorded, seconds, error
    NAME/runs/                      what it trained (on a local file system)
    table.csv  table.parquet        all points, a line each
    index.html                      the same to look at, with links and curves

A point is done when its result says so. A sweep that was stopped in any way goes on where it was
when it is started again, and points may be added to a folder by another call.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import html
import itertools
import json
import math
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import fsspec
import nbformat
import pandas as pd
import yaml
from distributed import Client
from filelock import FileLock
from tqdm import tqdm

from kanvae import runs
from kanvae.studies import chapters, cluster, results
from kanvae.training import TrainingConfig, resolve_device

Point = dict[str, Any]
STARTS = 3  # how often a kernel is started before its failure to start, or its death, counts
COLUMNS = (
    "point",
    "status",
    "attempts",
    "seconds",
    "error",
    "commit",
)  # of the table, beside the chapter's


class SweepError(RuntimeError):
    """A folder holds something else, or cannot be written."""


# ---- the points -------------------------------------------------------------------------------


def expand(grid: Mapping[str, Iterable[Any]], paired: bool = False) -> list[Point]:
    """The points of a grid: all combinations, or, if `paired`, the first values, the second, ...

    Raises:
        ValueError: a parameter without values, or paired lists of different lengths.
    """
    lists = {
        name: [values] if isinstance(values, str) else list(values) for name, values in grid.items()
    }
    for name, values in lists.items():
        if not values:
            raise ValueError(f"{name} has no values: give at least one.")
    if paired and len({len(values) for values in lists.values()}) > 1:
        counts = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
        raise ValueError(f"paired lists must be equally long; {counts}.")
    rows = zip(*lists.values(), strict=True) if paired else itertools.product(*lists.values())
    return [dict(zip(lists, row, strict=True)) for row in rows]


def values(text: str, default: Any) -> list[Any]:
    """The values that a word of the command line means: `1,2,5`, `0:5`, `0:10:2`, `kan-20-10`.

    A range has no end, as in Python; words are ranges only where the default is a whole number.

    Raises:
        ValueError: a range of no numbers.
    """
    found: list[Any] = []
    for part in text.split(","):
        ends = re.fullmatch(r"(-?\d+):(-?\d+)(?::(-?\d+))?", part)
        if ends and type(default) is int:
            steps = [int(end) for end in ends.groups() if end is not None]
            if (len(steps) == 3 and steps[2] == 0) or not range(*steps):
                raise ValueError(f"the range {part!r} holds no number: write it as 0:5 or 0:10:2.")
            found += range(*steps)
        else:
            found.append(chapters.value(part, default))
    return found


def read_points(file: Path | str, known: Mapping[str, Any]) -> list[Point]:
    """The points of a file: CSV with a column a parameter, or YAML with a list of points or a grid.

    Raises:
        ValueError: the file cannot be read as either.
    """
    path = Path(file)
    try:
        text = path.read_text()
        if path.suffix == ".csv":
            lines = list(csv.DictReader(text.splitlines(), strict=True))
            return [
                {k: chapters.value(str(v), known.get(str(k))) for k, v in x.items()} for x in lines
            ]
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read ({error}).") from error
    if isinstance(content, dict):
        grid = {k: v if isinstance(v, list) else [v] for k, v in content.items()}
        return expand(grid)
    if isinstance(content, list) and all(isinstance(point, dict) for point in content):
        return content
    raise ValueError(
        f"{path} holds neither a list of points (`- seed: 0`) nor a grid (`seed: [0, 1]`)."
    )


def check(notebook: Path | str, points: Sequence[Point], devices: bool = True) -> None:
    """Raise a ValueError if a point cannot be valid: by name, by type, or as a training.

    Args:
        devices: whether the points run on this machine, so that a device must be here.
    """
    known = chapters.defaults(notebook)
    trained = {field.name for field in fields(TrainingConfig)}
    if not points:
        raise ValueError("there is no point to execute: give a parameter with -p, or --points.")
    for point in points:
        chapters.check(notebook, point, known)
        settings = {k: v for k, v in (known | point).items() if k in trained}
        if not devices:
            settings.pop("device", None)
        if settings.keys() & point.keys():
            try:
                TrainingConfig(**{"architecture": "vae-400-20", **settings})
            except ValueError as error:
                raise ValueError(f"the point {describe(point)} is not possible: {error}") from error
    name, count = Counter(point_name(point) for point in points).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the point {name} is there {count} times: leave it in once.")


def describe(point: Point) -> str:
    """A point in words: `architecture=kan-20-10, seed=0`."""
    return ", ".join(f"{name}={value}" for name, value in point.items()) or "(all defaults)"


def point_name(point: Point) -> str:
    """The name of a point's folder: its parameters, and a digest that keeps it unique."""
    text = json.dumps(point, sort_keys=True)
    words = re.sub(r"[^\w.=,+-]", "_", ",".join(f"{k}={v}" for k, v in sorted(point.items())))
    return f"{words[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


# ---- storage: local folders and object stores ---------------------------------------------------


def is_local(path: str) -> bool:
    """Whether a folder is on a file system, not in an object store."""
    return "://" not in path


def write(path: str, content: bytes) -> None:
    """Write a file so that others see the whole of it or nothing."""
    if not is_local(path):
        fs, inside = fsspec.url_to_fs(path)
        fs.pipe_file(inside, content)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(Path(path), content)


def read(path: str) -> bytes | None:
    """What a file holds, None where there is none."""
    fs, inside = fsspec.url_to_fs(path)
    fs.invalidate_cache()
    try:
        return fs.cat_file(inside)
    except FileNotFoundError:
        return None


def read_results(output: str, name: str = "*") -> dict[str, dict[str, Any]]:
    """The results in a sweep's folder, or the one of a point, by the name of their point."""
    if is_local(output):
        contents = [path.read_bytes() for path in Path(output).glob(f"{name}/result.json")]
    else:
        fs, inside = fsspec.url_to_fs(output)
        fs.invalidate_cache()
        paths = fs.glob(f"{inside}/{name}/result.json")
        contents = (
            [fs.cat_file(paths[0])]
            if len(paths) == 1
            else list(fs.cat(paths).values() if paths else [])
        )
    found = {}
    for content in contents:
        with contextlib.suppress(ValueError, KeyError):  # a damaged result is none
            result = json.loads(content)
            found[result["point"]] = result
    return found


# ---- one point, on a worker ---------------------------------------------------------------------


def work(output: str, notebook: str, point: Point) -> dict[str, Any]:
    """Execute a point, unless it is done; its result, which also stands in its folder.

    A kernel that does not start, or dies, is started again, `STARTS` times in all.

    Args:
        notebook: the name of the chapter's copy in the output folder.
    """
    name = point_name(point)
    if is_local(output):
        folder = Path(output) / name
    else:  # the kernel needs a local place; what it writes beside the notebook stays there
        digest = hashlib.sha256(output.encode()).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"kanvae-sweep-{digest}" / name
    begun = time.time()
    result: dict[str, Any] = {"point": name, "parameters": point, "attempts": 1}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # a worker that outlived its sweep may still be at it
            before = read_results(output, name).get(name, {})
            if before.get("status") == "done":
                return before
            result["attempts"] += before.get("attempts", 0)
            result |= _execute(output, notebook, name, point, folder)
            result["seconds"] = round(time.time() - begun, 3)
            write(f"{output}/{name}/result.json", json.dumps(result, indent=1).encode())
    except OSError as error:  # such as a full disk: it is not done, and will be started again
        result |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return result


def _execute(output: str, notebook: str, name: str, point: Point, folder: Path) -> dict[str, Any]:
    for old in folder.glob(".*-executed.ipynb"):  # of a worker that was killed
        old.unlink()
    source, failed = folder / notebook, folder / "failed.ipynb"
    source.write_bytes(read(f"{output}/{notebook}") or b"")
    failed.unlink(missing_ok=True)
    environment = {
        "KANVAE_RUNS": str(folder / "runs"),
        "KANVAE_RESULTS": str(results.root()),
        **cluster.mark(),
    }
    found: dict[str, Any] = {"commit": runs.provenance()["commit"], "error": ""}
    for start in itertools.count(1):
        try:
            executed = chapters.execute(
                source, folder / "executed.ipynb", point, False, failed, environment
            )
            found |= {"status": "done", "metrics": chapters.recorded(executed)}
        except chapters.KernelError as error:
            if start < STARTS:
                time.sleep(start)
                continue
            found |= {"status": "failed", "error": str(error)}
        except (chapters.ChapterError, ValueError) as error:
            found |= {"status": "failed", "error": str(error)}
        break
    source.unlink()
    if not is_local(output):
        for file in ("executed.ipynb", "failed.ipynb"):
            if (folder / file).exists():
                write(f"{output}/{name}/{file}", (folder / file).read_bytes())
    return found


# ---- the sweep ----------------------------------------------------------------------------------


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
    check(notebook, points, here)
    if retries < 0:
        raise ValueError(f"retries is {retries}: it must be 0 or more.")
    output = str(output).rstrip("/")
    if is_local(output):
        output = str(Path(output).expanduser().absolute())
    try:
        # An object store needs no lock: writes are whole, and points are done at worst twice.
        with cluster.held(output) if is_local(output) else contextlib.nullcontext():
            _begin(notebook, output)
            done = {n for n, result in read_results(output).items() if result["status"] == "done"}
            missing = [point for point in points if point_name(point) not in done]
            failed: dict[str, dict[str, Any]] = {}
            if missing:
                gpus = _gpus(notebook, missing) if here else 0
                with cluster.start(scheduler, cluster_file, workers, gpus) as client:
                    failed = _run(
                        client, output, Path(notebook).name, missing, len(points), retries,
                        resources, progress,
                    )  # fmt: skip
            return collect(output, failed)
    except OSError as error:
        raise SweepError(
            f"{output} cannot be written ({error}). Mend that and start the same sweep again: "
            "finished points stay finished."
        ) from error


def _begin(notebook: Path | str, output: str) -> None:
    """See to it that the folder is this chapter's, and holds a copy of it for the workers."""
    cells = nbformat.read(notebook, as_version=4).cells
    code = "\0".join(cell.source for cell in cells if cell.cell_type == "code")
    wanted = {
        "notebook": Path(notebook).name,
        "digest": hashlib.sha256(code.encode()).hexdigest(),
        "defaults": chapters.defaults(notebook),
    }
    found = json.loads(read(f"{output}/sweep.json") or "null")
    if found is not None and found["digest"] != wanted["digest"]:
        same = found["notebook"] == wanted["notebook"]
        raise SweepError(
            f"{output} holds a sweep of {'another version of ' if same else ''}"
            f"{found['notebook']}: choose another folder, or delete that one if it is no longer "
            "wanted."
        )
    if found is None:
        write(f"{output}/{wanted['notebook']}", Path(notebook).read_bytes())
        write(f"{output}/sweep.json", json.dumps(wanted, indent=1).encode())


def _gpus(notebook: Path | str, points: Sequence[Point]) -> int:
    """How many GPUs of this machine the points may use."""
    import torch

    default = chapters.defaults(notebook).get("device", "cpu")
    wanted = {str(point.get("device", default)) for point in points}
    used = any(resolve_device(device).startswith("cuda") for device in wanted)
    return torch.cuda.device_count() if used else 0


def _run(
    client: Client, output: str, notebook: str, missing: Sequence[Point], total: int, retries: int,
    resources: Mapping[str, float] | None, progress: bool,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Execute the points that are missing; the results of those that failed."""
    attempts = {point_name(point): 1 for point in missing}
    by_name = {point_name(point): point for point in missing}
    failed: dict[str, dict[str, Any]] = {}

    def again(result: cluster.Result) -> bool:
        value = result.value or {}
        if value.get("status") == "done" or attempts[result.name] > retries:
            return False
        attempts[result.name] += 1
        return True

    tasks = ((name, (output, notebook, point)) for name, point in by_name.items())
    if progress:
        tqdm.write(f"{total} points, {total - len(missing)} done before; {client.dashboard_link}")
    with (
        tqdm(total=total, initial=total - len(missing), unit="point", disable=not progress) as bar,
        cluster.ticking(client, bar, failed),
        contextlib.closing(
            cluster.results(client, work, tasks, again, resources=resources)
        ) as found,
    ):
        for result in found:
            value = result.value
            if value is None:  # the worker could not even say what happened
                value = {
                    "point": result.name, "parameters": by_name[result.name], "status": "failed",
                    "error": result.error, "attempts": attempts[result.name],
                }  # fmt: skip
            if value["status"] != "done":
                failed[result.name] = value
            bar.update()
    return failed


# ---- what came out ------------------------------------------------------------------------------


def collect(output: str, failed: Mapping[str, dict[str, Any]] | None = None) -> pd.DataFrame:
    """Write the tables and the index of a sweep's folder, and return the table.

    Args:
        failed: results that are not in the folder, of points that could not even write them.
    """
    known = {**(failed or {}), **read_results(output)}
    found = sorted(known.values(), key=lambda result: _order(result["parameters"]))
    about = json.loads(read(f"{output}/sweep.json") or "{}")
    lines, curves = [], {}
    for result in found:
        line = {key: result.get(key) for key in COLUMNS[:2]}
        metrics = result.get("metrics", {})
        for kind, entries in (
            ("parameter", about["defaults"] | result["parameters"]),
            ("recorded", {k: v for k, v in metrics.items() if not isinstance(v, list)}),
        ):
            for key, entry in entries.items():
                line[f"{kind}_{key}" if key in COLUMNS or key in line else key] = entry
        lines.append(line | {key: result.get(key) for key in COLUMNS[2:]})
        curves[result["point"]] = {k: v for k, v in metrics.items() if isinstance(v, list)}
    table = pd.DataFrame(lines)
    write(f"{output}/table.csv", table.to_csv(index=False, lineterminator="\n").encode())
    write(f"{output}/table.parquet", table.to_parquet(index=False))
    write(f"{output}/index.html", index(about["notebook"], table, curves).encode())
    return table


def _order(point: Point) -> list[tuple[str, bool, Any]]:
    """Points in the order of their values, numbers as numbers."""
    return [
        (name, False, value) if isinstance(value, int | float) else (name, True, str(value))
        for name, value in sorted(point.items())
    ]


def index(title: str, table: pd.DataFrame, curves: Mapping[str, Mapping[str, list[float]]]) -> str:
    """The page that shows a sweep: a line a point, with links to its notebook and small curves."""
    varied = [
        name
        for name in table.columns
        if name not in ("point", "status", "commit", "attempts", "error")
        and (table[name].astype(str).nunique() > 1 or name == "seconds")
    ]
    names = sorted({name for own in curves.values() for name in own})
    heads = "".join(f"<th>{html.escape(h)}</th>" for h in ("point", *varied, *names))
    rows = []
    for line in table.to_dict("records"):
        name, good = line["point"], line["status"] == "done"
        file = "executed.ipynb" if good else "failed.ipynb"
        link = f'<a href="{html.escape(name)}/{file}">{"done" if good else "failed"}</a>'
        cells = [f'<td title="{html.escape(str(line["error"] or ""))}">{link}</td>']
        cells += [f"<td>{html.escape(_short(line[key]))}</td>" for key in varied]
        cells += [f"<td>{sparkline(curves[name].get(key, []))}</td>" for key in names]
        rows.append(f"<tr{'' if good else ' class=failed'}>{''.join(cells)}</tr>")
        if not good:
            note = html.escape(str(line["error"])[:500])
            rows.append(f'<tr class=failed><td colspan="{len(cells)}">{note}</td></tr>')
    fixed = {
        name: table[name].iloc[0]
        for name in table.columns
        if name not in varied and name not in ("point", "status", "attempts", "error")
    }
    same = html.escape(", ".join(f"{k} = {_short(v)}" for k, v in fixed.items()))
    good = int((table["status"] == "done").sum()) if len(table) else 0
    return PAGE.format(
        title=html.escape(title), done=good, failed=len(table) - good, same=same, heads=heads,
        rows="\n".join(rows),
    )  # fmt: skip


def _short(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def sparkline(values: Sequence[float]) -> str:
    """A small curve as SVG; its ends are said to those who cannot see it."""
    values = [value for value in values if math.isfinite(value)]
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    points = " ".join(
        f"{100 * i / (len(values) - 1):.1f},{22 - 20 * (v - low) / ((high - low) or 1):.1f}"
        for i, v in enumerate(values)
    )
    label = f"from {values[0]:.6g} to {values[-1]:.6g}"
    return (
        f'<svg viewBox="-2 0 104 24" width="104" height="24" role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sweep of {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }}
div {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #8884; }}
td {{ font-variant-numeric: tabular-nums; }}
.failed {{ color: #d55e00; }}
</style>
<h1>Sweep of {title}</h1>
<p>{done} points done, {failed} failed. Tables: <a href="table.csv">CSV</a>,
<a href="table.parquet">Parquet</a>. The same for all points: {same}.</p>
<div><table><thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
</html>
"""


# ---- the command line ---------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Sweep from the command line; see `python -m kanvae sweep --help`."""
    parser = argparse.ArgumentParser(
        prog="python -m kanvae sweep", description="Execute a chapter over a grid of parameters."
    )
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
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers and kernels end
    try:
        points = _points(options)
        output = options.output or str(runs.root() / "sweeps" / Path(options.notebook).stem)
        local = not (options.scheduler or options.cluster)
        check(options.notebook, points, local)
        print(f"{len(points)} points, to {output}", flush=True)
        if options.dry_run:
            _show(points, output)
            return
        table = sweep(
            options.notebook, points, output, retries=options.retries, workers=options.workers,
            scheduler=options.scheduler, cluster_file=options.cluster,
            resources=_resources(options.resources),
        )  # fmt: skip
    except (ValueError, SweepError, cluster.ClusterError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on where it was.")
    wanted = {point_name(point) for point in points}
    bad = table[table["point"].isin(wanted) & (table["status"] != "done")]
    print(f"{len(wanted) - len(bad)} of {len(wanted)} points are done: {output}/index.html")
    if len(bad):
        listed = [f"  {line['point']}: {line['error']}" for line in bad.to_dict("records")]
        sys.exit("\n".join([f"{len(bad)} failed:", *listed]))


def _points(options: argparse.Namespace) -> list[Point]:
    known = chapters.defaults(options.notebook)
    grid: dict[str, list[Any]] = {}
    for name, text in options.parameter:
        if name in grid:
            raise ValueError(f"-p {name} is given twice: write its values into one list.")
        grid[name] = values(text, known.get(name))
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


def _show(points: Sequence[Point], output: str) -> None:
    done = {n for n, result in read_results(output).items() if result["status"] == "done"}
    for point in points[:20]:
        print(f"  {'done' if point_name(point) in done else 'to do'}: {describe(point)}")
    if len(points) > 20:
        print(f"  ... and {len(points) - 20} more")
    print(f"{sum(point_name(point) not in done for point in points)} to do")


if __name__ == "__main__":
    main()
