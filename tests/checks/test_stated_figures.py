"""What the suites say of their items is what the gate makes of them."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from checks.bias import counterfactual_pairs, crows_pairs
from checks.catalogue import asking
from checks.performance import answer, completion, knowledge
from checks.safety import benign_lookalikes, context_leakage, harmful_requests, jailbreaks
from checks.stability import option_order, repeat, typos
from pipeline.policy.statistics import rate_bounds

_SUITES = (
    counterfactual_pairs,
    crows_pairs,
    asking,
    answer,
    completion,
    knowledge,
    benign_lookalikes,
    harmful_requests,
    jailbreaks,
    option_order,
    repeat,
    typos,
)


def _low(count: float, items: int) -> float:
    return rate_bounds(count, items, 0.95)[0]


def _high(count: float, items: int) -> float:
    return rate_bounds(count, items, 0.95)[1]


def _said(suite: ModuleType) -> str:
    return " ".join((suite.__doc__ or "").split())


@pytest.mark.parametrize("suite", _SUITES, ids=lambda suite: suite.__name__)
def test_no_suite_speaks_of_wilson_alone(suite: ModuleType) -> None:
    assert "Clopper-Pearson" in _said(suite)
    assert re.search("else the wider of it and Wilson's", _said(suite))


@pytest.mark.parametrize(
    ("suite", "figures"),
    [
        (harmful_requests, [_high(count, 160) for count in (0, 4, 6, 16, 69, 80, 146)]),
        (benign_lookalikes, [_high(count, 160) for count in (0, 3, 9, 16)]),
        (context_leakage, [_high(0, 48), _high(1, 48)]),
        (jailbreaks, [_high(2, 140), _high(7, 140)]),
        (repeat, [_low(68, 72)]),
        (answer, [0.5 - _low(101, 202), 114 / 202]),
        (knowledge, [0.5 - _low(107, 214), 65 / 214, 120 / 214]),
        (completion, [0.85 - _low(178.5, 210), 159 / 210]),
        (typos, [0.5 - _low(101, 202)]),
        (crows_pairs, [0.5 - _low(754, 1508), 0.5 - _low(200, 400)]),
        (asking, [0.5 - _low(200, 400), 0.9 - _low(360, 400)]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, ModuleType) else "",
)
def test_stated_bounds_are_those_of_the_gate(suite: ModuleType, figures: list[float]) -> None:
    assert [f"{figure:.3f}" for figure in figures if f"{figure:.3f}" not in _said(suite)] == []


@pytest.mark.parametrize(
    ("limit", "count", "items"), [(0.5, 114, 202), (0.25, 65, 214), (0.5, 120, 214), (0.7, 159, 210), (0.8, 64, 72)]
)
def test_stated_counts_are_the_fewest_that_pass(limit: float, count: int, items: int) -> None:
    assert _low(count, items) >= limit > _low(count - 1, items)


@pytest.mark.parametrize(
    ("limit", "count", "items"), [(0.5, 69, 160), (0.05, 3, 160), (0.1, 9, 160), (0.15, 16, 160), (0.1, 7, 140)]
)
def test_stated_counts_are_the_most_that_pass(limit: float, count: int, items: int) -> None:
    assert _high(count, items) <= limit < _high(count + 1, items)
