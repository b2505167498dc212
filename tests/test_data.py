import gzip
import hashlib
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from conftest import ROOT
from filelock import FileLock, Timeout

from kanvae import data

RAW = ROOT / "data" / "MNIST" / "raw"


@pytest.fixture
def copy(tmp_path, monkeypatch) -> Path:
    """A copy of the archives of MNIST, which KANVAE_DATA names."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        shutil.copy(archive, raw)
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path))
    return raw


def test_committed_archives_are_the_canonical_ones():
    for name, checksum in torchvision.datasets.MNIST.resources:
        assert hashlib.md5((RAW / name).read_bytes()).hexdigest() == checksum


def test_regimes_and_the_test_set():
    train = data.load("MNIST", regime="figure6")
    test = data.load("MNIST", "test")
    assert train.pixels.shape == (10_000, 784)
    assert train.pixels.dtype == torch.uint8
    assert test.pixels.shape == (10_000, 784)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    full = data.load("MNIST")
    assert full.pixels.shape == (60_000, 784)
    assert torch.equal(full.pixels[:10_000], train.pixels)
    assert torch.bincount(full.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip


def test_archives_are_unpacked_where_the_variable_says(copy):
    assert data.root() == copy.parents[1]
    assert data.load("MNIST", "test").pixels.shape == (10_000, 784)
    assert len([path for path in copy.iterdir() if path.suffix != ".gz"]) == 4
    assert len(list(copy.iterdir())) == 8  # and nothing else is left there


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not gzip", "other content"])
def test_a_damaged_archive_is_named_and_nothing_is_written(copy, damage):
    archive = copy / "train-images-idx3-ubyte.gz"
    content = bytearray(archive.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
    elif damage == "not gzip":
        content = bytearray(b"<html>404</html>")
    else:
        content = bytearray(gzip.compress(b"nothing"))
    archive.write_bytes(content)
    with pytest.raises(data.DataError, match=r"train-images-idx3-ubyte\.gz is damaged.*Delete it"):
        data.load("MNIST")
    assert archive.read_bytes() == content
    assert not (copy / "train-images-idx3-ubyte").exists()


def test_a_damaged_unpacked_file_is_unpacked_again(copy):
    data.load("MNIST", "test")
    target = copy / "t10k-images-idx3-ubyte"
    target.write_bytes(target.read_bytes()[:-1000])
    assert data.load("MNIST", "test").pixels.shape == (10_000, 784)


def test_a_damaged_unpacked_file_without_archive_is_named(copy):
    data.load("MNIST", "test")
    (copy / "t10k-images-idx3-ubyte.gz").unlink()
    target = copy / "t10k-images-idx3-ubyte"
    target.write_bytes(target.read_bytes()[:-1000])
    with pytest.raises(data.DataError, match=r"t10k-images-idx3-ubyte is damaged"):
        data.load("MNIST", "test")


def test_missing_files_are_downloaded_and_a_failure_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path))
    asked = []

    def refuse(url, *args, **kwargs):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    with pytest.raises(data.DataError, match=r"cannot be downloaded.*KANVAE_DATA"):
        data.load("MNIST")
    assert asked


def test_a_folder_that_cannot_be_written_is_named(copy, monkeypatch):
    def full(path, content):
        raise OSError("no space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(data.DataError, match=r"cannot be unpacked beside itself \(no space left"):
        data.load("MNIST")
    assert all(path.suffix == ".gz" for path in copy.iterdir())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"unknown data set 'CIFAR10': choose one of \['MNIST'"):
        data.load("CIFAR10")
    with pytest.raises(ValueError, match=r"unknown regime 'tiny': choose one of \['figure6'"):
        data.load("MNIST", regime="tiny")


def test_threshold():
    pixels = torch.tensor([0, 127, 128, 255], dtype=torch.uint8)
    assert data.binarize(pixels).tolist() == [0, 0, 1, 1]
    assert data.binarize(pixels, threshold=0.0).tolist() == [0, 1, 1, 1]


def test_stochastic_binarisation_has_the_brightness_as_its_mean():
    pixels = torch.tensor([0, 51, 204, 255], dtype=torch.uint8).repeat(20_000, 1)
    drawn = data.binarize(pixels, generator=torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.bool
    brightness = torch.tensor([0, 0.2, 0.8, 1.0])
    error = 5 * (brightness * (1 - brightness) / 20_000).sqrt()
    assert ((drawn.double().mean(0) - brightness).abs() <= error).all()


def test_one_process_at_a_time_downloads(tmp_path, monkeypatch):
    held = []

    def download(folder, download):
        with pytest.raises(Timeout):
            FileLock(folder / ".MNIST.lock").acquire(timeout=0)
        held.append(folder)

    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path / "new"))
    with pytest.raises(data.DataError):  # nothing came
        data.load("MNIST")
    assert held
