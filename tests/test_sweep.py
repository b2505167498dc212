"""Sweeps on a real cluster, most of them on one that was started by hand as separate processes."""

import contextlib
import glob
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
import pandas as pd
import psutil
import pytest
from conftest import ROOT, small_notebook
from hypothesis import given
from hypothesis import strategies as st

from kanvae.studies import chapters, cluster, command, distributing, sweep
from kanvae.studies.sweep import page, storage, worker
from kanvae.studies.sweep.points import check_points

TRAINING = ROOT / "notebooks" / "04_training.ipynb"


@pytest.fixture
def notebook(tmp_path):
    return small_notebook(tmp_path / "chapter.ipynb")


def sweeping(notebook, output, *options):
    return ["sweep", str(notebook), "--output", str(output), *map(str, options)]


def start(*arguments, **options):
    """A process of its own."""
    command = [sys.executable, "-m", "kanvae", *sweeping(*arguments)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **options)


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stderr: str


def run(*arguments):
    """The same command, in this process."""
    code, said = 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            command.main(sweeping(*arguments))
        except SystemExit as stop:
            code = stop.code
    return Done(code if isinstance(code, int) else 1, f"{said.getvalue()}{code}")


def points_done(output):
    return sorted(
        path.parent.name
        for path in map(Path, glob.glob(f"{glob.escape(str(output))}/*/result.json"))
        if json.loads(path.read_text())["status"] == "done"
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)  # a look at all processes takes some of a processor, too
    raise TimeoutError


def kernels(output):
    """The processes that a sweep has started on this machine."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if distributing.MARK in environment and str(output) in environment["KANVAE_RUNS"]:
                found.append(process)
        except psutil.Error:
            pass
    return found


# ---- points -----------------------------------------------------------------------------------


LISTS = st.lists(st.integers(), min_size=1, max_size=3)


@given(st.dictionaries(st.text("abc", min_size=1), LISTS, max_size=4))
def test_a_grid_has_every_combination_once_and_paired_lists_go_side_by_side(grid):
    points = sweep.expand(grid)
    count = 1
    for values in grid.values():
        count *= len(values)
    assert len(points) == count
    assert all(point[name] in grid[name] for point in points for name in grid)
    if len({len(values) for values in grid.values()}) == 1:
        paired = sweep.expand(grid, paired=True)
        assert [list(p.values()) for p in paired] == [
            list(row) for row in zip(*grid.values(), strict=True)
        ]


def test_a_single_value_needs_no_list():
    assert sweep.expand({"seed": 3, "word": "ab"}) == [{"seed": 3, "word": "ab"}]


@pytest.mark.parametrize(
    ("text", "default", "wanted"),
    [
        ("1,2,5", 0, [1, 2, 5]),
        ("0:5", 0, [0, 1, 2, 3, 4]),
        ("0:10:4,7", 0, [0, 4, 8, 7]),
        ("3:0:-1", 0, [3, 2, 1]),
        ("0.1,1e-3", 0.5, [0.1, 1e-3]),
        ("kan-20-10,kan-35-15", "vae-4-2", ["kan-20-10", "kan-35-15"]),
        ("0:5", "a", ["0:5"]),
        ("True,False", True, [True, False]),
    ],
)
def test_values_are_read_by_the_type_of_the_default(text, default, wanted):
    assert sweep.parse_values(text, default) == wanted


@pytest.mark.parametrize("text", ["5:5", "0:5:0", "5:0"])
def test_an_empty_range_is_refused(text):
    with pytest.raises(ValueError, match="holds no number: write it as 0:5"):
        sweep.parse_values(text, 0)


def test_points_come_from_csv_and_from_yaml(tmp_path):
    known = {"count": 3, "word": "a"}
    (tmp_path / "p.csv").write_text("count,word\n1,x\n2,7\n")
    (tmp_path / "list.yaml").write_text("- {count: 1, word: x}\n- {count: 2, word: '7'}\n")
    (tmp_path / "grid.yaml").write_text("count: [1, 2]\nword: x\n")
    wanted = [{"count": 1, "word": "x"}, {"count": 2, "word": "7"}]
    assert sweep.read_points(tmp_path / "p.csv", known) == wanted
    assert sweep.read_points(tmp_path / "list.yaml", known) == wanted
    assert sweep.read_points(tmp_path / "grid.yaml", known)[1] == {"count": 2, "word": "x"}
    (tmp_path / "bad.yaml").write_text("just words")
    with pytest.raises(ValueError, match=r"neither a list of points .* nor a grid"):
        sweep.read_points(tmp_path / "bad.yaml", known)
    with pytest.raises(ValueError, match="cannot be read"):
        sweep.read_points(tmp_path / "none.csv", known)


def test_names_are_unique_and_safe_as_folders():
    points = sweep.expand({"word": ["a/b", "a b", "../..", "x" * 300], "count": [1, 10]})
    names = {sweep.point_name(point) for point in points}
    assert len(names) == len(points)
    assert all(re.fullmatch(r"[\w.=,+-]{1,100}", name) for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "cuont", "1"], "has no parameter 'cuont'"),
        (["-p", "count", "many"], "is 'many', a str: give a int"),
        (["-p", "count", "4:2"], "the range '4:2' holds no number"),
        (["-p", "count", "1,1"], "is there 2 times"),
        (["-p", "count", "1", "-p", "count", "2"], "-p count is given twice"),
        (["-p", "count", "1,2", "-p", "word", "a", "--zip"], "must be equally long"),
        (["-p", "count", "1", "--retries", "-1"], "retries is -1"),
        (["-p", "count", "1", "--workers", "0"], "workers is 0"),
        (["-p", "count", "1", "--resources", "GPU"], "--resources is 'GPU'"),
        (["--points", "none.csv"], "none.csv cannot be read"),
        (["-p", "count", "1", "--cluster", "none.yaml"], "does not describe a cluster"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(notebook, tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["sweep", str(notebook), "--output", str(tmp_path / "out"), *options])
    assert message in str(stop.value.code)
    assert "\n" not in str(stop.value.code)
    assert points_done(tmp_path / "out") == []


def test_a_training_that_cannot_be_is_refused_before_anything_runs(tmp_path):
    for parameters, message in (
        ({"architecture": ["kan-4-2", "kan-0-5"]}, "architecture=kan-0-5 .* hidden_features is 0"),
        ({"regime": ["half"]}, "unknown regime 'half'"),
        ({"device": ["cuda:99"]}, "device 'cuda:99' is not on this machine"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep.sweep(TRAINING, parameters, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("import os\nfrom kanvae.training import train", True),
        ("x = 1; import numpy, kanvae", True),
        ("%time from kanvae import data", True),
        ("import kanvas  # as kanvae does", False),
        ("# from kanvae import data", False),
    ],
)
def test_parameters_are_settings_where_a_notebook_imports_this_package(source, imports, tmp_path):
    new = nbformat.v4
    cells = [new.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})]
    cells += [new.new_markdown_cell("Words from kanvae."), new.new_code_cell(source)]
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "own.ipynb")
    refused = pytest.raises(ValueError, match="the point seed=-1 is not possible: seed is -1")
    with refused if imports else contextlib.nullcontext():
        check_points(tmp_path / "own.ipynb", [{"seed": -1}])


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(tmp_path):
    source = "count = 0\ndevice = 'cuda:99'"
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "own.ipynb")
    with pytest.raises(ValueError, match="device 'cuda:99' is not on this machine"):
        sweep.sweep(tmp_path / "own.ipynb", {"count": [1]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_shows_the_points_and_writes_nothing(notebook, tmp_path, capsys):
    command.main(
        ["sweep", str(notebook), "-p", "count", "0:3", "--output", str(tmp_path / "o"), "--dry-run"]
    )
    shown = capsys.readouterr().out
    assert "3 points" in shown
    assert "to do: count=2" in shown
    assert shown.endswith("3 to do\n")
    assert not (tmp_path / "o").exists()


# ---- a whole sweep ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory, scheduler):
    """A sweep of six points, two of which fail, on a cluster started by hand."""
    folder = tmp_path_factory.mktemp("finished")
    notebook = small_notebook(folder / "chapter.ipynb")
    options = ["-p", "count", "1,2,12", "-p", "word", "a,b", "--retries", "1"]
    done = run(notebook, folder / "out", *options, "--scheduler", scheduler)
    return folder / "out", done, notebook


def test_failed_points_are_listed_with_a_non_zero_exit_and_the_others_are_done(finished):
    output, done, _ = finished
    assert done.returncode == 1
    assert len(points_done(output)) == 4
    assert "2 failed:" in done.stderr
    assert done.stderr.count("chapter.ipynb failed in code cell 3: AssertionError: too large") == 2


def test_the_table_is_tidy_in_csv_and_parquet(finished):
    output, _, _ = finished
    table, same = pd.read_csv(output / "table.csv"), pd.read_parquet(output / "table.parquet")
    assert table["count"].tolist() == same["count"].tolist() == [1, 1, 2, 2, 12, 12]
    assert table["word"].tolist() == ["a", "b"] * 3
    assert table["status"].tolist() == ["done"] * 4 + ["failed"] * 2
    assert table["square"].tolist()[:4] == [1, 1, 4, 4]
    assert table["rate"].unique() == [0.5]  # a parameter that was left at its default
    assert (table["seconds"] > 0).all()


def test_a_failed_point_keeps_its_partly_executed_notebook_and_was_retried(finished):
    output, _, _ = finished
    (folder,) = output.glob("*count=12,word=a*")
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "failed"
    assert result["attempts"] == 2
    cells = nbformat.read(folder / "failed.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert any(output.output_type == "error" for output in outputs)
    assert not (folder / "executed.ipynb").exists()
    assert {path.name for path in folder.iterdir()} <= {
        "failed.ipynb",
        "failed.html",
        "result.json",
        ".lock",
    }


def test_the_index_links_to_every_notebook_and_draws_curves(finished):
    output, _, _ = finished
    text = (output / "index.html").read_text()
    targets = re.findall(r'href="([^"]+\.ipynb)"', text)
    assert len(targets) == 6
    assert all((output / target).exists() for target in targets)
    assert text.count("<polyline") == 4
    assert "too large" in text


def test_the_index_shows_nothing_for_what_is_not_there(finished):
    output, _, _ = finished
    assert "nan" not in (output / "index.html").read_text()
    assert page.sparkline([1.0, float("nan")]) == ""
    assert "nan" not in page.sparkline([1.0, float("nan"), 2.0])


def test_a_second_start_does_only_what_is_not_done(finished, scheduler):
    output, _, notebook = finished
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/executed.ipynb")}
    again = run(notebook, output, "-p", "count", "1:4", "-p", "word", "a", "--scheduler", scheduler)
    assert again.returncode == 0, again.stderr
    after = {path: path.stat().st_mtime_ns for path in output.glob("*/executed.ipynb")}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert len(pd.read_csv(output / "table.csv")) == 7  # one folder, one table


def test_a_folder_of_another_chapter_is_refused(finished, tmp_path):
    output, _, _ = finished
    other = small_notebook(tmp_path / "other.ipynb", "assert count < 11")
    with pytest.raises(sweep.SweepError, match=r"holds a sweep of chapter\.ipynb: choose another"):
        sweep.sweep(other, {"count": [1]}, output)
    changed = small_notebook(tmp_path / "chapter.ipynb", "assert count < 11")
    with pytest.raises(sweep.SweepError, match=r"another version of chapter\.ipynb"):
        sweep.sweep(changed, {"count": [1]}, output)


def test_from_python_on_workers_of_its_own(notebook, tmp_path):
    table = sweep.sweep(
        notebook, {"count": [1, 2], "rate": [1, 2.5]}, tmp_path / "out", paired=True, workers=2
    )
    assert table["status"].tolist() == ["done", "done"]
    assert table["rate"].tolist() == [1, 2.5]
    assert kernels(tmp_path) == []


def test_only_workers_with_the_resource_get_points(notebook, tmp_path, scheduler):
    options = ["-p", "count", "0:3", "--resources", "GPU=1", "--scheduler", scheduler]
    done = run(notebook, tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    devices = {
        chapters.recorded(nbformat.read(path, as_version=4))["device"]
        for path in (tmp_path / "out").glob("*/executed.ipynb")
    }
    assert devices == {"1"}  # of the two workers, the one that was started with GPU=1


def test_an_object_store_holds_everything(notebook, store, scheduler):
    output = f"{store}/sweep"
    options = ["-p", "count", "1,12", "--scheduler", scheduler]
    done = run(notebook, output, *options)
    assert done.returncode == 1
    assert "1 failed" in done.stderr
    found = sweep.read_results(output)
    assert sorted(result["status"] for result in found.values()) == ["done", "failed"]
    files = {"executed.ipynb": "done", "failed.ipynb": "failed"}
    for file, status in files.items():
        (name,) = [name for name, result in found.items() if result["status"] == status]
        text = storage.read_file(f"{output}/{name}/{file}")
        assert nbformat.reads(text.decode(), as_version=4).cells
    for file in ("table.csv", "index.html", "table.parquet"):
        assert storage.read_file(f"{output}/{file}")
    stamps = {name: result["seconds"] for name, result in found.items()}
    again = run(notebook, output, "-p", "count", "1", "--scheduler", scheduler)
    assert again.returncode == 0, again.stderr
    assert {
        name: result["seconds"] for name, result in sweep.read_results(output).items()
    } == stamps


# ---- what may go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_goes_on_where_it_was_and_leaves_no_process(
    notebook, tmp_path, scheduler, how
):
    output = tmp_path / "out"
    options = ["-p", "count", "0:4", "-p", "asleep", "1.0"]
    driver = start(notebook, output, *options, "--workers", "2", start_new_session=True)
    wait_for(lambda: points_done(output))
    family = psutil.Process(driver.pid).children(recursive=True)
    begun = time.monotonic()
    driver.send_signal(how)
    driver.wait(30)
    assert driver.returncode != 0
    if how != signal.SIGKILL:
        assert time.monotonic() - begun < 15
    psutil.wait_procs(family, timeout=20)  # kernels look for their parents once a second
    assert [p.name() for p in family if p.is_running() and p.status() != "zombie"] == []
    done = points_done(output)
    assert 1 <= len(done) < 4
    stamps = {name: (output / name / "executed.ipynb").stat().st_mtime_ns for name in done}
    again = run(notebook, output, *options, "--scheduler", scheduler)
    assert again.returncode == 0, again.stderr
    assert len(points_done(output)) == 4
    for name, stamp in stamps.items():
        assert (output / name / "executed.ipynb").stat().st_mtime_ns == stamp
    assert not list(output.glob("*/.*-executed.ipynb"))


def test_a_kernel_that_is_killed_is_started_again(notebook, tmp_path, scheduler):
    output = tmp_path / "out"
    options = ["-p", "count", "1", "-p", "asleep", "3.0", "--scheduler", scheduler]
    with start(notebook, output, *options) as driver:
        wait_for(lambda: list(output.glob("*/.*-executed.ipynb")))
        (kernel,) = wait_for(lambda: kernels(output))
        kernel.kill()
        assert driver.wait(90) == 0
    assert len(points_done(output)) == 1
    assert {path.name for path in output.glob("*/*.ipynb")} == {"executed.ipynb"}


def test_a_worker_that_is_killed_costs_no_point(notebook, tmp_path, scheduler):
    output = tmp_path / "out"
    options = ["-p", "count", "0:3", "-p", "asleep", "2.0", "--scheduler", scheduler]
    with start(notebook, output, *options) as driver:
        kernel = wait_for(lambda: kernels(output))[0]
        worker = psutil.Process(kernel.ppid())
        assert worker.pid != driver.pid
        worker.kill()
        assert driver.wait(90) == 0
    assert len(points_done(output)) == 3


def test_a_point_that_kills_its_workers_fails_and_the_others_are_done(tmp_path, scheduler):
    deadly = "import os, signal\nif count == 1: os.kill(os.getppid(), signal.SIGKILL)"
    notebook = small_notebook(tmp_path / "chapter.ipynb", deadly)
    done = run(notebook, tmp_path / "out", "-p", "count", "1,2", "--scheduler", scheduler)
    assert done.returncode == 1
    assert "1 failed:" in done.stderr
    assert "its worker died" in done.stderr
    assert len(points_done(tmp_path / "out")) == 1


def test_a_kernel_that_does_not_start_is_retried_and_then_told(notebook, tmp_path, monkeypatch):
    storage.write_file(f"{tmp_path}/out/chapter.ipynb", notebook.read_bytes())
    real, left = chapters.execute, [2]

    def unlucky(*arguments):
        if left[0]:
            left[0] -= 1
            raise chapters.KernelError("the kernel did not start: address in use")
        return real(*arguments)

    monkeypatch.setattr(chapters, "execute", unlucky)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    result = sweep.execute_point(f"{tmp_path}/out", "chapter.ipynb", {"count": 1})
    assert result["status"] == "done"
    left[0] = 99
    result = sweep.execute_point(f"{tmp_path}/out", "chapter.ipynb", {"count": 2})
    assert result["status"] == "failed"
    assert "did not start" in result["error"]
    assert left[0] == 99 - worker.STARTS


def test_a_notebook_that_cannot_be_rendered_keeps_its_result(notebook, tmp_path, monkeypatch):
    def fail(file):
        raise KeyError("nbconvert")

    monkeypatch.setattr(worker, "render_notebook", fail)
    storage.write_file(f"{tmp_path}/out/chapter.ipynb", notebook.read_bytes())
    result = sweep.execute_point(f"{tmp_path}/out", "chapter.ipynb", {"count": 1})
    assert (result["status"], result["page"]) == ("done", "")
    assert storage.read_results(f"{tmp_path}/out")[result["point"]] == result


def test_a_full_disk_fails_points_in_words_and_loses_nothing(notebook, tmp_path, scheduler):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        options = ["-p", "count", "0:4", "--scheduler", scheduler]
        filler = disk / "filler"
        first = run(notebook, disk / "out", "-p", "count", "0", "--scheduler", scheduler)
        assert first.returncode == 0, first.stderr
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(10**6))
        full = run(notebook, disk / "out", *options)
        assert full.returncode == 1
        assert "No space left" in full.stderr
        assert "Traceback" not in full.stderr
        assert len(points_done(disk / "out")) == 1
        filler.unlink()
        again = run(notebook, disk / "out", *options)
        assert again.returncode == 0, again.stderr
        assert len(points_done(disk / "out")) == 4
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_two_sweeps_on_one_folder_do_not_meet(notebook, tmp_path, scheduler):
    output = tmp_path / "out"
    options = ["-p", "count", "0:2", "-p", "asleep", "3.0", "--scheduler", scheduler]
    with start(notebook, output, *options) as first:
        wait_for(lambda: (output / "sweep.json").exists())
        second = run(notebook, output, *options)
        assert second.returncode == 1
        assert "another sweep or search is at work" in second.stderr
        assert first.wait(60) == 0
    assert len(points_done(output)) == 2


def test_a_damaged_result_is_done_again(notebook, tmp_path, scheduler):
    output = tmp_path / "out"
    options = ["-p", "count", "1", "--scheduler", scheduler]
    assert run(notebook, output, *options).returncode == 0
    (path,) = output.glob("*/result.json")
    path.write_text('{"point": "cou')
    assert run(notebook, output, *options).returncode == 0
    assert len(points_done(output)) == 1


def test_a_folder_may_have_any_name(notebook, tmp_path, scheduler):
    output = tmp_path / "runs [1] * {a} ü?"
    table = sweep.sweep(notebook, {"count": [1]}, output, scheduler=scheduler, progress=False)
    assert table["status"].tolist() == ["done"], table["error"].tolist()
    assert len(points_done(output)) == 1


def test_parameters_named_like_columns_do_not_hide_them(tmp_path, scheduler):
    notebook = small_notebook(tmp_path / "chapter.ipynb", "status = seconds = 1")
    text = notebook.read_text().replace("asleep = 0.0", "asleep = 0.0\\nstatus = 7")
    notebook.write_text(text)
    table = sweep.sweep(notebook, {"count": [1]}, tmp_path / "out", scheduler=scheduler)
    assert table["status"].tolist() == ["done"]
    assert table["parameter_status"].tolist() == [7]


def test_the_training_chapter_is_swept_with_its_metrics_and_keeps_its_run(tmp_path, scheduler):
    grid = {"architecture": ["kan-4-2"], "epochs": [1], "batch_size": [500], "demonstrate": [False]}
    table = sweep.sweep(TRAINING, grid, tmp_path / "out", scheduler=scheduler, progress=False)
    assert table["status"].tolist() == ["done"], table["error"].tolist()
    assert table["validation_elbo"].between(-600, -100).all()
    (run_folder,) = (tmp_path / "out").glob("*/runs/live")
    assert (run_folder / "weights.safetensors").exists()


def test_environment_of_the_hand_started_cluster(scheduler):
    with cluster.start(scheduler) as client:
        assert len(client.nthreads()) == 2
        assert os.getpid() not in client.run(os.getpid).values()
