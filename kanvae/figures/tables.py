"""The book's tables: a data frame, written as people read numbers."""

from __future__ import annotations

import html
import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Format = str | Callable[[Any], str]
SUPERSCRIPTS = str.maketrans("-+0123456789", "⁻ ⁰¹²³⁴⁵⁶⁷⁸⁹")
NO_BREAK = "\u00a0"


def table(frame: pd.DataFrame, formats: Mapping[str, Format] | None = None) -> Table:
    """A frame as a table, its first column being the heads of its rows.

    Numbers get thousands separators and a real minus sign, missing values a dash. In a notebook the
    table shows itself; the book gives it the number and the caption of its cell's metadata,
    `"mystnb": {"table": {"name": "tab-…", "caption": "…"}}`.

    Args:
        frame: its index becomes the first columns, unless it only counts the rows. Underscores in
            the names of columns become spaces.
        formats: head of a column -> format specification (",.1f") or function; by default whole
            numbers are written in full and others with three significant digits.

    Raises:
        ValueError: a column without a head, or a format for a column that is not there.
    """
    import pandas as pd

    counts = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
    whole = frame.reset_index(drop=counts)
    heads = ["" if name is None else str(name).replace("_", " ") for name in whole.columns]
    if "" in heads or (not counts and None in frame.index.names):
        raise ValueError("every column needs a head: name the index with `rename_axis`.")
    formats = formats or {}
    if strange := set(formats) - set(heads):
        raise ValueError(
            f"there is no column {', '.join(sorted(strange))}: there are {', '.join(heads)}."
        )
    columns = [
        [text(value, formats.get(head)) for value in whole.iloc[:, i]]
        for i, head in enumerate(heads)
    ]
    return Table(tuple(heads), tuple(zip(*columns, strict=True)))


def text(value: Any, form: Format | None = None) -> str:
    """A value as the book writes it: 12,345, −0.5, 1.2 × 10⁻⁷, – for what is missing.

    Args:
        form: a format specification for numbers, or a function.
    """
    if isinstance(value, numbers.Real) and math.isnan(value):
        return "–"
    if callable(form):
        written = form(value)
    elif isinstance(value, bool) or not isinstance(value, numbers.Real):
        written = str(value)
    elif form is not None:
        written = format(value, form)
    else:
        written = f"{value:,}" if isinstance(value, numbers.Integral) else f"{value:,.3g}"
    written = re.sub(
        r"(?<=\d)e([+-])0*(\d+)",
        lambda power: f" × 10{(power[1] + power[2]).translate(SUPERSCRIPTS).strip()}",
        written,
    )
    written = re.sub(r"(?<![\w.\-])-(?=\.?\d)", "−", written)
    # a number stays on one line with its error, its unit, its interval
    written = re.sub(r"(?<=\d)%", " %", written)
    written = re.sub(r"(?<=\d) ([±×%]) ?", rf"{NO_BREAK}\1{NO_BREAK}", written).rstrip(NO_BREAK)
    return re.sub(r"\([^()]*\)", lambda part: part[0].replace(" ", NO_BREAK), written)


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; made by `table`, shown by a notebook.

    Args:
        heads: of the columns.
        rows: as many words each.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def _right(self) -> list[bool]:
        """For each column, whether it holds numbers and so stands to the right."""
        number = re.compile(r"[−+–]?[\d.]|–$|missing$")
        return [i > 0 and all(number.match(row[i]) for row in self.rows)
                for i in range(len(self.heads))]  # fmt: skip

    def __str__(self) -> str:
        lines = [self.heads, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.heads))]
        right = self._right()
        return "\n".join(
            "  ".join(
                word.rjust(width) if is_right else word.ljust(width)
                for word, width, is_right in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        side = ["text-align: right" if right else "text-align: left" for right in self._right()]
        head = "".join(
            f'<th scope="col" style="{style}">{html.escape(word)}</th>'
            for word, style in zip(self.heads, side, strict=True)
        )
        body = []
        for first, *others in self.rows:
            cells = [f'<th scope="row" style="{side[0]}">{html.escape(first)}</th>']
            cells += [
                f'<td style="{style}">{html.escape(word)}</td>'
                for word, style in zip(others, side[1:], strict=True)
            ]
            body.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

    def _repr_markdown_(self) -> str:
        rule = tuple("--:" if right else ":--" for right in self._right())
        lines = [tuple(map(_markdown, self.heads)), rule]
        lines += [tuple(map(_markdown, row)) for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown(word: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|$~])", r"\\\1", word)
