"""What a sweep costs.

    python benchmarks/sweeps.py [--parts overhead,throughput,scheduling]

overhead    seconds of a point of the training chapter beyond the bare training, and where they go
throughput  points an hour with one worker and with two
scheduling  10,000 points whose work is next to nothing: seconds and memory

Each part writes a table, `book/results/sweeps/PART.csv`, which the chapter on sweeps shows; where
it was measured stands beside them in `provenance.json`. What faults cost, `soak.py` measures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import distributed
import nbformat
import pandas as pd
import psutil

from kanvae import files, origin
from kanvae.studies import cluster, distributing, sweep
from kanvae.studies.sweep import storage

ROOT = Path(__file__).parents[1]
TRAINING = ROOT / "notebooks" / "04_training.ipynb"
SETTINGS: dict[str, Any] = {"architecture": "kan-20-10", "epochs": 2, "device": "cpu"}
POINTS = 8
KILLS = 5  # of each kind


def overhead(folder: Path) -> list[dict[str, Any]]:
    """A training as a process of its own, and as points of a sweep on one worker, in turns."""
    bare, points = [], []
    with cluster.start(workers=1) as client:
        for seed in range(POINTS):
            point = {**SETTINGS, "seed": seed, "demonstrate": False}
            begun = time.perf_counter()
            command = [sys.executable, "-m", "kanvae", "train", str(folder / f"bare-{seed}")]
            for name, value in {**SETTINGS, "seed": seed}.items():
                command += [f"--{name}", str(value)]
            subprocess.run(command, check=True, capture_output=True)
            bare.append(time.perf_counter() - begun)
            output = str(folder / "sweep")
            storage.write_file(f"{output}/{TRAINING.name}", TRAINING.read_bytes())
            begun = time.perf_counter()
            task = (sweep.point_name(point), (output, TRAINING.name, point))
            (result,) = distributing.results(client, sweep.execute_point, [task])
            points.append((time.perf_counter() - begun, result.value))
    found: dict[str, list[float]] = {}
    for process, (wall, value) in list(zip(bare, points, strict=True))[1:]:  # warm
        executed = nbformat.read(folder / "sweep" / value["point"] / "executed.ipynb", 4)
        times = [cell.metadata.papermill for cell in executed.cells if cell.cell_type == "code"]
        seconds = [cell.duration for cell in times]
        whole = executed.metadata.papermill
        trained = value["metrics"]["training_seconds"]
        training = next(
            i for i, c in enumerate(c for c in executed.cells if c.cell_type == "code")
            if "run = train(" in c.source
        )  # fmt: skip
        parts = {
            "point": wall,
            "training alone, timed inside": trained,
            "bare training, a process": process,
            "point beyond the bare training": wall - process,
            "kernel: start to first cell": _between(whole.start_time, times[0].start_time),
            "cells: imports": seconds[1] + seconds[2],
            "cells: data, and reading the run back": seconds[training] - trained,
            "cells: figures and tables": sum(seconds[3:]) - seconds[training],
            "kernel: last cell to end": _between(times[-1].end_time, whole.end_time),
        }
        parts["between: dispatch, checks, files"] = wall - whole.duration
        for name, seconds_ in parts.items():
            found.setdefault(name, []).append(seconds_)
    return [
        {"what": name, "median_seconds": statistics.median(values), "lowest": min(values),
         "highest": max(values), "points": len(values)}
        for name, values in found.items()
    ]  # fmt: skip


def _between(first: str, second: str) -> float:
    return (pd.Timestamp(second) - pd.Timestamp(first)).total_seconds()


def throughput(folder: Path) -> list[dict[str, Any]]:
    """Points an hour with one worker and with two, each with its share of the cores."""
    lines = []
    for workers in (1, 2):
        output = str(folder / f"workers-{workers}")
        storage.write_file(f"{output}/{TRAINING.name}", TRAINING.read_bytes())
        points = [{**SETTINGS, "seed": seed, "demonstrate": False} for seed in range(POINTS)]
        tasks = [(sweep.point_name(p), (output, TRAINING.name, p)) for p in points]
        with cluster.start(workers=workers) as client:
            client.run(len, [])
            begun = time.perf_counter()
            assert all(
                r.value["status"] == "done"
                for r in distributing.results(client, sweep.execute_point, tasks)
            )
            seconds = time.perf_counter() - begun
        lines.append({"workers": workers, "points": POINTS, "seconds": seconds,
                      "points_an_hour": 3600 * POINTS / seconds})  # fmt: skip
    for line in lines:
        line["ratio_to_one_worker"] = line["points_an_hour"] / lines[0]["points_an_hour"]
    return lines


def trivial(output: str, point: dict[str, Any]) -> dict[str, Any]:
    """A point without a notebook: only its result is written."""
    name = sweep.point_name(point)
    result = {"point": name, "parameters": point, "status": "done", "attempts": 1, "seconds": 0.0}
    result |= {"metrics": {"square": point["seed"] ** 2}, "error": "", "commit": ""}
    storage.write_file(f"{output}/{name}/result.json", json.dumps(result).encode())
    return result


def scheduling(folder: Path, count: int = 10_000) -> list[dict[str, Any]]:
    """Many points whose work is next to nothing; what is left is the engine."""
    output = str(folder / "many")
    about = {"notebook": "none.ipynb", "digest": "", "defaults": {"seed": 0}}
    storage.write_file(f"{output}/sweep.json", json.dumps(about).encode())
    points = [{"seed": seed} for seed in range(count)]
    driver = psutil.Process()
    with cluster.start(workers=2) as client:
        before = driver.memory_info().rss
        begun = time.perf_counter()
        tasks = ((sweep.point_name(point), (output, point)) for point in points)
        assert sum(r.error is None for r in distributing.results(client, trivial, tasks)) == count
        ran = time.perf_counter() - begun
        held = driver.memory_info().rss - before
    begun = time.perf_counter()
    assert len(sweep.collect(output)) == count
    collected = time.perf_counter() - begun
    begun = time.perf_counter()
    assert len(sweep.read_results(output)) == count
    resumed = time.perf_counter() - begun
    return [{"points": count, "seconds_scheduled_and_run": ran, "seconds_to_collect": collected,
             "seconds_to_see_what_is_done": resumed, "driver_megabytes": held / 1e6}]  # fmt: skip


def where() -> dict[str, Any]:
    """Where and with what is measured: to be asked before a written table makes the clone dirty."""
    return origin.provenance() | {"cores": os.cpu_count(), "dask": distributed.__version__}


def save(output: Path, part: str, table: pd.DataFrame, measured: dict[str, Any]) -> None:
    """Write the table of a part, and where it was measured."""
    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / f"{part}.csv", index=False, lineterminator="\n")
    path = output / "provenance.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[part] = measured
    files.write_text(path, json.dumps(known, indent=1) + "\n")


PARTS = {"overhead": overhead, "throughput": throughput, "scheduling": scheduling}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure sweeps.")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--output", type=Path, default=ROOT / "book" / "results" / "sweeps")
    options = parser.parse_args()
    measured = where()
    for part in options.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            table = pd.DataFrame(PARTS[part](Path(folder))).round(3)
        save(options.output, part, table, measured)
        print(f"{part}\n{table.to_string(index=False)}\n", flush=True)


if __name__ == "__main__":
    main()
