"""Options of a command line that are the fields of a class."""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from typing import Any


def add_fields(parser: argparse.ArgumentParser, settings: type) -> None:
    """Add an option for each field of a dataclass or a named tuple: `--batch_size 32`.

    Its type is the field's, its help the field's line in the docstring's `Args:`.
    """
    kinds = typing.get_type_hints(settings)
    about = {k: v for base in reversed(settings.__mro__) for k, v in _described(base).items()}
    for name, field in inspect.signature(settings).parameters.items():
        needed = field.default is inspect.Parameter.empty
        shown = "" if needed or field.default is None else f" ({field.default})"
        options: dict[str, Any] = {"help": (about.get(name, "") + shown).strip().replace("%", "%%")}
        options |= {"required": True} if needed else {"default": field.default}
        kind = kinds[name]
        if isinstance(kind, types.UnionType):  # such as int | None
            kind = next(kind_ for kind_ in typing.get_args(kind) if kind_ is not types.NoneType)
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif kind in (int, float):
            options["type"] = kind
        parser.add_argument(f"--{name}", **options)


def values(options: argparse.Namespace, settings: type) -> dict[str, Any]:
    """The fields of the class, as the options give them."""
    return {name: getattr(options, name) for name in inspect.signature(settings).parameters}


def _described(settings: type) -> dict[str, str]:
    """The lines of a docstring's `Args:`, by the names of the fields that they are of."""
    found: dict[str, str] = {}
    for kind in reversed(settings.__mro__):  # a class has the fields of those that it builds on
        text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
        block = re.search(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
        for item in re.split(r"\n(?=    \S)", block[1] if block else ""):
            names, colon, description = item.partition(":")
            if colon:
                found |= {n.strip(): " ".join(description.split()) for n in names.split(",")}
    return found
