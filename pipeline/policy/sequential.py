"""Bounds that stay valid when measurement stops as soon as a rule is settled.

A fixed-sample bound that is looked at after every item is wrong far more often than it says.  These are confidence
sequences: the chance that the truth is ever outside, at any of the looks, is at most one minus the confidence.

Method: betting (Waudby-Smith and Ramdas 2024, JRSS B 86).  To doubt that a mean is m, a gambler bets a share l of the
capital on every value: K = product of (1 + l (x - m)).  Were the mean m, K would exceed 1/a with a chance of at most a
(Ville 1939), whenever one stops.  The gambler here spreads the capital over a grid of constant bets, half of it on the
bet that is best when the truth is half or double the limit.  K depends on the values, not on their order.

Means without bounds of their values use the asymptotic sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
2024 (Annals of Statistics 52); it needs some dozens of items to hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.policy.statistics import Bounds, Clusters, Values, groups_of

_BETS = 24  # constant bets in the grid
_EVERYTHING = 0.999  # of the largest bet that can never lose all
_HALVINGS = 50


@dataclass(frozen=True)
class Limits:
    """The limits that rules set on one metric: it is settled when every one of them has passed or failed."""

    pairs: tuple[tuple[float | None, float | None], ...]
    confidence: float

    def settled(self, bounds: Bounds) -> bool:
        """Whether `bounds` decide every limit."""
        return all(_decides(bounds, low, high) for low, high in self.pairs)


def _decides(bounds: Bounds, low: float | None, high: float | None) -> bool:
    passes = (low is None or bounds.low >= low) and (high is None or bounds.high <= high)
    return passes or (low is not None and bounds.high < low) or (high is not None and bounds.low > high)


def capital(values: Values, mean: float, *, above: bool) -> float:
    """The logarithm of the gambler's capital against "the mean of these values in [0, 1] is `mean`".

    `above` bets that it is larger, else that it is smaller.  Starts at 0 with no values.
    """
    value, counts = np.unique(values, return_counts=True)
    largest = _EVERYTHING / (mean if above else 1 - mean)
    grid = np.linspace(0, largest, _BETS + 1)[1:]
    clear = min(largest, 1 / (1 - mean) if above else 1 / (2 * (1 - mean)))  # truth at double, or at half, of `mean`
    bets = np.append(grid, clear)
    weights = np.append(np.full(_BETS, 0.5 / _BETS), 0.5)
    gains = value[:, None] - mean if above else mean - value[:, None]
    logs = counts @ np.log1p(gains * bets)
    top = float(logs.max())
    return top + math.log(float(weights @ np.exp(logs - top)))


def anytime_mean(values: Values, confidence: float, low: float = 0.0, high: float = 1.0) -> Bounds:
    """The mean of values within [low, high], with bounds that hold at every moment of stopping.

    The high bound is the smallest mean above the estimate against which betting on less has won 1 / (1 - confidence).
    """
    scaled = (values - low) / (high - low)
    estimate = float(scaled.mean())
    won = -math.log1p(-confidence)
    upper = _edge(estimate, 1.0, lambda mean: capital(scaled, mean, above=False) >= won)
    lower = _edge(estimate, 0.0, lambda mean: capital(scaled, mean, above=True) >= won)
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
    """As `anytime_mean` for zeros and ones; with clusters the mean of the clusters' shares, each counting once."""
    if clusters is None or groups_of(clusters) == len(values):
        return anytime_mean(values, confidence)
    shares = np.bincount(clusters, weights=values) / np.bincount(clusters)
    return anytime_mean(shares.astype(np.float64), confidence)


def anytime_quantile(values: Values, quantile: float, confidence: float) -> Bounds:
    """The `quantile` of values: the order statistics at which the share below is decided by betting."""
    n, ordered = len(values), np.sort(values)
    won = -math.log1p(-confidence)

    def decided(below: int, *, above: bool) -> bool:
        column = np.repeat([1.0, 0.0], [below, n - below])
        return capital(column, quantile, above=above) >= won

    high = next((rank for rank in range(math.ceil(quantile * n), n + 1) if decided(rank, above=True)), None)
    low = next((rank for rank in range(math.floor(quantile * n), 0, -1) if decided(rank - 1, above=False)), None)
    return Bounds(
        float(ordered[max(0, math.ceil(quantile * n) - 1)]),
        -math.inf if low is None else float(ordered[low - 1]),
        math.inf if high is None else float(ordered[high - 1]),
        "order statistics, betting confidence sequence",
    )


def anytime_real_mean(values: Values, confidence: float, horizon: int = 200) -> Bounds:
    """The mean of unbounded values: estimate -/+ s sqrt(2 (n r^2 + 1) / (n^2 r^2) log(1 + sqrt(n r^2 + 1) / (2 a))).

    s is the standard deviation, a = 1 - confidence, and r^2 = -2 log(2a) + log(1 - 2 log(2a)) over `horizon`, which
    makes it narrowest at that many items.
    """
    n, alpha = len(values), 1 - confidence
    estimate = float(values.mean())
    if n < 2:
        return Bounds(estimate, -math.inf, math.inf, "no bounds: there is but one item")
    r2 = (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha))) / horizon
    spread = n * r2 + 1
    half = float(values.std(ddof=1)) * math.sqrt(
        2 * spread / (n * n * r2) * math.log1p(math.sqrt(spread) / (2 * alpha))
    )
    return Bounds(estimate, estimate - half, estimate + half, "asymptotic confidence sequence")


def anytime_drop(drops: Values, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The mean of paired drops: betting on values within [-1, 1], the asymptotic sequence for others."""
    units = drops
    if clusters is not None and groups_of(clusters) < len(drops):
        units = (np.bincount(clusters, weights=drops) / np.bincount(clusters)).astype(np.float64)
    if len(units) and float(np.abs(units).max()) <= 1.0:
        return anytime_mean(units, confidence, -1.0, 1.0)
    return anytime_real_mean(units, confidence)


def items_until_settled(values: Sequence[float], limits: Limits, step: int = 1, least: int = 1) -> int:
    """After how many of a rate's values, in the order measured, every rule is settled; all of them where none is.

    `step` is how many items are measured between two looks, `least` how many are measured before the first.
    """
    column = np.asarray(values, dtype=np.float64)
    for taken in range(max(least, step), len(column), step):
        if limits.settled(anytime_rate(column[:taken], limits.confidence)):
            return taken
    return len(column)
