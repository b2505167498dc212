from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from kanvae.studies import command
from kanvae.training import TrainingConfig, load_model, train


def computed(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    found = session.run(None, {given.name: x.numpy()})
    return given.name, dict(zip([o.name for o in session.get_outputs()], found, strict=True))


@pytest.mark.parametrize(
    ("key", "likelihood"), [("kan-8-3", "bernoulli"), ("shared-6-3+groups=2", "gaussian")]
)
def test_exported_models_compute_what_the_models_do(tmp_path, quick, capsys, key, likelihood):
    config = TrainingConfig(key, epochs=1, likelihood=likelihood, learning_rate=1e-3)
    run = train(config, tmp_path / "run", progress=False)
    folder = tmp_path / "onnx"
    command.main(["export", str(run.path), "--folder", str(folder), "--weights", "best"])
    encoder, decoder = map(Path, capsys.readouterr().out.split())
    assert sorted(folder.iterdir()) == [decoder, encoder]
    model = load_model(run, best=True)
    for batch in (1, 5):  # another number of images than it was exported with
        images, z = torch.rand(batch, 784), 2 * torch.randn(batch, 3)
        with torch.no_grad():
            mean, log_var = model.encode(images)
            parameters = model.decode(z)
        expected = {
            "images": {"mean": mean, "log_var": log_var},
            "z": {"parameters": parameters, "pixels": model.likelihood.mean(parameters)},
        }
        for path, x in ((encoder, images), (decoder, z)):
            name, found = computed(path, x)
            assert found.keys() == expected[name].keys()
            for key in found:  # float32, sums of up to 784 terms in another order
                np.testing.assert_allclose(found[key], expected[name][key], rtol=1e-4, atol=1e-4)
