"""Machines that others have set up: a sweep runs on them, whatever is set there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, small_notebook

from kanvae.studies import cluster, results, sweep

DASK = """
logging: {distributed: info}
temporary-directory: /nowhere/at/all
distributed:
  version: 2
  scheduler: {allowed-failures: 0, work-stealing: false, preload: [no.such.module]}
  worker:
    daemon: false
    memory: {target: 0.01, spill: 0.01, pause: 0.01, terminate: 0.02}
    multiprocessing-method: fork
    preload: [no.such.module]
    resources: {CPU: 0}
  nanny: {pre-spawn-environ: {OMP_NUM_THREADS: many}, preload: [no.such.module]}
  comm: {default-scheme: tls, require-encryption: true, timeouts: {connect: 1ms}}
"""
FOREIGN = {"argv": ["/bin/false", "{connection_file}"], "display_name": "X", "language": "python"}


def dask(home: Path) -> dict[str, str]:
    (home / ".config" / "dask").mkdir(parents=True)
    (home / ".config" / "dask" / "site.yaml").write_text(DASK)
    return {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:9"}  # fmt: skip


def jupyter(home: Path) -> dict[str, str]:
    for folder in (home / ".local/share/jupyter", home / "elsewhere"):
        (folder / "kernels" / "python3").mkdir(parents=True)
        (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(FOREIGN))
    profile = home / ".ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00.py").write_text("import os; os._exit(3)")
    (home / ".jupyter").mkdir()
    for name in ("jupyter_config", "jupyter_nbconvert_config"):
        text = "c.ExecutePreprocessor.timeout = 1\nc.TemplateExporter.exclude_output = 1 / 0\n"
        (home / ".jupyter" / f"{name}.py").write_text(text)
    (home / "start.py").write_text("import os; os._exit(3)")
    return {"JUPYTER_PATH": str(home / "elsewhere"), "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
            "MPLBACKEND": "TkAgg", "PYTHONSTARTUP": str(home / "start.py")}  # fmt: skip


def network(home: Path) -> dict[str, str]:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    config = home / ".gitconfig"
    config.write_text("[alias]\n describe = !false\n[safe]\n directory = /nowhere\n[core]\n broken")
    git = {"GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_CONFIG_GLOBAL": str(config)}
    return dict.fromkeys(names, "socks9://no.such.host:1") | git


def letters(home: Path) -> dict[str, str]:
    return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "SLURM_CPUS_ON_NODE": "1"}


@pytest.mark.parametrize("sites", [(dask, letters), (jupyter, network)])
def test_a_sweep_runs_whatever_a_site_has_set(sites, tmp_path):
    notebook = small_notebook(tmp_path / "chapter.ipynb", "import sys; print(sys.executable)")
    environment = {**os.environ, "HOME": str(tmp_path)}
    for site in sites:
        environment |= site(tmp_path)
    command = [sys.executable, "-m", "kanvae", "sweep", str(notebook), "-p", "word", "ü"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out"), "--workers", "1"],
        capture_output=True, check=False, timeout=240, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    (result,) = sweep.read_results(str(tmp_path / "out")).values()
    assert result["status"] == "done"
    assert result["parameters"] == {"word": "ü"}
    executed = tmp_path / "out" / result["point"] / "executed.ipynb"
    assert json.dumps(sys.executable)[1:-1] in executed.read_text(encoding="utf-8")
    assert executed.with_suffix(".html").stat().st_size > 1000


NOBODY = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
RIGHTS = "+dac_override,+dac_read_search"  # to read this Python, wherever it is


@pytest.mark.skipif(
    subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode != 0
    if shutil.which("setpriv")
    else True,
    reason="this user cannot become another",
)
def test_a_sweep_runs_without_a_home_and_for_a_user_without_a_name(tmp_path):
    notebook = small_notebook(tmp_path / "chapter.ipynb")
    nobody = [*NOBODY, f"--inh-caps={RIGHTS}", f"--ambient-caps={RIGHTS}", sys.executable]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    home = "import pathlib; pathlib.Path.home()"
    asked = subprocess.run(
        [*nobody, "-c", home], capture_output=True, text=True, check=False, env=environment
    )
    assert "Could not determine home directory" in asked.stderr
    done = subprocess.run(
        [*nobody, "-m", "kanvae", "sweep", str(notebook), "-p", "count", "1", "--workers", "1"],
        capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
        env=environment | {"KANVAE_RUNS": str(tmp_path / "runs")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (result,) = sweep.read_results(str(tmp_path / "runs" / "sweeps" / "chapter")).values()
    assert result["status"] == "done"
    assert result["page"] == "executed.html"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, 8),
        ({"SLURM_CPUS_PER_TASK": "2"}, 2),
        ({"SLURM_CPUS_ON_NODE": "1", "SLURM_CPUS_PER_TASK": "4"}, 1),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2)"}, 4),
        ({"NSLOTS": "3"}, 3),
        ({"SLURM_CPUS_ON_NODE": "64"}, 8),
        ({"SLURM_CPUS_ON_NODE": ""}, 8),
    ],
)
def test_only_the_cores_of_the_job_are_used(variables, wanted, monkeypatch):
    for name in cluster.ALLOTTED:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cluster, "cpu_count", lambda: 8)
    assert cluster.cores() == wanted


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_the_affinity_of_the_process_counts():
    core = str(min(os.sched_getaffinity(0)))
    code = "from kanvae.studies import cluster; print(cluster.cores())"
    if shutil.which("taskset") is None:
        pytest.skip("no taskset here")
    done = subprocess.run(
        ["taskset", "-c", core, sys.executable, "-c", code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "1\n"


@pytest.mark.parametrize("file", ["scores.csv", "epochs.csv.gz", "provenance.json"])
@pytest.mark.parametrize("size", [0, 100, 2000])
def test_a_table_of_results_that_was_cut_is_named(file, size, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "book" / "results", tmp_path / "results")
    monkeypatch.setenv("KANVAE_RESULTS", str(tmp_path / "results"))
    path = tmp_path / "results" / "runs" / file
    path.write_bytes(path.read_bytes()[:size])
    read = {"scores.csv": results.scores, "epochs.csv.gz": results.learning}.get(
        file, results.provenance
    )
    from kanvae import runs

    with pytest.raises(runs.RunError, match=rf"{file} is damaged .*: delete .* write it again"):
        read()
