"""Bounds that stay valid when measurement stops as soon as a rule is settled.

A fixed-sample bound that is looked at after every item is wrong far more often than it says.  These are confidence
sequences: the chance that the truth is ever outside, at any of the looks, is at most one minus the confidence.

Method: betting (Waudby-Smith and Ramdas 2024, JRSS B 86).  To doubt that a mean is m, a gambler bets a share l of the
capital on every value: K = product of (1 + l (x - m)).  Were the mean m, K would exceed 1/a with a chance of at most a
(Ville 1939), whenever one stops.  The gambler here spreads the capital over a grid of constant bets, half of it on the
bet that is best when the truth is half or double the limit.  K depends on the values, not on their order.

Items of one cluster are one bet, and clusters must be taken whole: x - m becomes the sum of (x - m) over the cluster,
divided by the size of the largest one, so that the mean is that of the items however unequal the clusters are.

Means of values without known ends have no such bounds here: the asymptotic sequence (Waudby-Smith, Arbour, Sinha,
Kennedy and Ramdas 2024) lets a mean of rare large values pass falsely in 10 to 14 % of cases at a nominal 5 %
(simulated, first look at 50 items).  They are measured in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.policy.statistics import Bounds, Clusters, Values, groups_of

_BETS = 24  # constant bets in the grid
_EVERYTHING = 0.999  # of the largest bet that can never lose all
_HALVINGS = 40  # of an interval of at most 1


def capital(values: Values, mean: float, *, above: bool, clusters: Clusters | None = None) -> float:
    """The logarithm of the gambler's capital against "the mean of these values in [0, 1] is `mean`".

    `above` bets that it is larger, else that it is smaller.  Starts at 0 with no values.
    """
    return _capital(*_stakes(values, clusters), mean, above=above)


_Stakes = tuple[NDArray[np.float64], NDArray[np.intp]]
"""Sum and size of each different cluster over the size of the largest, and how many clusters are like it."""


def _stakes(values: Values, clusters: Clusters | None) -> _Stakes:
    if clusters is None or groups_of(clusters) == len(values):
        value, counts = np.unique(values, return_counts=True)
        return np.column_stack([value, np.ones_like(value)]), counts
    sizes = np.bincount(clusters)
    pairs = np.column_stack([np.bincount(clusters, weights=values), sizes]) / sizes.max()
    return np.unique(pairs, axis=0, return_counts=True)


def _capital(stakes: NDArray[np.float64], counts: NDArray[np.intp], mean: float, *, above: bool) -> float:
    largest = _EVERYTHING / (mean if above else 1 - mean)
    grid = np.linspace(0, largest, _BETS + 1)[1:]
    clear = min(largest, 1 / (1 - mean) if above else 1 / (2 * (1 - mean)))  # truth at double, or at half, of `mean`
    bets = np.append(grid, clear)
    weights = np.append(np.full(_BETS, 0.5 / _BETS), 0.5)
    rises = stakes[:, 0] - mean * stakes[:, 1]
    logs = counts @ np.log1p((rises if above else -rises)[:, None] * bets)
    top = float(logs.max())
    return top + math.log(float(weights @ np.exp(logs - top)))


def anytime_mean(
    values: Values, confidence: float, low: float = 0.0, high: float = 1.0, clusters: Clusters | None = None
) -> Bounds:
    """The mean of values within [low, high], with bounds that hold at every moment of stopping.

    The high bound is the smallest mean above the estimate against which betting on less has won 1 / (1 - confidence).
    """
    scaled = (values - low) / (high - low)
    estimate = float(scaled.mean())
    won = -math.log1p(-confidence)
    stakes, counts = _stakes(scaled, clusters)
    upper = _edge(estimate, 1.0, lambda mean: _capital(stakes, counts, mean, above=False) >= won)
    lower = _edge(estimate, 0.0, lambda mean: _capital(stakes, counts, mean, above=True) >= won)
    width = high - low
    return Bounds(low + width * estimate, low + width * lower, low + width * upper, "betting confidence sequence")


def _edge(inside: float, outside: float, doubted: Callable[[float], bool]) -> float:
    """Where doubt begins on the way from the estimate to the end of the range; the end itself where it never does."""
    margin = 1e-9
    inner, outer = inside, outside + (margin if outside < inside else -margin)
    if abs(outer - inner) <= margin or not doubted(outer):
        return outside
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        inner, outer = (inner, middle) if doubted(middle) else (middle, outer)
    return outer


def anytime_rate(values: Values, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """As `anytime_mean` for zeros and ones."""
    return anytime_mean(values, confidence, clusters=clusters)


def anytime_quantile(values: Values, quantile: float, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The `quantile` of values: the order statistics at which the share below is decided by betting."""
    n, ordered = len(values), np.sort(values)
    won = -math.log1p(-confidence)

    def decided(below: int, *, above: bool) -> bool:
        """Whether the share of values among the `below` smallest is proved to be more, or less, than the quantile."""
        at_most = values <= ordered[below - 1] if above else values < ordered[below]
        return capital(at_most.astype(np.float64), quantile, above=above, clusters=clusters) >= won

    high = next((rank for rank in range(math.ceil(quantile * n), n + 1) if decided(rank, above=True)), None)
    low = next((rank for rank in range(math.floor(quantile * n), 0, -1) if decided(rank - 1, above=False)), None)
    return Bounds(
        float(ordered[max(0, math.ceil(quantile * n) - 1)]),
        -math.inf if low is None else float(ordered[low - 1]),
        math.inf if high is None else float(ordered[high - 1]),
        "order statistics, betting confidence sequence",
    )


def unbounded(values: Values) -> Bounds:
    """The bounds of what was not measured to its planned end and cannot be bounded before: none."""
    return Bounds(float(values.mean()), -math.inf, math.inf, "no bounds: it was not measured to its planned end")
