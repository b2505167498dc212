"""What determines a training: checked when it is made, and recorded with the run."""

from __future__ import annotations

import ast
import functools
import hashlib
import math
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kanvae import data, likelihoods
from kanvae.architectures import Architecture
from kanvae.layers.function_layer import check_choice, check_whole
from kanvae.training import grids

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
SCHEDULERS = ("plateau", "constant", "cosine")
WEIGHT_DECAY = {"adam": 0.0, "adamw": 0.01, "sgd": 0.0}  # torch's own defaults


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a model is fitted, whatever it is.

    Args:
        epochs, batch_size: 1 or more.
        beta: of the KL in the loss, `reconstruction + beta * kl` (Higgins et al. 2017); 0 or more.
        optimizer: "adam", "adamw" or "sgd" (with momentum 0.9).
        learning_rate: positive.
        function_rate: what it is multiplied by for the learned functions of KAN layers (spline
            coefficients and scales), as networks with learned activations have it (Bohra et al.
            2020); positive.
        weight_decay: 0 or more; by default the optimiser's own (0.01 for adamw, else 0).
        scheduler: "plateau" (multiply the rate by `scheduler_factor` when the loss has not become
            better for `scheduler_patience` epochs), "cosine" (down to 0 over all epochs, Loshchilov
            and Hutter 2017), or "constant" ("none" is an older word for it).
        scheduler_factor: between 0 and 1.
        scheduler_patience: 0 or more.
        scheduler_watches: whether a plateau is one of the mean "training" loss of an epoch, or of
            the "validation" loss.
        scheduler_counts: what a plateau's patience counts, "epochs" or "updates": then it looks at
            the loss of every batch.
        grid_sizes: what the grids of layers of splines are extended to, one size after another, at
            the ends of equal parts of the epochs, such as "10,20"; by default they stay as they
            are. Layers that see two values at the most keep theirs, here and below.
        grid_updates: after how many epochs, from the first on, grids are moved to where inputs are.
        seed: of the order of the images and of all noise.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for "cuda" where it is there and else
            "cpu". It is not part of what a training is known by, and so may differ when one is
            resumed.

    Raises:
        ValueError: a value that is not allowed, or a device that is not there.
    """

    epochs: int = 30
    batch_size: int = 32
    beta: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 2e-3
    function_rate: float = 1.0
    weight_decay: float | None = None
    scheduler: str = "plateau"
    scheduler_factor: float = 0.5
    scheduler_patience: int = 10
    scheduler_watches: str = "training"
    scheduler_counts: str = "epochs"
    grid_sizes: str = ""
    grid_updates: int = 0
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        for field in fields(self):  # numbers of NumPy become Python's, which a checkpoint can hold
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                value = value.item()
            if isinstance(field.default, float) and type(value) is int:
                value = float(value)  # so that 1 and 1.0 name one run
            object.__setattr__(self, field.name, value)
        object.__setattr__(self, "device", resolve_device(self.device))
        if self.scheduler == "none":
            object.__setattr__(self, "scheduler", "constant")
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name), 1)
        for name in ("scheduler_patience", "grid_updates", "seed"):
            check_whole(name, getattr(self, name), 0)
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_choice("scheduler_watches", self.scheduler_watches, ("training", "validation"))
        check_choice("scheduler_counts", self.scheduler_counts, ("epochs", "updates"))
        if self.scheduler_counts == "updates" and (
            self.scheduler != "plateau" or self.scheduler_watches != "training"
        ):
            raise ValueError(
                "scheduler_counts is 'updates': only a plateau of the training loss is counted in "
                "updates. Leave it at 'epochs'."
            )
        sizes = grids.extensions(self.grid_sizes, self.epochs).values()
        object.__setattr__(self, "grid_sizes", ",".join(map(str, sizes)))  # however written
        if self.weight_decay is None:
            object.__setattr__(self, "weight_decay", WEIGHT_DECAY[self.optimizer])
        _between("learning_rate", self.learning_rate, 0, math.inf)
        _between("function_rate", self.function_rate, 0, math.inf)
        _between("scheduler_factor", self.scheduler_factor, 0, 1)
        for name in ("beta", "weight_decay"):
            _between(name, getattr(self, name), 0, math.inf, with_low=True)

    def to_dict(self) -> dict[str, Any]:
        """The fields that a training is known by, as JSON can hold them; the device is not one."""
        values = asdict(self)
        del values["device"]
        return values


@dataclass(frozen=True)
class TrainingConfig(FitSettings):
    """Everything that determines the training of a run.

    Args:
        architecture: an `Architecture` or its key, such as "kan-35-15".
        dataset: one of `data.SOURCES`, or the path of a `.npz` file (see `kanvae.data`).
        regime: "paper" (the first 1,000 training images of each class) or "full" (all training
            images but the last sixth, which is for validation).
        binarization: "threshold", "stochastic" (training pixels drawn anew for every batch, those
            of the validation and the test set once), or "none" (brightness, for other likelihoods).
            By default what the likelihood needs.
        threshold: brightness in [0, 1) above which a pixel is 1.
        likelihood: the name of one (`kanvae.likelihoods`).
        **settings: any field of `FitSettings`. The seed is that of the initial weights, too.

    Raises:
        ValueError: a value that is not allowed, or a device that is not there.
    """

    architecture: Architecture
    dataset: str = "MNIST"
    regime: str = "paper"
    binarization: str | None = None
    threshold: float = 0.5
    likelihood: str = "bernoulli"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.architecture, Architecture):
            object.__setattr__(self, "architecture", Architecture.parse(self.architecture))
        object.__setattr__(self, "dataset", str(self.dataset))
        data.check(self.dataset, self.regime)
        if self.dataset in data.SOURCES and self.architecture.input_features != 784:
            raise ValueError(
                f"input_features is {self.architecture.input_features}, but the images of "
                f"{self.dataset} have 784 pixels: leave it at 784."
            )
        likelihood = likelihoods.named(self.likelihood)
        object.__setattr__(self, "likelihood", str(likelihood))
        bits = likelihood == likelihoods.BERNOULLI
        if self.binarization is None:
            object.__setattr__(self, "binarization", "threshold" if bits else "none")
        check_choice("binarization", self.binarization, data.BINARIZATIONS)
        if self.binarization != "none" and not bits:
            raise ValueError(
                f"binarization is {self.binarization!r}, and the likelihood {self.likelihood} is "
                "for pixels that are not binary: leave binarization out."
            )
        _between("threshold", self.threshold, 0, 1, with_low=True)

    def to_dict(self) -> dict[str, Any]:
        """The fields that a run is known by, as JSON can hold them; the device is not one.

        For a file of one's own they hold the checksum of its content.
        """
        values = super().to_dict() | {"architecture": str(self.architecture)}
        if found := data.fingerprint(self.dataset):
            values["dataset_md5"] = found
        return values

    def fit_settings(self) -> dict[str, Any]:
        """The fields of `FitSettings`, by name."""
        return {field.name: getattr(self, field.name) for field in fields(FitSettings)}


def defaults() -> dict[str, Any]:
    """What a run of an earlier edition means where its config.json does not say."""
    found = {f.name: f.default for f in fields(TrainingConfig) if f.default is not MISSING}
    del found["device"]
    return found | {"weight_decay": 0.0}


def resolve_device(name: str) -> str:
    """The device that `name` means on this machine.

    Raises:
        ValueError: no such device, or not here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if device is None or (device.index or 0) >= counts.get(device.type, 0):
        here = [kind for kind, count in counts.items() if count]
        raise ValueError(
            f"device {name!r} is not on this machine: choose one of {['auto', *here]}."
        )
    return name


def run_name(config: TrainingConfig) -> str:
    """A folder name for the run: its main settings, and a digest of all of them and of this code.

    When code that determines numbers changes, so does the name: old weights are not taken for new
    ones. An edit of comments and docstrings keeps it.
    """
    digest = hashlib.sha256(f"{config.to_dict()!r}{code_digest()}".encode()).hexdigest()[:8]
    c, dataset = config, Path(config.dataset).stem
    return f"{c.architecture}-{dataset}-{c.regime}-{c.epochs}epochs-seed{c.seed}-{digest}"


@functools.cache
def code_digest(folder: Path = Path(__file__).parents[1]) -> str:
    """A digest of the code that determines a trained model's numbers, without its words."""
    modules = ("splines", "likelihoods", "models", "architectures", "objective")
    folders = ("layers/*.py", "kernels/*.py", "kernels/*.[ch]", "data/*.py", "training/*.py")
    names = (*(f"{module}.py" for module in modules), *folders)
    files = sorted(path for name in names for path in folder.glob(name))
    parts = [f"{path.relative_to(folder)}\n{without_words(path)}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def without_words(path: Path) -> str:
    """A source file without comments, docstrings, layout, and what is said to people.

    That is what errors and warnings say, and any text of three words or more.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        kept = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)
        text = kept.sub(lambda found: found[0] if found[0][0] == '"' else " ", text)
        return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            node.args = node.args[1:]
        if isinstance(node, ast.JoinedStr) and _is_said("".join(map(_text, node.values))):
            node.values = []
        if isinstance(node, ast.Constant) and _is_said(_text(node)):
            node.value = ""
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a text that stands alone does nothing
            node.body = [  # type: ignore[attr-defined]
                line
                for line in body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
    return ast.unparse(tree)


def _text(node: ast.expr) -> str:
    """A text of the source, or a word in place of a value that is put into one."""
    if isinstance(node, ast.FormattedValue):
        return "value"
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_said(text: str) -> bool:
    return len(text.split()) >= 3


def _between(name: str, value: Any, low: float, high: float, with_low: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not (low < value < high or (with_low and value == low)):
        raise ValueError(f"{name} is {value!r}: it must lie between {low} and {high}.")
