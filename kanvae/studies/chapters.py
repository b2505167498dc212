"""One chapter: its execution by papermill, in the Python that runs this, and what it recorded."""

from __future__ import annotations

import atexit
import functools
import numbers
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from kanvae import files
from kanvae.studies import parameters

MIME = "application/vnd.kanvae+json"  # of an output that holds what a chapter recorded
KERNEL = "kanvae-kernel"  # begins the name of a folder of temporary files
HOME = "kanvae-home"
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
        if abs(int(value)) > (most := sys.float_info.max):
            raise ValueError(f"{name} is a number beyond {most:.0e}, which no table can hold.")
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(value, "tolist"):
        return _plain(name, value.tolist())
    if isinstance(value, list | tuple) and all(isinstance(x, numbers.Real) for x in value):
        return [float(_plain(name, x)) for x in value]
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


def execute(
    notebook: Path | str,
    output: Path | str,
    given: Mapping[str, Any] | None = None,
    progress: bool = True,
    failed: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> NotebookNode:
    """Execute a chapter with these parameters and write it, with its outputs, to `output`.

    Nothing stands under `output` unless the chapter runs to its end.

    Args:
        given: its parameters, as far as they differ from its defaults.
        progress: whether to show a bar.
        failed: where to keep the partly executed chapter if it fails; nowhere by default.
        environment: variables for the kernel, beside those of this process.
        folder: where the kernel is at work; where this process is, by default.

    Raises:
        ValueError: the chapter does not take these parameters.
        ChapterError: a cell of it failed; the message names the cell and the error.
        KernelError: the kernel did not start, or died.
    """
    known = parameters.defaults(notebook)
    parameters.check(notebook, given or {}, known)
    name = Path(notebook).name
    import papermill
    from nbclient.exceptions import DeadKernelError

    ensure_home()
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f"{files.tag(files.PART)}{output.name}")
    temporary = Path(tempfile.gettempdir())
    for place, kind in ((output.parent, files.PART), (temporary, KERNEL), (temporary, HOME)):
        files.clear(place, kind)  # what killed processes left
    tuples = {k for k, default in known.items() if isinstance(default, tuple)}
    point = {k: tuple(v) if k in tuples else v for k, v in (given or {}).items()}
    try:
        with tempfile.TemporaryDirectory(prefix=files.tag(KERNEL)) as home:
            source = Path(home) / name
            nbformat.write(_with_parameters(notebook, point), source)
            done = papermill.execute_notebook(
                _literal(source),
                _literal(part),
                kernel_name="python3",
                progress_bar={"desc": Path(notebook).stem, "leave": True} if progress else False,
                start_timeout=START_TIMEOUT,
                extra_arguments=["--log-level=50"],  # not that local traffic is not encrypted
                kernel_manager_class=_manager(home, environment or {}, folder),
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


@functools.cache
def ensure_home() -> None:
    """Give this process a home for its time, if its user has none; Dask and Jupyter ask for it."""
    try:
        Path.home()
    except RuntimeError:
        own = tempfile.TemporaryDirectory(prefix=files.tag(HOME))
        atexit.register(own.cleanup)
        os.environ["HOME"] = own.name


def _literal(path: Path | str) -> str:
    """A path for papermill, which would put parameters into braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _with_parameters(notebook: Path | str, given: Mapping[str, Any]) -> NotebookNode:
    """The chapter with a cell behind its parameters that gives them these values.

    papermill would make such a cell too, but knows few types, and no notebook without a language.
    """
    book = nbformat.read(notebook, as_version=4)
    lines = [f"{name} = {parameters.source(value)}" for name, value in given.items()]
    cells = []
    for cell in book.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" not in tags:  # of an earlier execution
            cells.append(cell)
        if "parameters" in tags and given:
            cells.append(nbformat.v4.new_code_cell("\n".join(["# Parameters", *lines])))
            cells[-1].metadata["tags"] = ["injected-parameters"]
    book.cells = cells
    return book


def _kernel_environment(home: str, more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a kernel: this process's, but none that turn it into another kernel.

    What a user or a site has set for notebooks, or for Python at a terminal, is not the chapter's:
    start-up files, the folder of configuration, the window that plots open in.
    """
    foreign = ("MPLBACKEND", "PYTHONSTARTUP", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
    own = {"IPYTHONDIR": home, "JUPYTER_CONFIG_DIR": home, "JUPYTER_RUNTIME_DIR": home}
    return {k: v for k, v in os.environ.items() if k not in foreign} | own | dict(more)


def _manager(home: str, more: Mapping[str, str], folder: Path | None) -> type:
    """The class of a kernel manager that starts this Python's own kernel, its files in `home`.

    The kernel that is installed under the name python3 may be of another Python.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environment = _kernel_environment(home, more)
    own = KernelSpec(argv=command, display_name="Python 3", language="python")

    class Manager(AsyncKernelManager):
        kernel_spec = own  # type: ignore[assignment]

        async def _async_start_kernel(self, **options: Any) -> None:
            self.connection_file = str(Path(home) / "connection.json")
            await super()._async_start_kernel(**{"env": environment, "cwd": folder, **options})

        start_kernel = _async_start_kernel

    return Manager
