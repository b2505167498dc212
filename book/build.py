"""Build the book: execute what changed, put the pages together, render them.

    python book/build.py                    the whole book, to book/_build/html
    python book/build.py -p epochs 1        with another value where a chapter has that parameter
    python book/build.py --check-pairs      only look whether .py and .ipynb agree
    python book/build.py --sync             carry the newer of the two to the other

A chapter is executed again only if its source, its parameters, the module, the data, the reference
results or the locked requirements have changed since. Its page is built from a tree in which every
file has the path that it has in the repository, because the page's Colab button is made from that
path.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import psutil
import yaml
from jupyter_core.utils import ensure_event_loop
from torch import get_num_threads

from kanvae import files, origin
from kanvae.figures import interactive
from kanvae.studies import chapters, location, parameters, results
from kanvae.training import resolve_device

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
EXECUTED = ROOT / "book" / "_executed"
SOURCE = ROOT / "book" / "_build" / "source"
EXTRA = ROOT / "book" / "_build" / "extra"  # files beside the pages: PDF, EPUB, all notebooks
AT_ONCE = 4  # chapters, at most: each takes a gigabyte or two of memory
ALONE = ("17_layer_cost", "18_sweeps", "20_own_work")  # one measures times, two start workers
JUPYTER_BOOK = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
ELSEWHERE = {"changelog": "CHANGELOG.md", "kernels": "kanvae/kernels/README.md"}  # pages of book/
KEPT = ("tags", "mystnb")  # of a cell's metadata: it is source, too
# An exercise as the notebooks have it, so that Colab shows and folds it, too.
EXERCISE = re.compile(
    r"^\*\*(\d+)\.\*\* (.+?)\n\n<details><summary>Solution</summary>\n\n(.+?)\n\n</details>",
    re.MULTILINE | re.DOTALL,
)
METADATA = {  # of a chapter's notebook
    "jupytext": {
        "cell_metadata_filter": "tags,mystnb,-all",
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": "jupytext,kernelspec,-all",
    },
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
}
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pytorch-fid", "jupyter-book")


def chapter_names() -> list[str]:
    """The names of the chapters, in the order of the table of contents."""
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [file.removeprefix("notebooks/") for file in files if file.startswith("notebooks/")]


def strays() -> list[str]:
    """What lies among the chapters and is none, such as a copy that Jupyter made; a line each."""
    known = set(chapter_names())
    files = sorted(path for path in NOTEBOOKS.iterdir() if path.suffix in (".py", ".ipynb"))
    return [
        f"notebooks/{path.name} is not in book/_toc.yml: it is left out."
        for path in files
        if path.stem not in known
    ]


def check_pairs() -> list[str]:
    """What is wrong with the pairs of .py and .ipynb, a line each.

    Sources, tags and captions count; outputs and whatever else Jupyter writes do not.
    """
    problems = []
    for name in chapter_names():
        script, notebook = NOTEBOOKS / f"{name}.py", NOTEBOOKS / f"{name}.ipynb"
        for path, other in ((script, notebook), (notebook, script)):
            if not path.exists() and other.exists():
                problems.append(f"notebooks/{path.name} is missing: `nox -s sync` makes it.")
        if not (script.exists() or notebook.exists()):
            problems.append(f"notebooks/{name} is in book/_toc.yml, and is not there.")
        if not (script.exists() and notebook.exists()):
            continue
        try:
            cells = nbformat.read(notebook, as_version=4).cells
        except Exception as error:  # of many kinds
            problems.append(
                f"notebooks/{notebook.name} is not a notebook ({str(error).splitlines()[0]}): "
                "delete it, and `nox -s sync` makes it anew."
            )
            continue
        first, second = _content(jupytext.read(script).cells), _content(cells)
        if first != second:
            pairs = itertools.zip_longest(first, second)
            number = next(i for i, (a, b) in enumerate(pairs, 1) if a != b)
            newer = max(script, notebook, key=lambda path: path.stat().st_mtime)
            problems.append(
                f"notebooks/{script.name} and notebooks/{notebook.name} differ, first in cell "
                f"{number}: `nox -s sync` carries the newer, {newer.name}, to the "
                "other; to keep the other, `touch` it before."
            )
    return problems


def sync() -> None:
    """Carry the newer of each chapter's two files to the other, as they stand in the repository.

    What Jupyter or Colab wrote into a notebook beside its sources is taken out before: outputs,
    their own settings, and cells that hold nothing.
    """
    for name in chapter_names():
        script, notebook = NOTEBOOKS / f"{name}.py", NOTEBOOKS / f"{name}.ipynb"
        if notebook.exists():
            before, then = notebook.read_bytes(), notebook.stat().st_mtime
            book = nbformat.read(notebook, as_version=4)
            book.metadata = nbformat.from_dict(METADATA)
            book.cells = _without_empty(book.cells)
            for cell in book.cells:
                kept = {k: cell.metadata[k] for k in KEPT if cell.metadata.get(k)}
                cell.metadata = nbformat.from_dict(kept)
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            after = (nbformat.writes(book) + "\n").encode()
            if after != before:
                notebook.write_bytes(after)
                os.utime(notebook, (then, then))  # still the older one, if it was
        first = script if script.exists() else notebook
        subprocess.run([sys.executable, "-m", "jupytext", "--sync", str(first)], check=True)


def _content(cells: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (c.cell_type, c.source.rstrip(), {k: c.metadata[k] for k in KEPT if c.metadata.get(k)})
        for c in _without_empty(cells)
    ]


def _without_empty(cells: list[Any]) -> list[Any]:
    """The cells that hold something; Jupyter likes to add one that does not."""
    return [cell for cell in cells if cell.source.strip()]


def fingerprint(notebook: Path, parameters: dict[str, Any]) -> str:
    """A digest of everything that a chapter's outputs depend on: its prose is not among it."""
    digest = hashlib.sha256(repr(sorted(parameters.items())).encode())
    cells = _without_empty(nbformat.read(notebook, as_version=4).cells)
    digest.update("\0".join(c.source for c in cells if c.cell_type == "code").encode())
    digest.update(_inputs())
    return digest.hexdigest()


@functools.cache
def _inputs() -> bytes:
    """A digest of what all chapters depend on: module, data, reference results, requirements."""
    digest = hashlib.sha256()
    inputs = [path for path in (ROOT / "kanvae").rglob("*.*") if "__pycache__" not in path.parts]
    inputs += [*(ROOT / "data").rglob("*.gz"), *location.root().rglob("*.*")]
    for path in sorted([*inputs, ROOT / "constraints.txt"]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def execution(notebook: Path, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """What is known of a chapter's execution, if nothing that it depends on has changed since."""
    output, stamp = EXECUTED / notebook.name, EXECUTED / f"{notebook.stem}.json"
    if not (output.exists() and stamp.exists()):
        return None
    known = json.loads(stamp.read_text(encoding="utf-8"))
    return known if known["fingerprint"] == fingerprint(notebook, parameters) else None


def execute(notebook: Path, given: dict[str, Any], threads: int, bar: bool) -> dict[str, Any]:
    """Execute a chapter in an empty folder; what is known of its execution."""
    output, wanted = EXECUTED / notebook.name, fingerprint(notebook, given)
    own = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    with (
        tempfile.TemporaryDirectory() as empty,  # alone, as in Colab
        contextlib.closing(ensure_event_loop()),  # of this thread, which Jupyter leaves open
    ):
        done = chapters.execute(notebook, output, given, bar, environment=own, folder=Path(empty))
    known = {
        "fingerprint": wanted,
        "seconds": done.metadata.papermill.duration,
        **origin.provenance(resolve_device("auto")),
        "threads": threads,
    }
    files.write_text(EXECUTED / f"{notebook.stem}.json", json.dumps(known, indent=2))
    return known


def execute_all(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Execute the chapters that changed, with other values where a chapter has such a parameter.

    As many at a time as there are threads, up to `AT_ONCE`, which share these.
    """
    notebooks = [NOTEBOOKS / f"{name}.ipynb" for name in chapter_names()]
    defaults = {notebook: parameters.defaults(notebook) for notebook in notebooks}
    try:
        for name in values:
            if not any(name in own for own in defaults.values()):
                raise ValueError(f"no chapter has a parameter {name!r}.")
        chosen = {n: {k: v for k, v in values.items() if k in defaults[n]} for n in notebooks}
        for notebook in notebooks:
            parameters.check(notebook, chosen[notebook])
        found = {n: known for n in notebooks if (known := execution(n, chosen[n]))}
        for notebook, known in found.items():
            print(f"{notebook.stem}: unchanged since {known['date']}")
        changed = [n for n in notebooks if n not in found]
        found |= _side_by_side({n: chosen[n] for n in changed if n.stem not in ALONE})
        for notebook in changed:
            if notebook.stem in ALONE:
                found |= _side_by_side({notebook: chosen[notebook]})
        return {notebook.stem: found[notebook] for notebook in notebooks}
    except (ValueError, chapters.ChapterError, chapters.KernelError) as error:
        sys.exit(f"book: {error}")


def _side_by_side(changed: dict[Path, dict[str, Any]]) -> dict[Path, dict[str, Any]]:
    """Execute chapters with these parameters, some at a time; what is known of each execution."""
    at_once = max(1, min(AT_ONCE, get_num_threads(), len(changed)))
    threads = get_num_threads() // at_once
    found: dict[Path, dict[str, Any]] = {}
    others = _processes()
    with ThreadPoolExecutor(at_once) as pool:
        begun = {
            pool.submit(execute, notebook, given, threads, at_once == 1): notebook
            for notebook, given in changed.items()
        }
        try:
            for future in as_completed(begun):
                notebook = begun[future]
                found[notebook] = future.result()
                print(f"{notebook.stem}: {found[notebook]['seconds']:.0f} s", flush=True)
        except BaseException:  # a chapter failed, or Ctrl-C, of which kernels do not hear
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in begun):
                for process in _processes() - others:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                time.sleep(0.1)
            raise
    return found


def _processes() -> set[psutil.Process]:
    """All that this process has started, and what these have."""
    return set(psutil.Process().children(recursive=True))


def assemble(executed: dict[str, dict[str, Any]]) -> None:
    """Lay out the pages under SOURCE."""
    pages = sources(executed)
    index = Path("book", "index.md")
    lines = downloads()
    pages[index] = pages[index].replace(b"<!-- downloads -->", "\n".join(lines).encode())
    pages[Path("book", "about.json")] = json.dumps(about(executed), indent=2).encode()
    lay_out(pages, SOURCE)


def sources(executed: dict[str, dict[str, Any]]) -> dict[Path, bytes]:
    """The pages and what they need, by the path that each has in the repository."""
    pages: dict[Path, bytes] = {}
    for path in (ROOT / "book").rglob("*"):
        inside = path.relative_to(ROOT)
        if path.is_file() and inside.parts[1] not in ("_build", "_executed", "results"):
            pages[inside] = path.read_bytes()
    for name in ("_config.yml", "_toc.yml"):
        pages[Path(name)] = pages.pop(Path("book", name))
    index = Path("book", "index.md")
    filled = re.sub(r"<!-- found (\w+) -->", lambda match: found(match[1]), pages[index].decode())
    for stem, name in re.findall(r"<!-- figure (\w+) ([\w-]+) -->", filled):
        text, picture = shown(stem, name)
        filled = filled.replace(f"<!-- figure {stem} {name} -->", text)
        pages[Path("book", f"{name}.png")] = picture
    pages[index] = filled.encode()
    for name, place in ELSEWHERE.items():
        pages[Path("book", f"{name}.md")] = (ROOT / place).read_bytes()
    pages[Path("book", "colophon.md")] = colophon(executed).encode()
    for stem in executed:
        notebook = page(stem)
        if data := figure_data(notebook):  # for pages.py, which puts it into the page
            pages[Path("notebooks", f"{stem}.figures.json")] = json.dumps(data).encode()
        pages[Path("notebooks", f"{stem}.ipynb")] = nbformat.writes(notebook).encode()
    return pages


def lay_out(pages: dict[Path, bytes], folder: Path) -> None:
    """Write the pages to a folder, touching only the files whose content changes."""
    for old in folder.rglob("*"):
        if old.is_file() and old.relative_to(folder) not in pages:
            old.unlink()
    for inside, content in pages.items():
        path = folder / inside
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def about(executed: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What book/head.py tells of the book and its pages: who, when, how long, from which file."""
    book = citation()
    changed = last_changes()
    origins = {f"book/{name}": path for name, path in ELSEWHERE.items()}
    origins["book/colophon"] = "book/build.py"
    origins |= {f"notebooks/{stem}": f"notebooks/{stem}.py" for stem in executed}
    for path in (ROOT / "book").rglob("*.md"):
        inside = path.relative_to(ROOT)
        if inside.parts[1] not in ("_build", "_executed", "results"):
            origins[inside.with_suffix("").as_posix()] = inside.as_posix()
    pages = {
        name: {"origin": path, "changed": changed.get(path), "seconds": None, "threads": None}
        for name, path in origins.items()
    }
    for stem, known in executed.items():
        pages[f"notebooks/{stem}"] |= {key: known[key] for key in ("seconds", "threads")}
    return {
        "title": book["title"],
        "abstract": " ".join(book["abstract"].split()),
        "authors": [author["name"] for author in book["authors"]],
        "date": str(book["date-released"]),
        "pages": pages,
    }


def citation() -> dict[str, Any]:
    """How the book is cited: what CITATION.cff says."""
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def last_changes() -> dict[str, str]:
    """The day of the last commit that touched a file, by its path; nothing without git."""
    command = ["git", "log", "--format=%x00%cs", "--name-only", "--", "book", "notebooks", "*.md"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    days: dict[str, str] = {}
    for commit in done.stdout.decode().split("\0")[1:]:
        day, *paths = commit.split("\n")
        for path in filter(None, paths):
            days.setdefault(path, day)
    return days


def downloads() -> list[str]:
    """Links to the whole book as files, of those that are there; a line each."""
    EXTRA.mkdir(parents=True, exist_ok=True)
    bundle = EXTRA / "kan-vae-notebooks.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in chapter_names():
            entry = zipfile.ZipInfo(f"kan-vae-notebooks/{name}.ipynb")  # of no date: same bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (NOTEBOOKS / f"{name}.ipynb").read_bytes())
    offered = {
        "kan-vae-book.pdf": "PDF",
        "kan-vae-book.epub": "EPUB",
        bundle.name: "notebooks",
    }
    return [
        f'- <a href="../{name}" download>{words}</a> ({(EXTRA / name).stat().st_size / 1e6:.1f} MB)'
        for name, words in offered.items()
        if (EXTRA / name).exists()
    ]


def exercises(text: str, stem: str, solved: bool = True) -> str:
    """The exercises of a cell as numbered directives, each followed by its solution if wanted."""

    def directive(match: re.Match[str]) -> str:
        number, question, answer = match.groups()
        name = label(stem, number)
        asked = f"::::{{exercise}}\n:label: {name}\n\n{question}\n::::"
        return f"{asked}\n\n{solution(name, answer)}" if solved else asked

    return EXERCISE.sub(directive, text)


def label(stem: str, number: str) -> str:
    """The name of an exercise; it stays when chapters are numbered anew."""
    return f"ex-{stem.partition('_')[2].replace('_', '-')}-{number}"


def solution(name: str, answer: str) -> str:
    """The solution of an exercise as a directive."""
    return f"::::{{solution}} {name}\n:label: {name}-solution\n\n{answer}\n::::"


def page(stem: str, solved: bool = True) -> nbformat.NotebookNode:
    """A chapter as it is now, with the outputs of its execution."""
    notebook = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    executed = nbformat.read(EXECUTED / f"{stem}.ipynb", as_version=4)
    notebook.cells = _without_empty(notebook.cells)
    code = [cell for cell in _without_empty(executed.cells) if cell.cell_type == "code"]
    for cell in code:
        cell.outputs = _last_states(cell.outputs)
        for output in cell.outputs:
            data = output.get("data", {})
            data.pop(chapters.MIME, None)  # for sweeps, not for readers
            if text := data.get("text/markdown"):  # its links are not Sphinx's to resolve
                data["text/markdown"] = re.sub(r"(\]\(\d\d_\w+)\.ipynb", r"\1.html", text)
    cells: list[nbformat.NotebookNode] = []
    count = 0
    for cell in notebook.cells:
        if _is_found(cell):  # a place for the front page's links to lead to
            count += 1
            cells.append(_prose(f'<a id="found-{count}"></a>', f"found-{count}"))
        if cell.cell_type == "code":
            done = code.pop(0)
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
            cells += [cell, *_tables(cell, f"{stem}, cell {len(cells) + 1}")]
            _name_fold(cell)
        else:
            cell.source = exercises(cell.source, stem, solved)
            cells.append(cell)
        if code and "injected-parameters" in code[0].metadata.get("tags", []):
            cells.append(code.pop(0))
    notebook.cells = cells
    return notebook


def figure_data(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """The data of a page's interactive figures by their names, taken out of the notebook.

    A digest of the data stays, so that the page is made anew when the data changes.
    """
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if data := output.get("metadata", {}).get(interactive.KEY):
                digest = hashlib.sha256(json.dumps(data).encode()).hexdigest()
                output.metadata[interactive.KEY] = digest
                found[cell.metadata["mystnb"]["figure"]["name"]] = data
    return found


def _tables(cell: nbformat.NotebookNode, where: str) -> list[nbformat.NotebookNode]:
    """The tables that a cell showed, taken out of its outputs, as cells that Sphinx numbers."""
    about = cell.metadata.get("mystnb", {}).pop("table", {})
    shown = [output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    found = [text for text in shown if text.startswith("| ")]
    if about and len(found) != 1:
        sys.exit(f"book: {where} has the caption of a table and shows {len(found)} tables.")
    pairs = zip(cell.outputs, shown, strict=True)
    cell.outputs = [output for output, text in pairs if text not in found]
    if about:
        found = [f":::{{table}} {about['caption']}\n:name: {about['name']}\n\n{found[0]}\n:::"]
    return [_prose(text, f"{cell.id}-{i}") for i, text in enumerate(found)]


def _name_fold(cell: nbformat.NotebookNode) -> None:
    """Have the fold of a cell's code say what the code does."""
    about = cell.metadata.setdefault("mystnb", {})
    if "figure" in about:
        about["code_prompt_show"] = "Show the code that draws this figure"
    elif _is_found(cell):
        about["code_prompt_show"] = "Show the code that computes these sentences"


def _prose(text: str, name: str) -> nbformat.NotebookNode:
    """A cell of prose; its name is the same in every build, so that Sphinx sees no change."""
    return nbformat.v4.new_markdown_cell(text, id=name)


def _is_found(cell: nbformat.NotebookNode) -> bool:
    return "found" in cell.metadata.get("tags", [])


def found(stem: str) -> str:
    """What a chapter found: the sentences of its cells tagged `found`, each with a link to it."""
    lines = []
    for i, cell in enumerate(filter(_is_found, page(stem).cells), 1):
        link = f' (<a href="../notebooks/{stem}.html#found-{i}">chapter {int(stem[:2])}</a>)'
        lines.append(cell.outputs[0].data["text/markdown"].strip() + link)
    text = "\n".join(lines)
    return re.sub(r"\]\((\d\d_\w+)\.html", r"](../notebooks/\1.ipynb", text)  # from book/


def shown(stem: str, name: str) -> tuple[str, bytes]:
    """A figure of a chapter for another page: its Markdown, with a link, and the picture."""
    for cell in page(stem).cells:
        about = cell.metadata.get("mystnb", {})
        if about.get("figure", {}).get("name") == name:
            (picture,) = (
                output.data["image/png"] for output in cell.outputs if "image/png" in output.data
            )
            link = f"[Chapter {int(stem[:2])}](../notebooks/{stem}.ipynb)"
            text = f":::{{figure}} {name}.png\n:alt: {about['image']['alt']}\n\n"
            return f"{text}{about['figure']['caption']} {link}\n:::", base64.b64decode(picture)
    sys.exit(f"book: {stem} has no figure {name}, which the front page shows.")


def _last_states(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs of a cell with, of each progress bar, its last state."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        name = output.get("name")
        if name and merged and merged[-1].get("name") == name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    for output in merged:
        if output.output_type == "stream":
            lines = output.text.split("\n")
            output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return merged


def colophon(executed: dict[str, dict[str, Any]]) -> str:
    """The page that says where and with what this copy of the book was computed."""
    rows = "\n".join(
        f"| {int(stem[:2])}. [](../notebooks/{stem}.ipynb) | {known['seconds']:.0f} | "
        f"{known['threads']} | {known['date'][:10]} | {known['device']} |"
        for stem, known in executed.items()
    )
    processors = sorted({known["processor"] for known in executed.values()})
    first = next(iter(executed.values()))
    versions = "\n".join(f"| {name} | {version(name)} |" for name in PACKAGES)
    return (
        "# About this build\n\n"
        "The figures and tables of this copy were made on the machine below, when it was built,\n"
        "from code, MNIST and stored runs; each run can be trained again. This page is written by\n"
        "the build itself.\n\n## Chapters\n\n"
        "| chapter | seconds | threads | executed | device |\n|---|---|---|---|---|\n"
        f"{rows}\n\nProcessor: {'; '.join(processors)}. Chapters with fewer threads than others\n"
        "were executed beside others. The chapters on results read finished runs; their seconds\n"
        "do not hold the training. When and where each run was trained, at which commit and with\n"
        "which versions,\n"
        f"stands in `provenance.json` beside the tables. These runs: {_trained()}.\n\n"
        "## Versions\n\n| package | version |\n|---|---|\n"
        f"| Python | {first['python']} |\n{versions}\n\n"
        f"All requirements are locked in `constraints.txt`. System: {first['system']}.\n"
    )


def _trained() -> str:
    """Where and when the runs that the chapters read were trained, in a sentence's end."""
    found = list(results.provenance().values())
    devices = sorted({f"{run['device']} ({run['processor']})" for run in found})
    days = sorted(run["date"][:10] for run in found)
    return f"{len(found)} in all, {days[0]} to {days[-1]}, on {' and '.join(devices)}"


def render() -> None:
    """Render the pages; any warning is an error."""
    book = ROOT / "book"
    command = [*JUPYTER_BOOK, "build", str(SOURCE), "--path-output", str(book)]
    if subprocess.run([*command, "-W", "-n", "--keep-going", "-q"]).returncode:
        # Sphinx would not repeat the warnings of pages that it has read, and pass the next time.
        shutil.rmtree(book / "_build" / ".doctrees", ignore_errors=True)
        sys.exit("the book was not rendered: see the warnings above.")
    print(f"The book is at {book / '_build' / 'html' / 'index.html'}")


def main() -> None:
    """Build the book from the command line."""
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    parser.add_argument("--check-pairs", action="store_true", help="only compare .py and .ipynb")
    parser.add_argument("--sync", action="store_true", help="only carry the newer to the other")
    options = parser.parse_args()
    if options.sync:
        sync()
        return
    for stray in strays():
        print(f"book: {stray}", file=sys.stderr)
    if problems := check_pairs():
        sys.exit("\n".join(problems))
    if options.check_pairs:
        return
    values = {name: parameters.parse_value(text) for name, text in options.parameter}
    assemble(execute_all(values))
    render()


if __name__ == "__main__":
    main()
