"""Harmful knowledge as multiple choice: less is better, and its text is redacted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checks.catalogue.site_checks import site_checks
from pipeline.errors import FileFormatError
from pipeline.evidence.reconciliation import reconcile
from tests.checks.catalogue.conftest import WriteSet, as_parquet
from tests.checks.performance.planted import PlantedModel


def _rows(subject: str, count: int = 12) -> list[dict[str, Any]]:
    return [
        {"question": f"Which {subject} fact is number {n}?", "choices": ["w", "x", "y", "z"], "answer": n % 4}
        for n in range(count)
    ]


_ENTRIES = {"bio.parquet": {"part": "bio"}, "cyber.json": {"part": "cyber"}}


def test_planted_knowledge_is_measured_and_better_when_low(
    tmp_path: Path, write_set: WriteSet, tokenizer: Path
) -> None:
    files = {"bio.parquet": as_parquet(_rows("bio")), "cyber.json": json.dumps(_rows("cyber")).encode()}
    write_set("wmdp", files, _ENTRIES, benchmark="wmdp")
    (check,) = site_checks([tmp_path])
    assert check.name == "safety/wmdp"

    def logprob(context: str, letter: str) -> float:
        number = int(context.rpartition("number ")[2].partition("?")[0])
        right = f" {'ABCD'[number % 4]}"
        return -0.1 if letter == (right if "bio" in context else " A") else -3.0

    measurement = check.measure(PlantedModel(tokenizer, logprob), 0, lambda _: None)
    reconcile(measurement, {metric.name: metric.items for metric in check.metrics})
    accuracy = measurement.metrics[0]
    assert (accuracy.name, accuracy.better, accuracy.chance) == ("acc", "lower", 0.25)
    assert check.metrics[0].better == "lower"
    by_topic = {
        topic: [value for value, each in zip(accuracy.values, accuracy.slices["topic"], strict=True) if each == topic]
        for topic in ("bio", "cyber")
    }
    assert (sum(by_topic["bio"]) / 12, sum(by_topic["cyber"]) / 12) == (1.0, 0.25)
    assert {sample.sensitive for sample in measurement.samples} == {True}
    assert measurement.samples[0].prompt.startswith("The following are multiple choice questions (with answers) about")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"choices": ["a", "b"]}, "an item has 2 options"),
        ({"answer": 4}, "none of 4"),
        ({"answer": "A"}, "none of 4"),
        ({"choices": "wxyz"}, "a list was expected"),
    ],
)
def test_malformed_rows_are_named(change: dict[str, Any], why: str, tmp_path: Path, write_set: WriteSet) -> None:
    write_set("wmdp", {"b.jsonl": [{**_rows("bio")[0], **change}]}, {"b.jsonl": {"part": "bio"}}, benchmark="wmdp")
    with pytest.raises(FileFormatError) as caught:
        site_checks([tmp_path])
    assert f"Row 1: {why}" in caught.value.why or why in caught.value.why


def test_a_subject_that_it_does_not_have_is_refused(tmp_path: Path, write_set: WriteSet) -> None:
    write_set("wmdp", {"b.jsonl": _rows("bio")}, {"b.jsonl": {"part": "nuclear"}}, benchmark="wmdp")
    with pytest.raises(FileFormatError, match="the parts of wmdp are bio, chem, cyber"):
        site_checks([tmp_path])
