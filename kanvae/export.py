"""Encoder and decoder of a trained run as ONNX, for programs that know nothing of this package."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from kanvae import files, runs
from kanvae.architectures import Architecture
from kanvae.extras import extra
from kanvae.layers import kan_function
from kanvae.models import VAE
from kanvae.training import load_model


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
    written = torch.onnx.export(
        program.run_decompositions(table),
        input_names=inputs,
        output_names=outputs,
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    return written.model_proto.SerializeToString()
