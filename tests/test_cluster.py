import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import dask
import pytest
import yaml
from conftest import ROOT
from distributed import Client, Scheduler, SpecCluster
from distributed.deploy.spec import ProcessInterface
from tasks import slowly, square

from kanvae.studies import cluster, distributing, watching


def test_results_come_as_they_are_ready_with_errors_in_words(scheduler):
    tasks = [(f"square {x}", (x,)) for x in (2, -1, 3)]
    with cluster.start(scheduler) as client:
        found = {result.name: result for result in distributing.results(client, square, tasks)}
    assert found["square 2"].value == 4
    assert found["square 3"].value == 9
    assert found["square -1"].error == "ValueError: -1 is negative"


def test_later_tasks_may_depend_on_earlier_results(scheduler):
    values = [1]

    def tasks():
        while len(values) < 4:
            yield f"task {len(values)}", (values[-1] + 1,)

    with cluster.start(scheduler) as client:
        for result in distributing.results(client, square, tasks(), at_once=1):
            values.append(result.value)
    assert values == [1, 4, 25, 676]


def test_a_task_is_run_again_as_often_as_asked(scheduler):
    tries = []

    def again(result):
        tries.append(result.error)
        return len(tries) < 3

    with cluster.start(scheduler) as client:
        found = list(distributing.results(client, square, [("bad", (-1,))], again))
    assert len(tries) == 3
    assert [result.name for result in found] == ["bad"]


def test_each_gpu_has_a_worker_that_sees_it_alone():
    with cluster.start(gpus=2) as client:
        seen = client.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()))
        resources = [
            w["resources"] for w in client.scheduler_info(n_workers=-1)["workers"].values()
        ]
    assert sorted(device for device, _ in seen.values()) == ["0", "1"]
    assert len({process for _, process in seen.values()}) == 2
    assert resources == [{"GPU": 1}, {"GPU": 1}]


def test_the_cores_are_shared_among_the_workers(monkeypatch):
    monkeypatch.setattr(cluster, "cpu_count", lambda: 8)
    assert cluster.worker_options(0, 2, 0)["env"]["OMP_NUM_THREADS"] == "4"
    assert cluster.worker_options(0, 20, 0)["env"]["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in cluster.worker_options(0, 2, 0)["env"]


def test_workers_that_start_slowly_on_a_busy_machine_are_waited_for():
    def patience():
        return dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),  # a site's, for its cluster
        cluster.start(workers=1) as client,
    ):
        assert patience() == client.submit(patience).result() == 300
    assert patience() < 300


def test_workers_here_do_not_watch_themselves():
    def periods(dask_worker):
        return {name: own.callback_time for name, own in dask_worker.periodic_callbacks.items()}

    with cluster.start(workers=1) as client:
        (found,) = client.run(periods).values()
    assert "profile" not in found
    assert found["tick"] == 1000  # milliseconds


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with (
        pytest.raises(
            cluster.ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"
        ),
        cluster.start("tcp://127.0.0.1:9"),
    ):
        pass


def test_workers_are_for_this_machine_only():
    with pytest.raises(ValueError, match="only for a cluster of this machine"):
        cluster.start("tcp://127.0.0.1:9", workers=2).__enter__()


def test_slurm_jobs_ask_for_what_the_file_says(tmp_path):
    class_, options, scale = cluster.read_file(ROOT / "clusters" / "slurm.yaml")
    with class_(**options) as made:
        script = made.job_script()
    (tmp_path / "job.sh").write_text(script)
    assert subprocess.run(["bash", "-n", str(tmp_path / "job.sh")], check=False).returncode == 0
    assert "#SBATCH -p normal" in script
    assert "#SBATCH --cpus-per-task=4" in script
    assert "#SBATCH -t 04:00:00" in script
    assert "--nthreads 1 " in script  # single-threaded workers,
    assert "--nworkers 4 " in script  # as many as cores
    assert scale == {"jobs": 4}


def test_kubernetes_pods_run_what_the_file_says():
    from dask_kubernetes.operator import make_cluster_spec

    class_, options, scale = cluster.read_file(ROOT / "clusters" / "kubernetes.yaml")
    assert class_.__name__ == "KubeCluster"
    made = make_cluster_spec(**options)
    (container,) = made["spec"]["worker"]["spec"]["containers"]
    assert container["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
    packages = {e["name"]: e["value"] for e in container["env"]}["EXTRA_PIP_PACKAGES"]
    assert packages.startswith("kanvae[studies]@git+https://")
    assert scale == {"n": 4}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cluster": "a.B"}, "does not describe a cluster"),
        ("words", "does not describe a cluster"),
        (
            {"cluster": "dask_nowhere.Cluster", "options": {}, "scale": {}},
            "pip install dask-nowhere",
        ),
        ({"cluster": "distributed.NoCluster", "options": {}, "scale": {}}, "is not installed here"),
    ],
)
def test_a_file_that_describes_no_cluster_is_refused(tmp_path, content, message):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(cluster.ClusterError, match=message):
        cluster.read_file(tmp_path / "c.yaml")


def test_a_cluster_that_cannot_be_made_is_told_in_words(tmp_path):
    content = {"cluster": "collections.OrderedDict", "options": {"cores": 1}, "scale": {"n": 1}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with (
        pytest.raises(cluster.ClusterError, match=r"c\.yaml cannot be made \(AttributeError"),
        cluster.start(file=tmp_path / "c.yaml"),
    ):
        pass


class Job(ProcessInterface):
    """A worker as a batch job is one: a process that Dask has started and does not look after."""

    def __init__(self, scheduler, name, resources=""):
        super().__init__(scheduler=scheduler, name=name)
        command = [sys.executable, "-m", "dask", "worker", scheduler, "--name", str(name)]
        self.command = [*command, "--nthreads", "1", "--no-dashboard", "--resources", resources]

    async def start(self):
        path = f"{ROOT / 'tests'}{os.pathsep}{ROOT}"
        self.process = subprocess.Popen(
            self.command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
        )
        await super().start()

    async def close(self):
        kill_group(self.process.pid)
        self.process.wait()
        await super().close()


def kill_group(pid):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def queue(**options):
    """A cluster of such jobs."""
    own = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": own}
    return SpecCluster(scheduler=scheduler, worker={"cls": Job, "options": options})


def test_workers_that_are_all_gone_for_good_are_replaced(tmp_path, capsys):
    file = tmp_path / "cluster.yaml"
    file.write_text("{cluster: test_cluster.queue, options: {}, scale: {n: 2}}")
    tasks = [(f"task {x}", (x,)) for x in range(6)]
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        cluster.start(file=file) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        first = set(client.run(os.getpgid, 0).values())
        found = distributing.results(client, slowly, tasks)
        values = [next(found).value]
        for group in first:
            kill_group(group)
        values += [result.value for result in found]
    assert sorted(x for x, _ in values) == list(range(6))
    later = {group for _, group in values[3:]}
    assert later
    assert not later & first
    assert "workers ended: as many are asked for" in capsys.readouterr().err


def test_a_value_that_came_before_its_worker_was_lost_is_kept():
    with queue() as made, Client(made) as client:
        made.scale(1)
        client.wait_for_workers(1, timeout=60)
        (group,) = client.run(os.getpgid, 0).values()
        found = distributing.results(client, slowly, [("task 0", (0,)), ("task 1", (1,))])
        first = next(found)
        time.sleep(3)  # the second comes, and waits to be asked for
        kill_group(group)
        while client.scheduler_info()["workers"]:
            time.sleep(0.1)
        made.scale(2)  # another could compute it again
        time.sleep(1)
        assert [first, *found] == [(f"task {x}", (x, group), None) for x in range(2)]


def test_workers_here_that_take_an_interrupt_are_replaced(capfd):
    tasks = [(f"task {x}", (x,)) for x in range(6)]
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        cluster.start(workers=2) as client,
    ):
        client.wait_for_workers(2, timeout=60)
        first = set(client.run(os.getpid).values())
        found = distributing.results(client, slowly, tasks)
        values = [next(found).value]
        for pid in first:  # Dask takes this for a worker's own wish to end
            os.kill(pid, signal.SIGINT)
        values += [result.value for result in found]
    assert sorted(x for x, _ in values) == list(range(6))


@pytest.mark.parametrize(
    ("workers", "resources", "message"),
    [
        (0, None, "no worker for 0.01 minutes: all waits until one comes to tcp://"),
        (1, {"GPU": 1}, "the work needs {'GPU': 1}, which none of 1 workers takes"),
    ],
)
def test_work_that_nobody_takes_is_not_silent(monkeypatch, capsys, workers, resources, message):
    monkeypatch.setattr(watching, "STALLED", 0.6)
    with queue() as made, Client(made) as client:
        if workers:
            made.scale(workers)
            client.wait_for_workers(workers, timeout=60)

        def help_arrives():
            made.new_spec = {"cls": Job, "options": {"resources": "GPU=1"}}
            made.scale(workers + 1)

        timer = threading.Timer(3, help_arrives)
        timer.start()
        (found,) = distributing.results(client, square, [("square", (3,))], resources=resources)
        timer.join()
    assert found.value == 9
    assert capsys.readouterr().err.count(message) == 1
