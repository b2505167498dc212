"""The command `kanvae`: what it can do, and how it says what is wrong."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "train": "kanvae.training",
    "evaluate": "kanvae.evaluation",
    "sweep": "kanvae.studies.sweep",
    "search": "kanvae.studies.search",
    "reproduce": "kanvae.studies.reproduce",
}


def main() -> None:
    """Run a command: `kanvae NAME ...`."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.exit(f"usage: kanvae {' | '.join(COMMANDS)}; `kanvae NAME --help` says more.")
    importlib.import_module(COMMANDS[name]).main(sys.argv[2:])
