"""What a sweep leaves to look at, and what becomes of it when files of it are damaged."""

import json
import math
import re
import time

import nbformat
import pandas as pd
import pytest
from conftest import needs_browser, small_notebook

from kanvae.studies import sweep
from kanvae.studies.sweep import page, storage, values

EVIL = "<script>alert('x')</script>&"


def result(folder, parameters, status="done", **metrics):
    """A point's folder, as a worker leaves it."""
    name = sweep.point_name(parameters)
    found = {"point": name, "parameters": parameters, "status": status, "attempts": 1}
    found |= {"seconds": 1.0, "commit": "c", "metrics": metrics, "page": "executed.html"}
    found["error"] = "" if status == "done" else f"DivergedError: {EVIL}"
    storage.write_json(f"{folder}/{name}/result.json", found)
    notebook = "executed.ipynb" if status == "done" else "failed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), folder / name / notebook)
    (folder / name / "executed.html").write_text("<!doctype html>", encoding="utf-8")
    return name


@pytest.fixture
def swept(tmp_path):
    """A sweep of a word and a number, one point of which failed."""
    defaults = {"word": "a", "rate": 0.5, "fixed": (1, 2)}
    about = {"notebook": f"{EVIL}.ipynb", "digest": "d", "defaults": defaults}
    storage.write_json(f"{tmp_path}/sweep.json", about)
    for word in ("a", EVIL):
        for rate in (0.001, 0.01, 0.1):
            score = -100 - abs(math.log10(rate) + 2)
            result(tmp_path, {"word": word, "rate": rate}, elbo=score, nll=-score, curve=[1.0, 2.0])
    result(tmp_path, {"word": "b", "rate": 1.0}, status="failed")
    return tmp_path


def test_the_page_holds_all_that_it_needs_and_nothing_that_runs(swept):
    storage.collect(str(swept))
    text = (swept / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    assert "@import" not in text
    assert EVIL not in text
    assert text.count("<script>") == 1  # its own
    assert text.count("prefers-color-scheme: dark") >= 1
    for link in re.findall(r'href="([^"#]+\.(?:ipynb|html))"', text):
        assert (swept / link).is_file(), link


def test_every_number_is_drawn_against_every_swept_parameter_with_the_best_marked(swept):
    table = storage.collect(str(swept))
    text = (swept / "index.html").read_text(encoding="utf-8")
    for number, best in (("elbo", "-100"), ("nll", "100")):
        for parameter in ("word", "rate"):
            label = rf'aria-label="{number} against {parameter}, 6 points from [-\d]+ to [-\d]+; '
            assert re.search(label + rf"the best, {best}, at {parameter} = ", text), parameter
    assert "against fixed" not in text
    assert 'aria-label="curve of 6 points, a line each"' in text
    assert text.count(" ★</td>") == 2
    assert len(table) == 7


def test_the_table_has_heads_captions_and_numbers_to_sort_by(swept):
    storage.collect(str(swept))
    text = (swept / "index.html").read_text(encoding="utf-8")
    assert text.count("<caption>") == 2
    assert not re.search(r"<th(?![^>]*scope)[ >]", text)
    assert text.count('<td data-number="0.01">0.01</td>') == 2
    assert re.search(r'<tr id="[^"]+" class=failed>.*DivergedError: &lt;script&gt;', text)


@pytest.fixture
def tab(swept, browser):
    """The page in Chromium, which fails its tests if it complains."""
    storage.collect(str(swept))
    tab, complaints = browser.new_page(viewport={"width": 390, "height": 844}), []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.goto((swept / "index.html").as_uri())
    yield tab
    tab.close()
    assert not complaints


def column(tab, name):
    """What a column of the table shows, from top to bottom, without the stars of the best."""
    script = """name => {
        const table = document.getElementById("points");
        const heads = [...table.tHead.rows[0].cells].map(head => head.textContent.trim());
        const rows = [...table.tBodies[0].rows].filter(row => row.checkVisibility());
        const cells = rows.map(row => row.cells[heads.indexOf(name)].textContent);
        return cells.map(text => text.replace("★", "").replace("−", "-").trim());
    }"""
    return tab.evaluate(script, name)


@needs_browser
def test_a_click_on_a_head_sorts_up_then_down_with_nothing_last(tab):
    head = tab.locator("#points thead button", has_text="rate")
    rates = [0.001, 0.001, 0.01, 0.01, 0.1, 0.1, 1.0]
    for order, said in ((rates, "ascending"), (rates[::-1], "descending")):
        head.click()
        assert [float(value) for value in column(tab, "rate")] == order
        assert tab.locator("#points th[aria-sort]").get_attribute("aria-sort") == said
    elbo = tab.locator("#points thead button", has_text="elbo")
    for order in ([-101, -101, -101, -101, -100, -100], [-100, -100, -101, -101, -101, -101]):
        elbo.click()
        *numbers, missing = column(tab, "elbo")
        assert [float(value) for value in numbers] == order
        assert missing in ("", "–")  # of the point that failed


@needs_browser
@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ("", [0.001, 0.001, 0.01, 0.01, 0.1, 0.1, 1.0]),
        ("rate>=0.1", [0.1, 0.1, 1.0]),
        ("rate<0.1 word=a", [0.001, 0.01]),
        ("rate!=0.1 elbo>-101", [0.01, 0.01]),
        ("Diverged", [1.0]),
        ("nowhere", []),
    ],
)
def test_words_and_conditions_filter_and_are_counted(tab, words, rates):
    tab.get_by_label("Filter").fill(words)
    assert sorted(map(float, column(tab, "rate"))) == rates
    assert tab.locator("output").text_content() == f"{len(rates)} of 7 points"


@needs_browser
def test_the_page_is_light_or_dark_and_no_wider_than_a_phone(tab):
    def brightness(what):
        color = tab.evaluate(f"getComputedStyle(document.body).{what}")
        return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3

    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        ink, paper = brightness("color"), brightness("backgroundColor")
        assert (ink > 150 > 100 > paper) if scheme == "dark" else (ink < 100 < 150 < paper)
        wide = "document.documentElement.scrollWidth"
        assert tab.evaluate(wide) <= 390


@pytest.mark.parametrize(
    ("name", "lowest"),
    [("test_elbo", False), ("test_nll", True), ("loss", True), ("accuracy", False),
     ("training_seconds", True), ("gloss", False), ("frechet_distance", True)],
)  # fmt: skip
def test_losses_are_best_where_they_are_lowest(name, lowest):
    found = page._best(pd.DataFrame({name: [2.0, 1.0, float("nan"), 3.0]}), name)
    assert found == values.Best(name, lowest, 1 if lowest else 3)


def test_values_that_are_no_numbers_do_not_stop_the_page(tmp_path):
    about = {"notebook": "n.ipynb", "digest": "d", "defaults": {"a": None, "b": [1]}}
    storage.write_json(f"{tmp_path}/sweep.json", about)
    points = [{"a": 1}, {"a": "x"}, {"a": 2**80}, {"a": None}, {"a": True}, {"b": [2, "ü"]}]
    for i, point in enumerate(points):
        value = [float("nan"), float("inf"), 1.0, "word", True, 2**70][i]
        result(tmp_path, point, score=value, curve=[float("nan"), 1.0])
    table = storage.collect(str(tmp_path))
    assert len(table) == 6
    assert len(pd.read_parquet(tmp_path / "table.parquet")) == 6


def test_a_page_says_how_many_numbers_it_does_not_draw(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "PLOTS", 2)
    about = {"notebook": "n.ipynb", "digest": "d", "defaults": {"rate": 0.5}}
    storage.write_json(f"{tmp_path}/sweep.json", about)
    for rate in (0.1, 0.2):
        result(tmp_path, {"rate": rate}, one=rate, two=rate, three=rate, four=rate)
    storage.collect(str(tmp_path))
    assert "2 numbers are not drawn" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_page_of_a_thousand_points_is_written_within_seconds(tmp_path):
    about = {"notebook": "n.ipynb", "digest": "d", "defaults": {"seed": 0, "word": "a"}}
    storage.write_json(f"{tmp_path}/sweep.json", about)
    for seed in range(500):
        for word in ("a", "b"):
            result(tmp_path, {"seed": seed, "word": word}, elbo=-float(seed), curve=[0.0, seed])
    begun = time.process_time()
    storage.collect(str(tmp_path))
    assert time.process_time() - begun < 20  # about 2 were measured
    assert (tmp_path / "index.html").stat().st_size < 2e6


def test_an_executed_notebook_becomes_a_page_with_its_outputs(tmp_path):
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_markdown_cell("# Head"), nbformat.v4.new_code_cell("print('ü')")]
    book.cells[1].outputs = [nbformat.v4.new_output("stream", text="<b>ü")]
    nbformat.write(book, tmp_path / "executed.ipynb")
    text = page.render_notebook(tmp_path / "executed.ipynb").decode()
    assert "<h1" in text
    assert "&lt;b&gt;ü" in text
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)


def test_a_picture_pasted_into_a_notebook_is_in_its_page(tmp_path):
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_markdown_cell("![p](attachment:x.png)")]
    book.cells[0]["attachments"] = {"x.png": {"image/png": "iVBORw0KGgo="}}
    nbformat.write(book, tmp_path / "executed.ipynb")
    html = page.render_notebook(tmp_path / "executed.ipynb").decode()
    assert "data:image/png;base64,iVBORw0KGgo=" in html


def test_formulas_of_an_executed_notebook_are_drawn_without_a_script(tmp_path):
    book = nbformat.v4.new_notebook()
    text = """
$a_i^2$ and `$no$`, [a neighbour](05_likelihood.ipynb), [the paper](https://arxiv.org/abs/1)

$$\\mathbb{E}_q[\\log p(x|z)] - \\frac{1}{2}$$
"""
    book.cells = [nbformat.v4.new_markdown_cell(text)]
    nbformat.write(book, tmp_path / "executed.ipynb")
    html = page.render_notebook(tmp_path / "executed.ipynb").decode()
    assert re.search(r"<math[^>]*display=.inline.*<msubsup><mi>a</mi><mi>i</mi><mn>2</mn>", html)
    assert re.search(r"<math[^>]*display=.block.*<mfrac>", html)
    assert "<code>$no$</code>" in html
    assert "a neighbour," in html
    assert 'href="https://arxiv.org/abs/1"' in html
    assert "05_likelihood" not in html


# ---- files that were cut ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 30, None])
def test_a_point_whose_notebook_was_cut_is_not_done(swept, size):
    name = sweep.point_name({"word": "a", "rate": 0.01})
    path = swept / name / "executed.ipynb"
    path.unlink() if size is None else path.write_bytes(path.read_bytes()[:size])
    found = sweep.read_results(str(swept))[name]
    assert found["status"] == "failed"
    assert "executed.ipynb is missing or cut" in found["error"]
    table = storage.collect(str(swept)).set_index("point")
    assert table.loc[name, "status"] == "failed"


@pytest.mark.parametrize("content", ["", '{"point": "cou', "null", "[]", '{"point": 1}'])
def test_a_result_that_was_cut_is_none(swept, content):
    name = sweep.point_name({"word": "a", "rate": 0.01})
    (swept / name / "result.json").write_text(content)
    assert name not in sweep.read_results(str(swept))
    assert len(storage.collect(str(swept))) == 6


def test_a_folder_whose_description_was_cut_is_still_known_by_its_copy(tmp_path):
    notebook, output = small_notebook(tmp_path / "chapter.ipynb"), str(tmp_path / "out")
    storage.open_folder(notebook, output)
    before = (tmp_path / "out" / "sweep.json").read_bytes()
    (tmp_path / "out" / "sweep.json").write_bytes(before[:20])
    storage.open_folder(notebook, output)
    assert (tmp_path / "out" / "sweep.json").read_bytes() == before
    other = small_notebook(tmp_path / "other.ipynb", "assert True")
    (tmp_path / "out" / "sweep.json").write_bytes(b"")
    with pytest.raises(sweep.SweepError, match=r"sweep\.json is damaged"):
        storage.open_folder(other, output)


def test_a_copy_of_the_chapter_that_was_cut_is_made_anew(tmp_path):
    notebook, output = small_notebook(tmp_path / "chapter.ipynb"), str(tmp_path / "out")
    storage.open_folder(notebook, output)
    copy = tmp_path / "out" / "chapter.ipynb"
    copy.write_bytes(copy.read_bytes()[:50])
    storage.open_folder(notebook, output)
    assert copy.read_bytes() == notebook.read_bytes()
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["notebook"] == notebook.name
