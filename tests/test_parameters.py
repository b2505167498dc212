"""The parameters of chapters: what their cell may hold, and what may be given for them."""

import subprocess
import sys

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanvae.studies import chapters, parameters


def chapter(folder, source, cell="print(1)", metadata=None):
    """A notebook with this `parameters` cell."""
    book = nbformat.v4.new_notebook(metadata=metadata or {})
    book.cells = [nbformat.v4.new_code_cell(source), nbformat.v4.new_code_cell(cell)]
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, folder / "chapter.ipynb")
    return folder / "chapter.ipynb"


SOURCES = [
    "2**10", "-1", "1e-3 * 2", "not True", "~5", "1 << 10", "7 // 2 - 7 % 4", "0x10", "1_000", "1j",
    "None", "'a' 'b' + \"c\"", "'ü' * 3", "b'x'", "()", "(1, 2.5, None)", "[1, [2, 3]] + [4]",
    "{'a': [1, 2], 2: None}", "{1, 2}", "3 > 2", "1 if 2 > 3 else 'x'", "False or 5", "0 and 1",
    "-(2**3) / 4", "1 if None else 2", "'a' < 'b'",
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_expressions_of_constants_are_defaults(source, tmp_path):
    wanted = eval(source)  # these few, of ours
    found = parameters.defaults(chapter(tmp_path, f"# ü\nx = {source}"))["x"]
    assert found == wanted
    assert type(found) is type(wanted)


def test_comments_annotations_and_earlier_parameters_may_stand_in_the_cell(tmp_path):
    source = "# sizes\nn: int = 2**3; m = n // 2  # half\n\nnames = [\n    'a',\n    'b',\n]"
    found = parameters.defaults(chapter(tmp_path, source))
    assert found == {"n": 8, "m": 4, "names": ["a", "b"]}


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a = 1\n%matplotlib inline", 2, "is a command of IPython"),
        ("!pip install x", 1, "is a command of IPython"),
        ("a = 1\nb = = 2", 2, "is not Python"),
        ("a = 1\nb = (1,", 2, "is not Python"),
        ("a = 'x", 1, "is not Python"),
        ("a = 1\nimport os", 2, "is not NAME = VALUE"),
        ("a, b = 1, 2", 1, "is not NAME = VALUE"),
        ("a = b = 1", 1, "is not NAME = VALUE"),
        ("a: int", 1, "is not NAME = VALUE"),
        ("a = 1\na += 1", 2, "is not NAME = VALUE"),
        ("if True:\n    a = 1", 1, "is not NAME = VALUE"),
        ("a = 1\n\nb = open('x')", 3, r"`open\('x'\)` is not a plain value"),
        ("a = undefined", 1, "`undefined` is not a plain value"),
        ("a = ().__class__", 1, "is not a plain value"),
        ("a = f'{1}'", 1, "is not a plain value"),
        ("a = [x for x in (1,)]", 1, "is not a plain value"),
        ("a = 9**9**9", 1, "too large"),
        ("a = 10**5000 * 10**5000", 1, "too large"),
        ("a = 1 << 10**9", 1, "too large"),
        ("a = 'x' * 10**9", 1, "too large"),
        ("a = [0] * 10**9", 1, "too large"),
        ("a = '%999999999d' % 1", 1, "too large"),
        ("a = 1 / 0", 1, "division by zero"),
        ("a = 1 + 'x'", 1, "unsupported operand"),
        ("a = {[]: 1}", 1, "unhashable"),
    ],
)
def test_everything_else_is_refused_in_a_sentence_with_its_line(tmp_path, source, line, message):
    pattern = rf"line {line} of the `parameters` cell, `.*`, .*{message}"
    with pytest.raises(ValueError, match=pattern) as caught:
        parameters.defaults(chapter(tmp_path, source))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["a = 1\n%time b", "ü = = 2", "a = open('ü')", "a = 'ü' + 1"])
def test_it_is_said_in_every_locale(tmp_path, source):
    done = subprocess.run(
        [sys.executable, "-m", "kanvae", "sweep", str(chapter(tmp_path, source)), "-p", "a", "1"],
        capture_output=True, check=False, cwd=tmp_path,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
             "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    lines = done.stderr.decode("ascii").splitlines()
    assert done.returncode == 1
    assert len(lines) == 1
    assert lines[0].startswith("kanvae sweep: ")
    assert "of the `parameters` cell" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["chapter.ipynb"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_every_value_is_written_as_python_reads_it(value):
    assert repr(eval(parameters.source(value))) == repr(value)


def test_a_notebook_without_metadata_runs_with_values_of_every_type(tmp_path):
    source = "pair = (1, 2)\ntable = {'a': 1}\nnothing = None\nlimit = 1.0\nflag = True"
    notebook = chapter(tmp_path, source, "print(repr((pair, table, nothing, limit, flag)))")
    point = {
        "pair": [3, 4],
        "table": {"b": None, 2: (1,)},
        "nothing": "x",
        "limit": float("inf"),
        "flag": False,
    }
    done = chapters.execute(notebook, tmp_path / "out.ipynb", point, progress=False)
    assert done.cells[-1].outputs[0].text == "((3, 4), {'b': None, 2: (1,)}, 'x', inf, False)\n"


def test_a_notebook_of_another_language_is_refused(tmp_path):
    metadata = {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}}
    with pytest.raises(ValueError, match="is a notebook of R: only those of Python"):
        parameters.defaults(chapter(tmp_path, "a = 1", metadata=metadata))


def test_words_of_the_command_line_keep_the_type_of_the_default():
    assert parameters.parse_value("12", "a") == "12"
    assert parameters.parse_value("12", 3) == 12
    assert parameters.parse_value("2**4", 3) == 16
    assert parameters.parse_value("(1, 2)", (0, 0)) == (1, 2)
    assert parameters.parse_value("False", True) is False
    assert parameters.parse_value("many", 3) == "many"  # which `check` then refuses
