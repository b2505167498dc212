"""The weights that the paper's author published, for readers who have the file.

The paper's repository (ds-anik/KAN-VAE on GitHub) keeps the weights of its models; the
names of their layers are not known here. Its KAN layer is efficient-kan's, whose parameters have
the names of ours (`kanvae.layers.KANLinear`), so layers are told apart by their parameters' names
and shapes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kanvae.architectures import Architecture
from kanvae.models import VAE

_SUFFIXES = (".pt", ".pth", ".tar", ".bin")
_Layers = dict[str, dict[str, Tensor]]  # layer -> parameter -> values, in the order of the file


class WeightsError(ValueError):
    """A file holds no weights, or not those of the model."""


def load_published(
    path: Path | str, architecture: Architecture | str, member: str | None = None
) -> VAE:
    """A model with the weights of a file that another program wrote.

    Args:
        path: what `torch.save` wrote of a state dict, or of a dict that holds one; or a zip archive
            of such files.
        architecture: the model, or its key: "vae-400-20", "kan-400-20", "kan-35-15".
        member: which file of an archive, if it has more than one.

    Returns:
        The model. The heads of mean and log-variance have the same shapes: they are told apart by
        their names ("mean" and "mu" against "var", "sigma" and "std"), else the mean comes first.

    Raises:
        WeightsError: the file is missing, is no such file, or has other layers; then the message
            lists what was expected and what was found.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"there is no file {path}: name the .pth, .pt or .zip with the weights.")
    model = Architecture.parse(str(architecture)).build()
    wanted, found = _layers(model.state_dict()), _layers(_read(path, member))
    places = _places(wanted, found)
    if places is None:
        lists = f"expected:\n{_list(wanted)}\nfound:\n{_list(found)}"
        raise WeightsError(f"{path} does not fit {architecture}.\n{lists}")
    state = {
        f"{ours}.{name}": value
        for ours, theirs in places.items()
        for name, value in found[theirs].items()
    }
    model.load_state_dict(state)
    return model


def _places(wanted: _Layers, found: _Layers) -> dict[str, str] | None:
    """Our layer -> the file's, None if they do not go together one to one."""
    left = list(found)
    places = {}
    for ours, parameters in wanted.items():
        fitting = [name for name in left if _shapes(found[name]) == _shapes(parameters)]
        if not fitting:
            return None
        places[ours] = min(fitting, key=lambda name: _spreads(name) != ours.endswith("log_var"))
        left.remove(places[ours])
    return None if left else places


def _spreads(layer: str) -> bool:
    """Whether a layer's name says that it gives a spread and not a mean."""
    return any(word in layer.lower() for word in ("var", "sigma", "std"))


def _read(path: Path, member: str | None) -> Mapping[str, Tensor]:
    """The state dict in a file."""
    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(_SUFFIXES) and "__MACOSX" not in n]
            if member is not None and member not in names:
                raise WeightsError(f"{path} has no {member!r}: choose one of {names}.")
            if member is None and len(names) > 1:
                raise WeightsError(f"{path} holds several files: choose `member` from {names}.")
            if names:  # what torch.save writes is an archive too, without such members
                source = io.BytesIO(archive.read(member or names[0]))
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no file of torch's makes it raise almost anything
        raise WeightsError(
            f"{path} is no file of weights alone ({str(error).split(chr(10))[0]}). If it holds a "
            "whole model, load it with the author's code and save its `state_dict()`."
        ) from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds a {type(content).__name__} and no state dict.")
    return content


def _layers(state: Mapping[str, Tensor]) -> _Layers:
    layers: _Layers = {}
    for name, value in state.items():
        layer, _, parameter = name.rpartition(".")
        layers.setdefault(layer, {})[parameter] = value
    return layers


def _shapes(parameters: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in parameters.items()}


def _list(layers: _Layers) -> str:
    lines = (f"  {name or '(no layer)'}: {_shapes(values)}" for name, values in layers.items())
    return "\n".join(lines) or "  nothing"
