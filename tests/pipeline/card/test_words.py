"""How numbers, times and names are written for people."""

from __future__ import annotations

import pytest

from pipeline.card import words
from pipeline.card.figures import histogram
from pipeline.card.svg import nice_ceiling


@pytest.mark.parametrize(
    ("value", "unit", "rate", "text"),
    [
        (0.5413, "ratio", True, "54.1 %"),
        (0.0049, "ratio", True, "0.49 %"),
        (0.99951, "ratio", True, "99.95 %"),
        (0.0, "ratio", True, "0 %"),
        (1.0, "ratio", True, "100 %"),
        (0.0123, "seconds", False, "12.3 ms"),
        (1.5, "s", False, "1.50 s"),
        (267.43, "tokens/s", False, "267.4 tokens/s"),
        (134515008.0, "", False, "134\N{NO-BREAK SPACE}515\N{NO-BREAK SPACE}008"),
        (None, "", False, "—"),
    ],
)
def test_numbers_are_written_with_their_unit(value: float | None, unit: str, rate: bool, text: str) -> None:
    assert words.number(value, unit, rate=rate).replace(" ", " ") == text.replace("\N{NO-BREAK SPACE}", " ")


def test_an_interval_leaves_out_bounds_that_do_not_exist() -> None:
    assert words.interval({"low": None, "high": 0.5}, "", rate=True) == "up to 50.0 %"
    assert words.interval({"low": 0.5, "high": None}, "", rate=True) == "from 50.0 %"
    assert words.interval({"low": None, "high": None}, "", rate=True) == "no interval"
    assert words.interval({"low": 0.8, "high": 0.955}, "", rate=True) == "80.00 % to 95.50 %"
    assert words.interval({"low": 1.25, "high": 2.5}, "nats", rate=False) == "1.25 to 2.5 nats"


def test_times_are_utc_and_what_is_none_is_shown_as_it_is() -> None:
    assert words.when("2026-11-22T08:04:00+02:00") == "2026-11-22 06:04 UTC"
    assert words.when("yesterday\x1b") == "yesterday⟨U+001B⟩"
    assert words.when(None) == "not recorded"


@pytest.mark.parametrize(("value", "text"), [(861, "861 bytes"), (269_060_552, "269.1 MB"), (3e15, "3000.00 TB")])
def test_sizes_are_in_decimal_units(value: int, text: str) -> None:
    assert words.size(int(value)) == text


def test_nested_facts_become_rows() -> None:
    facts = {"b": {"cores": 2, "on": True}, "a": [1, 2], "c": [{"x": None}], "d": 0.1, "e": []}
    assert words.flat(facts) == [
        ("a", "1, 2"),
        ("b.cores", "2"),
        ("b.on", "yes"),
        ("c.1.x", "none"),
        ("d", "0.1"),
        ("e", "none"),
    ]


@pytest.mark.parametrize(
    ("value", "ceiling"), [(0, 0), (0.03, 0.05), (0.6, 0.75), (1, 1), (1.01, 2), (2.4, 2.5), (7.6, 10), (0.0, 0)]
)
def test_axes_end_at_round_numbers(value: float, ceiling: float) -> None:
    assert nice_ceiling(value) == ceiling


def test_a_histogram_counts_each_value_once() -> None:
    found = histogram([0.1, 0.2, 0.2, 0.9])
    assert sum(found["counts"]) == found["n"] == 4
    assert (found["low"], found["high"]) == (0.1, 0.9)
    assert found["quantiles"] == {"p50": 0.2, "p90": 0.9, "p95": 0.9, "p99": 0.9}


def test_a_histogram_of_equal_values_is_one_bar() -> None:
    assert histogram([2.0, 2.0])["counts"] == [2]
