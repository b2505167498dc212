"""What is installed with an extra of the package, and a sentence where it is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class MissingExtra(ImportError):
    """A package is not installed that one of the extras brings."""


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around an import: where the package is missing, the error says which extra brings it.

    Raises:
        MissingExtra: a package outside `kanvae` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "kanvae").partition(".")[0] == "kanvae":
            raise  # a fault of this package, not of the installation
        raise MissingExtra(
            f"{error.name} is not installed: it comes with pip install 'kanvae[{name}]'."
        ) from error
