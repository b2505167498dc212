import sys
import time

import pytest
import torch
from conftest import ROOT
from torch import nn

from kanvae.studies.timing import interleaved

sys.path.insert(0, str(ROOT / "benchmarks"))
from updates import timed


def test_every_candidate_is_timed_in_every_round_and_in_turns():
    calls = []
    found = interleaved(
        {name: lambda name=name: calls.append(name) for name in "abc"}, rounds=5, seconds=0.0
    )
    assert {name: len(values) for name, values in found.items()} == {"a": 5, "b": 5, "c": 5}
    rounds = [calls[-15:][i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(turns) == ["a", "b", "c"] for turns in rounds)
    assert len({tuple(turns) for turns in rounds}) > 1


def test_times_are_milliseconds_a_call_and_wait_for_the_end():
    pending = []
    found = interleaved(
        {"sleep": lambda: time.sleep(0.002), "queue": lambda: pending.append(1)},
        rounds=3,
        seconds=0.0,
        finish=lambda: (time.sleep(0.002 * len(pending)), pending.clear()),
    )
    assert min(found["sleep"]) >= 2 * 0.99
    assert min(found["queue"]) >= 2 * 0.99
    assert max(found["sleep"]) == pytest.approx(2, abs=40)  # not seconds, not nanoseconds


def test_updates_are_made_and_held_against_the_first_model():
    class Slow(nn.Linear):
        def forward(self, x):
            time.sleep(0.02)
            return super().forward(x)

    models = {"quick": nn.Linear(3, 1), "slow": Slow(3, 1)}
    before = [model.weight.clone() for model in models.values()]
    found = timed(
        models, lambda model, x, generator: (model(x).sum(), x.sum()), torch.ones(2, 3), rounds=3
    )
    assert found.index.tolist() == ["quick", "slow"]
    assert found.loc["quick", "relative"] == 1
    assert found.loc["slow", "ms"] >= 20 * 0.99
    assert found.loc["slow", "relative"] > 1
    for model, weight in zip(models.values(), before, strict=True):
        assert (model.weight < weight).all()  # the loss grows with every weight
