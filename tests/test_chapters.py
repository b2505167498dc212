import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from conftest import ROOT
from test_pairs import build

from kanvae.studies import chapters, parameters

PARAMETERS = 'count = 3\nrate = 0.5\nname = "a"\nflag = True'


@pytest.fixture
def notebook(tmp_path):
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "P"}
    cell = nbformat.v4.new_code_cell(PARAMETERS)
    cell.metadata["tags"] = ["parameters"]
    check = nbformat.v4.new_code_cell("assert count < 10, 'count is too large'")
    show = nbformat.v4.new_code_cell("print(count, rate, name, flag)")
    book.cells = [cell, check, show]
    path = tmp_path / "chapter.ipynb"
    nbformat.write(book, path)
    return path


def test_parameters_are_read_from_their_cell(notebook):
    assert parameters.defaults(notebook) == {"count": 3, "rate": 0.5, "name": "a", "flag": True}


def test_a_chapter_is_executed_with_other_parameters(notebook, tmp_path):
    output = tmp_path / "deep" / "out.ipynb"
    chapters.execute(notebook, output, {"count": 7, "rate": 2, "name": "b"}, progress=False)
    cells = nbformat.read(output, as_version=4).cells
    assert cells[-1].outputs[0].text == "7 2 b True\n"
    assert [path.name for path in output.parent.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cuont": 3}, r"has no parameter 'cuont': it has count, rate, name, flag"),
        ({"count": "3"}, r"count of .* is '3', a str: give a int, such as its default 3"),
        ({"count": 3.0}, "is 3.0, a float: give a int"),
        ({"count": True}, "is True, a bool: give a int"),
        ({"flag": 1}, "is 1, a int: give a bool"),
        ({"name": 5}, "is 5, a int: give a str"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_and_nothing_is_written(
    notebook, tmp_path, given, message
):
    with pytest.raises(ValueError, match=message):
        chapters.execute(notebook, tmp_path / "new" / "out.ipynb", given)
    assert [path.name for path in tmp_path.iterdir()] == ["chapter.ipynb"]


def test_a_failing_cell_is_named_and_nothing_is_written(notebook, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(
        chapters.ChapterError, match=r"code cell .*AssertionError: count is too large"
    ):
        chapters.execute(notebook, tmp_path / "out" / "x.ipynb", {"count": 99}, progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_notebook_without_parameters_is_refused(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="0 cells tagged `parameters`"):
        parameters.defaults(tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="there is no notebook"):
        parameters.defaults(tmp_path / "none.ipynb")


def test_the_parameters_cell_holds_plain_values_only(notebook):
    book = nbformat.read(notebook, as_version=4)
    book.cells[0].source = "count = 3\nimport os"
    nbformat.write(book, notebook)
    with pytest.raises(
        ValueError, match=r"line 2 of the `parameters` cell, `import os`, is not NAME = VALUE"
    ):
        parameters.defaults(notebook)


def test_a_failing_chapter_can_be_kept_as_far_as_it_went(notebook, tmp_path):
    failed = tmp_path / "failed.ipynb"
    with pytest.raises(chapters.ChapterError):
        chapters.execute(notebook, tmp_path / "x.ipynb", {"count": 99}, False, failed)
    outputs = [o for c in nbformat.read(failed, as_version=4).cells for o in c.get("outputs", [])]
    assert any(output.output_type == "error" for output in outputs)
    assert not (tmp_path / "x.ipynb").exists()


def test_a_kernel_that_dies_is_told_from_a_failing_cell(notebook, tmp_path):
    book = nbformat.read(notebook, as_version=4)
    book.cells[1].source = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(book, notebook)
    with pytest.raises(chapters.KernelError, match=r"the kernel of chapter.ipynb died"):
        chapters.execute(notebook, tmp_path / "x.ipynb", progress=False)
    assert not (tmp_path / "x.ipynb").exists()


def test_the_kernel_gets_the_environment(notebook, tmp_path):
    book = nbformat.read(notebook, as_version=4)
    book.cells[1].source = "import os; print(os.environ['KANVAE_TEST'], 'PATH' in os.environ)"
    nbformat.write(book, notebook)
    done = chapters.execute(
        notebook, tmp_path / "x.ipynb", progress=False, environment={"KANVAE_TEST": "seen"}
    )
    assert done.cells[-2].outputs[0].text == "seen True\n"


def test_what_a_chapter_records_is_read_back(notebook, tmp_path):
    book = nbformat.read(notebook, as_version=4)
    book.cells[1].source = (
        "import numpy as np\nfrom kanvae.studies import chapters\n"
        "chapters.record(loss=np.float32(1.5), steps=np.int64(3), word='a')\n"
        "chapters.record(loss=2, curve=np.arange(3))"
    )
    nbformat.write(book, notebook)
    done = chapters.execute(notebook, tmp_path / "x.ipynb", progress=False)
    found = {"loss": 2, "steps": 3, "word": "a", "curve": [0.0, 1.0, 2.0]}
    assert chapters.recorded(done) == found
    assert chapters.recorded(nbformat.read(tmp_path / "x.ipynb", as_version=4)) == found


def test_only_numbers_words_and_curves_are_recorded():
    with pytest.raises(ValueError, match="model is a dict: record a number, a word, or a list"):
        chapters.record(model={"a": 1})
    for value in (10**400, [1, -(10**400)]):
        with pytest.raises(ValueError, match=r"steps is a number beyond 2e\+308"):
            chapters.record(steps=value)


def test_what_a_killed_execution_left_is_gone_after_the_next(notebook, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    execute = "import sys; from kanvae.studies import chapters; chapters.execute(*sys.argv[1:])"
    command = [sys.executable, "-c", execute, str(notebook), str(tmp_path / "out" / "x.ipynb")]
    book = nbformat.read(notebook, as_version=4)
    whole = book.cells[1].source
    book.cells[1].source = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    nbformat.write(book, notebook)
    killed = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = temporary.iterdir()  # with all files of the kernel inside
    assert left.name.startswith(chapters.KERNEL)
    book.cells[1].source = whole
    nbformat.write(book, notebook)
    subprocess.run(command, env=environment, check=True)
    assert list(temporary.iterdir()) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.ipynb"]


MEETS = """
import os, time
print(os.environ["OMP_NUM_THREADS"], os.listdir())
open(f"{folder}/{name}", "w").close()
end = time.time() + 30
while not os.path.exists(f"{folder}/{other}"):
    assert time.time() < end, "it is alone"
"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """Makes a book of chapters from their code, where two threads are free."""
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(build, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(build, "get_num_threads", lambda: 2)

    def make(**sources):
        monkeypatch.setattr(build, "chapter_names", lambda: list(sources))
        for name, source in sources.items():
            cells = [nbformat.v4.new_code_cell(text) for text in ("seed = 0", source)]
            cells[0].metadata["tags"] = ["parameters"]
            nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")

    return make


def test_chapters_of_the_book_are_executed_side_by_side_each_in_an_empty_folder(
    book, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(build, "ALONE", ("last",))
    names = f"folder, name, other = {str(tmp_path)!r}"
    book(
        last="import os\nprint(os.environ['OMP_NUM_THREADS'], os.listdir())",
        one=f"{names}, 'a', 'b'{MEETS}",
        two=f"{names}, 'b', 'a'{MEETS}",
    )
    found = build.execute_all({})
    assert list(found) == ["last", "one", "two"]  # as in the table of contents
    for name, threads in (("one", 1), ("two", 1), ("last", 2)):
        executed = nbformat.read(tmp_path / "executed" / f"{name}.ipynb", as_version=4)
        assert executed.cells[1].outputs[0].text == f"{threads} []\n"
        assert found[name]["threads"] == threads
    capsys.readouterr()
    assert build.execute_all({}) == found
    assert capsys.readouterr().out.count("unchanged since") == 3


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ("1 / 0", r"fails.ipynb failed in code cell 2: ZeroDivision"),
        ("import os; os._exit(1)", r"the kernel of fails.ipynb died"),
    ],
)
def test_a_chapter_that_fails_ends_the_others(ends, message, book, tmp_path):
    book(
        fails=f"import time; time.sleep(1); {ends}",
        sleeps="import time; time.sleep(300)",
        waits=f"open({str(tmp_path / 'begun')!r}, 'w')",
    )
    begun, before = time.monotonic(), set(psutil.Process().children())
    with pytest.raises(SystemExit, match=f"book: {message}"):
        build.execute_all({})
    assert time.monotonic() - begun < 60
    assert set(psutil.Process().children()) == before
    assert list((tmp_path / "executed").iterdir()) == []
    assert not (tmp_path / "begun").exists()
