"""Trained models for programs that know nothing of this package: as ONNX, and as plain arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kanvae import files, runs
from kanvae.architectures import Architecture
from kanvae.extras import extra
from kanvae.layers import KANLinear, SharedKANLinear, kan_function, shared_operator
from kanvae.models import VAE
from kanvae.training import load_model

FUNCTIONS: dict[type[nn.Module], str] = {
    nn.SiLU: "silu", nn.ReLU: "relu", nn.Tanh: "tanh", nn.Identity: "identity",
}  # fmt: skip


class _Encoder(nn.Module):
    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode(images)


class _Decoder(_Encoder):
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        parameters = self.model.decode(z)
        return parameters, self.model.likelihood.mean(parameters)


def export(run: runs.Run, folder: Path | str | None = None, best: bool = False) -> list[Path]:
    """Write `encoder.onnx` and `decoder.onnx`: float32, any number of images at a time.

        encoder   images (B, D), as the model was trained on -> mean, log_var (B, L)
        decoder   z (B, L) -> parameters (B, P) of p(x|z), and its mean `pixels` (B, D)

    KAN layers become operations that every ONNX runtime knows.

    Args:
        folder: where to; by default the run's own.
        best: whether to take the weights of the epoch with the best validation ELBO.

    Returns:
        The two files.

    Raises:
        runs.RunError: the run's weights cannot be used.
        MissingExtra: onnx or onnxscript is not installed.
        OSError: the folder cannot be written.
    """
    with extra("export"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    model = load_model(run, best=best)
    folder = run.path if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pixels = Architecture.parse(run.config["architecture"]).input_features
    found = []
    for name, part, width, inputs, outputs in (
        ("encoder", _Encoder(model), pixels, ["images"], ["mean", "log_var"]),
        ("decoder", _Decoder(model), model.latent_dim, ["z"], ["parameters", "pixels"]),
    ):
        path = folder / f"{name}.onnx"
        files.write_bytes(path, _onnx(part.eval(), width, inputs, outputs))
        found.append(path)
    return found


def _onnx(part: nn.Module, width: int, inputs: list[str], outputs: list[str]) -> bytes:
    """The content of an ONNX file for a module (B, width) -> several tensors."""
    batch = ({0: torch.export.Dim("batch")},)
    with torch.no_grad():
        program = torch.export.export(part, (torch.zeros(2, width),), dynamic_shapes=batch)
    table = torch.export.default_decompositions()
    table[torch.ops.kanvae.kan_linear.default] = kan_function.formula
    table[torch.ops.kanvae.shared_linear.default] = shared_operator.by_name
    written = torch.onnx.export(
        program.run_decompositions(table),
        input_names=inputs,
        output_names=outputs,
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    return written.model_proto.SerializeToString()


def layers(stack: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """A stack of layers, such as a decoder, as arrays: the script `book/_static/figure.js` runs it.

    Weights are rounded to float16, which is half the bytes; knots are float32 (1 or I, m + 1), one
    row where all inputs share theirs.

    Each layer has its `kind` and its arrays, with O outputs, I inputs, n bases, g groups:

    - function: `name`, one of `FUNCTIONS`.
    - linear: weight (O, I), bias (O,) or None.
    - norm: eps, weight and bias (I,): a LayerNorm.
    - kan: base (a name as above), order, grid, base_weight (O, I), and spline_weight (O, I, n) with
      the spline scale multiplied in.
    - shared: base, order, grid, weight (O, I), bias (O,) or None, base_scale (g, I), spline_weight
      (g, I, n).

    Returns:
        The layers in order.

    Raises:
        ValueError: a layer, or a base function, of another type.
    """
    return [_layer(module) for module in stack]


@torch.no_grad()
def _layer(module: nn.Module) -> dict[str, Any]:
    if type(module) in FUNCTIONS:
        return {"kind": "function", "name": FUNCTIONS[type(module)]}
    if type(module) is nn.Linear:
        return {"kind": "linear", "weight": _half(module.weight), "bias": _half(module.bias)}
    if type(module) is nn.LayerNorm and module.elementwise_affine and module.bias is not None:
        weights = {"weight": _half(module.weight), "bias": _half(module.bias)}
        return {"kind": "norm", "eps": module.eps, **weights}
    if isinstance(module, KANLinear | SharedKANLinear):
        base = FUNCTIONS.get(type(module.base_activation))
        if base is None:
            raise ValueError(
                f"the base function {type(module.base_activation).__name__} cannot be given as "
                f"arrays: there are {', '.join(FUNCTIONS.values())}."
            )
        shared_knots = bool((module.grid == module.grid[:1]).all())
        grid = (module.grid[:1] if shared_knots else module.grid).float().cpu().numpy()
        about = {"base": base, "order": module.spline_order, "grid": grid}
        if isinstance(module, KANLinear):
            scale = 1.0 if module.spline_scaler is None else module.spline_scaler.unsqueeze(-1)
            weights = {
                "base_weight": module.base_weight,
                "spline_weight": module.spline_weight * scale,
            }
            return {"kind": "kan", **about, **{k: _half(v) for k, v in weights.items()}}
        names = ("weight", "bias", "base_scale", "spline_weight")
        return {"kind": "shared", **about, **{k: _half(getattr(module, k)) for k in names}}
    others = ", ".join(kind.__name__ for kind in FUNCTIONS)
    raise ValueError(
        f"{type(module).__name__} cannot be given as arrays: give nn.Linear, KANLinear, "
        f"SharedKANLinear, an nn.LayerNorm with weights, or one of {others}."
    )


def _half(weight: Tensor | None) -> Any:
    return None if weight is None else weight.half().cpu().numpy()
