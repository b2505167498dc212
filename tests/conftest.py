"""What several test modules share."""

import atexit
import contextlib
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import nbformat
import pytest
import torch

from kanvae import data, evaluation, kernels, runs
from kanvae.training import TrainingConfig, train

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us with &

with warnings.catch_warnings():  # a layer warns where there is no C compiler: no error in tests
    warnings.simplefilter("ignore")
    if kernels.load_library("kan", DEGREE=3, COUNT=8) is None and kernels._compiler() is None:
        os.environ["KANVAE_KERNELS"] = "0"

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "book" / "_build" / "html"  # the built book
CHROMIUMS = (  # the first two are the same engine without windows, in half the time
    *("chromium-headless-shell", "chrome-headless-shell"),
    *("chromium", "chromium-browser", "google-chrome"),
)
BROWSER = next(filter(None, map(shutil.which, CHROMIUMS)), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

LONGEST = ("book", "notebooks", "sweep", "kernels", "soak", "cluster", "site", "slurm", "search")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """What is loaded stays: to search it for garbage, again and again, takes as long.

    Tests load more, such as torch's compiler: they are searched a tenth as often as by default.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 50, 100)
        gc.enable()
        atexit.register(gc.unfreeze)  # triton would call what is left of it then a leak


def pytest_collection_modifyitems(items):
    """The longest files come first, so that other workers have something to do beside them."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(autouse=True)
def _as_if_alone():
    torch.manual_seed(0)
    evaluation._references.clear()  # some tests give a set of images other pixels


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory) -> data.Images:
    """The first 320 training images of the real MNIST, and as many test images."""
    images = data.load("MNIST")
    return data.Images(images.pixels[:320].clone(), images.labels[:320].clone())


@pytest.fixture
def quick(monkeypatch, small_mnist):
    """Training on 320 real images, so that an epoch takes ten updates."""
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: small_mnist)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, small_mnist) -> runs.Run:
    """A small model trained for one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *args, **kwargs: small_mnist)
        config = TrainingConfig("kan-8-3", epochs=1)
        return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(trained_run, tmp_path) -> runs.Run:
    """A copy of a finished run that a test may damage."""
    shutil.copytree(trained_run.path, tmp_path / "run")
    return runs.read(tmp_path / "run")


PARAMETERS = 'count = 3\nrate = 0.5\nword = "a"\nasleep = 0.0'
RECORD = """
import os
from IPython.display import display
found = {"square": count**2, "curve": [1.0, 2.0, float(count)]}
found["device"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")
display({"application/vnd.kanvae+json": found, "text/plain": ""}, raw=True)
"""


def small_notebook(path: Path, check: str = "assert count < 10, 'too large'") -> Path:
    """A notebook that sleeps, fails if asked to, and records a number and a curve."""
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "P"}
    sources = (PARAMETERS, f"import time\ntime.sleep(asleep)\n{check}", RECORD)
    book.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    book.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(book, path)
    return path


@pytest.fixture(scope="session")
def store():
    """The address of a bucket on an S3-compatible server on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import fsspec

        fsspec.filesystem("s3").mkdir("sweeps")
        yield "s3://sweeps"
    server.stop()


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory, store):
    """The address of a Dask scheduler with two workers, all started by hand as processes."""
    folder = tmp_path_factory.mktemp("scheduler")
    file, log = folder / "scheduler.json", (folder / "log").open("w")
    dask = [sys.executable, "-m", "dask"]
    own = {  # workers must have what they run, and need not watch themselves meanwhile
        "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}",
        "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    }
    common = {"stdout": log, "stderr": log, "cwd": folder}
    address = ["--host", "127.0.0.1", "--scheduler-file", str(file)]
    commands = [[*dask, "scheduler", "--port", "0", "--dashboard-address", ":0", *address]]
    worker = [*dask, "worker", "--nthreads", "1", "--no-dashboard", *address]
    commands += [worker, [*worker, "--resources", "GPU=1"]]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **own, "CUDA_VISIBLE_DEVICES": str(i - 1)}, **common
        )
        for i, command in enumerate(commands)
    ]
    try:
        for _ in range(600):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        found = json.loads(file.read_text())["address"]
        from distributed import Client

        with Client(found) as client:
            client.wait_for_workers(2, timeout=60)
        yield found
    finally:
        with contextlib.ExitStack() as ends:  # each has its end, also where another's fails
            ends.callback(log.close)
            for process in processes:  # the last first: without a scheduler a worker takes 8 s
                ends.callback(process.kill)
                ends.callback(process.wait, 30)
                ends.callback(process.terminate)


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests that use it are skipped where `BROWSER` is None."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()
