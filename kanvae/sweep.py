"""Executing a chapter with other parameters: papermill, with the checks that it leaves out.

python -m kanvae.sweep notebooks/04_training.ipynb out.ipynb -p architecture kan-20-10 -p seed 3
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat


class ChapterError(RuntimeError):
    """A chapter's own code raised an error while it was executed."""


def defaults(notebook: Path | str) -> dict[str, Any]:
    """The parameters of a chapter and their defaults: the assignments of its `parameters` cell.

    Raises:
        ValueError: there is no such file, no such cell, or something else in it than plain values.
    """
    path = Path(notebook)
    if not path.is_file():
        raise ValueError(f"there is no notebook {path}.")
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path} has {len(tagged)} cells tagged `parameters`: it must have one.")
    values = {}
    for statement in ast.parse(tagged[0].source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = ast.literal_eval(value)
            case _:
                raise ValueError(
                    f"{path}: line {statement.lineno} of the `parameters` cell is not NAME = VALUE."
                )
    return values


def check(notebook: Path | str, parameters: Mapping[str, Any]) -> None:
    """Raise a ValueError if the chapter does not take these parameters, by name or by type."""
    known = defaults(notebook)
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{notebook} has no parameter {name!r}: it has {', '.join(known)}.")
        wanted = type(known[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ValueError(
                f"the parameter {name} of {notebook} is {value!r}, a {type(value).__name__}: give "
                f"a {wanted.__name__}, such as its default {known[name]!r}."
            )


def execute(
    notebook: Path | str,
    output: Path | str,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Execute a chapter with these parameters and write it, with its outputs, to `output`.

    Nothing is written unless the chapter runs to its end.

    Raises:
        ValueError: the chapter does not take these parameters.
        ChapterError: a cell of it failed; the message names the cell and the error.
    """
    check(notebook, parameters or {})
    import papermill

    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{os.getpid()}-{output.name}")
    try:
        papermill.execute_notebook(
            notebook,
            part,
            dict(parameters or {}),
            kernel_name="python3",
            progress_bar={"desc": Path(notebook).stem, "leave": True} if progress else False,
            start_timeout=120,
        )
        part.replace(output)
    except papermill.PapermillExecutionError as error:
        raise ChapterError(
            f"{notebook} failed in code cell {error.exec_count}: {error.ename}: {error.evalue}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Execute a chapter from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kanvae.sweep", description="Execute one chapter."
    )
    parser.add_argument("notebook")
    parser.add_argument("output", help="where to write the executed notebook")
    parser.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    options = parser.parse_args(arguments)
    try:
        known = defaults(options.notebook)
        execute(
            options.notebook,
            options.output,
            {name: value(text, known.get(name)) for name, text in options.parameter},
        )
    except (ValueError, ChapterError) as error:
        sys.exit(f"{parser.prog}: {error}")


def value(text: str, default: Any = None) -> Any:
    """What a word of the command line means; a word stays one where the default is one."""
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


if __name__ == "__main__":
    main()
