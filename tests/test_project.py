"""What holds the repository together: requirements in step, one address, the pairs of chapters."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_pairs import build

from kanvae.studies import results

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    return listing.stdout.split()


def texts() -> dict[str, str]:
    binary = (".gz", ".safetensors", ".csv", ".png", ".npz")
    return {name: (ROOT / name).read_text() for name in tracked() if not name.endswith(binary)}


def test_nothing_that_a_run_leaves_is_kept():
    assert [name for name in tracked() if name.endswith((".lock", ".partial", ".pyc"))] == []


def bounds(requirements: list[str]) -> dict[str, str]:
    pairs = (re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in requirements)
    return {name: bound for name, bound in pairs if name != "kanvae"}


def test_conda_environment_is_in_step_with_the_project():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = bounds([line for group in groups for line in group if not line.startswith("kanvae[")])
    wanted["python"] = PROJECT["requires-python"]
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    listed = [entry for entry in entries if isinstance(entry, str) and entry != "pip"]
    assert "--editable ." in pip
    found = bounds(listed + [line for line in pip if not line.startswith("--")])
    found["torch"] = found.pop("pytorch")
    assert found == wanted


def test_every_requirement_is_locked_within_its_bounds():
    from packaging.requirements import Requirement

    locked: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([^ ;]+)", line):
            locked.setdefault(match[1].lower(), []).append(match[2])
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in {line for group in groups for line in group if not line.startswith("kanvae[")}:
        requirement = Requirement(line)
        assert locked[requirement.name], line
        assert all(version in requirement.specifier for version in locked[requirement.name])


def test_one_address_everywhere():
    slug = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    hosts = r"(?:github\.com/|colab\.research\.google\.com/github/)"
    pattern = re.compile(hosts + r"([\w-]+/[\w.-]*[\w-])")
    named = {
        name: set(pattern.findall(text))
        for name, text in texts().items()
        if not name.startswith((".github/", "tests/", "noxfile.py", "book/references.bib"))
    }
    for name in ("README.md", "CITATION.cff", "book/_config.yml", "pyproject.toml"):
        assert named[name] == {slug}, name
    for name, slugs in named.items():
        assert slugs <= {slug, "ds-anik/KAN-VAE"}, name  # the paper's own
        if name.startswith("notebooks/0"):
            assert slugs == {slug}, name


def test_chapters_badges_lead_to_themselves():
    slug = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.py")):
        link = (
            f"https://colab.research.google.com/github/{slug}/blob/main/notebooks/{path.stem}.ipynb"
        )
        assert link in path.read_text()


def test_pairs_agree():
    assert build.check_pairs() == []


def test_a_book_with_an_unknown_parameter_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["build.py", "-p", "epcohs", "1"])
    with pytest.raises(SystemExit) as stop:
        build.main()
    assert stop.value.code == "book: no chapter has a parameter 'epcohs'."


def test_every_chapter_is_in_the_table_of_contents():
    contents = (ROOT / "book" / "_toc.yml").read_text()
    for path in (ROOT / "notebooks").glob("[0-9]*.py"):
        assert f"file: notebooks/{path.stem}\n" in contents


def test_the_checkout_stays_small():
    sizes = {name: (ROOT / name).stat().st_size for name in tracked()}
    assert sum(sizes.values()) < 60e6
    assert {name for name, size in sizes.items() if size > 3e6} == {
        "data/MNIST/raw/train-images-idx3-ubyte.gz",
        f"book/results/runs/{results.paper_name('kan-400-20')}/weights.safetensors",
    }


def test_everything_that_the_package_reads_is_installed_with_it():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["kanvae"]
    found = [Path(name).relative_to("kanvae") for name in tracked() if name.startswith("kanvae/")]
    wanted = [path for path in found if path.suffix not in (".py", ".md")]
    assert {path.suffix for path in wanted} >= {".c", ".h", ".safetensors"}
    assert [path for path in wanted if not any(path.match(pattern) for pattern in patterns)] == []


def test_requirements_are_lower_bounds_only():
    for line in PROJECT["dependencies"]:
        assert re.fullmatch(r"[\w-]+>=[\d.]+", line), line
