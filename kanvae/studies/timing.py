"""Timing things against each other, so that a slow moment of the machine meets them all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping


def interleaved(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    seconds: float = 0.02,
    finish: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Milliseconds a call of each candidate, measured once a round, in turns.

    Each candidate is called a few times before; then, in every round, all have a turn of about
    `seconds` (one call at least), in an order that is drawn anew.

    Args:
        finish: called at the end of a turn, such as `torch.cuda.synchronize`.

    Returns:
        name -> one value a round. What else a machine does only adds to it: compare the least of
        each, or, where the machine itself may change its pace, values of one round.
    """

    def turn(run: Callable[[], object], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        if finish is not None:
            finish()
        return (time.perf_counter() - start) / calls * 1e3

    calls = {}
    for name, run in candidates.items():
        turn(run, 2)  # what is compiled or cached at a first call is so now
        calls[name] = max(1, int(seconds * 1e3 / turn(run, 2)))
    found: dict[str, list[float]] = {name: [] for name in candidates}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(candidates), len(candidates)):
            found[name].append(turn(candidates[name], calls[name]))
    return found
