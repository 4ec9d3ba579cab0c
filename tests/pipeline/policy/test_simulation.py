"""The statistics, proved by simulation: how often does the gate pass a model that breaks its limit by nothing at all?

Every case puts the true value exactly on the limit, where a false pass is likeliest, draws at least 2,000 data sets and
allows the nominal 5 % plus three standard errors of the simulation itself.  The seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from pipeline.policy.paired import bounded_drop, drop_upper
from pipeline.policy.power import passing_counts, rate_power, regression_power
from pipeline.policy.statistics import (
    Clusters,
    Values,
    bounded_mean,
    bounded_quantile,
    bounded_rate,
)

ALPHA = 0.05
CONFIDENCE = 1 - ALPHA
REPETITIONS = 2000
ALLOWED = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / REPETITIONS)  # 0.0646


def clusters_of(n: int, size: int) -> Clusters:
    return np.arange(n, dtype=np.intp) // size


def clustered_rates(random: np.random.Generator, p: float, groups: int, icc: float) -> Values:
    """Each cluster's own rate: beta with mean p and intra-class correlation `icc`."""
    if icc == 0:
        return np.full(groups, p)
    total = 1 / icc - 1
    return random.beta(p * total, (1 - p) * total, size=groups)


def share(passes: Callable[[np.random.Generator], bool], seed: int) -> float:
    random = np.random.default_rng(seed)
    return sum(passes(random) for _ in range(REPETITIONS)) / REPETITIONS


@pytest.mark.parametrize("n", [50, 100, 200, 500, 1000, 5000])
@pytest.mark.parametrize("p", [0.02, 0.05, 0.1, 0.25, 0.5, 0.8, 0.95])
def test_false_passes_of_rates(n: int, p: float) -> None:
    counts = np.random.default_rng(n).binomial(n, p, size=20 * REPETITIONS)
    for limits in ((None, p), (p, None)):
        passing = passing_counts(n, CONFIDENCE, *limits)
        if passing is not None:
            assert np.mean((counts >= passing[0]) & (counts <= passing[1])) <= ALLOWED


@pytest.mark.parametrize("icc", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("n", "size"), [(50, 5), (200, 20), (1000, 50), (5000, 20)])
@pytest.mark.parametrize("p", [0.05, 0.5])
def test_false_passes_of_clustered_rates(icc: float, n: int, size: int, p: float) -> None:
    clusters = clusters_of(n, size)
    counts = {"max": 0, "min": 0}
    random = np.random.default_rng(n + int(100 * icc))
    for _ in range(REPETITIONS):
        own = clustered_rates(random, p, n // size, icc)
        bounds = bounded_rate((random.random(n) < own[clusters]).astype(np.float64), CONFIDENCE, clusters)
        counts["max"] += bounds.high <= p
        counts["min"] += bounds.low >= p
    assert max(counts.values()) / REPETITIONS <= ALLOWED


@pytest.mark.parametrize("n", [50, 300, 2000])
def test_false_passes_of_means(n: int) -> None:
    def low(random: np.random.Generator) -> bool:  # skewed to the right: the low side of the mean is the hard one
        return bounded_mean(random.exponential(1.0, n), CONFIDENCE).high <= 1.0

    def high(random: np.random.Generator) -> bool:
        return bounded_mean(random.normal(1.0, 2.0, n), CONFIDENCE).low >= 1.0

    assert share(low, n) <= ALLOWED
    assert share(high, n) <= ALLOWED


@pytest.mark.parametrize(("n", "size", "icc"), [(50, 5, 0.3), (400, 8, 0.1), (5000, 50, 0.3)])
def test_false_passes_of_clustered_means(n: int, size: int, icc: float) -> None:
    clusters = clusters_of(n, size)

    def passes(random: np.random.Generator) -> bool:
        shared = random.normal(0, math.sqrt(icc), n // size)[clusters]
        return bounded_mean(shared + random.normal(0, math.sqrt(1 - icc), n), CONFIDENCE, clusters).high <= 0.0

    assert share(passes, n) <= ALLOWED


@pytest.mark.parametrize("n", [50, 200, 1000])
@pytest.mark.parametrize("quantile", [0.5, 0.95])
def test_false_passes_of_quantiles(n: int, quantile: float) -> None:
    truth = -math.log(1 - quantile)

    def passes(random: np.random.Generator) -> bool:
        return bounded_quantile(random.exponential(1.0, n), quantile, CONFIDENCE).high <= truth

    assert share(passes, n) <= ALLOWED


@pytest.mark.parametrize("icc", [0.1, 0.3])
def test_false_passes_of_clustered_quantiles(icc: float) -> None:
    n, size = 600, 10
    clusters = clusters_of(n, size)
    truth = 1.6448536269514722  # the 95th percentile of a normal value with variance one

    def passes(random: np.random.Generator) -> bool:
        shared = random.normal(0, math.sqrt(icc), n // size)[clusters]
        values = shared + random.normal(0, math.sqrt(1 - icc), n)
        return bounded_quantile(values, 0.95, CONFIDENCE, clusters).high <= truth

    assert share(passes, 7) <= ALLOWED


@pytest.mark.parametrize("n", [50, 200, 1000, 5000])
@pytest.mark.parametrize(("margin", "gains"), [(0.02, 0.0), (0.02, 0.05), (0.06, 0.01), (0.06, 0.1), (0.1, 0.2)])
def test_false_passes_of_paired_rates(n: int, margin: float, gains: float) -> None:
    @cache
    def passes(losses: int, wins: int) -> bool:
        return (losses - wins) / n < margin and drop_upper(losses, wins, n, CONFIDENCE) <= margin

    drawn = np.random.default_rng(n).multinomial(n, [margin + gains, gains, 1 - margin - 2 * gains], size=REPETITIONS)
    assert sum(passes(int(losses), int(wins)) for losses, wins, _ in drawn) / REPETITIONS <= ALLOWED


@pytest.mark.parametrize("icc", [0.0, 0.1, 0.3])
@pytest.mark.parametrize(("n", "size"), [(50, 5), (400, 8), (5000, 50)])
def test_false_passes_of_clustered_paired_rates(icc: float, n: int, size: int) -> None:
    margin, gains = 0.05, 0.05
    clusters = clusters_of(n, size)

    def passes(random: np.random.Generator) -> bool:
        own = clustered_rates(random, margin + gains, n // size, icc)[clusters]
        drops = (random.random(n) < own).astype(np.float64)
        drops[(drops == 0) & (random.random(n) < gains / (1 - margin - gains))] = -1.0
        return bounded_drop(drops, CONFIDENCE, clusters).high <= margin

    assert share(passes, n) <= ALLOWED


@pytest.mark.parametrize("n", [50, 300])
def test_false_passes_of_paired_scores(n: int) -> None:
    def passes(random: np.random.Generator) -> bool:
        return bounded_drop(0.1 + random.exponential(0.5, n) - 0.5, CONFIDENCE).high <= 0.1

    assert share(passes, n) <= ALLOWED


@pytest.mark.parametrize(
    ("n", "rate", "low", "high"), [(160, 0.046, None, 0.1), (214, 0.433, 0.35, None), (294, 0.579, 0.35, 0.65)]
)
def test_the_linter_promises_the_power_that_there_is(
    n: int, rate: float, low: float | None, high: float | None
) -> None:
    random = np.random.default_rng(n)
    passed = 0
    for ones in random.binomial(n, rate, size=REPETITIONS):
        bounds = bounded_rate(np.repeat([1.0, 0.0], [ones, n - ones]), CONFIDENCE)
        passed += (low is None or bounds.low >= low) and (high is None or bounds.high <= high)
    assert passed / REPETITIONS == pytest.approx(rate_power(n, rate, CONFIDENCE, low, high), abs=0.03)


@pytest.mark.parametrize(("n", "margin"), [(214, 0.06), (400, 0.05), (1200, 0.02)])
def test_equal_models_are_promoted_as_often_as_the_linter_promises(n: int, margin: float) -> None:
    random = np.random.default_rng(n)
    passed = 0
    for losses, gains, _ in random.multinomial(n, [0.05, 0.05, 0.9], size=REPETITIONS):
        drops = np.repeat([1.0, -1.0, 0.0], [losses, gains, n - losses - gains])
        passed += bounded_drop(drops, CONFIDENCE).high <= margin
    assert passed / REPETITIONS == pytest.approx(regression_power(n, margin, 0.1, CONFIDENCE), abs=0.03)


def test_at_the_published_size_equal_models_pass_and_six_points_less_do_not() -> None:
    """1,200 items and a margin of 3 points: an equal model passes in over 90 % of runs, one 6 points worse in none."""
    n, margin = 1200, 0.03
    random = np.random.default_rng(6)
    equal = random.multinomial(n, [0.05, 0.05, 0.9], size=REPETITIONS)
    worse = random.multinomial(n, [0.11, 0.05, 0.84], size=REPETITIONS)
    promoted = [
        np.mean([drop_upper(int(losses), int(gains), n, CONFIDENCE) <= margin for losses, gains, _ in drawn])
        for drawn in (equal, worse)
    ]
    assert promoted[0] > 0.9
    assert promoted[1] < 0.001
