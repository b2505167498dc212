"""Grids that change while a model trains: cut finer at fixed epochs, moved to where inputs are.

Liu et al. 2024, section 2.4 (extension) and appendix (updates). A layer whose inputs have two
values at the most keeps its grid: there every function is a line, whatever its grid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kanvae.layers.grid import SplineLayer, resize_grid


def extensions(grid_sizes: str, epochs: int) -> dict[int, int]:
    """The size of all grids from an epoch (counted from 0) on: "10,20" in 30 epochs, at 10 and 20.

    The epochs are cut into equal parts, the first for the grids that the model comes with.

    Raises:
        ValueError: sizes that are no whole numbers or do not grow, or more than epochs allow.
    """
    try:
        sizes = [int(size) for size in str(grid_sizes).split(",")] if grid_sizes else []
    except ValueError:
        sizes = [0]
    if sizes and (sizes[0] < 1 or sorted(set(sizes)) != sizes):
        raise ValueError(
            f"grid_sizes is {grid_sizes!r}: give whole numbers that grow, such as '10,20'."
        )
    if len(sizes) >= epochs:
        raise ValueError(
            f"grid_sizes is {grid_sizes!r}, which needs {len(sizes) + 1} epochs or more, and "
            f"epochs is {epochs}: leave sizes out, or train for longer."
        )
    parts = len(sizes) + 1
    return {round(epochs * i / parts): size for i, size in enumerate(sizes, start=1)}


@torch.no_grad()
def inputs_of_layers(
    model: nn.Module, x: Tensor, generator: torch.Generator, kinds: Any = SplineLayer
) -> dict[str, tuple[Any, Tensor]]:
    """The layers of some kinds by name, and what each sees, (n, I), when a model is given images.

    Args:
        model: whose `forward(x, generator)` is called, in evaluation mode.
        x: images as it takes them.
        generator: source of its noise.
        kinds: classes of layers, as `isinstance` takes them; by default those of splines.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, kinds)}
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
        for name, layer in layers.items()
    ]
    try:
        model.eval()
        model(x, generator)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (layers[name], inputs.flatten(0, -2)) for name, inputs in seen.items()}


def check(model: nn.Module) -> None:
    """Raise a ValueError if no grid of a model can change."""
    if not any(isinstance(module, SplineLayer) for module in model.modules()):
        raise ValueError(
            "grid_sizes or grid_updates is set, but the model has no layer of splines: leave them "
            "out, or take layers of the kinds kan or shared."
        )


@torch.no_grad()
def change(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    generator: torch.Generator,
    grid_size: int | None,
    move: bool,
) -> None:
    """Move and extend the grids of a model's layers of splines, keeping its functions.

    Args:
        x: (N, ...) images on which the layers are asked what they see, as the model takes them.
        generator: of the noise of the latents.
        grid_size: what grids are extended to; those that are as fine already stay. None for none.
        move: whether grids are moved to where inputs are.
    """
    for layer, inputs in inputs_of_layers(model, x, generator).values():
        if len(inputs.unique()) <= 2:
            continue
        if move:
            layer.update_grid(inputs)
        if grid_size is not None and grid_size > layer.grid_size:
            old = layer.spline_weight
            layer.extend_grid(grid_size, inputs)
            replace(optimizer, old, layer.spline_weight)


def replace(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    """Put a parameter in another's place; what the optimiser knew of the other is forgotten."""
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    optimizer.state.pop(old, None)


def match(
    model: nn.Module, weights: dict[str, Tensor], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Give the layers of splines grids of the sizes that they have in `weights`, before loading."""
    for name, layer in model.named_modules():
        grid = weights.get(f"{name}.grid")
        if isinstance(layer, SplineLayer) and grid is not None:
            old = layer.spline_weight
            resize_grid(layer, grid.shape[-1] - 2 * layer.spline_order - 1)
            if optimizer is not None and layer.spline_weight is not old:
                replace(optimizer, old, layer.spline_weight)
