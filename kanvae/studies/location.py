"""Where the results are that the book shows; without torch, which workers of a sweep do without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from kanvae import files, origin, runs

_used: ContextVar[Path | None] = ContextVar("used", default=None)


@contextlib.contextmanager
def using(folder: Path) -> Iterator[None]:
    """Read all results from a folder, for the time of a `with`."""
    token = _used.set(folder)
    try:
        yield
    finally:
        _used.reset(token)


def root() -> Path:
    """Where the results are: what `using` names, else `$KANVAE_RESULTS`, else what this checkout
    computed itself (`runs/results`), else the reference that comes with the book.

    Raises:
        RunError: `$KANVAE_RESULTS` begins with ~, and nobody knows where this user's home is.
    """
    if used := _used.get() or files.named_folder("KANVAE_RESULTS", runs.RunError):
        return used
    checkout = origin.checkout()
    if checkout is None:  # an installed package has a copy of book/results
        return Path(__file__).resolve().parents[1] / "reference"
    own = runs.root() / "results"
    return own if (own / "runs").exists() else checkout / "book" / "results"
