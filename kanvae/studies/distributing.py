"""Tasks for a Dask cluster, and what becomes of them.

    results()    tasks go in, their results come out as they are ready; lost ones are tried again
    do_all()     jobs of this machine, several at a time, under a bar that says how long

A task is a plain function that writes what it computed; Dask only decides where and when it runs.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, NamedTuple

import psutil
from distributed import Client, as_completed
from tqdm import tqdm

from kanvae.studies import cluster, watching

MARK = "KANVAE_SWEEP"  # in the environment of all processes that a task starts


class Result(NamedTuple):
    """What became of a task: a value, or an error's text."""

    name: str
    value: Any
    error: str | None


def results(
    client: Client,
    work: Callable[..., Any],
    tasks: Iterable[tuple[str, tuple[Any, ...]]],
    again: Callable[[Result], bool] = lambda result: False,
    at_once: int | None = None,
    resources: Mapping[str, float] | None = None,
) -> Generator[Result, None, None]:
    """The results of tasks, as they are ready. Closing the iterator ends what still runs.

    Args:
        work: called with a task's arguments on a worker.
        tasks: names, all different, and arguments; read only as far as `at_once` allows, so that
            later ones may depend on the results of earlier ones.
        again: whether to run a task again after this result, which then is not given out.
        at_once: how many tasks the cluster holds at a time, all by default.
        resources: what a worker must have to get a task, such as {"GPU": 1}.
    """
    mark = f"{os.getpid()}-{time.time_ns()}"
    waiting = iter(tasks)
    names: dict[Any, tuple[str, tuple[Any, ...], int]] = {}
    ready = as_completed([], with_results=True, raise_errors=False)  # many fetched at a time

    def submit(batch: list[tuple[str, tuple[Any, ...], int]]) -> None:
        futures = client.map(
            _marked, [(mark, work, arguments) for _, arguments, _ in batch],
            key=[f"{name}-{mark}-{tries}" for name, _, tries in batch], pure=False, retries=0,
            resources=dict(resources) if resources else None,
        )  # fmt: skip
        names.update(zip(futures, batch, strict=True))
        ready.update(futures)

    def fill() -> None:
        room = None if at_once is None else at_once - len(names)
        if batch := [(*task, 0) for task in itertools.islice(waiting, room)]:
            submit(batch)

    try:
        with watching.stalls(client, resources):
            fill()
            while names:
                future, value = next(ready)
                name, arguments, tries = names.pop(future)
                if future.status in ("error", "cancelled"):
                    result = Result(name, None, _reason(future))
                else:  # finished, even if the worker that held the value is gone since
                    result = Result(name, value, None)
                future.release()
                if again(result):
                    submit([(name, arguments, tries + 1)])
                else:
                    yield result
                fill()
    finally:
        if names:
            client.cancel(list(names), force=True)
            with contextlib.suppress(Exception):  # a cluster that is gone has nothing left to stop
                client.run(_stop, mark, on_error="ignore")


def do_all(
    work: Callable[..., Any],
    jobs: Mapping[str, Any],
    keep: Callable[[Any, Any], None],
    workers: int | None = None,
    effort: Callable[[Any], float] = lambda job: 1.0,
) -> list[str]:
    """Do jobs on this machine, several at a time; what failed, a line each.

    Args:
        work: called with a job, on a worker, and whether to show progress.
        jobs: by their names.
        keep: called here with a job and its value, as soon as there is one.
        workers: how many at a time, a core each by default; with 0 one after the other in this
            process, and an error of the first that fails is raised.
        effort: about how long a job takes, in any unit.
    """
    failures: list[str] = []
    if workers == 0:
        for job in jobs.values():
            keep(job, work(job))
    elif jobs:
        efforts = {name: effort(job) for name, job in jobs.items()}
        shape = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left {postfix}"
        with (
            cluster.start(workers=workers) as client,
            tqdm(total=sum(efforts.values()), desc=f"{len(jobs)} runs", bar_format=shape) as bar,
            contextlib.closing(
                results(client, work, [(name, (job, False)) for name, job in jobs.items()])
            ) as found,
        ):
            for result in found:
                if result.error:
                    failures.append(f"{result.name}: {result.error}")
                else:
                    keep(jobs[result.name], result.value)
                bar.set_postfix_str(f"last: {result.name}")
                bar.update(efforts[result.name])
    return failures


def _reason(future: Any) -> str:
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return f"its worker died {error.allowed_failures + 1} times while it ran"
    return f"{type(error).__name__}: {error}"


_local = threading.local()


def _marked(task: tuple[str, Callable[..., Any], tuple[Any, ...]]) -> Any:
    _local.mark, work, arguments = task
    try:
        return work(*arguments)
    finally:
        _local.mark = None


def mark() -> dict[str, str]:
    """The variable that a task gives to every process that it starts, so that it can be ended."""
    found = getattr(_local, "mark", None)
    return {MARK: found} if found else {}


def _stop(mark: str) -> int:
    """End the processes that tasks with this mark started on this worker."""
    stopped = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                process.send_signal(signal.SIGKILL)
                stopped += 1
    return stopped
