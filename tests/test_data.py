import gzip
import hashlib
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from filelock import FileLock, Timeout

from kanvae import data
from kanvae.data import sources

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


@pytest.fixture(scope="module")
def datasets():
    """Of torchvision, which loads a compiler with them: only where these tests run."""
    from torchvision import datasets

    return datasets


def test_committed_archives_are_the_canonical_ones(datasets):
    for name, checksum in datasets.MNIST.resources:
        assert hashlib.md5((RAW / name).read_bytes()).hexdigest() == checksum


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The canonical files, as torchvision wants them."""
    folder = tmp_path_factory.mktemp("unpacked")
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        (raw / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
    return folder


def test_splits_and_regimes_are_those_of_the_file(unpacked, datasets):
    """Against torchvision's own reading of the same files, unpacked by it."""
    file = datasets.MNIST(unpacked, train=True)
    rows, labels = file.data.flatten(1), file.targets
    full, validation = data.load("MNIST"), data.load("MNIST", "validation")
    assert torch.equal(full.pixels, rows[:50_000])
    assert torch.equal(full.labels, labels[:50_000])
    assert torch.equal(validation.pixels, rows[50_000:])
    assert torch.equal(validation.labels, labels[50_000:])
    test = datasets.MNIST(unpacked, train=False)
    assert torch.equal(data.load("MNIST", "test").pixels, test.data.flatten(1))
    assert torch.equal(data.load("MNIST", "test").labels, test.targets)
    assert torch.bincount(labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip


def test_the_regime_paper_has_the_first_thousand_of_each_digit_and_no_validation_image(
    unpacked, datasets
):
    file = datasets.MNIST(unpacked, train=True)
    seen, rows = dict.fromkeys(range(10), 0), []
    for i, digit in enumerate(file.targets.tolist()):
        seen[digit] += 1
        rows += [i] * (seen[digit] <= 1000)
    paper = data.load("MNIST", regime="paper")
    assert max(rows) < 50_000
    assert torch.equal(paper.pixels, file.data.flatten(1)[rows])
    assert torch.bincount(paper.labels).tolist() == [1000] * 10


def test_archives_are_read_where_the_variable_says_and_nothing_is_written(copy):
    assert data.root() == copy.parents[1]
    copy.chmod(0o500)
    assert data.load("MNIST", "test").pixels.shape == (10_000, 784)
    assert all(path.suffix == ".gz" for path in copy.iterdir())


def test_what_was_checked_is_what_is_read(copy):
    """Files of other readers lie beside: torchvision 0.1 would have taken them."""
    other = copy.parent / "processed"
    other.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5)), other / name)
    (copy / "t10k-images-idx3-ubyte").write_bytes(b"not MNIST")
    test = data.load("MNIST", "test")
    assert (
        hashlib.md5(test.pixels.numpy().tobytes()).hexdigest()
        == hashlib.md5(
            gzip.decompress((RAW / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
        ).hexdigest()
    )


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte"])
def test_an_unreadable_file_is_named(copy, name):
    (copy / "t10k-images-idx3-ubyte.gz").unlink()
    (copy / name).mkdir()  # as unreadable as a file without permission, to root too
    with pytest.raises(data.DataError, match=f"{name} cannot be read .Is a directory"):
        data.load("MNIST", "test")


def test_a_file_without_permission_is_named(copy, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(data.DataError, match=r"images-idx3-ubyte.gz cannot be read .Permission"):
        data.load("MNIST")


def test_no_home_and_an_unknown_user(tmp_path, monkeypatch):
    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    monkeypatch.delenv("KANVAE_DATA", raising=False)
    assert data.root() == ROOT / "data"
    monkeypatch.setattr(sources, "__file__", str(tmp_path / "kanvae" / "sources.py"))  # installed
    assert data.root().name == "kanvae"
    monkeypatch.setenv("KANVAE_DATA", "~/data")
    with pytest.raises(data.DataError, match="this user has no home folder: give the whole path"):
        data.load("MNIST")


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


def test_a_damaged_unpacked_file_without_archive_is_named(copy):
    archive = copy / "t10k-images-idx3-ubyte.gz"
    target = copy / "t10k-images-idx3-ubyte"
    target.write_bytes(gzip.decompress(archive.read_bytes())[:-1000])
    assert data.load("MNIST", "test").pixels.shape == (10_000, 784)  # from the archive
    archive.unlink()
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
    assert [path.name for path in tmp_path.iterdir()] == [".MNIST.lock"]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"unknown data set 'CIFAR10': choose one of \['MNIST'"):
        data.load("CIFAR10")
    with pytest.raises(ValueError, match=r"unknown regime 'tiny': choose one of \['paper'"):
        data.load("MNIST", regime="tiny")
    with pytest.raises(ValueError, match=r"unknown split 'dev': choose one of \['train'"):
        data.load("MNIST", "dev")


def test_what_is_no_brightness_is_not_binarised():
    with pytest.raises(ValueError, match=r"pixels are of torch.int64: give uint8"):
        data.binarize(torch.tensor([[0, 1, 255]]))
    for pixels in (torch.tensor([[0.0, 255.0]]), torch.tensor([[-0.5, 0.5]])):
        with pytest.raises(ValueError, match="scale them to brightness"):
            data.prepare(pixels)
        assert torch.equal(data.prepare(pixels, "none"), pixels)


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


def test_one_process_at_a_time_downloads(tmp_path, monkeypatch, datasets):
    held = []

    def download(folder, train, download):
        with pytest.raises(Timeout):
            FileLock(folder / ".MNIST.lock").acquire(timeout=0)
        held.append(folder)

    monkeypatch.setattr(datasets, "MNIST", download)
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path / "new"))
    with pytest.raises(data.DataError):  # nothing came
        data.load("MNIST")
    assert held


# The other sets cannot be downloaded here: these are files in their formats.


def idx(array: np.ndarray) -> bytes:
    """As LeCun's format has it: type, number of dimensions, their sizes, the numbers."""
    kind = {np.dtype("uint8"): 8, np.dtype("int32"): 12}[array.dtype]
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return (
        bytes([0, 0, kind, array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes the files of a set from arrays by file name, and gives their checksums."""
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path))

    def make(name, folder, files, packed=True):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        sums = {}
        for file, array in files.items():
            content = idx(array)
            if packed:
                file, content = f"{file}.gz", gzip.compress(content)
            (raw / file).write_bytes(content)
            sums[file] = hashlib.md5(content).hexdigest()
        monkeypatch.setitem(data.CHECKSUMS, name, sums)
        return raw

    return make


def some(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)


def test_kmnist_is_read_as_torchvision_reads_it(made, tmp_path, datasets):
    labels = (np.arange(24) % 10).astype(np.uint8)
    made("KMNIST", "KMNIST", {
        "train-images-idx3-ubyte": some(24, 0), "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": some(5, 1), "t10k-labels-idx1-ubyte": labels[:5],
    }, packed=False)  # fmt: skip
    for train, splits in ((True, ("train", "validation")), (False, ("test",))):
        expected = datasets.KMNIST(tmp_path, train=train)
        found = [data.load("KMNIST", split) for split in splits]
        assert torch.equal(torch.cat([f.pixels for f in found]), expected.data.flatten(1))
        assert torch.equal(torch.cat([f.labels for f in found]), expected.targets)
    assert len(data.load("KMNIST", "validation").pixels) == 4


def test_an_unpacked_file_whose_sum_nobody_knows_needs_its_archive(made):
    labels = (np.arange(24) % 10).astype(np.uint8)
    raw = made("KMNIST", "KMNIST", {
        "train-images-idx3-ubyte": some(24, 0), "train-labels-idx1-ubyte": labels,
    })  # fmt: skip
    expected = data.load("KMNIST").pixels
    plain = raw / "train-images-idx3-ubyte"
    plain.write_bytes(b"damaged")  # as torchvision leaves it beside the archive: not read
    assert torch.equal(data.load("KMNIST").pixels, expected)
    (raw / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(data.DataError, match=r"without the archive .*ubyte\.gz: put that beside"):
        data.load("KMNIST")


@pytest.mark.parametrize(("name", "first"), [("EMNIST-letters", 1), ("EMNIST-digits", 0)])
def test_emnist_stands_upright_and_its_labels_begin_at_0(made, tmp_path, monkeypatch, name, first):
    split, count = name.partition("-")[2], 26 if first else 10
    images, labels = some(2 * count, 0), (np.arange(2 * count) % count + first).astype(np.uint8)
    raw = made(name, "EMNIST", {})
    archive = raw / "gzip.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for part in ("train", "test"):
            stem = f"gzip/emnist-{split}-{part}"
            file.writestr(f"{stem}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
            file.writestr(f"{stem}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
    monkeypatch.setitem(
        data.CHECKSUMS, name, {"gzip.zip": hashlib.md5(archive.read_bytes()).hexdigest()}
    )
    test = data.load(name, "test")
    expected = torch.from_numpy(images).transpose(1, 2).flatten(1)
    assert torch.equal(test.pixels, expected)
    assert test.labels.unique().tolist() == list(range(count))
    content = archive.read_bytes()
    archive.write_bytes(content[:-200])
    with pytest.raises(data.DataError, match=r"gzip\.zip is damaged"):
        data.load(name)


def test_qmnist_has_the_digit_in_its_first_column(made, tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, (12, 8)).astype(np.int32)
    files = {}
    for part in ("train", "test"):
        files[f"qmnist-{part}-images-idx3-ubyte"] = some(12, 1)
        files[f"qmnist-{part}-labels-idx2-int"] = labels
    made("QMNIST", "QMNIST", files)
    assert data.load("QMNIST", "test").labels.tolist() == labels[:, 0].tolist()
    assert torch.equal(data.load("QMNIST", "test").pixels, torch.from_numpy(some(12, 1)).flatten(1))


def test_a_set_without_files_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("KANVAE_DATA", str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", refuse)
    for name in ("KMNIST", "QMNIST", "EMNIST-letters"):
        with pytest.raises(data.DataError, match=f"{name} is not in .* cannot be downloaded"):
            data.load(name)


def own(path, **arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_an_own_set_is_split_by_its_order(tmp_path):
    pixels = np.arange(72, dtype=np.uint8).reshape(36, 2)
    labels = np.arange(36) % 3
    name = own(tmp_path / "set.npz", pixels=pixels, labels=labels)
    parts = [data.load(name, split) for split in ("train", "validation", "test")]
    assert [len(part.pixels) for part in parts] == [25, 5, 6]
    assert torch.equal(torch.cat([p.pixels for p in parts]), torch.from_numpy(pixels))
    assert torch.cat([p.labels for p in parts]).tolist() == labels.tolist()


def test_an_own_set_may_have_its_own_test_images_levels_and_no_labels(tmp_path):
    grey = np.random.default_rng(0).integers(0, 17, (30, 8, 8))
    name = own(tmp_path / "set.npz", pixels=grey, test_pixels=grey[:4], levels=16)
    test = data.load(name, "test")
    assert test.labels is None
    assert torch.equal(test.pixels, torch.from_numpy(grey[:4].reshape(4, 64) / 16).float())
    assert len(data.load(name).pixels) == 25
    with pytest.raises(ValueError, match="has no labels: choose regime 'full'"):
        data.load(name, regime="paper")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((9, 4))}, "has no array `pixels`, only .'images'"),
        ({"pixels": np.zeros(9)}, r"`pixels` is float64 of shape \(9,\)"),
        ({"pixels": np.full((9, 4), "x")}, "`pixels` is <U1"),
        ({"pixels": np.full((9, 4), np.nan)}, "values that are not finite"),
        ({"pixels": np.full((9, 4), 1e300)}, "values that are not finite in float32"),
        ({"pixels": np.zeros((9, 0))}, "it holds no pixel"),
        ({"pixels": np.zeros((0, 4), int)}, "it holds no pixel"),
        ({"pixels": np.zeros((9, 4)), "labels": np.zeros(8, int)}, "`labels` is int64 of shape"),
        ({"pixels": np.full((9, 4), 300)}, "`pixels` goes from 300 to 300"),
        ({"pixels": np.zeros((9, 4)), "labels": np.full(9, -1)}, "0 or more, for each of the 9"),
        ({"pixels": np.zeros((9, 4), int), "levels": 0}, "`levels` is 0: it must be a whole"),
        ({"pixels": np.zeros((9, 4), int), "levels": [1, 2]}, r"`levels` is \[1, 2\]: it must"),
        ({"pixels": np.zeros((9, 4)), "test_pixels": np.zeros((9, 5))}, "they must have as many"),
        ({"pixels": np.zeros((2, 4))}, "too few images"),
    ],
)
def test_an_impossible_own_set_is_refused(tmp_path, arrays, message):
    with pytest.raises(data.DataError, match=message):
        data.load(own(tmp_path / "set.npz", **arrays))


def test_a_missing_or_damaged_own_set_is_named(tmp_path):
    with pytest.raises(data.DataError, match="there is no file"):
        data.load(str(tmp_path / "none.npz"))
    with pytest.raises(data.DataError, match=r"none\.npz is missing\. Put it back"):
        data.fingerprint(str(tmp_path / "none.npz"))
    name = own(tmp_path / "set.npz", pixels=np.zeros((9, 400)))
    content = Path(name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"PK\x03\x04"):
        Path(name).write_bytes(damaged)
        with pytest.raises(data.DataError, match=r"set\.npz is damaged.*Save it again"):
            data.load(name)


def test_images_as_a_model_sees_them():
    pixels = torch.tensor([[0, 100, 255]], dtype=torch.uint8)
    assert data.prepare(pixels, "threshold", 0.3).tolist() == [[False, True, True]]
    assert data.prepare(pixels, "none")[0].tolist() == pytest.approx([0, 100 / 255, 1])
    many = pixels.repeat(1000, 1)
    drawn = data.prepare(many, "stochastic")
    assert torch.equal(drawn, data.prepare(many, "stochastic"))
    assert 300 < int(drawn[:, 1].sum()) < 500
    with pytest.raises(ValueError, match="binarization is 'x'"):
        data.prepare(pixels, "x")
