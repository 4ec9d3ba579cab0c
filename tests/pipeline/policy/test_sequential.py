"""Stopping early: never more false passes than promised however often one looks, and far fewer items in clear cases."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from checks.sampling import sizes
from pipeline.policy.sequential import anytime_mean, anytime_quantile, anytime_rate, capital

CONFIDENCE = 0.95
WON = math.log(20)
REPETITIONS = 2000
ALLOWED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@cache
def _wins(ones: int, n: int, limit_: float, above: bool) -> bool:
    return capital(np.repeat([1.0, 0.0], [ones, n - ones]), limit_, above=above) >= WON


def looks(n: int) -> list[int]:
    """After how many items the checks look, with a sample of `n`."""
    return [int(look) for look in np.cumsum(list(sizes(n)))]


def every(n: int) -> list[int]:
    """Every item at first, then every twentieth: more often than any check looks."""
    return [*range(1, 40), *range(40, n + 1, 20)]


@pytest.mark.parametrize("truth", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("above", [False, True])
def test_false_passes_under_optional_stopping(truth: float, above: bool) -> None:
    """The truth lies on the limit, and measuring stops at the first look that would settle the rule."""
    counts = np.cumsum(np.random.default_rng(5).random((REPETITIONS, 500)) < truth, axis=1)
    stopped = sum(any(_wins(int(row[at - 1]), at, truth, above) for at in every(500)) for row in counts)
    assert stopped / REPETITIONS <= ALLOWED


@pytest.mark.parametrize("n", [50, 200, 1000, 5000])
@pytest.mark.parametrize(("truth", "above"), [(0.02, False), (0.1, False), (0.5, True), (0.9, True)])
def test_false_passes_at_the_looks_of_the_checks(n: int, truth: float, above: bool) -> None:
    counts = np.cumsum(np.random.default_rng(n).random((REPETITIONS, n), dtype=np.float32) < truth, axis=1)
    stopped = sum(any(_wins(int(row[at - 1]), at, truth, above) for at in looks(n)) for row in counts)
    assert stopped / REPETITIONS <= ALLOWED


@pytest.mark.parametrize("icc", [0.1, 0.3])
@pytest.mark.parametrize("unequal", [False, True])
def test_false_passes_with_clusters_taken_whole(icc: float, unequal: bool) -> None:
    """Clusters have rates of their own, beta distributed; unequal ones are worse the larger they are."""
    truth, groups, random = 0.2, 60, np.random.default_rng(11)
    wrong = 0
    for _ in range(REPETITIONS):
        sizes_ = random.choice([2, 10], groups) if unequal else np.full(groups, 6)
        # the mean over items is the truth: large clusters lie above it, small ones below
        means = np.where(sizes_ == 10, truth * 1.1, truth * 0.5) if unequal else np.full(groups, truth)
        rates = random.beta(means * (1 / icc - 1), (1 - means) * (1 / icc - 1))
        clusters = np.repeat(np.arange(groups), sizes_)
        values = (random.random(len(clusters)) < rates[clusters]).astype(np.float64)
        ends_ = np.cumsum(sizes_)
        wrong += any(
            capital(values[: ends_[g - 1]], truth, above=False, clusters=clusters[: ends_[g - 1]]) >= WON
            for g in range(4, groups + 1, 4)
        )
    assert wrong / REPETITIONS <= ALLOWED


@pytest.mark.parametrize(
    ("limit_", "truth", "n"),
    [(0.5, 0.25, 202), (0.2, 0.1, 1000), (0.2, 0.4, 500), (0.1, 0.05, 1500), (0.1, 0.2, 1000)],
)
def test_clear_cases_need_a_quarter_of_the_items(limit_: float, truth: float, n: int) -> None:
    """The truth is half or double the limit; the full set has `n` items, and looks are those of the checks.

    Before 32 items it is not known that few enough answers are invalid, so nothing is settled.
    """
    repetitions = 400
    counts = np.cumsum(np.random.default_rng(8).random((repetitions, n)) < truth, axis=1)
    late = [at for at in looks(n) if at >= 32]
    taken = [next((at for at in late if _wins(int(row[at - 1]), at, limit_, truth > limit_)), n) for row in counts]
    assert np.mean(taken) <= 0.25 * n


def test_bounds_hold_the_estimate_and_widen_with_confidence() -> None:
    values = np.repeat([1.0, 0.0], [30, 170])
    narrow, wide = anytime_rate(values, 0.9), anytime_rate(values, 0.99)
    assert wide.low < narrow.low < 0.15 < narrow.high < wide.high
    clustered = anytime_rate(values, 0.9, np.arange(200) // 20)
    assert clustered.low < narrow.low
    assert clustered.high > narrow.high


def test_large_clusters_count_by_their_items() -> None:
    """One template of 100 items that all fail does not hide behind fifty that pass with one each."""
    values, clusters = np.repeat([1.0, 0.0], [100, 50]), np.concatenate([np.zeros(100, int), np.arange(1, 51)])
    assert anytime_rate(values, 0.95, clusters).estimate == pytest.approx(2 / 3)
    assert anytime_rate(values, 0.95, clusters).high > 0.5


def test_nothing_but_ones_or_zeros_leaves_the_far_side_open() -> None:
    assert anytime_rate(np.ones(50), CONFIDENCE).high == 1.0
    assert anytime_rate(np.zeros(50), CONFIDENCE).low == 0.0
    assert anytime_rate(np.ones(1), CONFIDENCE).low < 0.2


@pytest.mark.parametrize("n", [30, 200])
def test_means_within_known_ends_are_covered(n: int) -> None:
    random = np.random.default_rng(n)
    missed = [0, 0]
    for _ in range(REPETITIONS):
        drops = random.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.75, 0.15])
        missed[0] += capital((drops + 1) / 2, 0.525, above=False) >= WON  # the bound is then below the true 0.05
        missed[1] += capital(random.beta(0.5, 2.0, n), 0.2, above=False) >= WON
    assert max(missed) / REPETITIONS <= 0.05


@pytest.mark.parametrize("n", [100, 500, 2000])
@pytest.mark.parametrize(("margin", "changed"), [(0.0, 0.1), (0.05, 0.1), (0.05, 0.3)])
def test_a_regression_on_the_margin_passes_no_more_often_than_promised(n: int, margin: float, changed: float) -> None:
    """Drops of paired zeros and ones whose mean is the margin, looked at as the checks look."""
    random = np.random.default_rng(n)
    chances = [(changed - margin) / 2, 1 - changed, (changed + margin) / 2]
    drops = random.choice([-1.0, 0.0, 1.0], (REPETITIONS, n), p=chances)
    gains, losses = np.cumsum(drops < 0, axis=1), np.cumsum(drops > 0, axis=1)
    passed = sum(
        any(_stays_below(int(won[at - 1]), int(lost[at - 1]), at, margin) for at in looks(n))
        for won, lost in zip(gains, losses, strict=True)
    )
    assert passed / REPETITIONS <= ALLOWED


@cache
def _stays_below(gains: int, losses: int, n: int, margin: float) -> bool:
    column = np.repeat([-1.0, 0.0, 1.0], [gains, n - gains - losses, losses])
    return capital((column + 1) / 2, (margin + 1) / 2, above=False) >= WON


def test_a_bound_is_where_the_gambler_has_won_enough() -> None:
    values = np.random.default_rng(3).beta(0.5, 2.0, 100)
    bounds = anytime_mean(values, CONFIDENCE)
    assert capital(values, bounds.high + 1e-6, above=False) >= WON > capital(values, bounds.high - 1e-6, above=False)
    assert capital(values, bounds.low - 1e-6, above=True) >= WON > capital(values, bounds.low + 1e-6, above=True)
    shifted = anytime_mean(2 * values - 1, CONFIDENCE, -1.0, 1.0)
    assert shifted.high == pytest.approx(2 * bounds.high - 1)


def test_quantiles_lie_between_order_statistics() -> None:
    values = np.arange(1, 401).astype(np.float64)
    bounds = anytime_quantile(values, 0.5, CONFIDENCE)
    assert 150 < bounds.low < 200 < bounds.high < 250
    assert anytime_quantile(values[:20], 0.95, CONFIDENCE).high == math.inf
    clustered = anytime_quantile(values, 0.5, CONFIDENCE, np.arange(400) // 20)
    assert clustered.low < bounds.low
    assert clustered.high > bounds.high
