"""`training.fit` on models, data and losses that are not the book's."""

import contextlib
import functools

import numpy as np
import pytest
import torch
from torch import nn

from kanvae import VAE, Architecture, KANLinear, data, evaluation, likelihoods, objective, training
from kanvae.studies import command
from kanvae.training import (
    DivergedError,
    TrainingConfig,
    fit,
    grids,
    load_model,
    make_optimizer,
    train,
    update,
    updates,
)


class Own(nn.Module):
    """A small auto-encoder as somebody else would write it."""

    def __init__(self, pixels=12, latent=2, outputs=None, first=nn.Linear):
        super().__init__()
        torch.manual_seed(1)
        self.latent_dim = latent
        self.encoder = nn.Sequential(first(pixels, 8), nn.Tanh(), nn.Dropout(0.2))
        self.heads = nn.Linear(8, 2 * latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, 8), nn.Tanh(), nn.Linear(8, outputs or pixels)
        )

    def encode(self, x):
        return self.heads(self.encoder(x)).chunk(2, dim=-1)

    def decode(self, z):
        return self.decoder(z)

    def forward(self, x, generator=None):
        mean, log_var = self.encode(x)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return self.decode(mean + noise * (0.5 * log_var).exp()), mean, log_var


class Pictures(nn.Module):
    """Convolutions: images stay (B, 1, 8, 8)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.latent_dim = 3
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.heads = nn.Linear(64, 6)
        self.decoder = nn.Sequential(
            nn.Linear(3, 64), nn.Unflatten(1, (4, 4, 4)), nn.ConvTranspose2d(4, 1, 2, 2)
        )

    encode, decode, forward = Own.encode, Own.decode, Own.forward


def stripes(count=240, pixels=12):
    """Bits with two things to learn, so that there is something to gain."""
    rng = np.random.default_rng(0)
    which = rng.integers(0, 2, (count, 2))
    bits = np.repeat(which, pixels // 2, axis=1) ^ (rng.random((count, pixels)) < 0.05)
    return torch.from_numpy(bits.astype(bool))


QUICK = {"progress": False, "learning_rate": 0.02, "batch_size": 40}


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.float64])
@pytest.mark.parametrize("first", [nn.Linear, KANLinear])
def test_anybodys_model_learns_from_bits_of_any_type(dtype, first):
    x = stripes().to(dtype)
    model = Own(first=first)
    found = fit(model, x[:200], x[200:], epochs=40, **QUICK)
    assert (found.settings.epochs, found.settings.optimizer) == (40, "adam")
    elbo = -(found.history["validation_reconstruction"] + found.history["validation_kl"])
    elbo = elbo[np.isfinite(elbo)]
    assert len(elbo) == 40
    assert elbo[-1] > elbo[0] + 1
    assert found.best_epoch == elbo.argmax() + 1
    # with the mean over many draws of the noise, 0.05 nats or so from its expectation
    draws = [sum(training.mean_terms(model, x[200:], seed)) for seed in range(50)]
    nll = evaluation.negative_log_likelihood(model, x[200:], samples=200)
    assert nll < np.mean(draws) - 0.1  # the bound is tighter than the ELBO


def test_images_may_keep_their_shape():
    x = stripes(200, 64).view(-1, 1, 8, 8)
    model = Pictures()
    found = fit(model, x[:160], x[160:], epochs=8, **QUICK)
    loss = found.history["reconstruction"] + found.history["kl"]
    assert loss[-4:].mean() < 0.9 * loss[:4].mean()
    scores = evaluation.evaluate(model, x[160:], importance_samples=20)
    assert scores["test_nll"] < scores["test_reconstruction"] + scores["test_kl"]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("gaussian", lambda x, g: 3 * x + torch.randn(x.shape, generator=g)),
        ("gaussian-0.5", lambda x, g: 3 * x + 0.5 * torch.randn(x.shape, generator=g)),
        ("binomial-16", lambda x, g: (4 + 8 * x + torch.randint(0, 5, x.shape, generator=g)) / 16),
    ],
)
def test_data_that_is_not_binary_is_learned_with_its_likelihood(name, make):
    x = make(stripes().float(), torch.Generator().manual_seed(0))
    judge = likelihoods.named(name)
    given, own = Own(outputs=judge.outputs(12)), Own(outputs=judge.outputs(12))
    own.likelihood = name
    found = [
        fit(given, x[:200], x[200:], likelihood=judge, epochs=15, **QUICK),
        fit(own, x[:200], x[200:], epochs=15, **QUICK),
    ]
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), own.parameters(), strict=True))
    ends = found[0].history["validation_reconstruction"]
    ends = ends[np.isfinite(ends)]
    assert ends[-1] < ends[0] - 1
    nll = evaluation.negative_log_likelihood(own, x[200:], 100)
    assert nll == evaluation.negative_log_likelihood(given, x[200:], 100, likelihood=name)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.randn(50, 12), "Bernoulli pixels lie between 0 and 1"),
        (torch.full((50, 12), torch.nan), "the images hold nan"),
        (torch.randint(0, 256, (50, 12), dtype=torch.uint8), "the images are uint8: give bool"),
        (torch.zeros(0, 12), "there are no images"),
        (torch.tensor(1.0), r"there are no images: the tensor has the shape \(\)"),
        (np.zeros((50, 12), np.float32), "the images are a ndarray: give a tensor"),
    ],
)
def test_images_that_the_likelihood_cannot_judge_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        fit(Own(), images, progress=False)


@pytest.mark.parametrize(
    "gives",
    [
        lambda found: found.reconstruction,
        lambda found: (found.reconstruction, 0.0),
        lambda found: (found.reconstruction.expand(3), found.kl.expand(3)),
        lambda found: (*found, found.kl),
    ],
)
def test_a_loss_that_gives_no_pair_of_scalars_is_refused(gives):
    with pytest.raises(ValueError, match="it must give a pair of scalar tensors"):
        fit(Own(), stripes(), loss=lambda *given: gives(objective.terms(*given)), **QUICK)


def test_a_model_whose_forward_gives_an_image_alone_is_refused():
    class Plain(Own):
        def forward(self, x, generator=None):
            return super().forward(x, generator)[0]

    with pytest.raises(ValueError, match="the forward of Plain gives a Tensor: the loss takes"):
        fit(Plain(), stripes(), **QUICK)


def test_images_that_want_gradients_get_none():
    images = stripes().float().requires_grad_()
    fit(Own(), images, images[:40], epochs=1, **QUICK)
    assert images.grad is None


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_images_with_channels_meet_a_decoder_of_rows(dtype):
    class Flat(Own):
        def encode(self, x):
            return super().encode(x.flatten(1))

    x = stripes().reshape(-1, 1, 3, 4).to(dtype)
    rows = fit(Own(), x.flatten(1), x[:40].flatten(1), epochs=1, **QUICK)
    images = fit(Flat(), x, x[:40], epochs=1, **QUICK)
    for name in ("reconstruction", "kl", "validation_reconstruction"):
        assert np.array_equal(images.history[name], rows.history[name], equal_nan=True)
    scores = evaluation.evaluate(Flat(), x.round() if x.is_floating_point() else x,
                                 importance_samples=2, likelihood_images=5)  # fmt: skip
    assert np.isfinite(scores["test_nll"])


def test_bits_meet_an_encoder_of_ones_own():
    own = Own()
    model = VAE(nn.Sequential(own.encoder, own.heads, Halves()), own.decoder, 2)
    assert np.isfinite(fit(model, stripes(), epochs=1, **QUICK).history["kl"]).all()


class Halves(nn.Module):
    def forward(self, x):
        return x.chunk(2, dim=-1)


def test_the_hook_finds_the_model_in_evaluation_mode():
    for validation in (None, stripes(40)):
        seen = []
        fit(Own(), stripes(), validation, epochs=2, **QUICK,
            after_epoch=lambda epoch, seen=seen: seen.append(epoch.model.training))  # fmt: skip
        assert seen == [False, False]


def test_a_rate_for_functions_needs_functions_that_it_is_for():
    model = Architecture.parse("gaussian-4-2+input_features=12").build()
    with pytest.raises(
        ValueError, match=r"function_rate is 0.1, but the model has no layer of spl"
    ):
        fit(model, stripes(), epochs=1, function_rate=0.1, **QUICK)


def test_a_sparse_buffer_is_no_divergence():
    class Graph(Own):
        def __init__(self):
            super().__init__()
            self.register_buffer("adjacency", torch.eye(3).to_sparse(), persistent=False)

    assert np.isfinite(fit(Graph(), stripes(), epochs=1, **QUICK).history["kl"]).all()


def test_a_model_without_anything_to_learn_is_refused():
    with pytest.raises(ValueError, match="Own has no parameter that can be trained"):
        fit(Own().requires_grad_(False), stripes(), progress=False)


def test_a_model_that_draws_its_own_noise_is_refused_or_has_its_own_loss():
    class Alone(Own):
        def forward(self, x):
            return super().forward(x, None)

    with pytest.raises(ValueError, match=r"forward of Alone takes \(x\), but .*\(self, x, generat"):
        fit(Alone(), stripes(), epochs=1, **QUICK)

    def loss(model, x, generator):
        parameters, mean, log_var = model(x)
        return objective.reconstruction(parameters, x), objective.kl(mean, log_var)

    assert np.isfinite(fit(Alone(), stripes(), epochs=1, loss=loss, **QUICK).history["kl"]).all()


def test_a_loss_of_ones_own_is_minimised_and_beta_weighs_its_second_term():
    seen = []

    def loss(model, x, generator):
        seen.append(model.training)
        terms = objective.terms(model, x, generator)
        return terms.reconstruction, terms.kl

    x = stripes()
    ends = {}
    for beta in (0.1, 10.0):
        found = fit(Own(), x[:200], x[200:], loss=loss, beta=beta, epochs=10, **QUICK)
        ends[beta] = found.history["kl"][-5:].mean()
    assert ends[10.0] < 0.3 * ends[0.1]
    assert set(seen) == {True, False}  # in training and on the validation images
    plain = fit(Own(), x[:200], x[200:], epochs=10, **QUICK).history["kl"][-5:].mean()
    assert ends[10.0] < plain < ends[0.1]


@pytest.mark.parametrize("watches", ["training", "validation"])
def test_a_plateau_halves_the_rate(watches):
    values = {True: iter(range(1000, 0, -1)), False: iter(range(1000, 0, -1))}

    def loss(model, x, generator):
        """Falls where it is not watched, and stays where it is."""
        watched = model.training == (watches == "training")
        value = 5.0 if watched else float(next(values[model.training]))
        return value + 0 * model.heads.bias.sum(), 0 * model.heads.bias.sum()

    x = stripes(80)
    settings = QUICK | {"learning_rate": 0.08, "scheduler_patience": 1}
    found = fit(Own(), x[:40], x[40:], loss=loss, epochs=6, scheduler_watches=watches, **settings)
    assert found.history["learning_rate"].tolist() == [0.08, 0.08, 0.08, 0.04, 0.04, 0.02]


def test_a_plateaus_patience_can_count_updates():
    values = iter([9.0, 8.0, 8.0, 8.0, 7.0, 7.0, 7.0, 7.0, 7.0])

    def loss(model, x, generator):
        value = next(values) if model.training else 0.0
        return value + 0 * model.heads.bias.sum(), 0 * model.heads.bias.sum()

    settings = QUICK | {"learning_rate": 0.08, "scheduler_patience": 1, "batch_size": 40}
    counted = {"scheduler_counts": "updates"}
    found = fit(Own(), stripes(120), loss=loss, epochs=3, **settings, **counted)
    # the third 8 is the second without progress, the fourth update; then the third 7 and the fifth
    assert found.history["learning_rate"][2::3].tolist() == [0.08, 0.04, 0.01]


def test_learned_functions_can_have_a_rate_of_their_own():
    model = Architecture.parse("shared-6-2+groups=2+pixels=kan").build()
    optimizer = make_optimizer(model, 0.01, function_rate=0.5)
    rates = {id(w): g["lr"] for g in optimizer.param_groups for w in g["params"]}
    found = {name: rates[id(w)] for name, w in model.named_parameters()}
    assert len(found) == len(rates)
    ends = {name.rpartition(".")[2]: rate for name, rate in found.items()}
    assert ends == {
        "weight": 0.01, "bias": 0.01, "base_weight": 0.01,
        "base_scale": 0.005, "spline_weight": 0.005, "spline_scaler": 0.005,
    }  # fmt: skip


@pytest.mark.usefixtures("quick")
def test_grids_become_finer_at_the_ends_of_equal_parts(tmp_path):
    config = TrainingConfig("shared-8-3", epochs=6, grid_sizes="10,20", grid_updates=1)
    sizes, ranges = [], []

    def look(epoch):
        layer = epoch.model.decoder.latents
        sizes.append(layer.grid_size)
        ranges.append(tuple(layer.grid[0, [3, -4]].tolist()))

    run = train(config, tmp_path / "run", progress=False, after_epoch=look)
    assert sizes == [5, 5, 10, 10, 20, 20]
    assert ranges[0] == pytest.approx((-3, 3))
    assert ranges[1] != pytest.approx((-3, 3), abs=0.1)  # moved once, after the first epoch
    for later in ranges[2:]:
        assert later == pytest.approx(ranges[1])
    assert load_model(run).decoder.pixels.spline_weight.shape == (1, 8, 23)
    best = load_model(run, best=True).decoder.pixels.grid_size
    assert best == sizes[run.best_epoch - 1]


def test_a_finer_grid_keeps_the_functions_and_is_trained_on():
    model = Architecture.parse("kan-6-3").build()
    optimizer = make_optimizer(model, 0.01)
    x = torch.rand(300, 784) < 0.2
    for _ in range(3):
        update(model, optimizer, x, torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.decode(z := torch.linspace(-0.9, 0.9, 30).reshape(10, 3))
    first = model.encoder.hidden.first.spline_weight
    grids.change(model, optimizer, x, torch.Generator().manual_seed(1), 10, False)
    assert model.encoder.hidden.first.spline_weight is first  # it sees two values only
    assert model.decoder.latents.grid_size == model.encoder.mean.grid_size == 10
    with torch.no_grad():
        torch.testing.assert_close(model.decode(z), before, atol=1e-5, rtol=1e-4)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    start = model.decoder.latents.spline_weight.clone()
    update(model, optimizer, x, torch.Generator().manual_seed(2))
    assert (model.decoder.latents.spline_weight != start).any()
    assert len(optimizer.state) == len(list(model.parameters()))


def test_grids_change_only_where_there_are_some():
    with pytest.raises(ValueError, match="the model has no layer of splines"):
        fit(Architecture.parse("vae-6-3").build(), torch.rand(40, 784) < 0.2, grid_updates=1)


def test_images_for_validation_of_another_shape_are_refused_before_training():
    model = Architecture("kan", 4, 2, input_features=12).build()
    with pytest.raises(ValueError, match=r"shape \(12,\) each, and those for validation \(6,\)"):
        fit(model, torch.rand(64, 12).round(), torch.rand(8, 6).round(), **QUICK)


def test_a_plateau_of_the_validation_loss_needs_validation():
    with pytest.raises(ValueError, match="there are no validation images: give some"):
        fit(Own(), stripes(), scheduler_watches="validation", **QUICK)


def test_without_validation_there_is_no_best_epoch():
    found = fit(Own(), stripes(), epochs=2, **QUICK)
    assert (found.best_epoch, found.best_weights) == (None, None)
    assert np.isnan(found.history["validation_kl"]).all()
    assert np.isfinite(found.history["seconds"]).sum() == 2


def test_the_best_epochs_weights_are_those_of_that_epoch():
    x = stripes(60)
    kept = {}

    def keep(epoch):
        kept[epoch.number] = {k: v.clone() for k, v in epoch.model.state_dict().items()}

    model = Own()
    found = fit(model, x[:20], x[20:], epochs=60, after_epoch=keep, **QUICK | {"batch_size": 5})
    assert 1 < found.best_epoch < 60  # 20 images are soon learned by heart
    for name, weight in found.best_weights.items():
        assert torch.equal(weight, kept[found.best_epoch][name])
    model.load_state_dict(found.best_weights)
    terms = training.mean_terms(model, x[20:], seed=0)
    elbos = -(found.history["validation_reconstruction"] + found.history["validation_kl"])
    assert -sum(terms) == pytest.approx(np.nanmax(elbos), rel=1e-6)


def test_the_hook_sees_every_epoch_and_may_end_the_training():
    seen = []

    def hook(epoch):
        seen.append(epoch)
        if epoch.number == 3:
            raise StopIteration

    x = stripes()
    with pytest.raises(StopIteration):
        fit(Own(), x[:200], x[200:], epochs=9, after_epoch=hook, **QUICK)
    assert [epoch.number for epoch in seen] == [1, 2, 3]
    assert [epoch.updates for epoch in seen] == [5, 10, 15]
    assert [len(epoch.elbos) for epoch in seen] == [1, 2, 3]
    assert seen[2].validation_elbo == seen[2].elbos[2]


def test_tensorboard_takes_what_the_hook_is_given(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    x = stripes()
    with SummaryWriter(tmp_path) as writer:

        def log(epoch):
            writer.add_scalar("validation/elbo", epoch.validation_elbo, epoch.number)
            writer.add_histogram("heads", epoch.model.heads.weight, epoch.number)

        found = fit(Own(), x[:200], x[200:], epochs=3, after_epoch=log, **QUICK)
    events = EventAccumulator(str(tmp_path), {"histograms": 0})  # all of them
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("validation/elbo")]
    elbo = -(found.history["validation_reconstruction"] + found.history["validation_kl"])
    assert [step for step, _ in written] == [1, 2, 3]
    assert [value for _, value in written] == pytest.approx(elbo[np.isfinite(elbo)], rel=1e-6)
    assert len(events.Histograms("heads")) == 3


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_fit_goes_on_bit_for_bit_with_dropout_and_batch_norm(tmp_path, stop):
    x = stripes()

    def model():
        own = Own()
        own.encoder.append(nn.BatchNorm1d(8))
        return own

    settings = QUICK | {"epochs": 5, "scheduler": "cosine", "seed": 3}
    whole = model()
    expected = fit(whole, x[:200], x[200:], **settings)

    def interrupt(epoch):
        if epoch.number == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model(), x[:200], x[200:], folder=tmp_path, after_epoch=interrupt, **settings)
    torch.manual_seed(99)  # of no consequence
    resumed = model()
    found = fit(resumed, x[:200], x[200:], folder=tmp_path, **settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])
    assert found.best_epoch == expected.best_epoch
    assert all(torch.equal(v, found.best_weights[k]) for k, v in expected.best_weights.items())
    for name in ("reconstruction", "kl", "learning_rate", "validation_kl"):
        np.testing.assert_array_equal(expected.history[name], found.history[name])
    again = model()
    fit(again, x[:200], x[200:], folder=tmp_path, **settings)  # nothing left to do
    assert all(map(torch.equal, again.parameters(), whole.parameters()))


def test_a_fit_does_not_go_on_from_another_ones_checkpoint(tmp_path):
    x = stripes()
    fit(Own(), x, folder=tmp_path, epochs=1, **QUICK)
    for images, settings in ((x[1:], {}), (~x, {}), (x, {"beta": 2.0})):
        with pytest.raises(training.runs.RunError, match="another configuration"):
            fit(Own(), images, folder=tmp_path, epochs=1, **QUICK, **settings)


def test_a_fit_does_not_go_on_with_another_model_of_the_same_shapes(tmp_path):
    first, second = Own(), Own()
    second.encoder[1] = nn.ReLU()
    for _ in range(2):  # the same goes on
        fit(first, stripes(), folder=tmp_path, epochs=1, **QUICK)
    with pytest.raises(training.runs.RunError, match=r"model is .Own .*another folder"):
        fit(second, stripes(), folder=tmp_path, epochs=1, **QUICK)


def scaled(factor, model, x, generator):
    reconstruction, kl = objective.terms(model, x, generator)
    return factor * reconstruction, kl


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, model, x, generator):
        return scaled(self.factor, model, x, generator)


def test_a_fit_with_a_partial_of_an_object_goes_on_with_another_like_it(tmp_path):
    class Factor:
        def __mul__(self, value):
            return 2 * value

    x = stripes()
    for _ in range(2):
        loss = functools.partial(scaled, Factor())  # of another address every time
        found = fit(Own(), x, loss=loss, folder=tmp_path, epochs=1, **QUICK)
    assert len(found.provenance["starts"]) == 2


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("likelihood", "gaussian-0.1", "gaussian-5"),
        ("likelihood", likelihoods.Gaussian(0.1), likelihoods.Gaussian(0.123456789)),
        ("loss", functools.partial(scaled, 1.0), functools.partial(scaled, 2.0)),
        ("transform", None, lambda x, generator: ~x),
        ("transform", lambda x, generator: x & True, lambda x, generator: x & False),
        ("transform", lambda x, _: x.to("cpu"), lambda x, _: x.to("meta")),
        ("transform", lambda x, _, n=1: x[:n], lambda x, _, n=2: x[:n]),
        ("transform", lambda x, _: (lambda t: t & True)(x), lambda x, _: (lambda t: ~t)(x)),
        ("loss", Scaled(1.0), Scaled(2.0)),
    ],
)
def test_what_a_fit_computes_is_part_of_what_its_checkpoint_is_known_by(
    name, first, second, tmp_path
):
    x = stripes() if name != "likelihood" else stripes().float()
    fit(Own(), x, folder=tmp_path, epochs=1, **QUICK, **{name: first})
    fit(Own(), x, folder=tmp_path, epochs=1, **QUICK, **{name: first})  # the same goes on
    with pytest.raises(training.runs.RunError, match="another configuration"):
        fit(Own(), x, folder=tmp_path, epochs=1, **QUICK, **{name: second})


def test_a_loss_of_ones_own_says_itself_what_it_can_judge():
    x = 3 * stripes().float() - 1

    def squares(model, x, generator):
        y, mean, log_var = model(x, generator)
        return (y - x).square().sum(1).mean(), objective.kl(mean, log_var).mean()

    with pytest.raises(ValueError, match="Bernoulli pixels lie between 0 and 1"):
        fit(Own(), x, epochs=1, **QUICK)
    assert np.isfinite(fit(Own(), x, loss=squares, epochs=1, **QUICK).history["kl"]).all()


def test_a_fit_in_bfloat16_keeps_a_checkpoint(tmp_path):
    x = stripes().bfloat16()
    found = fit(Own().bfloat16(), x, folder=tmp_path, epochs=1, **QUICK)
    assert np.isfinite(found.history["reconstruction"]).all()
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_fit_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = Own()
    torch.manual_seed(5)
    fit(model, stripes(), epochs=1, **QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_tiny_numbers_are_zero_in_updates_and_nowhere_else():
    def tiny():
        return float(torch.tensor(1e-39) * 1)

    def loss(model, x, generator):
        (inside if model.training else elsewhere).append(tiny())
        return objective.terms(model, x, generator)

    can = torch.set_flush_denormal(False)  # not every processor can
    inside, elsewhere = [], []
    hook = {"after_epoch": lambda epoch: elsewhere.append(tiny())}
    fit(Own(), stripes(), stripes(), loss=loss, epochs=2, **hook, **QUICK)
    assert set(inside) == {0.0 if can else tiny()}
    assert set(elsewhere) == {tiny()} != {0.0}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_tiny_numbers_move_no_weight():
    images = data.prepare(data.load("MNIST").pixels[:320])

    def trained(around):
        model, generator = Architecture.parse("vae-12-4").build(seed=0), torch.Generator()
        optimizer = make_optimizer(model, 2e-3)
        with around():
            for i in range(1000):
                rows = torch.arange(8) + 8 * (i % 40)
                update(model, optimizer, images[rows], generator.manual_seed(i))
        averages = [optimizer.state[weight]["exp_avg"].flatten() for weight in model.parameters()]
        return model.state_dict(), torch.cat(averages)

    plain, averages = trained(contextlib.nullcontext)
    assert ((averages != 0) & (averages.abs() < 1e-38)).sum() > 100
    weights, averages = trained(updates.flushing)
    left = ((averages != 0) & (averages.abs() < 1e-38)).sum()
    assert (left == 0) == torch.set_flush_denormal(False)
    assert all(torch.equal(plain[name], weights[name]) for name in plain)


def test_new_noise_comes_with_every_batch():
    grey = torch.full((40, 12), 0.5)
    seen = []

    def draw(x, generator):
        seen.append((torch.rand(x.shape, generator=generator) < x).float())
        return seen[-1]

    fit(Own(), grey, transform=draw, epochs=2, **QUICK)
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_a_mask_that_is_infinite_from_the_start_is_no_divergence(tmp_path):
    class Masked(Own):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

        def get_extra_state(self):
            return {"version": 1}

        def set_extra_state(self, state):
            restored.append(state)

    def stop(epoch):
        raise KeyboardInterrupt

    restored, how = [], QUICK | {"epochs": 2, "folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        fit(Masked(), stripes(), stripes(40), after_epoch=stop, **how)
    found = fit(Masked(), stripes(), stripes(40), **how)
    assert restored == [{"version": 1}]
    assert found.best_weights["mask"].tolist() == [0.0, -torch.inf]
    assert found.best_weights["_extra_state"] == {"version": 1}


class TestDivergence:
    def test_the_update_is_named(self, tmp_path):
        def loss(model, x, generator):
            terms = objective.terms(model, x, generator)
            loss.calls += 1
            return terms.reconstruction * (float("nan") if loss.calls == 8 else 1), terms.kl

        loss.calls = 0
        with pytest.raises(
            DivergedError, match=r"at update 8 \(epoch 2\); the checkpoint of epoch 1"
        ):
            fit(Own(), stripes(200), loss=loss, epochs=5, folder=tmp_path, **QUICK)
        loss.calls = 0
        with pytest.raises(DivergedError, match=r"at update 8 \(epoch 2\); nothing is kept"):
            fit(Own(), stripes(200), loss=loss, epochs=5, **QUICK)

    def test_the_last_good_checkpoint_stays(self, tmp_path):
        x = stripes(200)

        def poison(epoch):
            if epoch.number == 2:
                with torch.no_grad():
                    epoch.model.heads.bias[0] = torch.inf

        with pytest.raises(DivergedError, match=r"at update 11 \(epoch 3\)"):
            fit(Own(), x, folder=tmp_path, epochs=5, after_epoch=poison, **QUICK)
        kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert kept["epoch"] == 2
        assert all(bool(w.isfinite().all()) for w in kept["model"].values())

    def test_weights_that_the_last_update_ruined_are_not_kept(self, tmp_path):
        x = stripes(40)

        def loss(model, x, generator):
            terms = objective.terms(model, x, generator)
            return terms.reconstruction + (model.heads.bias * 0).sqrt().sum(), terms.kl

        model = Own()
        with torch.no_grad():
            model.heads.bias.fill_(1.0)
        with pytest.raises(DivergedError, match=r"weights stopped being finite at update 1 "):
            fit(model, x, loss=loss, folder=tmp_path, epochs=5, **QUICK)
        assert not (tmp_path / "checkpoint.pt").exists()

    def test_the_command_line_says_it_in_a_line_and_fails(self, tmp_path):
        options = ["--architecture", "kan-8-4", "--learning_rate", "0.5", "--batch_size", "512"]
        with pytest.raises(SystemExit, match="its loss stopped being finite at update") as stop:
            command.main(["train", str(tmp_path / "run"), *options, "--epochs", "1"])
        assert "\n" not in stop.value.code
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["cut", "emptied", "flipped", "another format"])
def test_a_damaged_checkpoint_is_put_aside_and_the_training_starts_anew(tmp_path, damage):
    x = stripes()
    settings = QUICK | {"epochs": 2}
    whole = Own()
    fit(whole, x, folder=tmp_path, **settings)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-500]
    elif damage == "emptied":
        content = bytearray()
    elif damage == "flipped":
        weight = whole.decoder[0].weight.detach().numpy().tobytes()
        content[content.index(weight)] ^= 255
    else:
        content = bytearray(b"<html>404</html>")
    path.write_bytes(content)
    again = Own()
    with pytest.warns(RuntimeWarning, match=r"checkpoint.pt is damaged .* starts anew"):
        fit(again, x, folder=tmp_path, **settings)
    assert all(map(torch.equal, again.parameters(), whole.parameters()))
    assert (tmp_path / "checkpoint.damaged").read_bytes() == content


@pytest.mark.parametrize("held", [{"model": {}}, {"array": np.zeros(3)}, 1.5])
def test_somebody_elses_file_in_the_checkpoints_place_is_named_and_left(tmp_path, held):
    path = tmp_path / "checkpoint.pt"
    torch.save(held, path)
    before = path.read_bytes()
    with pytest.raises(training.runs.RunError, match=r"checkpoint.pt .*name another folder"):
        fit(Own(), stripes(), folder=tmp_path, epochs=1, **QUICK)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_memory_does_not_suffice_for_is_left(tmp_path, monkeypatch):
    fit(Own(), stripes(), folder=tmp_path, epochs=1, **QUICK)

    def full(*arguments, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(torch.OutOfMemoryError):
        fit(Own(), stripes(), folder=tmp_path, epochs=1, **QUICK)
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(training.runs.RunError, match="file is a file: name another folder"):
        fit(Own(), stripes(), folder=tmp_path / "file", epochs=1, **QUICK)


def test_a_fit_whose_grids_grow_goes_on(tmp_path):
    model = Architecture.parse("kan-4-2+input_features=12").build()
    for _ in range(2):  # the same object, as when a cell of a notebook is run again
        found = fit(model, stripes(), folder=tmp_path, epochs=2, grid_sizes="8", **QUICK)
    assert len(found.provenance["starts"]) == 2
    assert model.decoder.pixels.grid_size == 8


def test_a_fits_own_config_is_what_json_holds(tmp_path):
    for _ in range(2):
        config = {"rate": np.float64(0.5), "sizes": (1, 2)}
        found = fit(Own(), stripes(), folder=tmp_path, config=config, epochs=1, **QUICK)
    assert len(found.provenance["starts"]) == 2
    with pytest.raises(ValueError, match="config is not what JSON can hold"):
        fit(Own(), stripes(), folder=tmp_path, config={"path": tmp_path}, epochs=1, **QUICK)


def test_an_unreadable_checkpoint_is_named_and_left(tmp_path):
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(training.runs.RunError, match=r"checkpoint.pt cannot be read"):
        fit(Own(), stripes(), folder=tmp_path, epochs=1, **QUICK)


def test_a_full_disk_is_named_and_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    x = stripes()

    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(Own(), x, folder=tmp_path, epochs=2, after_epoch=stop, **QUICK)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    for folder, kept in ((tmp_path / "new", []), (tmp_path, [tmp_path / "checkpoint.pt"])):
        with pytest.raises(training.runs.RunError, match=r"cannot be written .*No space left"):
            fit(Own(), x, folder=folder, epochs=2, **QUICK)
        assert [path for path in folder.iterdir() if path.is_file()] == kept
    assert kept[0].read_bytes() == before


def test_a_kan_vae_fits_its_own_sizes():
    x = stripes()
    model = Architecture("kan", 6, 2, input_features=12).build()
    found = fit(model, x[:200], x[200:], epochs=30, **QUICK)
    loss = found.history["reconstruction"] + found.history["kl"]
    assert loss[-5:].mean() < loss[:5].mean() - 1
