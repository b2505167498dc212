"""Write down what layers of other people compute by their own code, for tests that run without it.

    python tests/originals.py FOLDER

FOLDER holds clones of github.com/Blealtan/efficient-kan, ZiyaoLi/fast-kan, SynodicMonth/ChebyKAN
and zavareh1/Wav-KAN. The numbers in originals.npz, in float64, are those of commits 7b6ce1c,
17b6540, 5f7efdd and f7ab521.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

RECORDED = Path(__file__).with_suffix(".npz")
SPLINES: dict[str, dict[str, Any]] = {
    "default": {},
    "other": {
        "grid_size": 3, "spline_order": 2, "grid_range": [-2.0, 1.0], "grid_eps": 0.5,
        "enable_standalone_scale_spline": False, "base_activation": nn.GELU,
    },
}  # fmt: skip
WAVELETS = ("mexican_hat", "morlet", "dog")


def recorded(name: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """What was written down of a layer: x (30, 5), y (30, 4), state.*, gradient.*, and more."""
    with np.load(RECORDED) as numbers:
        own = {key: value for key, value in numbers.items() if key.startswith(f"{name}.")}
    return {
        key.removeprefix(f"{name}."): torch.from_numpy(value).to(dtype)
        for key, value in own.items()
    }


def record(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Weights, inputs (N, I), outputs (N, O), and the gradients of the sum of their squares."""
    found = {f"state.{name}": value.clone() for name, value in layer.state_dict().items()}
    x.requires_grad_()
    y = layer(x)
    (y**2).sum().backward()
    learned = {name: value.grad for name, value in layer.named_parameters()}
    return found | {"x": x, "y": y, "gradient.x": x.grad} | {
        f"gradient.{name}": value for name, value in learned.items() if value is not None
    }  # fmt: skip


def main(folder: Path) -> None:
    """Record every layer, with weights off their start where the start says little."""
    torch.manual_seed(0)
    splines = runpy.run_path(f"{folder}/efficient-kan/src/efficient_kan/kan.py")["KANLinear"]
    wavelets = runpy.run_path(f"{folder}/Wav-KAN/KAN.py")["KANLinear"]
    gaussian = runpy.run_path(f"{folder}/fast-kan/fastkan/fastkan.py")["FastKANLayer"]
    chebyshev = runpy.run_path(f"{folder}/ChebyKAN/ChebyKANLayer.py")["ChebyKANLayer"]
    layers = {f"splines-{name}": splines(5, 4, **options) for name, options in SPLINES.items()}
    layers |= {"gaussian": gaussian(5, 4), "chebyshev": chebyshev(5, 4, 4)}
    layers |= {f"wavelet-{name}": wavelets(5, 4, name) for name in WAVELETS}
    numbers = {}
    for name, layer in layers.items():
        layer.double()
        x = 1.5 * torch.randn(30, 5, dtype=torch.float64)  # within the grid and beyond all knots
        if name.startswith("splines"):
            x[0] = layer.grid[:, layer.spline_order + 1]  # on a knot
        else:
            with torch.no_grad():
                for part, value in layer.named_parameters():
                    if part != "rbf.grid":
                        value += 0.2 * torch.randn_like(value)
        found = record(layer, x)
        if name.startswith("splines"):
            found["regularization"] = layer.regularization_loss(0.7, 0.3)
            layer.update_grid(x.detach(), margin=0.5)
            found["updated"] = layer.grid
        numbers |= {f"{name}.{key}": value.detach().numpy() for key, value in found.items()}
    np.savez_compressed(RECORDED, **numbers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
