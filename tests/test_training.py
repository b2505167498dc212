import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import small_notebook

from kanvae import Architecture, data, objective, runs, training
from kanvae.studies import command
from kanvae.training import TrainingConfig, checkpoints, train


def weights_equal(a: runs.Run, b: runs.Run) -> bool:
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


@pytest.mark.usefixtures("quick")
class TestOnAFewImages:
    def test_the_loss_falls_and_the_validation_images_are_judged(self, tmp_path):
        run = train(TrainingConfig("vae-32-4", epochs=8), tmp_path / "run", progress=False)
        loss = run.history["reconstruction"] + run.history["kl"]
        assert loss[-10:].mean() < 0.5 * loss[0]
        assert run.epochs["epoch"].tolist() == list(range(1, 9))
        assert (np.diff(run.epochs["seconds"]) > 0).all()
        assert run.epochs["learning_rate"] == pytest.approx(np.full(8, 0.002))

    def test_recorded_terms_are_those_of_the_final_weights(self, tmp_path, small_mnist):
        run = train(TrainingConfig("kan-8-3", epochs=2, seed=4), tmp_path / "run", progress=False)
        x = data.binarize(small_mnist.pixels)
        reconstruction, kl = training.mean_terms(training.load_model(run), x, seed=4)
        assert run.epochs[-1]["validation_reconstruction"] == pytest.approx(
            reconstruction, rel=1e-5
        )
        assert run.epochs[-1]["validation_kl"] == pytest.approx(kl, rel=1e-5)

    def test_first_update_starts_from_the_seeds_weights(self, tmp_path, small_mnist):
        config = TrainingConfig("kan-8-3", epochs=1, seed=2, batch_size=320)
        run = train(config, tmp_path / "run", progress=False)
        model = config.architecture.build(seed=2)
        x = data.binarize(small_mnist.pixels)
        kl = objective.kl(*model.encode(x))  # needs no noise, nor the order of the images
        assert run.history["kl"] == pytest.approx(float(kl.detach()), rel=1e-4)

    def test_same_config_same_weights_and_another_seed_others(self, tmp_path):
        config = TrainingConfig("kan-8-3", epochs=1)
        first = train(config, tmp_path / "a", progress=False)
        again = train(config, tmp_path / "b", progress=False)
        other = train(dataclasses.replace(config, seed=1), tmp_path / "c", progress=False)
        assert weights_equal(first, again)
        assert not weights_equal(first, other)

    @pytest.mark.parametrize(
        ("architecture", "moment", "settings"),
        [
            ("vae-16-3", "before", {"scheduler_patience": 0, "optimizer": "adamw"}),
            ("kan-8-3", "after", {"scheduler_patience": 0, "scheduler_watches": "validation"}),
            ("kan-8-3", "before", {"scheduler": "cosine", "beta": 0.5, "learning_rate": 0.05}),
            ("vae-16-3", "after", {"optimizer": "sgd", "learning_rate": 1e-4, "scheduler": "none"}),
            ("vae-16-3", "after", {"binarization": "stochastic"}),
            ("kan-8-3", "after", {"scheduler_patience": 9, "scheduler_counts": "updates"}),
            ("shared-8-3", "before", {"function_rate": 3.0}),
            ("shared-8-3", "after", {"grid_sizes": "7,10", "grid_updates": 2}),
            ("kan-8-3", "before", {"grid_sizes": "6,8", "function_rate": 3.0}),
        ],
    )
    def test_interrupted_and_resumed_is_the_same_bit_for_bit(
        self, tmp_path, monkeypatch, architecture, moment, settings
    ):
        config = TrainingConfig(architecture, epochs=4, **settings)
        whole = train(config, tmp_path / "whole", progress=False)
        save, calls = checkpoints.save, []

        def interrupted(path, state, *parts):
            calls.append(state["epoch"])
            if moment == "after":
                save(path, state, *parts)
            if len(calls) == 2:
                raise KeyboardInterrupt
            if moment == "before":
                save(path, state, *parts)

        monkeypatch.setattr(checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "resumed", progress=False)
        assert not (tmp_path / "resumed").exists()
        monkeypatch.setattr(checkpoints, "save", save)
        resumed = train(config, tmp_path / "resumed", progress=False)
        assert weights_equal(whole, resumed)
        assert whole.best_epoch == resumed.best_epoch
        for name, weight in whole.best_weights.items():
            assert torch.equal(weight, resumed.best_weights[name])
        for name in ("update", "reconstruction", "kl", "learning_rate", "validation_kl"):
            np.testing.assert_array_equal(whole.history[name], resumed.history[name])
        assert len(resumed.provenance["starts"]) == 2

    def test_a_kill_while_finishing_loses_nothing(self, tmp_path, monkeypatch):
        config = TrainingConfig("kan-8-3", epochs=1)
        whole = train(config, tmp_path / "whole", progress=False)

        def killed(*args, **kwargs):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("safetensors.torch.save_file", killed)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path / "run", progress=False)
        with pytest.raises(runs.RunError, match="half trained"):
            runs.read(tmp_path / "run")
        assert weights_equal(whole, train(config, tmp_path / "run", progress=False))

    def test_a_finished_run_is_read_and_not_trained_again(self, tmp_path, monkeypatch):
        config = TrainingConfig("kan-8-3", epochs=1)
        train(config, tmp_path / "run", progress=False)
        monkeypatch.setattr(training, "_train", None)
        assert train(config, tmp_path / "run").config == config.to_dict()

    def test_a_folder_of_another_config_is_left_as_it_is(self, tmp_path, trained_run):
        before = {path: path.read_bytes() for path in trained_run.path.iterdir()}
        with pytest.raises(runs.RunError, match=r"another configuration \(epochs is 1 there, 2"):
            train(TrainingConfig("kan-8-3", epochs=2), trained_run.path, progress=False)
        assert {path: path.read_bytes() for path in trained_run.path.iterdir()} == before

    def test_a_run_on_the_training_images_of_version_0_1_is_not_taken_for_one_of_now(self, run):
        told = json.loads((run.path / "config.json").read_text())
        told["config"]["regime"] = "full"
        del told["config"]["likelihood"]
        (run.path / "config.json").write_text(json.dumps(told))
        with pytest.raises(runs.RunError, match=r"of version 0\.1, whose regime 'full' had"):
            train(TrainingConfig("kan-8-3", regime="full", epochs=1), run.path, progress=False)

    def test_a_half_written_folder_of_another_config_is_refused(self, tmp_path, monkeypatch):
        save = checkpoints.save

        def interrupted(path, *state):
            save(path, *state)
            raise KeyboardInterrupt

        monkeypatch.setattr(checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(TrainingConfig("kan-8-3", epochs=2), tmp_path / "run", progress=False)
        with pytest.raises(runs.RunError, match=r"seed is 0 there, 1 here"):
            train(TrainingConfig("kan-8-3", epochs=2, seed=1), tmp_path / "run", progress=False)

    def test_a_constant_rate_stays(self, tmp_path):
        config = TrainingConfig("vae-8-2", epochs=3, scheduler="none", learning_rate=1e-3)
        assert config == dataclasses.replace(config, scheduler="constant")
        run = train(config, tmp_path / "constant", progress=False)
        assert run.epochs["learning_rate"] == pytest.approx(np.full(3, 1e-3))

    def test_a_cosine_ends_near_zero(self, tmp_path):
        config = TrainingConfig("vae-8-2", epochs=4, scheduler="cosine")
        run = train(config, tmp_path / "run", progress=False)
        expected = 0.001 * (1 + np.cos(np.pi * np.arange(4) / 4))
        np.testing.assert_allclose(run.epochs["learning_rate"], expected, rtol=1e-6)

    def test_stochastic_binarisation_trains_on_other_pixels(self, tmp_path):
        config = TrainingConfig("vae-8-2", epochs=1)
        fixed = train(config, tmp_path / "a", progress=False)
        config = dataclasses.replace(config, binarization="stochastic")
        drawn = train(config, tmp_path / "b", progress=False)
        assert not weights_equal(fixed, drawn)


def test_killed_with_sigkill_and_resumed_on_real_mnist(tmp_path):
    command = [sys.executable, "-m", "kanvae", "train", str(tmp_path / "killed")]
    command += ["--architecture", "vae-64-4", "--epochs", "3", "--batch_size", "200"]
    checkpoint = runs.partial(tmp_path / "killed") / "checkpoint.pt"
    threads = str(torch.get_num_threads())  # the sums of linear layers depend on it
    same = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    silent = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=same, **silent)
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists() != (tmp_path / "killed").exists()
    config = TrainingConfig("vae-64-4", epochs=3, batch_size=200)
    whole = train(config, tmp_path / "whole", progress=False)
    assert weights_equal(whole, train(config, tmp_path / "killed", progress=False))


def test_a_damaged_checkpoint_is_gone_once_the_run_is_complete(tmp_path, quick):
    def stop(epoch):
        raise KeyboardInterrupt

    config = TrainingConfig("kan-4-2", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", progress=False, after_epoch=stop)
    os.truncate(runs.partial(tmp_path / "run") / "checkpoint.pt", 1000)
    with pytest.warns(RuntimeWarning, match="kept as checkpoint.damaged until the run is complete"):
        again = train(config, tmp_path / "run", progress=False)
    assert weights_equal(again, train(config, tmp_path / "undisturbed", progress=False))
    names = {path.name for path in (tmp_path / "undisturbed").iterdir()}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names


def test_streams_of_random_numbers_differ():
    draws = [
        torch.rand(3, generator=training.random_stream(seed, stream)).tolist()
        for seed, stream in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(draw) for draw in draws}) == 3


def test_the_name_of_a_run_follows_its_settings():
    config = TrainingConfig("kan-8-3")
    assert training.run_name(config).startswith("kan-8-3-MNIST-paper-30epochs-seed0-")
    other = dataclasses.replace(config, learning_rate=0.001)
    assert training.run_name(config) != training.run_name(other)
    ways = ("10,20", " 10, 20", "10,020")
    assert len({training.run_name(TrainingConfig("kan-8-3", grid_sizes=way)) for way in ways}) == 1
    one = TrainingConfig("kan-8-3", grid_sizes=10)
    assert training.run_name(one) == training.run_name(TrainingConfig("kan-8-3", grid_sizes="10"))


def test_a_config_takes_an_architecture_or_its_key():
    key = Architecture.parse("kan-35-15")
    assert TrainingConfig(key) == TrainingConfig("kan-35-15")
    assert TrainingConfig("kan-35-15").to_dict()["architecture"] == "kan-35-15"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "kan-x-15"}, "unknown architecture 'kan-x-15'"),
        ({"architecture": "kan-5-5+input_features=100"}, "have 784 pixels"),
        ({"dataset": "SVHN"}, "unknown data set 'SVHN'"),
        ({"regime": "half"}, "unknown regime 'half'"),
        ({"epochs": 0}, "epochs is 0: it must be a whole number, 1 or more"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"epochs": True}, "epochs is True"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must lie between 0 and inf"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'"),
        ({"scheduler": "linear"}, r"scheduler is 'linear': choose one of \['plateau', 'constant'"),
        ({"scheduler_watches": "test"}, "scheduler_watches is 'test': choose one of"),
        ({"scheduler_counts": "images"}, "scheduler_counts is 'images': choose one of"),
        ({"scheduler": "cosine", "scheduler_counts": "updates"}, "only a plateau of the training"),
        ({"function_rate": 0}, "function_rate is 0.0: it must lie between 0 and inf"),
        ({"grid_updates": -1}, "grid_updates is -1: it must be a whole number, 0 or more"),
        ({"grid_sizes": "20,10"}, "grid_sizes is '20,10': give whole numbers that grow"),
        ({"grid_sizes": "10;20"}, "grid_sizes is '10;20': give whole numbers that grow"),
        ({"grid_sizes": "10,20", "epochs": 2}, "needs 3 epochs or more, and epochs is 2"),
        ({"optimizer": "lion"}, r"optimizer is 'lion': choose one of \['adam', 'adamw', 'sgd'\]"),
        ({"beta": -0.1}, "beta is -0.1: it must lie between 0 and inf"),
        ({"weight_decay": "much"}, "weight_decay is 'much'"),
        ({"likelihood": "poisson"}, "unknown likelihood 'poisson': choose bernoulli"),
        ({"likelihood": "gaussian-0.1", "binarization": "threshold"}, "pixels that are not binary"),
        ({"scheduler_factor": 1.5}, "scheduler_factor is 1.5"),
        ({"binarization": "dither"}, "binarization is 'dither'"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"device": "tpu"}, "device 'tpu' is not on this machine"),
        ({"device": "cuda:99"}, "device 'cuda:99' is not on this machine: choose one of"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{"architecture": "kan-5-5", **settings})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--architecture", "kan-0-5"], "hidden_features is 0"),
        (["--architecture", "kan-5-5+grid_range=1..-1"], "must begin below its end"),
        (["--architecture", "kan-5-5", "--device", "cuda:99"], "is not on this machine"),
        (["--architecture", "kan-5-5", "--dataset", "SVHN"], "unknown data set"),
        (["--architecture", "kan-5-5", "--regime", "half"], "unknown regime"),
    ],
)
def test_command_line_refuses_in_one_line_and_writes_nothing(tmp_path, options, message):
    target = tmp_path / "run"
    with pytest.raises(SystemExit, match=message) as stop:
        command.main(["train", str(target), *options])
    assert "\n" not in str(stop.value.code)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_command_line_trains(tmp_path, capsys):
    options = ["--architecture", "kan-8-3", "--epochs", "1", "--learning_rate", "0.01"]
    command.main(["train", str(tmp_path / "run"), *options])
    assert "validation ELBO -" in capsys.readouterr().out
    assert runs.read(tmp_path / "run").config["learning_rate"] == 0.01


def test_importing_the_package_is_light():
    code = (
        "import sys, kanvae, kanvae.training, kanvae.objective, kanvae.data, kanvae.likelihoods\n"
        "import kanvae.evaluation, kanvae.digits, kanvae.runs\n"
        "from kanvae.layers.kinds import KINDS\n"
        "for kind in {'vae', *KINDS} - {'linear'}:\n"
        "    kanvae.architectures.explain(f'{kind}-8-3')\n"
        "heavy = {'matplotlib', 'sklearn', 'pandas', 'torchvision', 'scipy', 'papermill', 'onnx'}\n"
        "heavy |= {'torch._dynamo'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert result.stdout.strip() == "[]"


def test_what_needs_no_torch_does_not_wait_for_it(tmp_path):
    notebook = small_notebook(tmp_path / "small.ipynb")
    code = (
        "import sys, kanvae, kanvae.studies.command, kanvae.studies.sweep.worker\n"
        "from kanvae.studies.sweep import points\n"
        f"points.check_points({str(notebook)!r}, [{{'count': 1}}])\n"
        "assert not {'torch', 'matplotlib', 'pandas', 'papermill'} & sys.modules.keys()\n"
        "assert 'VAE' in dir(kanvae)\n"
        "assert kanvae.VAE is kanvae.models.VAE\n"  # a module that nobody has imported so far
        "assert kanvae.splines.__name__ == 'kanvae.splines'\n"
        "assert all(getattr(kanvae, name).__name__ == name for name in kanvae.__all__)\n"
        "assert 'torch' in sys.modules\n"
        "kanvae.nothing"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("AttributeError: module 'kanvae' has no attribute 'nothing'\n")


def steps(key, wrap, device="cpu", batches=12, rates=(2e-3,)):
    """Losses and weights after some updates on real images, by way of `wrap(step, ...)`."""
    x = data.binarize(data.load("MNIST").pixels[: 32 * batches - 10].to(device))
    model = Architecture.parse(key).build(seed=3).to(device)
    optimizer = training.make_optimizer(model, rates[0])
    generator = torch.Generator(device)

    def step(rows):
        return training.update(model, optimizer, x[rows], generator)

    run, losses = wrap(step, optimizer, generator, 32), []
    for epoch, rate in enumerate(rates):
        generator.manual_seed(training.stream_seed(0, epoch))
        optimizer.param_groups[0]["lr"] = rate
        order = torch.randperm(len(x), generator=generator, device=device)
        losses += [run(rows).clone() for rows in order.split(32)]
    return torch.stack(losses), model.state_dict()


def plainly(step, *_):
    return step


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_where_nothing_can_be_recorded_a_warning_says_so_and_training_is_the_same():
    expected = steps("kan-8-3", plainly)
    with pytest.warns(RuntimeWarning, match="cannot be recorded as a CUDA graph"):
        found = steps("kan-8-3", training.captured)
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(found[1][name], expected[1][name]) for name in expected[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
@pytest.mark.parametrize("key", ["kan-8-3", "vae-16-3"])
def test_replayed_steps_are_the_steps(key):
    """Same noise, same order, a last batch of another size, a learning rate that changes."""
    rates = (2e-3, 2e-3, 1e-3)
    expected = steps(key, plainly, "cuda", rates=rates)
    found = steps(key, training.captured, "cuda", rates=rates)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-3)
    for name in expected[1]:
        torch.testing.assert_close(found[1][name], expected[1][name], rtol=1e-3, atol=1e-4)
