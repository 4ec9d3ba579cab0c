"""How many samples a decision needs: asked before any is taken by the linter, and after by whom the gate left open."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipeline.policy.statistics import Bounds, clopper_pearson, rate_bounds

_MOST = 10_000_000  # samples; who needs more has a limit that cannot be told from the truth


def more_for_rate(estimate: float, n: int, confidence: float, low: float | None, high: float | None) -> int | None:
    """How many more items settle a rate's limits, should the measured rate hold; None when it lies on a limit."""

    def settled(size: int) -> bool:
        bounds = rate_bounds(round(estimate * size), size, confidence)
        return _settled(bounds[0], bounds[1], low, high)

    needed = smallest(settled, n + 1)
    return None if needed is None else needed - n


def more_for_mean(bounds: Bounds, n: int, low: float | None, high: float | None) -> int | None:
    """How many more items settle limits on a mean, should estimate and spread hold: the width falls as 1/sqrt(n)."""
    if math.isinf(bounds.low) or math.isinf(bounds.high):
        return None

    def settled(size: int) -> bool:
        shrink = math.sqrt(n / size)
        lower = bounds.estimate - (bounds.estimate - bounds.low) * shrink
        return _settled(lower, bounds.estimate + (bounds.high - bounds.estimate) * shrink, low, high)

    needed = smallest(settled, n + 1)
    return None if needed is None else needed - n


def more_for_quantile(n: int, quantile: float, confidence: float) -> int:
    """How many more items give the quantile a bound on both sides: q^n and (1-q)^n at most 1 - confidence.

    Settling the limit itself may take more; this is the least that could.
    """
    needed = max(math.ceil(math.log(1 - confidence) / math.log(side)) for side in (quantile, 1 - quantile))
    return max(1, needed - n)


def _settled(lower: float, upper: float, low: float | None, high: float | None) -> bool:
    passes = (low is None or lower >= low) and (high is None or upper <= high)
    return passes or (low is not None and upper < low) or (high is not None and lower > high)


def smallest(holds: Callable[[int], bool], start: int) -> int | None:
    """About the smallest number from `start` on for which `holds`, which is taken to stay true; None beyond 10^7."""
    top = start
    while not holds(top):
        top *= 2
        if top > _MOST:
            return None
    below = max(start - 1, top // 2)
    while top - below > 1:
        middle = (top + below) // 2
        if holds(middle):
            top = middle
        else:
            below = middle
    return top


def fewest_without_failure(limit: float, confidence: float) -> int:
    """How many items prove a rate of at most `limit` when none fails: (1 - limit)^n <= 1 - confidence."""
    return smallest(lambda n: clopper_pearson(0, n, confidence)[1] <= limit, 1) or _MOST
