"""How many samples a decision needs: asked before any is taken by the linter, and after by whom the gate left open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.measurement import Grader
from pipeline.policy.graded import Reading, joined, seen
from pipeline.policy.paired import drop_upper
from pipeline.policy.sequential import anytime_rate
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


def more_for_graded(
    plain: Bounds, n: int, confidence: float, limits: tuple[float | None, float | None], graded: tuple[Grader, Reading]
) -> int | None:
    """How many more items settle limits on what a grader measured: the sample's share of the width falls as 1/sqrt(n).

    The grader's share does not; None where no number of items would do.
    """

    def settled(size: int) -> bool:
        shrink = math.sqrt(n / size)
        low = plain.estimate - (plain.estimate - plain.low) * shrink
        high = plain.estimate + (plain.high - plain.estimate) * shrink
        bounds = joined(lambda _: replace(plain, low=low, high=high), graded[0], confidence, graded[1])
        truth = bounds.corrected or bounds  # to pass takes both readings, to fail the corrected one
        return _passes(bounds.low, bounds.high, *limits) or _fails(truth.low, truth.high, *limits)

    needed = smallest(settled, n + 1)
    return None if needed is None else needed - n


def _settled(lower: float, upper: float, low: float | None, high: float | None) -> bool:
    return _passes(lower, upper, low, high) or _fails(lower, upper, low, high)


def _passes(lower: float, upper: float, low: float | None, high: float | None) -> bool:
    return (low is None or lower >= low) and (high is None or upper <= high)


def _fails(lower: float, upper: float, low: float | None, high: float | None) -> bool:
    return (low is not None and upper < low) or (high is not None and lower > high)


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


def passing_counts(
    n: int,
    confidence: float,
    low: float | None,
    high: float | None,
    *,
    grader: Grader | None = None,
    sequential: bool = False,
) -> tuple[int, int] | None:
    """The fewest and the most of `n` items that may be 1 for a rate to pass its limits; None when none do.

    Both bounds rise with the count, so each end is found by halving.  `grader` is whose grades the counts are, and
    `sequential` says that measuring could have stopped before all `n`.
    """

    def bounds(count: int) -> Bounds:
        def plain(level: float) -> Bounds:
            if sequential:
                return anytime_rate(np.repeat([1.0, 0.0], [count, n - count]), level)
            return Bounds(count / n, *rate_bounds(count, n, level))

        return plain(confidence) if grader is None else joined(plain, grader, confidence, sequential=sequential)

    lowest = _first(n, lambda k: low is None or bounds(k).low >= low)
    above = _first(n, lambda k: high is not None and bounds(k).high > high)
    return (lowest, above - 1) if lowest < above else None


def _first(n: int, holds: Callable[[int], bool]) -> int:
    """The first count of 0..n from which on `holds` is true; n + 1 when it never is."""
    below, top = -1, n + 1
    while top - below > 1:
        middle = (below + top) // 2
        below, top = (below, middle) if holds(middle) else (middle, top)
    return top


def rate_power(
    n: int, rate: float, confidence: float, low: float | None, high: float | None, *, grader: Grader | None = None
) -> float:
    """How likely `n` independent items of a model whose true rate is `rate` pass: a sum of binomial probabilities.

    A `grader` is taken to err exactly as often as it did on its labels.
    """
    return _chance(passing_counts(n, confidence, low, high, grader=grader), n, rate, grader)


def _chance(counts: tuple[int, int] | None, n: int, rate: float, grader: Grader | None) -> float:
    """How likely one of the passing `counts` is."""
    from scipy.special import bdtr

    if counts is None:
        return 0.0
    if grader is not None:
        rate = seen(rate, grader)
    below = float(bdtr(counts[0] - 1, n, rate)) if counts[0] else 0.0
    return float(bdtr(counts[1], n, rate)) - below


def passable_rate(
    n: int,
    power: float,
    confidence: float,
    low: float | None,
    high: float | None,
    *,
    grader: Grader | None = None,
    sequential: bool = False,
) -> float | None:
    """The true rate nearest to the limits that `n` items pass with probability `power`; None when there is none.

    With `sequential` it is the chance to pass at the last item; to pass before it comes on top.
    """
    counts = passing_counts(n, confidence, low, high, grader=grader, sequential=sequential)
    inside = 0.0 if low is None else 1.0 if high is None else (low + high) / 2
    if _chance(counts, n, inside, grader) < power:
        return None
    good, bad = inside, high if high is not None else low or 0.0
    for _ in range(40):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if _chance(counts, n, middle, grader) >= power else (good, middle)
    return good


def regression_power(n: int, margin: float, changed: float, confidence: float) -> float:
    """How likely a candidate passes that is truly no worse, when it answers a share `changed` of `n` items otherwise.

    The number of changed items is binomial, and half of them are losses; summed where it has weight.
    """
    from scipy.special import bdtr, ndtri
    from scipy.stats import binom

    spread = float(ndtri(1 - 1e-7)) * math.sqrt(n * changed * (1 - changed)) + 1
    centre = n * changed
    total = 0.0
    for discordant in range(max(0, math.floor(centre - spread)), min(n, math.ceil(centre + spread)) + 1):
        passing = _most_losses(discordant, n, margin, confidence)
        if passing >= 0:
            total += float(binom.pmf(discordant, n, changed)) * float(bdtr(passing, discordant, 0.5))
    return total


def _most_losses(discordant: int, n: int, margin: float, confidence: float) -> int:
    """The most losses among the changed items with which the regression rule passes; -1 when none do."""
    return _first(discordant, lambda k: drop_upper(k, discordant - k, n, confidence) > margin) - 1
