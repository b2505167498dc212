"""A sweep through clusters/slurm.yaml on a Slurm cluster: a controller and two nodes, started here.

The daemons are Debian's (`apt-get install slurm-wlm munge`); all their files are in a folder of
the test, all their ports are free ones, and nothing of theirs is left afterwards.
"""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from conftest import ROOT, small_notebook

DAEMONS = ("munged", "slurmctld", "slurmd")
PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"  # daemons are not on everybody's path
missing = [name for name in DAEMONS if shutil.which(name, path=PATH) is None]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"no {', '.join(missing)} here: apt-get install slurm-wlm munge"
)

FILE = ROOT / "clusters" / "slurm.yaml"

# Nodes of one core and the memory that a job of the file asks for: two of four jobs run at once.
CONFIGURATION = """
ClusterName=soak
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
KillWait=2
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=16000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=16000
PartitionName=normal Nodes=node1,node2 Default=YES State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {seconds} s")


def processes(word):
    """The processes in whose environment a word stands."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and word in process.environ().values():
                found.append(process)
        except psutil.Error:
            pass
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


class Slurm:
    """A running cluster: the environment in which its commands work."""

    def __init__(self, folder):
        self.environment = {
            **os.environ,
            "PATH": PATH,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "2s",
        }

    def __call__(self, *command):
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.split()

    def jobs(self, states="pending,running,completing"):
        return self("squeue", "--noheader", "--format=%i", f"--states={states}")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("munge", "state", "node1", "node2"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0], user=getpass.getuser(), folder=folder,
        ports=free_ports(3),
    )  # fmt: skip
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    own = folder / "munge"
    commands = [
        [
            *("munged", "--foreground", "--force"),  # though the folders above are ours alone
            *(f"--{what}-file={own / what}" for what in ("key", "pid", "log", "seed")),
            f"--socket={own / 'socket'}",
        ],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", "node1"],
        ["slurmd", "-D", "-N", "node2"],
    ]
    made, daemons = Slurm(folder), []
    try:
        with (folder / "log").open("w") as log:
            for command in commands:
                daemons.append(
                    subprocess.Popen(command, env=made.environment, stdout=log, stderr=log)
                )
                if command[0] == "munged":
                    wait_for((own / "socket").exists, "the socket of munged")
        idle = ("sinfo", "--noheader", "--Node", "--states=idle", "--format=%n")

        def ready():
            try:
                return len(made(*idle)) == 2
            except subprocess.CalledProcessError:  # the controller does not listen yet
                return False

        try:
            wait_for(ready, "two idle nodes", 30)
        except TimeoutError as error:
            pytest.fail(f"{error}; the daemons wrote:\n{(folder / 'log').read_text()}")
        yield made
        if jobs := made.jobs():
            made("scancel", *jobs)
            wait_for(lambda: not made.jobs(), "the end of what a test left")
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            daemon.wait(20)
        while left := processes(str(folder / "slurm.conf")):
            for process in left:
                process.kill()
            psutil.wait_procs(left, 10)


def stamps(output):
    """When each finished point was executed."""
    return {
        path.parent.name: (path.parent / "executed.ipynb").stat().st_mtime_ns
        for path in output.glob("*/result.json")
        if json.loads(path.read_text())["status"] == "done"
    }


def test_a_sweep_that_loses_its_jobs_and_is_killed_goes_on_and_leaves_nothing(slurm, tmp_path):
    notebook, output = small_notebook(tmp_path / "chapter.ipynb"), tmp_path / "out"
    command = [sys.executable, "-m", "kanvae", "sweep", str(notebook), "--output", str(output)]
    command += ["-p", "count", "0:4", "-p", "word", "a,b", "-p", "asleep", "1.0"]
    described = yaml.safe_load(FILE.read_text())
    described["options"] |= {"cores": 1, "processes": 1}  # what these nodes have
    described["options"] |= {"death_timeout": 15}  # a job without its sweep waits for so long
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(described))
    command += ["--cluster", str(tmp_path / "slurm.yaml")]
    with (tmp_path / "log").open("w") as log:
        common = {"env": slurm.environment, "cwd": tmp_path, "stdout": log, "stderr": log}
        with subprocess.Popen(command, **common) as driver:
            try:
                wait_for(lambda: stamps(output), "a point that is done")
                assert len(slurm.jobs()) == described["scale"]["jobs"]
                slurm("scancel", *slurm.jobs())  # all, as at the end of their time
                before = len(stamps(output))
                wait_for(lambda: len(stamps(output)) > before, "a point done after the lost jobs")
                assert driver.poll() is None
            finally:
                driver.kill()  # SIGKILL
        kept = stamps(output)
        assert 0 < len(kept) < 8
        # At once, while jobs of the killed one still run, and others still wait for their nodes.
        again = subprocess.run(command, **common, timeout=300, check=False)
    assert again.returncode == 0, (tmp_path / "log").read_text()
    after = stamps(output)
    assert len(after) == 8
    assert kept.items() <= after.items()  # none twice
    wait_for(lambda: not slurm.jobs(), "the end of all jobs", 90)
    runs = [str(path / "runs") for path in output.iterdir()]
    assert [process for word in runs for process in processes(word)] == []
