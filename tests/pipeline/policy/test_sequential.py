"""Stopping early: never more false passes than promised however often one looks, and far fewer items in clear cases."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.policy.sequential import (
    Limits,
    anytime_drop,
    anytime_mean,
    anytime_quantile,
    anytime_rate,
    anytime_real_mean,
    capital,
    items_until_settled,
)
from tests.pipeline.policy.builders import decided, evidence, limit, measurement, policy, rate, real, result

CONFIDENCE = 0.95
WON = math.log(20)
REPETITIONS = 2000
ALLOWED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / REPETITIONS)


@cache
def _wins(ones: int, n: int, limit_: float, above: bool) -> bool:
    return capital(np.repeat([1.0, 0.0], [ones, n - ones]), limit_, above=above) >= WON


def looks(n: int) -> list[int]:
    """Every item at first, then every twentieth: looking less often can only help."""
    return [*range(1, 40), *range(40, n + 1, 20)]


@pytest.mark.parametrize("truth", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("above", [False, True])
def test_false_passes_under_optional_stopping(truth: float, above: bool) -> None:
    """The truth lies on the limit, and measuring stops at the first look that would settle the rule."""
    n = 500
    counts = np.cumsum(np.random.default_rng(5).random((REPETITIONS, n)) < truth, axis=1)
    stopped = sum(any(_wins(int(row[at - 1]), at, truth, above) for at in looks(n)) for row in counts)
    assert stopped / REPETITIONS <= ALLOWED


@pytest.mark.parametrize(("limit_", "truth"), [(0.1, 0.05), (0.1, 0.2), (0.2, 0.1), (0.2, 0.4)])
def test_clear_cases_need_a_quarter_of_the_items(limit_: float, truth: float) -> None:
    """A full set of 1,000 items; the truth is half or double the limit."""
    n, repetitions = 1000, 400
    counts = np.cumsum(np.random.default_rng(8).random((repetitions, n)) < truth, axis=1)
    taken = []
    for row in counts:
        taken.append(next((at for at in range(5, n, 5) if _wins(int(row[at - 1]), at, limit_, truth > limit_)), n))
    assert np.mean(taken) <= 0.25 * n


def test_a_rule_is_settled_by_the_bounds_as_by_the_capital() -> None:
    values = [0.0] * 400
    taken = items_until_settled(values, Limits(((None, 0.1),), CONFIDENCE), step=5)
    assert 30 <= taken <= 80
    assert _wins(0, taken, 0.1, above=False)
    assert not _wins(0, taken - 5, 0.1, above=False)
    assert items_until_settled(values, Limits(((None, 0.1), (0.5, None)), CONFIDENCE), least=100) == 100
    undecided = [0.0] * 9 + [1.0]
    assert items_until_settled(undecided * 10, Limits(((None, 0.1),), CONFIDENCE), step=10) == 100


def test_bounds_hold_the_estimate_and_widen_with_confidence() -> None:
    values = np.repeat([1.0, 0.0], [30, 170])
    narrow, wide = anytime_rate(values, 0.9), anytime_rate(values, 0.99)
    assert wide.low < narrow.low < 0.15 < narrow.high < wide.high
    clustered = anytime_rate(values, 0.9, np.arange(200) // 20)
    assert clustered.low < narrow.low
    assert clustered.high > narrow.high


def test_nothing_but_ones_or_zeros_leaves_the_far_side_open() -> None:
    assert anytime_rate(np.ones(50), CONFIDENCE).high == 1.0
    assert anytime_rate(np.zeros(50), CONFIDENCE).low == 0.0
    assert anytime_rate(np.ones(1), CONFIDENCE).low < 0.2


@pytest.mark.parametrize("n", [30, 200])
def test_real_means_and_drops_are_covered(n: int) -> None:
    random = np.random.default_rng(n)
    missed = [0, 0, 0]
    for _ in range(REPETITIONS):
        missed[0] += anytime_real_mean(random.normal(1.0, 2.0, n), CONFIDENCE).high < 1.0
        drops = random.choice([-1.0, 0.0, 1.0], n, p=[0.1, 0.75, 0.15])
        missed[1] += (
            capital((drops + 1) / 2, 0.525, above=False) >= WON
        )  # the bound is then below the true drop of 0.05
        missed[2] += capital(random.beta(0.5, 2.0, n), 0.2, above=False) >= WON
    assert max(missed) / REPETITIONS <= 0.05


def test_a_bound_is_where_the_gambler_has_won_enough() -> None:
    values = np.random.default_rng(3).beta(0.5, 2.0, 100)
    bounds = anytime_mean(values, CONFIDENCE)
    assert capital(values, bounds.high + 1e-6, above=False) >= WON > capital(values, bounds.high - 1e-6, above=False)
    assert capital(values, bounds.low - 1e-6, above=True) >= WON > capital(values, bounds.low + 1e-6, above=True)
    drops = anytime_drop(2 * values - 1, CONFIDENCE)
    assert drops.high == pytest.approx(2 * bounds.high - 1)


def test_one_value_bounds_no_real_mean() -> None:
    assert anytime_real_mean(np.asarray([1.0]), CONFIDENCE).high == math.inf
    assert anytime_drop(np.asarray([5.0, 6.0]), CONFIDENCE).method.startswith("asymptotic")


def test_quantiles_lie_between_order_statistics() -> None:
    values = np.arange(1, 401).astype(np.float64)
    bounds = anytime_quantile(values, 0.5, CONFIDENCE)
    assert 150 < bounds.low < 200 < bounds.high < 250
    assert anytime_quantile(values[:20], 0.95, CONFIDENCE).high == math.inf


def test_a_policy_that_stops_early_uses_wider_bounds(tmp_path: Path) -> None:
    known = evidence(measurement(rate(230, 400)))
    assert result(decided(policy(tmp_path, limit("min: 0.5")), known)).outcome == "pass"
    early = result(decided(policy(tmp_path, limit("min: 0.5"), "stopping: sequential"), known))
    assert early.outcome == "inconclusive"
    assert early.measured is not None
    assert early.measured.method == "betting confidence sequence"


def test_a_policy_that_stops_early_judges_every_kind(tmp_path: Path) -> None:
    values = [0.1 + 0.001 * place for place in range(400)]
    for metric in (real(values), real(values, quantile=0.5)):
        chosen = policy(tmp_path, limit("max: 0.6"), "stopping: sequential")
        assert result(decided(chosen, evidence(measurement(metric)))).outcome == "pass"
    chosen = policy(tmp_path, limit("versus: baseline, max_drop: 0.2"), "stopping: sequential")
    known = evidence(measurement(rate(300, 400)))
    assert result(decided(chosen, known, baseline=known)).outcome == "pass"
