"""One metric in one line: the gate's own bounds, as a two-sided interval."""

from __future__ import annotations

import pytest

from pipeline.policy.statistics import rate_bounds
from pipeline.policy.summary import summarise
from tests.pipeline.policy.builders import rate, real


def test_each_side_is_a_one_sided_bound_at_half_the_risk() -> None:
    interval = summarise(rate(30, 100, invalid=2), 0.9)
    low, high, _ = rate_bounds(30, 100, 0.95)
    assert (interval.low, interval.high) == (low, high)
    assert (interval.estimate, interval.confidence, interval.samples, interval.invalid) == (0.3, 0.9, 100, 2)


def test_means_and_quantiles_lie_between_their_bounds() -> None:
    values = [float(place) for place in range(200)]
    for metric in (real(values), real(values, quantile=0.5)):
        interval = summarise(metric, 0.95)
        assert interval.low < interval.estimate < interval.high


def test_nothing_is_said_of_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarise(rate(0, 0), 0.95)
