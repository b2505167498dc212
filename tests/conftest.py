"""What several test modules share."""

import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch

from kanvae import data, kernels, runs
from kanvae.training import TrainingConfig, train

with warnings.catch_warnings():  # a layer warns where there is no C compiler: no error in tests
    warnings.simplefilter("ignore")
    if kernels.load(3, 8) is None:
        os.environ["KANVAE_KERNELS"] = "0"

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory) -> data.Images:
    """The first 320 training images of the real MNIST, and as many test images."""
    images = data.load("MNIST", train=True)
    return data.Images(images.pixels[:320].clone(), images.labels[:320].clone())


@pytest.fixture
def quick(monkeypatch, small_mnist):
    """Training on 320 real images, so that an epoch takes ten updates."""
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: small_mnist)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory, small_mnist) -> runs.Run:
    """A small model trained for one epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda *args, **kwargs: small_mnist)
        config = TrainingConfig("kan-8-3", epochs=1)
        return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(trained_run, tmp_path) -> runs.Run:
    """A copy of a finished run that a test may damage."""
    shutil.copytree(trained_run.path, tmp_path / "run")
    return runs.read(tmp_path / "run")
