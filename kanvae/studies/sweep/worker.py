"""One point of a sweep, on a worker: the chapter executed, its result and its page written."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from kanvae import files, origin
from kanvae.studies import chapters, distributing, location
from kanvae.studies.sweep.page import render_notebook
from kanvae.studies.sweep.points import Point, point_name
from kanvae.studies.sweep.storage import is_local, read_file, read_results, write_file, write_json

STARTS = 3  # how often a kernel is started before its failure to start, or its death, counts
PRODUCTS = ("executed.ipynb", "executed.html", "failed.ipynb", "failed.html")


def execute_point(output: str, notebook: str, point: Point) -> dict[str, Any]:
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
            result |= _execute_in(folder, output, notebook, point)
            result["seconds"] = round(time.time() - begun, 3)
            write_json(f"{output}/{name}/result.json", result)
    except OSError as error:  # such as a full disk: it is not done, and will be started again
        result |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return result


def _execute_in(folder: Path, output: str, notebook: str, point: Point) -> dict[str, Any]:
    """Execute a point in its own folder; what its result holds beside the point itself."""
    for old in (*folder.glob(f"{files.PART}-*"), *(folder / file for file in PRODUCTS)):
        old.unlink(missing_ok=True)  # of a worker that was killed, or of the attempt before
    source = folder / notebook
    source.write_bytes(read_file(f"{output}/{notebook}") or b"")
    environment = {
        "KANVAE_RUNS": str(folder / "runs"),
        "KANVAE_RESULTS": str(location.root()),
        **distributing.mark(),
    }
    found: dict[str, Any] = {"commit": origin.commit(), "error": "", "page": ""}
    executed, failed = folder / "executed.ipynb", folder / "failed.ipynb"
    for start in itertools.count(1):
        try:
            done = chapters.execute(source, executed, point, False, failed, environment)
            found |= {"status": "done", "metrics": chapters.recorded(done)}
            failed.unlink(missing_ok=True)  # of a kernel that died before
        except chapters.KernelError as error:
            if start < STARTS:
                time.sleep(start)
                continue
            found |= {"status": "failed", "error": str(error)}
        except (chapters.ChapterError, ValueError) as error:
            found |= {"status": "failed", "error": str(error)}
        break
    source.unlink()
    for file in filter(Path.exists, (executed, failed)):
        page = file.with_suffix(".html")
        try:
            files.write_bytes(page, render_notebook(file))
            found["page"] = page.name
        except OSError:
            raise  # a full disk, say
        except Exception as error:  # whatever nbconvert makes of a notebook: the result counts
            print(f"{file} has no page ({type(error).__name__}: {error})", flush=True)
    if not is_local(output):
        for file in map(folder.joinpath, PRODUCTS):
            if file.exists():
                write_file(f"{output}/{folder.name}/{file.name}", file.read_bytes())
    return found
