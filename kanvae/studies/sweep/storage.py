"""What a sweep keeps, in a local folder or in an object store (s3://, gs://)."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import nbformat

from kanvae import files
from kanvae.studies import parameters
from kanvae.studies.sweep.page import render_page
from kanvae.studies.sweep.points import in_order

if TYPE_CHECKING:
    import pandas as pd

# Columns of the table, beside the chapter's: of its beginning, and of its end.
FIRST, LAST = ("point", "status"), ("attempts", "seconds", "error", "commit")


class SweepError(RuntimeError):
    """A folder holds something else, or cannot be written."""


def is_local(path: str) -> bool:
    """Whether an output is a folder of this machine's file systems."""
    return "://" not in path


def write_file(path: str, content: bytes) -> None:
    """Write a file so that others see the whole of it or nothing."""
    if not is_local(path):
        fs, inside = fsspec.url_to_fs(path)
        fs.pipe_file(inside, content)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(Path(path), content)


def read_file(path: str) -> bytes | None:
    """What a file holds, None where there is none."""
    if is_local(path):
        return Path(path).read_bytes() if Path(path).is_file() else None
    fs, inside = fsspec.url_to_fs(path)
    fs.invalidate_cache()
    try:
        return fs.cat_file(inside)
    except FileNotFoundError:
        return None


def write_json(path: str, value: Any) -> None:
    """Write a value as JSON; what JSON does not know is written as its `repr`."""
    write_file(path, json.dumps(value, indent=1, default=repr).encode())


def read_results(output: str, name: str = "*") -> dict[str, dict[str, Any]]:
    """The results in a sweep's folder, or the one of a point, by the name of their point.

    A result that is damaged is none. One whose executed notebook is missing or cut, as a full disk
    or a power cut leaves it, is a failed one, so that the point is executed again.
    """
    if is_local(output):
        here = list(Path(output).glob(f"{name}/result.json"))
        contents = [file.read_bytes() for file in here]
        whole = [_is_whole(file.with_name("executed.ipynb")) for file in here]
    else:
        fs, inside = fsspec.url_to_fs(output)
        fs.invalidate_cache()
        paths = fs.glob(f"{inside}/{name}/result.json")
        many = len(paths) > 1  # an empty list is refused
        by_path = fs.cat(paths) if many else {path: fs.cat_file(path) for path in paths}
        contents = [by_path[path] for path in paths]
        executed = set(fs.glob(f"{inside}/{name}/executed.ipynb"))
        whole = [f"{path.removesuffix('result.json')}executed.ipynb" in executed for path in paths]
    found = {}
    for content, is_whole in zip(contents, whole, strict=True):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            result = json.loads(content)
            if result["status"] == "done" and not is_whole:
                result |= {
                    "status": "failed",
                    "error": "executed.ipynb is missing or cut: the same sweep executes it again.",
                }
            found[result["point"]] = result
    return found


def _is_whole(notebook: Path) -> bool:
    """Whether a notebook was written to its end, without reading all of it."""
    try:
        with notebook.open("rb") as file:
            file.seek(-2, 2)
            return file.read().rstrip().endswith(b"}")
    except OSError:  # it is missing, or shorter than that
        return False


def open_folder(notebook: Path | str, output: str) -> None:
    """See to it that the folder is this chapter's, and holds a copy of it for the workers.

    Raises:
        SweepError: it holds a sweep of another chapter, or of another version of this one.
    """
    name, copy = Path(notebook).name, read_file(f"{output}/{Path(notebook).name}")
    wanted = {
        "notebook": name,
        "digest": _digest(Path(notebook).read_bytes()),
        "defaults": parameters.defaults(notebook),
    }
    about = read_file(f"{output}/sweep.json")
    found = _parse(about)
    if about is not None and found is None:  # cut: the copy says as well which chapter it is of
        if _digest(copy) != wanted["digest"]:
            raise SweepError(
                f"{output}/sweep.json is damaged, so that nobody knows which chapter the folder "
                "is of: choose another folder, or delete that file if it is of this chapter."
            )
        found = wanted
        write_json(f"{output}/sweep.json", wanted)
    if found is not None and found["digest"] != wanted["digest"]:
        same = found["notebook"] == name
        raise SweepError(
            f"{output} holds a sweep of {'another version of ' if same else ''}"
            f"{found['notebook']}: choose another folder, or delete that one if it is no longer "
            "wanted."
        )
    if _digest(copy) != wanted["digest"]:
        write_file(f"{output}/{name}", Path(notebook).read_bytes())
    if found is None:
        write_json(f"{output}/sweep.json", wanted)


def _digest(notebook: bytes | None) -> str:
    """A digest of a notebook's code, "" for what is no notebook."""
    try:
        cells = nbformat.reads((notebook or b"").decode(), as_version=4).cells
    except Exception:  # of many kinds: the file may be cut anywhere
        return ""
    code = "\0".join(cell.source for cell in cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def _parse(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(content or b"")
        return found if {"notebook", "digest", "defaults"} <= found.keys() else None
    except (ValueError, AttributeError):
        return None


def collect(output: str, failed: Mapping[str, dict[str, Any]] | None = None) -> pd.DataFrame:
    """Write the tables and the page of a sweep's folder, and return the table.

    Args:
        failed: results that are not in the folder, of points that could not even write them.
    """
    import pandas as pd  # which workers do without

    known = {**(failed or {}), **read_results(output)}
    found = sorted(known.values(), key=lambda result: in_order(result["parameters"]))
    about = _parse(read_file(f"{output}/sweep.json")) or {"notebook": "", "defaults": {}}
    lines, curves = [], {}
    kinds: dict[str, str] = {}  # of the table's columns: parameter or recorded
    for result in found:
        line = {key: result.get(key) for key in FIRST}
        metrics = result.get("metrics", {})
        for kind, entries in (
            ("parameter", about["defaults"] | result["parameters"]),
            ("recorded", {k: v for k, v in metrics.items() if not isinstance(v, list)}),
        ):
            for key, entry in entries.items():
                taken = key in FIRST + LAST or kinds.get(key, kind) != kind
                column = f"{kind}_{key}" if taken else key
                kinds[column] = kind
                line[column] = repr(entry) if isinstance(entry, list | tuple | dict) else entry
        lines.append(line | {key: result.get(key) for key in LAST})
        curves[result["point"]] = {k: v for k, v in metrics.items() if isinstance(v, list)}
    table = pd.DataFrame(lines)
    last = [key for key in LAST if key in table]
    table = table[[*table.columns.drop(last), *last]]
    pages = {result["point"]: result.get("page", "") for result in found}
    write_file(f"{output}/table.csv", table.to_csv(index=False, lineterminator="\n").encode())
    write_file(f"{output}/table.parquet", _typed(table).to_parquet(index=False))
    write_file(f"{output}/index.html", render_page(about["notebook"], table, kinds, curves, pages))
    return table


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with words in the columns whose values have no type in common."""
    import pyarrow as pa

    table = table.copy()
    for name in (name for name in table if table[name].dtype.kind == "O"):
        try:
            pa.array(table[name], from_pandas=True)
        except (pa.ArrowException, OverflowError):
            table[name] = table[name].map(str)
    return table
