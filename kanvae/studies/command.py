"""The command `kanvae`: what it can do, and its one way of saying what is wrong.

    kanvae NAME ...        or python -m kanvae NAME ...

What cannot be done is said in one line, `kanvae NAME: message`, with a non-zero exit.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import os
import signal
import sys
import warnings
from typing import Any, NoReturn

from kanvae.extras import extra

# Of each command, the module with its `add_arguments(parser, name)` and `command(options)`, the
# extra whose packages that needs, and what it does.
COMMANDS = {
    "train": ("kanvae.studies.single", "evaluation", "Train one model."),
    "evaluate": ("kanvae.studies.single", "evaluation", "Score trained models."),
    "explain": ("kanvae.studies.single", "evaluation", "Say what the key of a model means."),
    "export": ("kanvae.studies.single", "evaluation", "Write trained models as ONNX."),
    "sweep": ("kanvae.studies.sweep.command", "studies", "Execute a chapter over a grid."),
    "search": ("kanvae.studies.search", "studies", "Search for architectures."),
    "reproduce": ("kanvae.studies.reproduce", "studies", "Train and score what the book shows."),
}


@atexit.register  # of workers too, whose main module imports this one
def _end() -> None:
    """At its end Python would search all of torch for garbage, some times: half a second."""
    if "triton" not in sys.modules:  # which would call what is left of it then a leak
        gc.freeze()


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (`{self.prog} --help` says what there is).\n")


def main(arguments: list[str] | None = None) -> None:
    """Run a command: `kanvae NAME ...`.

    Raises:
        SystemExit: it could not do what it was asked to.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(10_000, 50, 100)  # by default the search takes half a second of loading torch
    for stream in (sys.stdout, sys.stderr):  # any text, whatever letters the terminal knows
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = Parser(prog="kanvae", description="Train, score and study KAN-VAEs.")
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    own = {
        name: names.add_parser(name, help=text, description=text)
        for name, (_, _, text) in COMMANDS.items()
    }
    name = arguments[0] if arguments else ""
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started ends
        if name in COMMANDS:
            module_name, needed, _ = COMMANDS[name]
            with extra(needed):
                module: Any = importlib.import_module(module_name)
            module.add_arguments(own[name], name)
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            own[options.name].error(f"unrecognized arguments: {' '.join(unknown)}")
        failed = module.command(options)
        sys.stdout.flush()
        if failed:
            sys.exit(failed)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has seen enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if type(error) is RuntimeError:  # not one of this package's own, whose text is for users
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        sys.exit(f"kanvae {name}: {text}")


def moved(name: str, here: str) -> None:
    """Serve the old place of a module, for one more release.

    Args:
        name: the command, and the module in `kanvae.studies`.
        here: `__name__` there.
    """
    if here == "__main__" and name in COMMANDS:
        print(f"`python -m kanvae.{name}` is now `kanvae {name}`.", file=sys.stderr)
        main([name, *sys.argv[1:]])
    else:
        text = f"kanvae.{name} is now kanvae.studies.{name}."
        warnings.warn(text, DeprecationWarning, stacklevel=3)
        sys.modules[here] = importlib.import_module(f"kanvae.studies.{name}")
