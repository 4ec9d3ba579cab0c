"""Agreement, graders' errors and rates corrected for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.grading.agreement import GraderError, Proportion, agreement, corrected_rate, grader_error

PERFECT = GraderError(Proportion(10_000, 10_000), Proportion(10_000, 10_000))


def test_agreement_and_kappa_of_a_known_table() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    found = agreement(pairs)
    assert (found.equal, found.items, found.share) == (35, 50, 0.7)
    assert math.isclose(found.kappa, 0.4)  # chance is 0.5 x 0.6 + 0.5 x 0.4 = 0.5


def test_kappa_is_zero_for_a_grader_that_says_the_same_of_everything() -> None:
    assert agreement([("yes", "yes")] * 8 + [("no", "yes")] * 2).kappa == 0


def test_kappa_of_one_label_throughout_is_one() -> None:
    assert agreement([("yes", "yes")] * 3).kappa == 1


def test_agreement_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        agreement([])


def test_sensitivity_and_specificity() -> None:
    error = grader_error([(True, True)] * 8 + [(True, False)] * 2 + [(False, False)] * 9 + [(False, True)])
    assert (error.sensitivity, error.specificity) == (Proportion(8, 10), Proportion(9, 10))


@pytest.mark.parametrize(
    ("hits", "items", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (0, 0, 0.0, 1.0)],
)
def test_exact_intervals(hits: int, items: int, low: float, high: float) -> None:
    assert Proportion(hits, items).interval() == pytest.approx((low, high), abs=1e-4)


def test_the_share_of_nothing_is_no_number() -> None:
    assert math.isnan(Proportion(0, 0).share)


def test_a_perfect_grader_changes_nothing() -> None:
    found = corrected_rate(Proportion(30, 100), PERFECT)
    assert math.isclose(found.estimate, 0.3)
    assert found.low < 0.3 < found.high


def test_a_known_correction() -> None:
    error = GraderError(Proportion(90, 100), Proportion(80, 100))
    assert math.isclose(corrected_rate(Proportion(41, 100), error).estimate, (0.41 + 0.8 - 1) / (0.9 + 0.8 - 1))


def test_a_grader_that_was_tried_on_less_gives_a_wider_interval() -> None:
    wide = corrected_rate(Proportion(100, 400), GraderError(Proportion(18, 20), Proportion(18, 20)))
    narrow = corrected_rate(Proportion(100, 400), GraderError(Proportion(900, 1000), Proportion(900, 1000)))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize(
    "error",
    [
        GraderError(Proportion(5, 10), Proportion(5, 10)),
        GraderError(Proportion(1, 10), Proportion(2, 10)),
        GraderError(Proportion(0, 0), Proportion(9, 10)),
        GraderError(Proportion(9, 10), Proportion(0, 0)),
        GraderError(Proportion(1, 1), Proportion(1, 3)),
    ],
)
def test_a_grader_no_better_than_a_coin_tells_nothing(error: GraderError) -> None:
    found = corrected_rate(Proportion(30, 100), error)
    assert (found.low, found.high, found.informative) == (0.0, 1.0, False) or found.informative


def test_a_rate_of_nothing_cannot_be_corrected() -> None:
    with pytest.raises(ValueError, match="no items"):
        corrected_rate(Proportion(0, 0), PERFECT)


@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
)
def test_bounds_are_ordered_and_in_range(seen: tuple[int, int], se: tuple[int, int], sp: tuple[int, int]) -> None:
    found = corrected_rate(Proportion(*seen), GraderError(Proportion(*se), Proportion(*sp)))
    assert 0 <= found.low <= found.high <= 1
    assert 0 <= found.estimate <= 1


@pytest.mark.parametrize(
    ("rate", "sensitivity", "specificity"), [(0.05, 0.95, 0.95), (0.3, 0.9, 0.85), (0.6, 0.8, 0.95)]
)
def test_the_interval_holds_the_true_rate_as_often_as_it_says(
    rate: float, sensitivity: float, specificity: float
) -> None:
    random, held, repetitions = np.random.default_rng(11), 0, 2000
    for _ in range(repetitions):
        seen = random.binomial(300, rate * sensitivity + (1 - rate) * (1 - specificity))
        error = GraderError(
            Proportion(int(random.binomial(150, sensitivity)), 150),
            Proportion(int(random.binomial(150, specificity)), 150),
        )
        found = corrected_rate(Proportion(int(seen), 300), error)
        held += found.low <= rate <= found.high
    assert held / repetitions >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / repetitions)
