"""What looks after a cluster while tasks run on it: a line of progress, a warning, replacements."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client, SpecCluster
from tqdm import tqdm

STALLED = 120.0  # seconds without any task at work, until that is said


@contextlib.contextmanager
def every(seconds: float, look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every so many seconds, in a thread of its own, for the time of a `with`."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(Exception):  # the cluster may be closing
                look()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)  # more only where a scheduler no longer answers


def running(client: Client) -> int:
    """How many tasks are running now."""
    threads = client.nthreads()
    return sum(min(threads.get(w, 0), len(keys)) for w, keys in client.processing().items())


@contextlib.contextmanager
def ticking(client: Client, bar: tqdm, failed: Collection[str]) -> Iterator[None]:
    """Show once a second how many points are running, failed and left."""

    def show(busy: int) -> None:
        left = bar.total - bar.n
        bar.set_postfix_str(f"running {busy}, failed {len(failed)}, left {left}")

    if bar.disable:
        yield
        return
    try:
        with every(1, lambda: show(running(client))):
            yield
    finally:
        show(0)


@contextlib.contextmanager
def stalls(client: Client, resources: Mapping[str, float] | None) -> Iterator[None]:
    """Say so, to stderr and once each time, when no task has been at work for `STALLED` seconds.

    Args:
        resources: what a worker must have to get a task.
    """
    since: float | None = time.monotonic()  # None once it is said

    def look() -> None:
        nonlocal since
        workers = None
        with contextlib.suppress(Exception):
            workers = len(client.nthreads())
            if running(client):
                since = time.monotonic()
                return
        if since is not None and time.monotonic() - since >= STALLED:
            since = None
            tqdm.write(_why(client, workers, resources), file=sys.stderr)

    with every(1, look):
        yield


def _why(client: Client, workers: int | None, resources: Mapping[str, float] | None) -> str:
    address = client.scheduler.address if client.scheduler else "its address"
    minutes = f"{STALLED / 60:g} minutes"
    stop = "Ctrl-C stops it; what is done stays done, and the same command goes on from there."
    if workers is None:
        return f"no answer from the scheduler at {address} for {minutes}. {stop}"
    if not workers:
        return (
            f"no worker for {minutes}: all waits until one comes to {address}. Look at the jobs or "
            f"processes that were to be its workers, and at what they printed. {stop}"
        )
    wanted = f"the work needs {dict(resources)}, which" if resources else "and"
    return f"nothing at work for {minutes}: {wanted} none of {workers} workers takes it. {stop}"


@contextlib.contextmanager
def replacing(made: Any, scale: Mapping[str, Any]) -> Iterator[None]:
    """Ask a cluster for others in place of workers that it had and lost for good.

    Dask asks for each only once: a batch job that has ended keeps its place in the plan. A worker
    is lost when it is away for as long as Dask's `distributed.deploy.lost-worker-timeout`.

    Args:
        scale: the arguments of the cluster's `scale`.
    """
    patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
    seen: set[Any] = set()  # jobs that have not come yet may be waiting in a queue
    away: dict[Any, float] = {}
    numbers = itertools.count(1)

    def look() -> None:
        here = {str(worker["name"]) for worker in made.scheduler_info["workers"].values()}
        now, lost = time.monotonic(), 0
        for name, spec in list(made.worker_spec.items()):
            if here & {f"{name}{suffix}" for suffix in spec.get("group", [""])}:
                seen.add(name)
                away.pop(name, None)
            elif name in seen and now - away.setdefault(name, now) > patience:
                # Under another name: by the old one Dask takes it for there, or closes it yet.
                new = f"{str(name).partition('-again')[0]}-again{next(numbers)}"
                made.worker_spec[new] = made.worker_spec.pop(name)
                lost += 1
        if lost:
            tqdm.write(f"{lost} of the cluster's workers ended: as many are asked for.", sys.stderr)
            made.scale(**scale)

    if isinstance(made, SpecCluster):  # others, such as Kubernetes, keep the number themselves
        with every(1, look):
            yield
    else:
        yield
