"""Values of a sweep's table, as its page shows them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Best(NamedTuple):
    """The best value of a recorded number, and the line of the table that it stands in."""

    name: str
    lowest: bool  # whether the lowest value is the best, or the highest
    line: int


def number(value: Any) -> float | None:
    """A value as a number that can be drawn, None where it is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None


def short(value: Any) -> str:
    """A value in few letters."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}".replace("-", "\N{MINUS SIGN}")
    return "" if value is None else str(value)
