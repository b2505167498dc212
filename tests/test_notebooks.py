"""Every chapter runs from top to bottom, alone, with small parameters."""

import re

import jupytext
import nbformat
import pytest
from conftest import ROOT
from markdown_it import MarkdownIt
from run_alone import SMALL, run_alone
from test_pairs import build

from kanvae.studies import command, parameters

# With small parameters these take as long as the build's execution, which is not repeated. What
# chapter 17 asserts of times is to be measured on a machine that runs no tests meanwhile.
AS_LONG = (
    "08_posterior_sampling", "10_paper_figures", "11_why", "12_what_we_found",
    "14_other_basis_functions", "16_kans_elsewhere", "17_layer_cost", "18_sweeps", "20_own_work",
)  # fmt: skip
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory):
    """Later chapters read what earlier ones trained."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_executes_alone(chapter, tmp_path, shared_runs, monkeypatch):
    monkeypatch.setenv("KANVAE_DATA", str(ROOT / "data"))
    monkeypatch.setenv("KANVAE_RUNS", str(shared_runs))
    if chapter.stem in AS_LONG and build.execution(chapter, {}):  # alone, too
        executed = nbformat.read(build.EXECUTED / chapter.name, as_version=4)
    else:
        executed = run_alone(chapter, tmp_path)
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    errors = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not any("Warning" in text for text in errors), errors


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_code_fits_the_page(chapter):
    for cell in nbformat.read(chapter, as_version=4).cells:
        if cell.cell_type == "code":
            assert [line for line in cell.source.splitlines() if len(line) > 75] == []


def test_small_parameters_exist():
    for stem, small in SMALL.items():
        parameters.check(ROOT / "notebooks" / f"{stem}.ipynb", small)


def test_what_measures_times_or_starts_workers_is_executed_alone():
    assert {*build.ALONE} <= {*build.chapter_names()}
    starting = {path.stem for path in CHAPTERS if "sweep.sweep(" in path.read_text("utf-8")}
    assert {"17_layer_cost", *starting} == {*build.ALONE}


def test_a_chapter_with_an_impossible_value_ends_with_one_message_and_writes_nothing(
    tmp_path, monkeypatch
):
    chapter = ROOT / "notebooks" / "04_training.ipynb"
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="hidden_features is 0") as stop:
        command.main(["sweep", str(chapter), "-p", "architecture", "kan-0-5"])
    assert "\n" not in str(stop.value.code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
class TestForm:
    def test_what_draws_a_figure_is_folded(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if "figure" in cell.metadata.get("mystnb", {}):
                assert {"hide-input", "remove-input"} & set(cell.metadata.get("tags", ())), (
                    cell.source
                )

    def test_no_outputs_are_committed(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            assert not cell.get("outputs")
            assert not cell.get("execution_count")

    def test_first_cells_install_import_and_take_parameters(self, chapter):
        code = [c for c in nbformat.read(chapter, as_version=4).cells if c.cell_type == "code"]
        assert "git+https" in code[0].source
        assert code[1].source.startswith(("import", "from"))
        assert code[2].metadata["tags"] == ["parameters"]

    def test_every_figure_has_a_caption_a_name_an_alternative_text_and_is_discussed(self, chapter):
        cells = nbformat.read(chapter, as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        drawing = [c for c in cells if c.cell_type == "code" and "figures." in c.source]
        assert drawing
        for cell in drawing:
            figure = cell.metadata["mystnb"]["figure"]
            assert figure["caption"].endswith(".")
            assert cell.metadata["mystnb"]["image"]["alt"]
            assert f"{{numref}}`{figure['name']}`" in prose, figure["name"]

    def test_every_table_has_a_caption_and_is_discussed(self, chapter):
        cells = nbformat.read(chapter, as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for cell in cells:
            if cell.cell_type == "code" and re.search(r"^tables\.table\(", cell.source, re.M):
                table = cell.metadata["mystnb"]["table"]
                assert table["caption"].endswith("."), table["name"]
                assert table["name"].startswith("tab-")
                assert f"{{numref}}`{table['name']}`" in prose, table["name"]

    def test_the_star_of_a_models_name_ends_no_bold_words(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.cell_type != "markdown":
                continue
            for block in MarkdownIt().parse(cell.source):
                depth = 0
                for token in block.children or ():
                    depth += (token.type == "em_open") - (token.type == "em_close")
                    assert not depth or "VAE" not in token.content, block.content

    def test_every_numbered_equation_has_a_name_of_its_kind(self, chapter):
        text = jupytext.writes(nbformat.read(chapter, as_version=4), "md")
        for label in re.findall(r"^\$\$ \((.*?)\)", text, re.MULTILINE):
            assert label.startswith("eq-")

    def test_it_opens_with_a_question_and_ends_with_references(self, chapter):
        cells = nbformat.read(chapter, as_version=4).cells
        assert "**The question.**" in cells[0].source
        assert "Open in Colab" in cells[0].source
        last = cells[-1].source
        for heading in ("## What we saw", "## Exercises", "## References"):
            assert heading in last
        assert last.count("<details>") in (2, 3)

    def test_a_cell_is_at_most_a_screen(self, chapter):
        for cell in nbformat.read(chapter, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.source.count("\n") < 30, cell.source
