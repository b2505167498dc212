"""The checkpoint of a training: what it holds, how it is written, recovered and read back."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import re
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kanvae import files, origin, runs
from kanvae.likelihoods import Likelihood
from kanvae.training import grids
from kanvae.training.configuration import FitSettings
from kanvae.training.updates import Loss


def identity(
    model: nn.Module,
    settings: FitSettings,
    images: Tensor,
    validation: Tensor | None,
    likelihood: Likelihood,
    loss: Loss,
    transform: Callable[..., Tensor] | None,
) -> dict[str, Any]:
    """What a checkpoint of `fit` is known by: another training does not go on from it.

    Args:
        model: known by its layers, as it prints them.
        images, validation: (N, ...), known by their digests.
        loss, transform: known by what they are called and do, not by variables from around them.
    """
    layers = _without_addresses(repr(model))
    if settings.grid_sizes:  # which grow in training
        layers = re.sub(r"grid_size=\d+", "", layers)
    layers = hashlib.md5(layers.encode()).hexdigest()
    found = settings.to_dict() | {"model": f"{type(model).__qualname__} {layers}"}
    found |= {
        "likelihood": _without_addresses(repr(likelihood)),
        "loss": _known(loss),
        "transform": _known(transform),
    }
    for name, x in (("images", images), ("validation", validation)):
        if x is not None:
            bits = x.detach().cpu().contiguous().flatten().view(torch.uint8)
            content = hashlib.md5(bits.numpy().data).hexdigest()
            found[name] = f"{tuple(x.shape)} {x.dtype} {content}"
    return found


def _known(function: Callable[..., Any] | None) -> str:
    """A function's name, the digest of what it does, and what a partial gives it."""
    if isinstance(function, functools.partial):
        given = f"{function.args} {sorted(function.keywords.items())}"
        return f"{_known(function.func)} {_without_addresses(given)}"
    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(function, "__code__", None)
    if code is None:  # an object that can be called, known by what it holds
        return f"{name} {_without_addresses(repr(getattr(function, '__dict__', '')))}"
    defaults = [getattr(function, kind, None) for kind in ("__defaults__", "__kwdefaults__")]
    content = _without_addresses(f"{_does(code, getattr(function, '__doc__', None))} {defaults}")
    return f"{name} {hashlib.md5(content.encode()).hexdigest()}"


def _does(code: types.CodeType, words: str | None = None) -> str:
    """What code does, with that of the functions within it, without its docstring."""

    def said(const: Any) -> str:
        if isinstance(const, types.CodeType):
            return _does(const)
        return repr(sorted(const, key=repr) if isinstance(const, frozenset) else const)

    consts = [said(const) for const in code.co_consts if const != words]
    return f"{code.co_code.hex()} {code.co_names} {consts}"


def _without_addresses(text: str) -> str:
    """Text without the places of objects in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def begin(path: Path | None, config: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The state of a training: of its checkpoint, where there is a whole one, else of a new one."""
    start: dict[str, Any] = {
        "config": config, "epoch": 0, "seconds": 0.0, "cpu_seconds": 0.0, "provenance": [],
        "elbos": [],
        "history": torch.empty(0, len(runs.COLUMNS), dtype=torch.float64),
        "best_epoch": 0, "best": {},
    }  # fmt: skip
    if path is not None:
        runs.make_folder(path.parent)
    found = _read(path, {*start, "model", "optimizer", "scheduler"}, device) if path else None
    if found is not None and path is not None:
        runs.check_config(path.parent, found["config"], config)
        start = found | {"history": found["history"].cpu()}
    start["provenance"] = [*start["provenance"], origin.provenance(device)]
    return start


def restore(state, model, optimizer, scheduler) -> None:
    """Put what a checkpoint holds back into a model, its optimiser and its scheduler."""
    grids.match(model, state["model"], optimizer)
    model.load_state_dict(state.pop("model"))
    optimizer.load_state_dict(state.pop("optimizer"))
    for group in optimizer.param_groups:  # it may come from another kind of device
        here = {"fused", "capturable"} & optimizer.defaults.keys()
        group |= {name: optimizer.defaults[name] for name in here}
    scheduler.load_state_dict(state.pop("scheduler"))


def _read(path: Path, names: set[str], device: torch.device) -> dict[str, Any] | None:
    """The checkpoint at `path`; None if there is none, or a damaged one, which is put aside.

    Raises:
        runs.RunError: the file cannot be read, or holds something else.
    """
    if not path.exists():
        return None
    try:
        found = read_tensors(path, device)
    except OSError as error:
        raise runs.RunError(f"{path} cannot be read ({error}): make it readable.") from error
    except ValueError as error:
        if zipfile.is_zipfile(path) and isinstance(error.__cause__, pickle.UnpicklingError):
            raise runs.RunError(  # it is whole
                f"{path} holds what cannot be read safely ({error}): name another folder, or "
                "delete it."
            ) from error
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        warnings.warn(
            f"{path} is damaged ({error}). It is kept as {aside.name} until the run is "
            "complete; the training starts anew.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    if not isinstance(found, dict) or not names <= found.keys():
        raise runs.RunError(
            f"{path} is no checkpoint of this edition: name another folder, or delete it."
        )
    return found


def read_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """What `torch.save` wrote to a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it was cut or changed, or is another file.
    """
    content = path.read_bytes()
    try:
        file = io.BytesIO(content)
        if zipfile.is_zipfile(file) and (changed := zipfile.ZipFile(file).testzip()):
            raise ValueError(f"{changed} in it has changed")
        file.seek(0)
        return torch.load(file, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise  # the file may well be whole
    except Exception as error:  # whatever torch makes of such a file
        reason = str(error).splitlines() or [type(error).__name__]
        raise ValueError(reason[0]) from error


def save(path: Path, state: dict[str, Any], model, optimizer, scheduler) -> None:
    """Write a checkpoint so that a kill at any moment leaves this one or the one before, whole.

    Raises:
        runs.RunError: the file cannot be written.
    """
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    values = state | {name: part.state_dict() for name, part in parts.items()}
    try:
        with files.written(path) as part, part.open("wb") as file:
            torch.save(values, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        raise runs.RunError(
            f"{path} cannot be written ({str(error).splitlines()[0]}). Make room or choose another "
            "folder; the training goes on from the checkpoint before."
        ) from error
