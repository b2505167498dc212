"""The sets that packages ship, as files of `kanvae.data`."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kanvae import data, likelihoods
from kanvae.extras import MissingExtra
from kanvae.studies import sets


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KANVAE_RUNS", str(tmp_path))


def test_grey_digits_are_scikit_learns():
    path = sets.path("digits")
    parts = [data.load(path, split) for split in data.SPLITS]
    assert [len(part.pixels) for part in parts] == [1249, 249, 299]
    found, labels = load_digits(return_X_y=True)
    together = torch.cat([part.pixels for part in parts]) * 16
    np.testing.assert_allclose(together.numpy(), found, atol=1e-5)
    np.testing.assert_array_equal(torch.cat([part.labels for part in parts]).numpy(), labels)
    likelihoods.named("binomial-16").check(parts[0].pixels, training=True)


def test_diamonds_are_a_smooth_table_in_an_order_of_its_own():
    arrays = np.load(sets.path("diamonds"))
    values = arrays["pixels"]
    assert values.shape == (53_917, 7)
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-4)
    assert all(len(np.unique(column)) > 0.99 * len(column) for column in values.T)  # no steps
    price, carat = values[:, 3], values[:, 0]
    assert np.corrcoef(price, carat)[0, 1] > 0.95
    assert abs(np.corrcoef(price, np.arange(len(price)))[0, 1]) < 0.02  # the file is by price


def test_a_set_is_written_once_and_is_the_same_file_every_time(tmp_path):
    first = Path(sets.path("digits"))
    stamp = first.stat().st_mtime_ns
    assert sets.path("digits") == str(first)
    assert first.stat().st_mtime_ns == stamp
    assert first.parents[1] == tmp_path / "sets"
    before = data.fingerprint(first)
    first.unlink()
    assert data.fingerprint(sets.path("digits")) == before


def test_a_set_that_is_made_otherwise_is_another_file(monkeypatch):
    before = sets.path("digits")
    monkeypatch.setattr(sets, "without_words", lambda path: "made otherwise")
    assert sets.path("digits") != before


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotnine.data", None)
    with pytest.raises(MissingExtra, match=r"plotnine.* is not installed.*kanvae\[studies\]"):
        sets.path("diamonds")
