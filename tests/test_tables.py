import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from kanvae.figures import tables

FRAME = pd.DataFrame(
    {"parameters": [652_824, 6_512_000], "test_elbo": [-90.9, np.nan], "share": [0.446, 1e-7]},
    index=pd.Index(["vae-400-20", "KAN-VAE*|x"], name="model"),
)


@pytest.mark.parametrize(
    ("value", "form", "written"),
    [
        (652824, None, "652,824"),
        (np.int64(-1234), None, "−1,234"),
        (-90.94, ",.1f", "−90.9"),
        (1.25e-7, ".1e", "1.2 × 10⁻⁷"),
        (3.0e12, ".0e", "3 × 10¹²"),
        (0.4461, ".1%", "44.6 %"),
        (float("nan"), ",.1f", "–"),
        (None, None, "None"),
        (True, None, "True"),
        ("vae-400-20", None, "vae-400-20"),
        ("2026-11-25", None, "2026-11-25"),
        ("-6.4 (-12.0 to +1.2)", None, "−6.4 (−12.0 to +1.2)"),
        ("404 ± 105", None, "404 ± 105"),
        (7, lambda seeds: f"{seeds} seeds", "7 seeds"),
    ],
)
def test_numbers_are_written_as_people_read_them(value, form, written):
    assert tables.text(value, form).replace("\u00a0", " ") == written


def test_a_number_is_not_parted_from_its_error_and_its_interval():
    assert tables.text("404 ± 105") == "404\u00a0±\u00a0105"
    assert tables.text("-6.4 (-12 to 1)").split(" ") == ["−6.4", "(−12\u00a0to\u00a01)"]


def test_html_has_a_head_for_every_row_and_column():
    page = ElementTree.fromstring(tables.table(FRAME, {"share": ".0%"})._repr_html_())
    heads = [(cell.text, cell.get("scope")) for cell in page.iter("th")]
    assert heads == [
        ("model", "col"), ("parameters", "col"), ("test elbo", "col"), ("share", "col"),
        ("vae-400-20", "row"), ("KAN-VAE*|x", "row"),
    ]  # fmt: skip
    assert [cell.text for cell in page.iter("td")][:2] == ["652,824", "−90.9"]


def test_markdown_survives_what_markdown_would_read():
    rows = tables.table(FRAME)._repr_markdown_().split("\n")
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert r"KAN-VAE\*\|x" in rows[3]
    assert rows[1] == "| :-- | --: | --: | --: |"


def test_an_index_that_only_counts_is_left_out():
    counted = tables.table(FRAME.reset_index())
    assert counted.heads[0] == "model"
    assert len(counted.heads) == 4
    assert str(counted).splitlines()[0].split() == ["model", "parameters", "test", "elbo", "share"]


def test_several_levels_of_an_index_become_columns():
    deep = FRAME.set_index("parameters", append=True)
    assert tables.table(deep).heads == ("model", "parameters", "test elbo", "share")


def test_a_column_without_a_head_and_an_unknown_format_are_refused():
    with pytest.raises(ValueError, match="rename_axis"):
        tables.table(FRAME.rename_axis(None))
    with pytest.raises(ValueError, match="no column shares: there are model, parameters"):
        tables.table(FRAME, {"shares": ".0%"})
