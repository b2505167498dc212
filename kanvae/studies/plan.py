"""The studies of the book: the trainings that each consists of, in the order to do them in.

    schedule  which schedule the paper ran: candidates, held against the ends of its Figure 6
    rates     each kind of model at four learning rates and two schedules, judged on validation
    paper     the rows of Table I and linear VAEs of their size at the paper's setting, five seeds
    ablation  what the grid and the first layer do to KAN-VAE**, five seeds
    depth     the paper's "more than two layers": KAN-VAE** with two and three hidden layers
    best      each kind of model at its own best setting, as `rates` found it, three seeds
    sharing   how many functions an input: a dial at three budgets, five seeds, each at its best
    controls  where its gain comes from, three seeds
    full      `paper` on 50,000 images, three seeds

A training that several studies hold is done once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kanvae.architectures import Architecture
from kanvae.models import count_parameters
from kanvae.studies import paper, results
from kanvae.training import TrainingConfig

SCORES = ("validation", "brief", "all")  # how much of a run is scored; the first leaves out tests
BUDGET = 652_824  # parameters of the paper's VAE
LATENT_DIM = 20
RATES = (0.0005, 0.001, 0.002, 0.005)
SCHEDULES = ("constant", "cosine")

# Kinds of model by name: keys with {} for the width that meets a budget.
DIAL = {
    "SiLU": "vae-{}-20+activation=silu",
    "1 function": "shared-{}-20",
    "4 functions": "shared-{}-20+groups=4",
    "16 functions": "shared-{}-20+groups=16",
    "one an edge": "shared-{}-20+groups=1000",
}
PAPERS = {"ReLU": "vae-{}-20", "KAN": "kan-{}-20"}
CONTROLS = {
    "GELU": "vae-{}-20+activation=gelu",
    "tanh": "vae-{}-20+activation=tanh",
    "PReLU": "vae-{}-20+activation=prelu",
    "ReLU, LayerNorm": "vae-{}-20+norm=layer",
    "1 function, LayerNorm": "shared-{}-20+norm=layer",
    "1 function from ReLU": "shared-{}-20+base=relu",
    "1 function, latents as SiLU": "shared-{}-20+latents.base=silu",
    "1 function, latents linear": "shared-{}-20+latents=linear",
    "1 function on ±1": "shared-{}-20+grid_range=-1.0..1.0",
    "1 function on ±6": "shared-{}-20+grid_range=-6.0..6.0",
    "1 function, G = 20": "shared-{}-20+grid_size=20",
    "1 function in the encoder": "shared-{}-20+activation=silu+decoder=linear",
    "1 function in the decoder": "shared-{}-20+activation=silu+encoder=linear",
    "one an edge from the latents": "shared-{}-20+latents.groups=1000",
}
KINDS = PAPERS | DIAL | CONTROLS


class Job(NamedTuple):
    """A training, and how much of it is scored."""

    config: TrainingConfig
    scores: str = "all"

    @property
    def name(self) -> str:
        """What its run is called in the tables."""
        return results.run_name(self.config)


@functools.cache
def parameters(key: str) -> int:
    """How many parameters a model has."""
    return count_parameters(Architecture.parse(key).build())


@functools.cache
def fitted(kind: str, budget: int) -> str:
    """The key of the widest model of a kind that keeps within a budget of parameters."""
    key = KINDS[kind]
    few, more = parameters(key.format(16)), parameters(key.format(32))
    width = max(1, 16 + 16 * (budget - few) // (more - few))  # a line nearly meets it
    while parameters(key.format(width + 1)) <= budget:
        width += 1
    while width > 1 and parameters(key.format(width)) > budget:
        width -= 1
    return key.format(width)


def baseline(architecture: Architecture) -> Architecture:
    """The linear VAE with as many parameters as a KAN-VAE: ten times its width, to 0.7 %."""
    return Architecture("linear", 10 * architecture.hidden_features, architecture.latent_dim)


def config(key: str, regime: str = "paper", seed: int = 0, **settings: Any) -> TrainingConfig:
    """A training of the book, by default at the paper's setting."""
    chosen = {"epochs": paper.EPOCHS} | (settings or paper.SETTINGS)
    return TrainingConfig(Architecture.parse(key), regime=regime, seed=seed, **chosen)


TABLE = [str(row.architecture) for row in paper.TABLE_I]
BASELINES = [str(baseline(Architecture.parse(key))) for key in TABLE if key.startswith("kan")]
ABLATION = [
    f"{paper.FEATURED['KAN-VAE**']}{options}"
    for options in (
        "+grid_range=-3.0..3.0",
        "+first=linear",
        "+grid_range=-3.0..3.0+first=linear",
    )
]
DEPTH = [
    f"{paper.FEATURED[name]}+depth={depth}" for name in ("KAN-VAE**", "VAE") for depth in (2, 3)
]


def by_cost(keys: Iterable[str]) -> list[str]:
    """Keys of models, the one that trains fastest first."""
    return sorted(keys, key=parameters)


def table(keys: Iterable[str], regime: str, seeds: Iterable[int]) -> list[Job]:
    """Models at the paper's setting, seed by seed."""
    return [Job(config(key, regime, seed)) for seed in seeds for key in by_cost(keys)]


def schedule() -> list[Job]:
    """Candidates for what the paper ran, on the models of its Figure 6.

    The widest takes ten times as long as both others: it is trained with the candidates that bring
    those near the paper, and with the plainest reading of its text.
    """
    updates: list[dict[str, Any]] = [
        {"scheduler_counts": "updates", "scheduler_patience": patience}
        for patience in (10, 100, 200, 313, 400, 500, 600, 800, 1000)
    ]
    epochs: list[dict[str, Any]] = [{"scheduler_patience": each} for each in (0, 1, 2, 5, 10)]
    watching = [each | {"scheduler_watches": "validation"} for each in epochs]
    rates = [{"scheduler": "constant", "learning_rate": each} for each in (0.001, 0.005)]
    every = [*updates, *epochs, *watching, *rates]
    near = [each for each in updates if each["scheduler_patience"] in (400, 500, 600)]
    narrow, vae, wide = by_cost(map(str, paper.FEATURED.values()))
    return [
        Job(config(key, **some), "validation")
        for key, candidates in ((narrow, every), (vae, every), (wide, [*near, epochs[-1]]))
        for some in candidates
    ]


def rates() -> list[Job]:
    """Every kind at the whole budget with an equal number of tries."""
    return [
        Job(config(fitted(kind, BUDGET), learning_rate=rate, scheduler=schedule), "validation")
        for kind in KINDS
        for schedule, rate in itertools.product(SCHEDULES, RATES)
    ]


def best_setting(kind: str) -> dict[str, Any] | None:
    """The learning rate and schedule with the best validation ELBO at the whole budget.

    None where one of the tries is missing.
    """
    lines = results.scores(model=fitted(kind, BUDGET), regime="paper", seed=0, reading="best")
    found = {
        (line.scheduler, line.learning_rate): line.validation_elbo
        for line in lines[lines["settings"].isna()].itertuples()
    }
    tries = list(itertools.product(SCHEDULES, RATES))
    if any(one not in found for one in tries):
        return None
    schedule, rate = max(tries, key=lambda one: found[one])
    return {"learning_rate": rate, "scheduler": schedule}


def at_best(
    kinds: Iterable[str],
    seeds: Iterable[int],
    budgets: Iterable[int] = (BUDGET,),
    scores: str = "all",
    regime: str = "paper",
    **others: Any,
) -> list[Job]:
    """Kinds at their own best setting, as far as that is known."""
    known = {kind: best_setting(kind) for kind in kinds}
    return [
        Job(config(fitted(kind, budget), regime, seed, **setting, **others), scores)
        for seed in seeds
        for budget in budgets
        for kind, setting in known.items()
        if setting is not None
    ]


def sharing() -> list[Job]:
    """The dial at a quarter, half and all of the budget."""
    budgets = (BUDGET, BUDGET // 2, BUDGET // 4)
    return at_best(("ReLU", *DIAL), range(5), budgets)


def controls() -> list[Job]:
    """Other smooth activations, other starts, other places; ReLU for as long as functions take."""
    return [
        *at_best(CONTROLS, range(3), scores="brief"),
        *at_best(("ReLU", "SiLU"), range(3), scores="brief", epochs=45),
        *at_best(("1 function",), range(3), scores="brief", function_rate=0.1),
        *at_best(("1 function",), range(3), scores="brief", function_rate=10.0),
    ]


STUDIES: dict[str, Callable[[], list[Job]]] = {
    "schedule": schedule,
    "rates": rates,
    "paper": lambda: table([*TABLE, *BASELINES], "paper", range(5)),
    "ablation": lambda: table(ABLATION, "paper", range(5)),
    "depth": lambda: table(DEPTH, "paper", range(3)),
    "best": lambda: at_best(("ReLU", "KAN", "1 function", "4 functions"), range(3)),
    "sharing": sharing,
    "controls": controls,
    "full": lambda: table([*TABLE, *BASELINES], "full", range(3)),
}


def jobs(studies: Iterable[str]) -> list[Job]:
    """The trainings of studies, each once, with the most that any of them scores.

    Raises:
        ValueError: no such study.
    """
    found: dict[TrainingConfig, str] = {}
    for study in studies:
        if study not in STUDIES:
            raise ValueError(f"there is no study {study!r}: choose from {', '.join(STUDIES)}.")
        for job in STUDIES[study]():
            most = max(job.scores, found.get(job.config, job.scores), key=SCORES.index)
            found[job.config] = most
    return [Job(config, scores) for config, scores in found.items()]
