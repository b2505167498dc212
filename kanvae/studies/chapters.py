"""One chapter: its parameters, its execution by papermill, and what it recorded.

papermill takes any parameter with a warning at most; here a chapter is executed with parameters
that it has, of the types that they have.
"""

from __future__ import annotations

import ast
import numbers
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

MIME = "application/vnd.kanvae+json"  # of an output that holds what a chapter recorded
START_TIMEOUT = 60  # seconds that a kernel may take to start


class ChapterError(RuntimeError):
    """A chapter's own code raised an error while it was executed."""


class KernelError(RuntimeError):
    """A kernel did not start, or died: another try may succeed."""


def record(**values: float | str | list[float]) -> None:
    """Record results of the chapter that calls this, for the table of a sweep.

    Args:
        values: a number, a word, or a list of numbers (a curve, drawn in the sweep's index).

    Raises:
        ValueError: a value of another type.
    """
    from IPython.display import display

    found = {name: _plain(name, value) for name, value in values.items()}
    shown = ", ".join(k for k in found)
    display({MIME: found, "text/plain": f"recorded: {shown}"}, raw=True)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(value, "tolist"):
        return _plain(name, value.tolist())
    if isinstance(value, list | tuple) and all(isinstance(x, numbers.Real) for x in value):
        return [float(x) for x in value]
    raise ValueError(
        f"{name} is a {type(value).__name__}: record a number, a word, or a list of numbers."
    )


def recorded(notebook: NotebookNode) -> dict[str, Any]:
    """What the cells of an executed chapter recorded; of a name recorded twice, the last value."""
    found: dict[str, Any] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found |= output.get("data", {}).get(MIME, {})
    return found


def defaults(notebook: Path | str) -> dict[str, Any]:
    """The parameters of a chapter and their defaults: the assignments of its `parameters` cell.

    Raises:
        ValueError: there is no such file, no such cell, or something else in it than plain values.
    """
    path = Path(notebook)
    if not path.is_file():
        raise ValueError(f"there is no notebook {path}.")
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception as error:
        raise ValueError(f"{path} is not a notebook ({str(error).splitlines()[0]}).") from error
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


def check(
    notebook: Path | str, parameters: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> None:
    """Raise a ValueError if the chapter does not take these parameters, by name or by type.

    Args:
        known: its `defaults`, where they were read before.
    """
    known = defaults(notebook) if known is None else known
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"{notebook} has no parameter {name!r}: it has {', '.join(known)}.")
        wanted = type(known[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ValueError(
                f"the parameter {name} of {notebook} is {value!r}, a {type(value).__name__}: give "
                f"a {wanted.__name__}, such as its default {known[name]!r}."
            )


def value(text: str, default: Any = None) -> Any:
    """What a word of the command line means; a word stays one where the default is one."""
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def execute(
    notebook: Path | str,
    output: Path | str,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = True,
    failed: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> NotebookNode:
    """Execute a chapter with these parameters and write it, with its outputs, to `output`.

    Nothing stands under `output` unless the chapter runs to its end.

    Args:
        progress: whether to show a bar.
        failed: where to keep the partly executed chapter if it fails; nowhere by default.
        environment: variables for the kernel, beside those of this process.

    Raises:
        ValueError: the chapter does not take these parameters.
        ChapterError: a cell of it failed; the message names the cell and the error.
        KernelError: the kernel did not start, or died.
    """
    check(notebook, parameters or {})
    name = Path(notebook).name
    import papermill
    from nbclient.exceptions import DeadKernelError

    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{os.getpid()}-{output.name}")
    try:
        done = papermill.execute_notebook(
            _literal(notebook),
            _literal(part),
            dict(parameters or {}),
            kernel_name="python3",
            progress_bar={"desc": Path(notebook).stem, "leave": True} if progress else False,
            start_timeout=START_TIMEOUT,
            extra_arguments=["--log-level=50"],  # not that local traffic is not encrypted
            kernel_manager_class=_manager({**os.environ, **(environment or {})}),
        )
        part.replace(output)
        return done
    except papermill.PapermillExecutionError as error:
        raise ChapterError(
            f"{name} failed in code cell {error.exec_count}: {error.ename}: {error.evalue}"
        ) from error
    except DeadKernelError as error:
        raise KernelError(f"the kernel of {name} died in the middle of it.") from error
    except RuntimeError as error:  # jupyter_client: "Kernel died before replying", "didn't respond"
        if "Kernel" in str(error):
            raise KernelError(f"the kernel of {name} did not start: {error}") from error
        raise
    finally:
        if part.exists():
            if failed is not None:
                part.replace(failed)
            part.unlink(missing_ok=True)


def _literal(path: Path | str) -> str:
    """A path for papermill, which would put parameters into braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _manager(environment: dict[str, str]) -> type:
    """The class of a kernel manager that starts kernels with these variables."""
    from jupyter_client.manager import AsyncKernelManager

    class Manager(AsyncKernelManager):
        async def _async_start_kernel(self, **options: Any) -> None:
            await super()._async_start_kernel(**{"env": environment, **options})

        start_kernel = _async_start_kernel

    return Manager
