"""Samples are seeded, proportional, nested and indifferent to order."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.sampling import stratified

_Item = tuple[str, str]


def _draw(items: list[_Item], size: int, seed: int = 0) -> list[_Item]:
    return stratified(items, size, seed, identity=lambda item: item[0], stratum=lambda item: item[1])


@st.composite
def _sets(draw: st.DrawFn) -> list[_Item]:
    strata = draw(st.lists(st.sampled_from("abcde"), min_size=1, max_size=80))
    return [(f"item-{number}", stratum) for number, stratum in enumerate(strata)]


@given(_sets(), st.integers(1, 90), st.integers(0, 5))
def test_shares_are_proportional_to_less_than_one_item(items: list[_Item], size: int, seed: int) -> None:
    drawn = _draw(items, size, seed)
    assert len(drawn) == min(size, len(items)) == len(set(drawn))
    whole, part = Counter(stratum for _, stratum in items), Counter(stratum for _, stratum in drawn)
    assert all(abs(part[name] - len(drawn) * count / len(items)) < 1 for name, count in whole.items())


@given(_sets(), st.integers(1, 90), st.integers(0, 5))
def test_order_does_not_matter(items: list[_Item], size: int, seed: int) -> None:
    shuffled = random.Random(seed).sample(items, len(items))
    assert set(_draw(items, size, seed)) == set(_draw(shuffled, size, seed))


@given(st.integers(1, 30), st.integers(1, 30))
def test_larger_sample_of_one_stratum_contains_the_smaller(one: int, other: int) -> None:
    items = [(f"item-{number}", "all") for number in range(40)]
    small, large = sorted((one, other))
    assert set(_draw(items, small)) <= set(_draw(items, large))


def test_seeds_differ_and_no_size_is_an_error() -> None:
    items = [(f"item-{number}", "all") for number in range(40)]
    assert _draw(items, 10, 1) != _draw(items, 10, 2)
    with pytest.raises(ValueError, match="positive size"):
        _draw(items, 0)
