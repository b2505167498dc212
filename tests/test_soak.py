"""A short soak, and that it would see what is wrong. `nox -s soak` is the long one."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import soak


def test_what_is_killed_a_few_times_leaves_what_an_undisturbed_run_leaves(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--kills", "2", "--seed", "1"]
    done = subprocess.run(
        [*command, "--works", "training,sweep", "--output", str(tmp_path)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "soak.csv")
    assert table["work"].tolist() == ["training", "sweep"]
    assert table["kills"].sum() >= 2
    assert (tmp_path / "provenance.json").exists()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
        ("history.csv", lambda content: content.replace(b"10,1,", b"10,2,")),
        ("history.csv", lambda content: content[: len(content) // 2]),
        ("config.json", lambda content: content.replace(b"kan-8-3", b"kan-8-4")),
    ],
)
def test_a_soak_sees_what_differs(run, name, damage):
    whole = soak.contents(run.path)
    (run.path / name).write_bytes(damage((run.path / name).read_bytes()))
    assert {file for file, text in soak.contents(run.path).items() if text != whole[file]} == {name}


def test_times_and_places_may_differ(run):
    whole = soak.contents(run.path)
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(text.replace('"seconds": ', '"seconds": 1'))
    assert soak.contents(run.path) == whole
