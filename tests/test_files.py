import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from kanvae import files

KILLED = """
import os, signal, sys
from pathlib import Path
from kanvae import files
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write_text(Path(sys.argv[1]), "half")
"""


@pytest.mark.skipif(os.name != "posix", reason="nobody can ask there whether a process lives")
def test_what_a_killed_write_left_is_gone_after_the_next(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "before")
    kept = [tmp_path / ".2024-11-25-notes", tmp_path / f"{files.tag(files.PART)}1-other", path]
    for other in kept[:2]:  # the user's own, and of a process that is still writing
        other.touch()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 4
    files.write_text(path, "after")
    assert path.read_text() == "after"
    assert set(tmp_path.iterdir()) == set(kept)


def test_a_folder_that_is_not_there_holds_nothing_to_clear(tmp_path):
    files.clear(tmp_path / "none", files.PART)
    assert list(Path(tmp_path).iterdir()) == []
