"""The studies of the book: the trainings that each consists of, in the order to do them in.

    schedule  which schedule the paper ran: candidates, held against the ends of its Figure 6
    rates     each kind of model at four learning rates and two schedules, judged on validation
    paper     the rows of Table I and linear VAEs of their size at the paper's setting, five seeds
    never     the same at a rate that never falls, three seeds
    ablation  what the grid and the first layer do to KAN-VAE**, five seeds
    depth     the paper's "more than two layers": KAN-VAE** with two and three hidden layers
    best      kinds of model at their own best setting, as `rates` found it, and at the paper's,
              three seeds; every rate without a schedule, for these and SiLU
    sharing   how many functions an input: a dial at three budgets, five seeds, each at its best;
              its best three on 50,000 images, three seeds
    controls  where its gain comes from, three seeds (five of functions without their splines)
    grids     grids that change in training, against fixed ones, three seeds
    front     what the architecture search found best, five other seeds, on test images; the rows
              of Table I with two hidden layers, as its trials
    small     the dial on grey digits and on a table of seven columns, five seeds
    fashion   the best three of the dial, and a KAN-VAE, on FashionMNIST, five seeds, and the three
              on all of it, three
    bases     other basis functions at KAN-VAE**'s widths and at its parameters, five seeds
    full      `paper` on 50,000 images, three seeds
    anchor    a model whose likelihood others have published

A training that several studies hold is done once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from kanvae import runs
from kanvae.architectures import Architecture
from kanvae.studies import paper, results, sets, sizes
from kanvae.studies.paper import config
from kanvae.training import TrainingConfig

SCORES = ("validation", "brief", "all")  # how much of a run is scored; the first leaves out tests
LATENT_DIM = 20
RATES = (0.0005, 0.001, 0.002, 0.005)
SEEDS = range(5)

# How grids can change in training, and what they are held against: of the key, of the training.
GRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed, G = 5": ("", {}),
    "fixed, G = 20": ("+grid_size=20", {}),
    "from G = 3 to 20": ("+grid_size=3", {"grid_sizes": "5,10,20"}),
    "moved to its inputs": ("", {"grid_updates": 10}),
}


class Job(NamedTuple):
    """A training, and how much of it is scored."""

    config: TrainingConfig
    scores: str = "all"

    @property
    def name(self) -> str:
        """What its run is called in the tables."""
        return results.row_name(self.config)


TABLE = [str(row.architecture) for row in paper.TABLE_I]
BASELINES = [str(sizes.baseline(Architecture.parse(key))) for key in TABLE if key.startswith("kan")]
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


def table(
    keys: Iterable[str], regime: str, seeds: Iterable[int], scores: str = "all", **how: Any
) -> list[Job]:
    """Models seed by seed, by default at the paper's setting."""
    trained = [config(key, regime, seed, **how) for seed in seeds for key in sizes.by_cost(keys)]
    return [Job(each, scores) for each in trained]


def schedule() -> list[Job]:
    """Candidates for what the paper ran, on the models of its Figure 6.

    Those that come near the paper with one seed, and the plainest reading of its text, have three.
    The widest model takes ten times as long as both others: it is trained with these alone.
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
    near.append(epochs[-1])
    narrow, vae, wide = sizes.by_cost(map(str, paper.FEATURED.values()))
    trained = [
        *((key, some, 0) for key in (narrow, vae) for some in every),
        *((key, some, seed) for seed in (1, 2) for some in near for key in (narrow, vae)),
        *((wide, some, 0) for some in near),
    ]
    return [Job(config(key, seed=seed, **some), "validation") for key, some, seed in trained]


# Weights of the KL that make terms of the loss means over their numbers in place of sums, as
# `reduction="mean"` does: 784 times the mean of the reconstruction is its sum; the KL has as many
# numbers as latents.
REDUCTIONS = {
    "means": 784 / LATENT_DIM,
    "mean of the cross-entropy": 784.0,
    "mean of the KL": 1 / LATENT_DIM,
}


def variants() -> list[Job]:
    """Other readings of the paper's words, on its VAE, at both habits that its curves allow:
    other activations, and terms of the loss as means.
    """
    vae = str(paper.FEATURED["VAE"])
    habits: list[dict[str, Any]] = [paper.SETTINGS, paper.NEVER]
    read: list[tuple[str, dict[str, Any]]] = [(vae, {"beta": each}) for each in REDUCTIONS.values()]
    read += [(f"{vae}+activation={name}", {}) for name in ("silu", "gelu", "tanh")]
    return [Job(config(key, **habit, **how), "validation") for habit in habits for key, how in read]


def tries(key: str, **others: Any) -> list[Job]:
    """A model at every learning rate with a falling rate, and at the best of them with a constant.

    The last one is known only when the others are in the tables.
    """

    def trial(scheduler: str, rate: float) -> Job:
        how = others | {"learning_rate": rate, "scheduler": scheduler}
        return Job(config(key, **how), "validation")

    falling = [trial("cosine", rate) for rate in RATES]
    best = best_setting(falling)
    return [*falling, trial("constant", best["learning_rate"])] if best else falling


def best_setting(tried: Collection[Job]) -> dict[str, Any] | None:
    """The learning rate and schedule with the best validation ELBO; None where a try is missing."""
    lines = results.scores(reading="best")
    known = dict(zip(lines["name"], lines["validation_elbo"], strict=True))
    if not all(job.name in known for job in tried):
        return None
    best = max(tried, key=lambda job: known[job.name]).config
    return {"learning_rate": best.learning_rate, "scheduler": best.scheduler}


def rates() -> list[Job]:
    """Every kind at the whole budget with an equal number of tries."""
    return [job for kind in sizes.KINDS for job in tries(sizes.fitted(kind, sizes.BUDGET))]


def at_best(
    kinds: Iterable[str],
    seeds: Iterable[int],
    budgets: Iterable[int] = (sizes.BUDGET,),
    scores: str = "all",
    regime: str = "paper",
    **others: Any,
) -> list[Job]:
    """Kinds at their own best setting; where that is not known yet, what it is chosen from."""
    tried = {kind: tries(sizes.fitted(kind, sizes.BUDGET)) for kind in kinds}
    known = {kind: best_setting(jobs) for kind, jobs in tried.items()}
    return [
        *(job for kind, jobs in tried.items() if known[kind] is None for job in jobs),
        *(
            Job(config(sizes.fitted(kind, budget), regime, seed, **setting, **others), scores)
            for seed in seeds
            for budget in budgets
            for kind, setting in known.items()
            if setting is not None
        ),
    ]


def contenders(count: int = 3) -> list[str]:
    """ReLU, SiLU and the kinds of the dial with the best mean validation ELBO at the whole budget.

    Of the first three seeds; none where a run of `sharing` that says it is missing.
    """
    known = results.scores(reading="best").set_index("name")["validation_elbo"]
    found = {}
    for kind in sizes.DIAL:
        names = [job.name for job in at_best((kind,), range(3))]
        if not names or not set(names) <= set(known.index):
            return []
        found[kind] = known[names].mean()
    learned = [kind for kind in sizes.DIAL if kind != "SiLU"]
    return ["ReLU", "SiLU", *sorted(learned, key=lambda kind: -found[kind])[:count]]


def best() -> list[Job]:
    """Kinds of model at their own best setting, and at the paper's."""
    kinds = "ReLU", "KAN", "1 function", "4 functions"
    keys = [sizes.fitted(kind, sizes.BUDGET) for kind in kinds]
    held = constant_rates([*keys, sizes.fitted("SiLU", sizes.BUDGET)])
    return [*at_best(kinds, range(3)), *table(keys, "paper", range(3)), *held]


def constant_rates(keys: Iterable[str]) -> list[Job]:
    """The rest of a grid of rates and schedules: every rate, held; nothing is chosen by these."""
    return [
        Job(config(key, learning_rate=rate, scheduler="constant"), "validation")
        for rate in RATES
        for key in keys
    ]


def sharing() -> list[Job]:
    """The dial at a quarter, half and all of the budget; its best at half and all, on 50,000."""
    whole, half, quarter = (sizes.BUDGET // part for part in (1, 2, 4))
    return [
        *at_best(("ReLU", *sizes.DIAL), SEEDS, (whole, half, quarter)),
        *at_best(contenders(), range(3), (whole, half), regime="full"),
    ]


def controls() -> list[Job]:
    """Other smooth activations, other starts, other places; ReLU for as long as functions take."""
    return [
        *at_best(sizes.CONTROLS, range(3), scores="brief"),
        *at_best(("4 functions, splines out of reach",), SEEDS, scores="brief"),
        *at_best(("ReLU", "SiLU"), range(3), scores="brief", epochs=45),
        *at_best(("4 functions",), range(3), scores="brief", function_rate=0.1),
        *at_best(("4 functions",), range(3), scores="brief", function_rate=10.0),
    ]


def grids() -> list[Job]:
    """Extended and moved grids of KAN-VAE** and of four functions an input, for as many epochs."""
    models: dict[str, Any] = {str(paper.FEATURED["KAN-VAE**"]): paper.SETTINGS}
    shared = sizes.fitted("4 functions", sizes.BUDGET)
    setting = best_setting(tried := tries(shared))
    if setting:
        models[shared] = setting
    return [
        *(() if setting else tried),
        *(
            Job(config(key + own, seed=seed, **how, **change), "brief")
            for seed in range(3)
            for key, how in models.items()
            for own, change in GRIDS.values()
        ),
    ]


def fashion() -> list[Job]:
    """The best of the dial on another set of images, at the settings that MNIST chose."""
    kinds, images = contenders(), "FashionMNIST"
    return [
        *at_best(kinds, SEEDS, (sizes.BUDGET, sizes.BUDGET // 2), dataset=images),
        *at_best(("KAN",), SEEDS, dataset=images),
        *at_best(kinds, range(3), regime="full", dataset=images),
    ]


def front() -> list[Job]:
    """The front of the search, and fixed units at the whole budget, with five seeds new to it.

    And what it did not propose: KAN-VAEs of Table I with two hidden layers, trained as its trials.
    """
    try:
        trials, _, about = results.search()
    except runs.RunError:
        return []
    if about["config"]["regime"] != "paper":
        return []
    how = {"epochs": about["config"]["epochs"], "scheduler": about["config"]["schedule"]}
    fixed = [sizes.fitted(kind, sizes.BUDGET) for kind in ("ReLU", "SiLU")]
    cheapest = sizes.by_cost(dict.fromkeys([*trials.loc[trials["front"], "architecture"], *fixed]))
    kans = [f"{key}+depth=2" for key in sizes.by_cost(TABLE) if key.startswith("kan")]
    return [
        *(Job(config(key, seed=1 + seed, **how), "brief") for seed in SEEDS for key in cheapest),
        *(Job(config(key, seed=about["config"]["seed"], **how), "validation") for key in kans),
    ]


def small() -> list[Job]:
    """Sets that are not binary images, where the first layer's functions are more than a line."""
    found = []
    for name, (_, _, how) in sizes.SMALL.items():
        others = how | {"dataset": sets.path(name), "regime": "full"}
        for key in sizes.small_models(name).values():
            found += (tried := tries(key, **others))
            if best := best_setting(tried):
                found += [Job(config(key, seed=seed, **best, **others)) for seed in SEEDS]
    return found


def bases() -> list[Job]:
    """Other basis functions in KAN-VAE**'s place: as wide, and with as many parameters."""
    width = paper.FEATURED["KAN-VAE**"].hidden_features
    wide = [form.format(width) for form in sizes.BASES.values()]
    return table(dict.fromkeys([*wide, *map(sizes.equal, sizes.BASES)]), "paper", SEEDS)


def anchor() -> list[Job]:
    """The deterministic layers and the likelihood of Burda et al. (2015), with one latent layer."""
    how: dict[str, Any] = {"binarization": "stochastic", "batch_size": 20}
    how |= {"learning_rate": 0.001, "scheduler": "cosine"}
    key = "vae-200-50+depth=2+activation=tanh"
    return [Job(config(key, "full", epochs=epochs, **how)) for epochs in (200, 1000)]


STUDIES: dict[str, Callable[[], list[Job]]] = {
    "schedule": lambda: schedule() + variants(),
    "rates": rates,
    "paper": lambda: table([*TABLE, *BASELINES], "paper", SEEDS),
    "never": lambda: table([*TABLE, *BASELINES], "paper", range(3), "brief", **paper.NEVER),
    "ablation": lambda: table(ABLATION, "paper", SEEDS),
    "depth": lambda: table(DEPTH, "paper", range(3)),
    "best": best,
    "sharing": sharing,
    "controls": controls,
    "grids": grids,
    "fashion": fashion,
    "front": front,
    "small": small,
    "bases": bases,
    "full": lambda: table([*TABLE, *BASELINES], "full", range(3)),
    "anchor": anchor,
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
