"""Weights that another program wrote, told apart by names of parameters and shapes."""

import zipfile

import pytest
import torch
from reference import ReferenceKAN
from torch import nn

from kanvae.studies import weights


class Theirs(nn.Module):
    """A KAN-VAE of another author: other names, another order of definition."""

    def __init__(self, heads=("fc_mu", "fc_logvar")):
        super().__init__()

        def layer(i, o):
            return ReferenceKAN(i, o, 5, 3, (-1.0, 1.0))

        self.dec = nn.ModuleList([layer(3, 8), layer(8, 784)])
        self.enc = nn.ModuleDict({"first": layer(784, 8)})
        for head in heads:
            self.add_module(head, layer(8, 3))
        self.heads = heads

    def forward(self, x):
        hidden = self.enc["first"](x)
        mean, log_var = (getattr(self, head)(hidden) for head in self.heads)
        return self.dec[1](self.dec[0](mean)), mean, log_var


def same(ours, theirs):
    x = torch.rand(5, 784, generator=torch.Generator().manual_seed(0)).round()
    _, mean, log_var = theirs(x)
    found = ours.encode(x)
    # sums of 784 terms in float32, of size up to some hundreds
    torch.testing.assert_close(found[0], mean, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found[1], log_var, rtol=1e-3, atol=1e-2)
    expected = theirs.dec[1](theirs.dec[0](found[0]))
    torch.testing.assert_close(ours.decode(found[0]), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    "heads", [("fc_mu", "fc_logvar"), ("a", "b"), ("mean", "log_std"), ("z_mean", "z_log_sigma")]
)
def test_a_model_with_other_names_computes_the_same(tmp_path, heads):
    theirs = Theirs(heads)
    torch.save(theirs.state_dict(), tmp_path / "kan.pth")
    same(weights.load_published(tmp_path / "kan.pth", "kan-8-3"), theirs)


def test_the_log_variance_may_be_defined_before_the_mean(tmp_path):
    theirs = Theirs(("logvar_layer", "mu_layer"))
    torch.save(theirs.state_dict(), tmp_path / "kan.pt")
    theirs.heads = ("mu_layer", "logvar_layer")
    same(weights.load_published(tmp_path / "kan.pt", "kan-8-3"), theirs)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_a_checkpoint_within_an_archive_is_found(tmp_path, key):
    theirs = Theirs()
    torch.save({key: theirs.state_dict(), "epoch": 29}, tmp_path / "kan.pth")
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        archive.writestr("README.md", "weights")
        archive.write(tmp_path / "kan.pth", "models/kan.pth")
    same(weights.load_published(tmp_path / "weights.zip", "kan-8-3"), theirs)


def test_several_files_of_an_archive_are_named(tmp_path):
    theirs = Theirs()
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "weights.zip", "w") as archive:
        for name in ("one.pth", "two.pth"):
            archive.write(tmp_path / "x.pth", name)
    with pytest.raises(weights.WeightsError, match=r"several files: .*'one.pth', 'two.pth'"):
        weights.load_published(tmp_path / "weights.zip", "kan-8-3")
    with pytest.raises(weights.WeightsError, match=r"no 'three.pth': choose one of"):
        weights.load_published(tmp_path / "weights.zip", "kan-8-3", "three.pth")
    same(weights.load_published(tmp_path / "weights.zip", "kan-8-3", "two.pth"), theirs)


def test_a_vae_of_dense_layers_loads(tmp_path):
    theirs = nn.ModuleDict(
        {"fc1": nn.Linear(784, 8), "fc21": nn.Linear(8, 3), "fc22": nn.Linear(8, 3),
         "fc3": nn.Linear(3, 8), "fc4": nn.Linear(8, 784)}
    )  # fmt: skip
    torch.save(theirs.state_dict(), tmp_path / "vae.pth")
    ours = weights.load_published(tmp_path / "vae.pth", "vae-8-3")
    assert torch.equal(ours.encoder.mean.weight, theirs["fc21"].weight)
    assert torch.equal(ours.encoder.log_var.bias, theirs["fc22"].bias)
    assert torch.equal(ours.decoder.pixels.weight, theirs["fc4"].weight)


def test_other_layers_are_listed_beside_those_expected(tmp_path):
    torch.save(Theirs().state_dict(), tmp_path / "kan.pth")
    with pytest.raises(weights.WeightsError) as caught:
        weights.load_published(tmp_path / "kan.pth", "kan-9-3")
    text = str(caught.value)
    expected, found = text.split("found:")
    assert "encoder.hidden.first: {" in expected
    assert "'base_weight': (9, 784)" in expected
    assert "fc_mu: {" in found
    assert "'base_weight': (8, 784)" in found


def test_a_layer_too_many_is_not_dropped(tmp_path):
    state = Theirs().state_dict() | {"extra.weight": torch.zeros(2)}
    torch.save(state, tmp_path / "kan.pth")
    with pytest.raises(weights.WeightsError, match=r"extra: \{'weight': \(2,\)\}"):
        weights.load_published(tmp_path / "kan.pth", "kan-8-3")


def test_what_is_not_weights_is_refused_and_not_executed(tmp_path):
    with pytest.raises(weights.WeightsError, match="there is no file"):
        weights.load_published(tmp_path / "none.pth", "kan-8-3")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(weights.WeightsError, match="no file of weights alone"):
        weights.load_published(tmp_path / "text.pth", "kan-8-3")
    torch.save(Theirs(), tmp_path / "model.pth")  # a whole model: unpickling it would run code
    with pytest.raises(weights.WeightsError, match=r"save its `state_dict\(\)`"):
        weights.load_published(tmp_path / "model.pth", "kan-8-3")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(weights.WeightsError, match="holds a list and no state dict"):
        weights.load_published(tmp_path / "list.pth", "kan-8-3")
