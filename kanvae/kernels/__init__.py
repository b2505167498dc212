"""Compiled inner loops of the layers on the CPU: how they are built, kept, and when they may run.

`load_library` compiles a source of this folder once, in one to three seconds, and keeps the library
in `~/.cache/kanvae`. Without a C compiler, or with `KANVAE_KERNELS=0`, layers use torch's own
operations, which give the same numbers to rounding in several times the time. README.md beside
this file tells what the kernels compute and how.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor
from torch.autograd import forward_ad

FLAGS: tuple[str, ...] = ("-O3", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
FLAGS += ("-fno-tree-slp-vectorize",)  # the vectors are written out; more of them only wait
OPTIONAL: tuple[tuple[str, ...], ...] = (  # the first that compiles
    ("-march=native", "-fopenmp"),
    ("-march=native",),
    (),
)
COMPILING = 120.0  # seconds, at most


@functools.cache
def load_library(name: str, **defines: int) -> ctypes.CDLL | None:
    """The library of `name`.c, compiled with these macros; None where it cannot be had.

    The caller declares the types of the functions that it calls. Never raises: where there is no
    library it warns, once a process, and the layers take their formula.
    """
    if os.environ.get("KANVAE_KERNELS") == "0" or os.name == "nt":
        return None
    try:
        return _kept_or_built(name, tuple(f"-D{key}={value}" for key, value in defines.items()))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        _warn(str(error))
        return None


def _kept_or_built(name: str, defines: tuple[str, ...]) -> ctypes.CDLL:
    """The kept library of the best level that there is, or a new one; raises where there is none.

    The name of a kept file holds digests of all that it was made from and of its content.
    """
    source = Path(__file__).with_name(f"{name}.c")
    compiler, folder, processor = _compiler(), _folder(), _processor()
    sources = [path.read_bytes() for path in (source, *sorted(source.parent.glob("*.h")))]
    failure = "there is no C compiler"
    for optional in OPTIONAL:
        if platform.system() == "Linux" and not processor[-1] and "-march=native" in optional:
            continue  # nothing would tell this machine's library from another's
        flags = (*FLAGS, *optional, *defines)
        stem = f"{name}-{_digest(sources, flags, processor)}"
        # Where there is no compiler, as on some nodes of a cluster, another's work will do.
        stem += "-*" if compiler is None else f"-{_digest(*compiler)}"
        try:
            if (kept := _kept(folder, f"{stem}-*.so")) is None and compiler is not None:
                with _alone(folder, stem):  # the points of a sweep begin at the same moment
                    if (kept := _kept(folder, f"{stem}-*.so")) is None:
                        return _build(compiler[0], flags, source, folder, stem)
            if kept is not None:
                return ctypes.CDLL(str(kept))
        except subprocess.TimeoutExpired as error:  # with other flags it would not be faster
            raise RuntimeError(f"{error.cmd[0]} took more than {COMPILING:g} seconds") from error
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            failure = str(error)
    raise RuntimeError(failure)


@contextlib.contextmanager
def _alone(folder: Path | None, stem: str) -> Iterator[None]:
    """While other processes that want to build the same wait, where there is a place for a lock."""
    if folder is None:
        yield
        return
    lock = FileLock(folder / f".{stem}.lock")
    # Nothing can be locked there, or another takes too long: then this process builds its own.
    with contextlib.suppress(OSError, NotImplementedError):
        lock.acquire(timeout=COMPILING)
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()


def _build(
    command: tuple[str, ...], flags: tuple[str, ...], source: Path, folder: Path | None, stem: str
) -> ctypes.CDLL:
    with tempfile.TemporaryDirectory(prefix="kanvae-") as place:
        part = Path(place) / f"{stem}.so"
        done = subprocess.run(
            [*command, *flags, str(source), "-o", str(part)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMPILING,
        )
        if done.returncode or not part.exists():
            raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
        if folder is not None:
            with contextlib.suppress(OSError):  # a full disk, say: then it serves this process
                content = part.read_bytes()
                target = folder / f"{stem}-{_digest(content)}.so"
                with tempfile.TemporaryDirectory(dir=folder) as beside:
                    whole = Path(beside) / target.name
                    whole.write_bytes(content)
                    whole.replace(target)  # other processes see the whole file or none
                return ctypes.CDLL(str(target))
        return ctypes.CDLL(str(part))  # stays loaded when its file goes


def _kept(folder: Path | None, pattern: str) -> Path | None:
    """A library that is ours and whole; what is not goes."""
    for path in sorted(folder.glob(pattern)) if folder else ():
        found = path.lstat()
        if (
            stat.S_ISREG(found.st_mode)
            and found.st_uid == os.geteuid()
            and not found.st_mode & 0o022
            and path.stem.rpartition("-")[2] == _digest(path.read_bytes())
        ):
            return path
        if stat.S_ISDIR(found.st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    return None


def _folder() -> Path | None:
    """The user's own folder for libraries, which nobody else can write to, if there can be one."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    if not os.path.isabs(base):  # no HOME, and a user whom the machine does not know
        return None
    folder = Path(base) / "kanvae"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            return None
        if found.st_mode & 0o022:  # others may have left libraries here: start anew
            folder.chmod(0o700)
            for path in folder.glob("*.so"):
                path.unlink()
        return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None
    except OSError:
        return None


def _compiler() -> tuple[tuple[str, ...], str] | None:
    """The command of the C compiler, and what it says its version is."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        command = shlex.split(name or "")
        if command and (path := shutil.which(command[0])):
            asked = [path, "--version"]
            done = subprocess.run(asked, capture_output=True, errors="replace", timeout=60)
            return (path, *command[1:]), str(done.stdout)
    return None


def _processor() -> tuple[str, ...]:
    """What the compiled code may use: a home folder can be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.system(), platform.machine(), platform.processor(), flags


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


_warned = False


def _warn(reason: str) -> None:
    global _warned
    if _warned:
        return
    _warned = True
    warnings.warn(
        f"the kernels of KAN layers cannot be compiled ({reason}), so that layers take several "
        "times longer. Install a C compiler (gcc or clang) or name one in CC; "
        "KANVAE_KERNELS=0 accepts this and says nothing.",
        RuntimeWarning,
        stacklevel=3,
    )


_dispatch_keys = torch._C._dispatch_keys
_dispatch_modes = torch._C._dispatch_tls_local_include_set

# What an ordinary tensor in the CPU's memory is to torch's dispatcher, and what stands around it
# where nothing is recorded, transformed or batched: without and with inference mode.
_PLAIN, _NO_MODES = set(), set()
for _inference in (False, True):  # in whichever this module happens to be loaded
    with torch.inference_mode(_inference):
        _PLAIN.add(_dispatch_keys(torch.empty(0, device="cpu")).raw_repr())
        _NO_MODES.add(_dispatch_modes().raw_repr())


_ORDINARY = frozenset((Tensor, torch.nn.Parameter))


def may_run(first: Tensor, *others: Tensor) -> bool:
    """Whether kernels may compute with these tensors, at this moment.

    They read memory, so that the tensors must be ordinary ones of the CPU (no subclass, no fake or
    meta tensor, not sparse, quantised or nested, not batched by `vmap`), in float32, or the first
    of them in bool. And they bypass torch's operations, so that nothing may be listening to those:
    no transform of torch.func, forward-mode differentiation, tracing, compilation, autocast or
    dispatch mode. Any strides are allowed: make them `contiguous()`.
    """
    if (
        torch.compiler.is_compiling()
        or type(first) not in _ORDINARY
        or not may_run_backward(first)
        or (first.dtype is not torch.float32 and first.dtype is not torch.bool)
        or torch.is_autocast_enabled("cpu")
    ):
        return False
    for tensor in others:  # at every call of every layer: no generator, no function for each
        if (
            tensor.dtype is not torch.float32
            or type(tensor) not in _ORDINARY
            or _dispatch_keys(tensor).raw_repr() not in _PLAIN
        ):
            return False
    return True


def may_run_backward(grad: Tensor) -> bool:
    """The same for the gradient (...) of what kernels have computed: less can be unusual there."""
    return (
        forward_ad._current_level < 0
        and _dispatch_modes().raw_repr() in _NO_MODES
        and _dispatch_keys(grad).raw_repr() in _PLAIN
    )


def gradients(
    formula: Callable[..., Tensor], inputs: Sequence[Tensor | None], grad: Tensor
) -> list[Tensor | None]:
    """Gradients of a formula in torch's operations, for those of its inputs that want one.

    grad is the gradient of its output and as large, (...). They can be differentiated again, and
    taken in batches, which those of a kernel cannot.
    """
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # One input may come from another: with names of their own each has its own share.
        own = [None if t is None else t.view_as(t) for t in inputs]
        y = formula(*own)
    needed = [t for t in own if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(y, needed, grad, create_graph=torch.is_grad_enabled()))
    return [next(found) if t is not None and t.requires_grad else None for t in own]


_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def threads() -> int:
    """How many threads a kernel may use: torch's number, one in a forked process.

    OpenMP's threads do not survive a fork, and waiting for them would take for ever.
    """
    return 1 if _forked else min(torch.get_num_threads(), _MOST_THREADS)


_MOST_THREADS = max(8, os.cpu_count() or 1)  # more than processors only wait for each other
