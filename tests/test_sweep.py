import subprocess
import sys

import nbformat
import pytest

from kanvae import sweep

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
    assert sweep.defaults(notebook) == {"count": 3, "rate": 0.5, "name": "a", "flag": True}


def test_a_chapter_is_executed_with_other_parameters(notebook, tmp_path):
    output = tmp_path / "deep" / "out.ipynb"
    sweep.execute(notebook, output, {"count": 7, "rate": 2, "name": "b"}, progress=False)
    cells = nbformat.read(output, as_version=4).cells
    assert cells[-1].outputs[0].text == "7 2 b True\n"
    assert [path.name for path in output.parent.iterdir()] == ["out.ipynb"]


@pytest.mark.parametrize(
    ("parameters", "message"),
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
    notebook, tmp_path, parameters, message
):
    with pytest.raises(ValueError, match=message):
        sweep.execute(notebook, tmp_path / "new" / "out.ipynb", parameters)
    assert [path.name for path in tmp_path.iterdir()] == ["chapter.ipynb"]


def test_a_failing_cell_is_named_and_nothing_is_written(notebook, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(sweep.ChapterError, match=r"code cell .*AssertionError: count is too large"):
        sweep.execute(notebook, tmp_path / "out" / "x.ipynb", {"count": 99}, progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_notebook_without_parameters_is_refused(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="0 cells tagged `parameters`"):
        sweep.defaults(tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="there is no notebook"):
        sweep.defaults(tmp_path / "none.ipynb")


def test_the_parameters_cell_holds_plain_values_only(notebook):
    book = nbformat.read(notebook, as_version=4)
    book.cells[0].source = "count = 3\nimport os"
    nbformat.write(book, notebook)
    with pytest.raises(ValueError, match="line 2 of the `parameters` cell is not NAME = VALUE"):
        sweep.defaults(notebook)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "epochs", "3"], "has no parameter 'epochs'"),
        (["-p", "count", "many"], "is 'many', a str: give a int"),
    ],
)
def test_command_line_refuses_in_one_line(notebook, tmp_path, options, message):
    command = [sys.executable, "-m", "kanvae.sweep", str(notebook), str(tmp_path / "out.ipynb")]
    result = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.ipynb").exists()


def test_command_line_keeps_words_words(notebook, tmp_path):
    sweep.main([str(notebook), str(tmp_path / "out.ipynb"), "-p", "name", "12", "-p", "rate", "1"])
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    assert cells[-1].outputs[0].text == "3 1 12 True\n"
