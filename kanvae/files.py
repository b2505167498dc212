"""Files that are whole or as they were before, and nothing else left, whatever is killed."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

PART = ".kanvae"  # begins the name of a file that is being written


def named_folder(variable: str, error: type[Exception]) -> Path | None:
    """The folder that an environment variable names, None where it names none.

    Raises:
        error: it begins with ~, and nobody knows where this user's home is.
    """
    try:
        return Path(named).expanduser() if (named := os.environ.get(variable)) else None
    except RuntimeError:
        raise error(
            f"{variable} is {named!r}, and this user has no home folder: give the whole path."
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is whole or as it was before."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or as it was before, to threads and processes alike."""
    with written(path) as part:
        part.write_bytes(content)


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """Where to write a file, which gets its name when it is whole.

    What a process that was killed meanwhile has left in the folder is deleted by the next.
    """
    clear(path.parent, PART)
    part = path.with_name(f"{tag(PART)}{threading.get_ident()}-{path.name}")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def tag(kind: str) -> str:
    """The beginning of a name that says which process of which machine it is of."""
    return f"{kind}-{platform.node()}-{os.getpid()}-"


def clear(folder: Path, kind: str) -> None:
    """Delete the files and folders with a `tag` of this user's processes here that are gone.

    Others' are left, and all where the system cannot say whether a process lives (Windows).
    """
    if os.name != "posix" or not os.access(folder, os.R_OK):
        return
    tagged = re.compile(re.escape(f"{kind}-{platform.node()}-") + r"(\d{1,9})-.+")
    for path in folder.iterdir():
        found = tagged.fullmatch(path.name)
        with contextlib.suppress(OSError):  # another process was faster
            if found and not _lives(int(found[1])) and path.lstat().st_uid == os.getuid():
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
