"""A Dask cluster to work on: one of this machine, or any other by its address.

    start()      a client of a cluster: this machine's cores or GPUs, an address, or a file
    held()       a folder for one process alone

What is given to a cluster is in `studies.distributing`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import yaml
from dask.system import cpu_count
from distributed import Client, Nanny, Scheduler, SpecCluster
from filelock import FileLock, Timeout

from kanvae.studies import chapters, watching

PATIENCE = 20  # seconds to wait for a scheduler
LOCAL = {  # what is set of Dask where the workers are this machine's
    "comm": {"timeouts": {"connect": "300s", "tcp": "300s"}},  # a busy machine starts them slowly
    # By default each looks 50 times a second at its own pulse and 100 times at what it is at, for
    # a page of the dashboard with profiles, and takes 2 to 4 % of a core for it, busy or not.
    "admin": {"tick": {"interval": "1s"}},
    "worker": {"profile": {"enabled": False}},
}
ALLOTTED = (  # where batch systems say how many cores a job has on this machine
    *("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"),
    *("PBS_NCPUS", "NCPUS", "NSLOTS", "LSB_DJOB_NUMPROC"),
)


class ClusterError(RuntimeError):
    """A cluster cannot be reached or made, or a folder is in use."""


def check_workers(workers: int | None, scheduler: str | None, file: Path | str | None) -> None:
    """Raise a ValueError if so many workers cannot be started, here or where they are not ours."""
    if workers is not None and (workers < 1 or scheduler or file):
        raise ValueError(
            f"workers is {workers}: it must be 1 or more, and is only for a cluster of this "
            "machine; another has the workers that it has."
        )


@contextlib.contextmanager
def start(
    scheduler: str | None = None,
    file: Path | str | None = None,
    workers: int | None = None,
    gpus: int = 0,
) -> Iterator[Client]:
    """A client of a cluster, for the time of a `with`. What it started ends there too.

    Args:
        scheduler: the address of a running scheduler, such as "tcp://10.0.0.1:8786".
        file: a YAML file that names a class of cluster and its options, such as
            `clusters/slurm.yaml`.
        workers: how many workers to start here (a core each, or a GPU each, by default).
        gpus: how many GPUs to use; each gets a worker that sees it alone.

    Raises:
        ClusterError: no scheduler answers there, or the file does not describe a cluster.
        ValueError: `workers` is below 1, or given for a cluster that is not started here.
    """
    check_workers(workers, scheduler, file)
    chapters.ensure_home()
    if scheduler:
        try:
            client = Client(scheduler, timeout=PATIENCE)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {scheduler} ({error}). Start one with "
                "`dask scheduler`, or give the address that it printed."
            ) from error
        with client:
            yield client
    elif file:
        with from_file(file) as made, Client(made) as client:
            yield client
    else:
        count = workers or gpus or cores()
        # What a user or a site has set for other clusters is not for this one.
        own = dask.config.merge(*dask.config.defaults, {"distributed": LOCAL})
        with dask.config.set(own), local(count, gpus) as made, Client(made) as client:
            yield client


def cores() -> int:
    """The cores that this process may use: of its affinity, its cgroup and its batch job.

    The machine may have more, which are others'.
    """
    named = [re.match(r"\d+", os.environ.get(name, "")) for name in ALLOTTED]
    return min([cpu_count(), *(int(found[0]) for found in named if found and int(found[0]))])


@contextlib.contextmanager
def local(workers: int, gpus: int = 0) -> Iterator[SpecCluster]:
    """A cluster of single-threaded workers on this machine; nothing of it is left afterwards."""
    made = SpecCluster(  # a LocalCluster whose workers may differ: each sees a GPU of its own
        scheduler={
            "cls": Scheduler,
            "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
        },
        workers={
            i: {"cls": Nanny, "options": worker_options(i, workers, gpus)} for i in range(workers)
        },
        silence_logs=logging.WARNING,
    )
    try:
        with watching.replacing(made, {"n": workers}):  # what takes a SIGINT ends for good
            yield made
    finally:
        nannies = [nanny.pid for nanny in made.workers.values() if getattr(nanny, "pid", None)]
        started = _family(nannies)
        for process in started:  # kernels first: a worker waits for its kernel
            if process.pid not in nannies:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        with contextlib.suppress(TimeoutError):
            made.close(timeout=10)
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()


def worker_options(index: int, workers: int, gpus: int) -> dict[str, Any]:
    """The options of a worker of this machine: one thread, its share of the cores, and its GPU."""
    threads = str(max(1, cores() // workers))
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "nthreads": 1,
        "silence_logs": logging.WARNING,
        "memory_limit": 0,  # the memory is the kernels', which Dask does not see
        "env": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
    }
    if gpus:
        options["env"]["CUDA_VISIBLE_DEVICES"] = str(index % gpus)
        options["resources"] = {"GPU": 1}
    return options


@contextlib.contextmanager
def held(folder: Path | str) -> Iterator[None]:
    """A folder that no other process on its file system may hold meanwhile; made if need be.

    Raises:
        ClusterError: another process holds it.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ClusterError(
            f"another sweep or search is at work on {folder}: wait for it, or choose another."
        ) from None
    with lock:
        yield


def _family(pids: Iterable[int]) -> list[psutil.Process]:
    """The processes of these numbers, and their descendants."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


@contextlib.contextmanager
def from_file(file: Path | str) -> Iterator[Any]:
    """The cluster that a YAML file describes: its class, the options of that, and its size.

    Raises:
        ClusterError: the file does not describe a cluster, or it cannot be made.
    """
    class_, options, scale = read_file(file)
    try:
        made = class_(**options)
        made.scale(**scale)
    except Exception as error:  # of whatever kind that class of cluster raises
        raise ClusterError(
            f"the cluster of {file} cannot be made ({type(error).__name__}: {error})."
        ) from error
    with made, watching.replacing(made, scale):
        yield made


def read_file(file: Path | str) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]:
    """A cluster file's class, its options, and the arguments of its `scale`.

    Raises:
        ClusterError: the file does not describe a cluster.
    """
    try:
        described = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        name, options, scale = described["cluster"], described["options"], described["scale"]
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute), dict(options), dict(scale)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ClusterError(
            f"{file} does not describe a cluster ({error!r}): it needs `cluster`, the import path "
            "of a Dask cluster class, `options`, its arguments, and `scale`, such as `jobs: 4`."
        ) from error
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"{file} names {name}, which is not installed here ({error}): pip install "
            f"{module.partition('.')[0].replace('_', '-')}."
        ) from error
