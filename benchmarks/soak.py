"""What is left of sweeps, trainings, searches and reproductions that are killed at random moments.

    python benchmarks/soak.py [--kills 200] [--minutes 120] [--seed 0] [--works sweep,training]
    python benchmarks/soak.py --round 17 --seed 0        one round again, its folder kept

A round starts one kind of work on little (`small.py`), kills its driver, a worker, a kernel or all
of its processes with SIGKILL, SIGTERM or SIGINT, cuts a file that it has written, or fills its disk
instead, and starts the same command again, until that ends by itself. What is left then must be
what an undisturbed run leaves: every file, weights bit for bit, tables but for times. No process
may be left, no file besides, no lock; what SIGKILL leaves in the folder of temporary files is only
counted. A command that refuses a cut file must name it; then that file, or its run folder, is
deleted, as the message says.

The table is written to `book/results/sweeps/soak.csv`; where it was measured, beside it. The
choices of a round follow from the seed and its number; what the processes do meanwhile does not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pandas as pd
import psutil
from filelock import FileLock, Timeout
from sweeps import ROOT, save, where

from kanvae import runs

SMALL = ROOT / "benchmarks" / "small.py"
MARK = "KANVAE_SOAK"  # in the environment of all processes of a round
DISK = 30  # megabytes of a disk that is filled
KILLS = 12  # of a round, at most
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = ("driver", "worker", "kernel", "all")
COUNTS = (
    *("rounds", "kills", *VICTIMS, "files_cut", "disks_filled", "restarts", "named", "temporary"),
    *("lost", "wrong", "left_behind", "not_restarted"),
)
FAULTS = COUNTS[-4:]
OTHER = ("log-", "chapter.ipynb", "temporary", "jupyter")  # beside what the command was to write
RUN = ("config.json", "weights.safetensors", "checkpoint.pt")  # one of them is in a run folder
VARYING = {  # from run to run: times, places, and how often something was begun
    *("seconds", "cpu_seconds", "seconds_per_update", "peak_megabytes", "provenance", "date"),
    *("attempts", "commit", "trial", "training_seconds"),
}
CELLS = (
    "seed = 0\nepochs = 20",
    "import small\nfrom kanvae.training import TrainingConfig, train\n"
    "run = train(TrainingConfig('kan-4-2', seed=seed, epochs=epochs), progress=False)",
    "from kanvae.studies import chapters\n"
    "chapters.record(total=sum(float(w.double().sum()) for w in run.weights.values()))",
)


class Work(NamedTuple):
    """A kind of work: its command, and one that writes tables once it has ended."""

    options: tuple[str, ...]
    tables: tuple[str, ...] = ()


SEARCH = ("search", "--output", "out", "--trials", "3", "--epochs", "10", "--workers", "2")
SEARCH += ("--importance_samples", "2", "--likelihood_images", "20")
WORKS = {
    "training": Work(("train", "out/run", "--architecture", "kan-4-2", "--epochs", "30")),
    "sweep": Work(
        ("sweep", "chapter.ipynb", "--output", "out", "-p", "seed", "0:2", "--workers", "2")
    ),
    "search": Work(SEARCH, (*SEARCH, "--collect", "out/tables")),
    "reproduction": Work(
        (
            *("reproduce", "--rows", "kan-4-2,vae-6-2", "--regime", "paper", "--seeds", "0"),
            *("--device", "cpu", "--workers", "2", "--output", "out/tables"),
        )
    ),
}


class Undisturbed(NamedTuple):
    """What a run leaves that nothing happens to, and how long it takes."""

    left: dict[str, str]
    seconds: float


# ---- a round ------------------------------------------------------------------------------------


class Round:
    """A folder in which a command is started as often as needed."""

    def __init__(self, work: Work, folder: Path, name: str):
        self.work, self.folder, self.name = work, folder, name
        self.starts = 0
        for inside in ("temporary", "jupyter", "out"):
            (folder / inside).mkdir(parents=True)
        book = nbformat.v4.new_notebook()
        book.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "P"}
        book.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        book.cells[0].metadata["tags"] = ["parameters"]
        for i, cell in enumerate(book.cells):
            cell["id"] = f"cell-{i}"
        nbformat.write(book, folder / "chapter.ipynb")

    def start(self, options: tuple[str, ...], limit: int | None = None) -> psutil.Popen:
        """Start a command; its errors go to a file of its own."""
        self.starts += 1
        environment = {
            **os.environ,
            MARK: self.name,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{SMALL.parent}",
            "KANVAE_RUNS": str(self.folder / "out"),
            "TMPDIR": str(self.folder / "temporary"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "jupyter"),
            "OMP_NUM_THREADS": "1",
        }
        with self.log().open("w") as log:
            return psutil.Popen(
                [sys.executable, str(SMALL), *options], env=environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: _prepare(limit),
            )  # fmt: skip

    def log(self) -> Path:
        return self.folder / f"log-{self.starts}"

    def processes(self) -> list[psutil.Process]:
        """All that run for this round."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.environ().get(MARK) == self.name
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def settle(self, seconds: float = 60) -> list[psutil.Process]:
        """Wait until no process is left; those that are."""
        end = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.3)
        return found

    def files(self) -> list[Path]:
        """What has been written, and may be cut: no file that is still to get its name."""
        return [
            path
            for path in sorted((self.folder / "out").rglob("*"))
            if path.is_file() and path.stat().st_size and not path.name.startswith(".")
            and not path.name.endswith((".lock", ".new"))
        ]  # fmt: skip


def _prepare(limit: int | None) -> None:
    """Of a process, before it begins: how large its files may be; and what SIGINT does.

    What a shell starts behind `&` ignores SIGINT, and hands that on.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if limit:
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def one_round(
    kind: str, number: int, seed: int, folder: Path, undisturbed: Undisturbed, say: Callable
) -> Counter:
    """Disturb one run, let it end, and compare."""
    chance = random.Random(f"{seed}-{number}")
    found: Counter = Counter(rounds=1)
    fills = chance.random() < 0.15
    name = f"{os.getpid()}-{seed}-{number}"
    with disk(folder) if fills else contextlib.nullcontext():
        here = Round(WORKS[kind], folder, name)
        notes: list[str] = []
        cut: list[Path] = []
        try:
            if fills:
                notes.append(_fill(here, chance, undisturbed.seconds))
                found["disks_filled"] += 1
            else:
                _kill(here, chance, undisturbed.seconds, found, notes, cut)
            found += _finish(here, undisturbed.seconds, notes, cut)
            found += _compare(here, undisturbed, notes, cut)
        finally:
            for process in here.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()
        found["restarts"] = here.starts - 1
        bad = {fault: found[fault] for fault in FAULTS if found[fault]}
        say(f"round {number} {kind}: {'; '.join(notes)}: {bad or 'as undisturbed'}")
        if bad and fills:
            shutil.copytree(folder, folder.with_name(f"{folder.name}-kept"))
        if not bad:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return found


def _kill(
    here: Round, chance: random.Random, seconds: float, found: Counter, notes: list[str],
    cut: list[Path],
) -> None:  # fmt: skip
    """Kill processes of a run that is started again and again, and cut files in between.

    From one kill to the next passes what lies between random moments of an undisturbed run.
    """
    process = here.start(here.work.options)
    moments = sorted(chance.uniform(0, seconds) for _ in range(chance.randint(1, KILLS)))
    for before, moment in itertools.pairwise([0.0, *moments]):
        if process.poll() is not None:
            if chance.random() < 0.4 and not here.settle() and (files := here.files()):
                by_name: dict[str, list[Path]] = {}
                for path in files:
                    by_name.setdefault(path.name, []).append(path)
                path = chance.choice(by_name[chance.choice(sorted(by_name))])
                size = chance.randrange(path.stat().st_size)
                os.truncate(path, size)
                cut.append(path)
                found["files_cut"] += 1
                notes.append(f"{path.relative_to(here.folder)} cut to {size} bytes")
            process = here.start(here.work.options)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(moment - before)
        if process.poll() is not None:
            continue  # it was faster
        family = _family(process)
        kinds = [kind for kind in VICTIMS if family[kind]]
        kind, how = chance.choice(kinds), chance.choice(SIGNALS)
        victims = family["all"] if kind == "all" else [chance.choice(family[kind])]
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.send_signal(how)
        found["kills"] += 1
        found[kind] += 1
        notes.append(f"{kind} {signal.Signals(how).name} after {moment - before:.1f} s")
        if kind in ("driver", "all"):
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(60)
            if process.poll() is None:
                found["left_behind"] += 1
                notes.append(f"the driver lives 60 s after {signal.Signals(how).name}")
                process.kill()
                process.wait()
    if process.poll() is None:
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(120 + 10 * seconds)


def _family(driver: psutil.Process) -> dict[str, list[psutil.Process]]:
    """The driver, its workers and their kernels, as far as they are there."""
    found: dict[str, list[psutil.Process]] = {kind: [] for kind in VICTIMS}
    with contextlib.suppress(psutil.Error):
        found["driver"] = [driver]
        for process in driver.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if "ipykernel" in words:
                    found["kernel"].append(process)
                elif "spawn_main" in words or str(SMALL) in words:
                    found["worker"].append(process)
    found["all"] = [process for kind in VICTIMS[:-1] for process in found[kind]]
    return found


def _fill(here: Round, chance: random.Random, seconds: float) -> str:
    """Start a run and let its disk be full from a random moment on, until the run ends."""
    if not os.path.ismount(here.folder):  # no small disk without root: small files instead
        limit = chance.randrange(1, 60_000)
        process, how = here.start(here.work.options, limit), f"files of {limit} bytes at most"
    else:
        process, moment = here.start(here.work.options), chance.uniform(0, seconds)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(moment)
        how = f"disk full after {moment:.1f} s"
        with contextlib.suppress(OSError), (here.folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(120 + 10 * seconds)
    for left in here.settle(20 if process.poll() is not None else 0):
        left.kill()
        how += ", then hung"
    (here.folder / "filler").unlink(missing_ok=True)
    return how


@contextlib.contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A disk of its own, where this user may mount one; else a plain folder."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(folder)]
    mounted = os.name == "posix" and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _finish(here: Round, seconds: float, notes: list[str], cut: list[Path]) -> Counter:
    """Start the command until it ends well; count how it did not."""
    found: Counter = Counter()
    for tries in itertools.count():
        alone = not here.processes()
        process = here.start(here.work.options)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(120 + 10 * seconds)
        if process.poll() == 0:
            break
        text = here.log().read_text(errors="replace")
        last = (text.strip().splitlines() or ["nothing was said"])[-1][:300]
        if process.poll() is None:
            notes.append("it hung")
            found["not_restarted"] += 1
            for left in here.processes():
                left.kill()
        elif named := {path for path in cut if path.exists() and _names(text, here, path)}:
            found["named"] += 1
            notes.append(f"named: {last}")
            for path in named:
                inside_run = any((path.parent / name).exists() for name in RUN)
                if inside_run:
                    shutil.rmtree(path.parent, ignore_errors=True)
                else:
                    path.unlink()
        elif alone:
            notes.append(f"it ended with {process.poll()}: {last}")
            found["not_restarted"] += 1
            for path in cut:
                path.unlink(missing_ok=True)
        here.settle()
        if tries > 4:
            break
    if here.work.tables:
        here.start(here.work.tables).wait(120 + 10 * seconds)
    if left := here.settle():
        found["left_behind"] += len(left)
        notes.append(f"processes left: {[' '.join(p.cmdline())[:80] for p in left]}")
    return found


def _names(text: str, here: Round, path: Path) -> bool:
    """Whether an error's text names a file, or the folder of the run or point that it is in."""
    inside = str(path.parent.relative_to(here.folder))
    return path.name in text or (inside != "out" and inside in text)


# ---- what is left -------------------------------------------------------------------------------


def _compare(here: Round, undisturbed: Undisturbed, notes: list[str], cut: list[Path]) -> Counter:
    """Hold what is left against what an undisturbed run leaves."""
    found: Counter = Counter()
    left = contents(here.folder)
    found["temporary"] = sum(1 for _ in (here.folder / "temporary").iterdir())
    for name, content in undisturbed.left.items():
        if name not in left:
            found["lost"] += 1
            notes.append(f"{name} is lost")
        elif left[name] != content and here.folder / name in cut and _refused(here.folder / name):
            found["named"] += 1
            notes.append(f"{name} is refused by its reader")
        elif left[name] != content:
            found["wrong"] += 1
            notes.append(f"{name} is wrong")
    for name in left.keys() - undisturbed.left.keys():
        if name.endswith(".damaged"):  # set aside, and said so
            found["named"] += 1
            continue
        found["left_behind"] += 1
        notes.append(f"{name} is left")
    for path in here.folder.rglob("*.lock"):
        try:
            FileLock(path).acquire(timeout=0).lock.release()
        except Timeout:
            found["left_behind"] += 1
            notes.append(f"{path.name} is held")
    return found


def _refused(path: Path) -> bool:
    """Whether reading the run folder that a cut file is in says so."""
    try:
        runs.read(path.parent).metrics  # noqa: B018
    except runs.RunError:
        return True
    return False


def contents(folder: Path) -> dict[str, str]:
    """Each file that a run left, and what of it does not vary from run to run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not name.startswith(OTHER):
            try:
                found[name] = _content(path)
            except Exception as error:  # of whatever kind a damaged file raises
                found[name] = f"damaged: {error}"
    return found


def _content(path: Path) -> str:
    if path.name == "provenance.json":
        return "where it ran"
    if path.suffix == ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".parquet":
        return _table(pd.read_parquet(path))
    if path.name.endswith((".csv", ".csv.gz")):
        return _table(pd.read_csv(path, dtype=str))
    if path.suffix == ".json":
        return json.dumps(_constant(json.loads(path.read_text(encoding="utf-8"))), sort_keys=True)
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return json.dumps([[cell.source, cell.get("execution_count")] for cell in cells])
    if path.suffix == ".html":
        return str("</html>" in path.read_text(encoding="utf-8"))
    return ""


def _table(table: pd.DataFrame) -> str:
    kept = table[[name for name in table.columns if name not in VARYING]].astype(str)
    return kept.sort_values(list(kept.columns)).to_csv(index=False)


def _constant(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _constant(entry) for key, entry in value.items() if key not in VARYING}
    return value


# ---- all rounds ---------------------------------------------------------------------------------


def undisturbed_run(kind: str, folder: Path) -> Undisturbed:
    """Run a kind of work to its end."""
    here = Round(WORKS[kind], folder, f"{os.getpid()}-undisturbed-{kind}")
    begun = time.perf_counter()
    for options in filter(None, here.work):
        if here.start(options).wait() != 0:
            sys.exit(f"{kind} does not run:\n{here.log().read_text()}")
        seconds = time.perf_counter() - begun
    here.settle()
    return Undisturbed(contents(folder), seconds)


def soak(options: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Rounds until enough was killed, or time is over; a line a kind of work."""
    kinds = options.works.split(",")
    counts = {kind: Counter() for kind in kinds}
    with ThreadPoolExecutor(options.jobs) as pool:
        paths = [folder / f"undisturbed-{kind}" for kind in kinds]
        undisturbed = dict(zip(kinds, pool.map(undisturbed_run, kinds, paths), strict=True))
        for kind, run in undisturbed.items():
            print(f"undisturbed {kind}: {run.seconds:.1f} s, {len(run.left)} files", flush=True)
        end = time.monotonic() + 60 * options.minutes

        def work(number: int) -> None:
            total = sum(count["kills"] for count in counts.values())
            if options.round is None and (total >= options.kills or time.monotonic() > end):
                return
            kind = kinds[number % len(kinds)]
            counts[kind] += one_round(
                kind, number, options.seed, folder / f"round-{number}", undisturbed[kind],
                lambda text: print(text, flush=True),
            )  # fmt: skip

        numbers = range(options.kills) if options.round is None else [options.round]
        list(pool.map(work, numbers))
    return pd.DataFrame(
        [{"work": kind, **{name: counts[kind][name] for name in COUNTS}} for kind in kinds]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill what this project runs, and compare.")
    parser.add_argument("--kills", type=int, default=200, help="in all (200)")
    parser.add_argument("--minutes", type=float, default=120, help="after which none begins (120)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices (0)")
    parser.add_argument("--round", type=int, help="only this one")
    parser.add_argument("--works", default=",".join(WORKS), help=f"of {', '.join(WORKS)} (all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="rounds at a time (cores)")
    parser.add_argument("--output", type=Path, default=ROOT / "book" / "results" / "sweeps")
    options = parser.parse_args()
    print(f"seed {options.seed}, works {options.works}", flush=True)
    measured = where()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    table = soak(options, folder)
    print(table.set_index("work").T.to_string())
    if options.round is None:
        save(options.output, "soak", table, measured)
    if table[list(FAULTS)].to_numpy().any():
        sys.exit(f"there are faults; the folders of their rounds stand in {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
