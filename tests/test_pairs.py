"""The two files of each chapter: what makes them differ, and how they are brought together."""

import importlib.util
import os
import shutil

import jupytext
import nbformat
import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("build", ROOT / "book" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

NAME = "01_bsplines"


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A folder with one chapter, which is all of the book."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for suffix in (".py", ".ipynb"):
        shutil.copy2(ROOT / "notebooks" / f"{NAME}{suffix}", folder)
    monkeypatch.setattr(build, "NOTEBOOKS", folder)
    monkeypatch.setattr(build, "chapter_names", lambda: [NAME])
    return folder


def saved_by_jupyter(path, source=None):
    """A notebook as Jupyter or Colab saves it after it was run, newer than it was."""
    book = nbformat.read(path, as_version=4)
    book.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "mine"}}
    for cell in book.cells:
        cell.metadata |= {"collapsed": False, "id": "x"}
        if cell.cell_type == "code":
            cell.execution_count = 7
            cell.outputs = [nbformat.v4.new_output("stream", text="shown")]
    if source:
        book.cells[2].source = source
    book.cells.append(nbformat.v4.new_code_cell(""))
    nbformat.write(book, path)
    os.utime(path, (2e9, 2e9))


def test_what_jupyter_writes_beside_the_sources_does_not_count(notebooks):
    saved_by_jupyter(notebooks / f"{NAME}.ipynb")
    assert build.check_pairs() == []


def test_a_copy_among_the_chapters_is_named_and_left_out(notebooks):
    shutil.copy(notebooks / f"{NAME}.ipynb", notebooks / f"{NAME}-Copy1.ipynb")
    (notebooks / "Untitled.ipynb").write_text("")
    assert build.check_pairs() == []
    assert build.strays() == [
        f"notebooks/{NAME}-Copy1.ipynb is not in book/_toc.yml: it is left out.",
        "notebooks/Untitled.ipynb is not in book/_toc.yml: it is left out.",
    ]


def test_sources_that_differ_are_named_and_the_newer_is_carried_over(notebooks):
    script, notebook = notebooks / f"{NAME}.py", notebooks / f"{NAME}.ipynb"
    before = nbformat.read(notebook, as_version=4)
    header = script.read_text(encoding="utf-8").partition("# %%")[0]
    saved_by_jupyter(notebook, source="changed = 'ü'")
    (problem,) = build.check_pairs()
    assert problem.startswith(f"notebooks/{NAME}.py and notebooks/{NAME}.ipynb differ, first in ")
    assert f"carries the newer, {NAME}.ipynb, to the other" in problem
    build.sync()
    assert build.check_pairs() == []
    assert script.read_text(encoding="utf-8").startswith(header)  # it is a pair still
    assert jupytext.read(script).cells[2].source == "changed = 'ü'"
    after = nbformat.read(notebook, as_version=4)
    assert after.metadata == before.metadata
    assert [c.id for c in after.cells] == [c.id for c in before.cells]
    assert not any(cell.get("outputs") for cell in after.cells)


@pytest.mark.parametrize("lost", [".py", ".ipynb"])
def test_a_file_that_is_missing_is_made_from_the_other(notebooks, lost):
    (notebooks / f"{NAME}{lost}").unlink()
    assert build.check_pairs() == [f"notebooks/{NAME}{lost} is missing: `nox -s sync` makes it."]
    build.sync()
    assert build.check_pairs() == []


def test_a_notebook_that_is_cut_is_named(notebooks):
    path = notebooks / f"{NAME}.ipynb"
    path.write_bytes(path.read_bytes()[:1000])
    (problem,) = build.check_pairs()
    assert problem.startswith(f"notebooks/{NAME}.ipynb is not a notebook (")
    assert problem.endswith("delete it, and `nox -s sync` makes it anew.")


def test_the_chapters_are_those_of_the_table_of_contents():
    assert build.chapter_names()[0] == "01_bsplines"
    assert all((ROOT / "notebooks" / f"{name}.py").exists() for name in build.chapter_names())
    assert build.strays() == []
