"""CMMLU against MMLU, and MGSM language by language: a planted gap is measured, and a policy can limit it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checks.catalogue.site_checks import site_checks, survey
from checks.catalogue.site_files import load_set_file
from checks.contract import Check
from pipeline.errors import FileFormatError
from pipeline.evidence.reconciliation import reconcile
from pipeline.measurement import Metric
from tests.checks.catalogue.conftest import WriteSet
from tests.checks.performance.planted import PlantedModel


def _mmlu(count: int, **change: Any) -> list[dict[str, Any]]:
    row = {"choices": ["w", "x", "y", "z"], "answer": 2, **change}
    return [{"question": f"In English, number {number}?", **row} for number in range(count)]


def _cmmlu(count: int) -> list[dict[str, Any]]:
    options = {"A": "w", "B": "x", "C": "y", "D": "z", "Answer": "C"}
    return [{"Question": f"用中文，第 {number} 题？", **options} for number in range(count)]


def _write_both(write_set: WriteSet, english: int = 200, chinese: int = 100) -> None:
    part = {"part": "anatomy"}
    write_set("mmlu", {"mmlu.jsonl": _mmlu(english)}, {"mmlu.jsonl": part}, benchmark="mmlu", shots=0, sample="all")
    more = {"benchmark": "cmmlu", "shots": 0, "sample": "all", "compared_with": "mmlu"}
    write_set("cmmlu", {"cmmlu.jsonl": _cmmlu(chinese)}, {"cmmlu.jsonl": part}, **more)


def _checks(root: Path) -> dict[str, Check]:
    return {check.name: check for check in site_checks([root])}


def _knows(english: float, chinese: float) -> Callable[[str, str], float]:
    """Right on a planted share of each language: on the questions whose number modulo 100 is below it."""

    def logprob(context: str, letter: str) -> float:
        words, share = ("number ", english) if "number " in context else ("第 ", chinese)
        number = int("".join(filter(str.isdigit, context.rpartition(words)[2][:4])))
        return -0.1 if letter == (" C" if number % 100 < 100 * share else " A") else -4.0

    return logprob


def _mean(metric: Metric) -> float:
    return sum(metric.values) / len(metric.values)


def test_a_planted_gap_between_languages_is_measured(tmp_path: Path, write_set: WriteSet, tokenizer: Path) -> None:
    _write_both(write_set)
    check = _checks(tmp_path)["performance/cmmlu"]
    steps: list[int] = []
    measurement = check.measure(PlantedModel(tokenizer, _knows(0.8, 0.5)), 1, steps.append)
    reconcile(measurement, {metric.name: metric.items for metric in check.metrics})
    found = {metric.name: metric for metric in measurement.metrics}
    assert (_mean(found["acc"]), _mean(found["acc_mmlu"])) == (0.5, 0.8)
    gap = found["gap_mmlu"]
    assert _mean(gap) == pytest.approx(0.3, abs=0.08), "the mean over the pairs that were drawn"
    assert (gap.kind, gap.better, len(gap.values), gap.invalid) == ("mean", "lower", 100, 0)
    variance = sum((value - _mean(gap)) ** 2 for value in gap.values) / 99
    assert variance == pytest.approx(0.8 * 0.2 + 0.5 * 0.5, abs=0.1), "as of two independent rates"
    assert sum(steps) == check.units == 300
    assert len(measurement.samples) == 300
    assert [data.name for data in measurement.data] == ["cmmlu", "mmlu"]
    assert {metric.name for metric in check.metrics} == set(found)


def test_equal_samples_give_exactly_the_difference_of_the_rates(
    tmp_path: Path, write_set: WriteSet, tokenizer: Path
) -> None:
    _write_both(write_set, english=100, chinese=100)
    measurement = _checks(tmp_path)["performance/cmmlu"].measure(
        PlantedModel(tokenizer, _knows(0.85, 0.6)), 1, lambda _: None
    )
    assert _mean(measurement.metrics[-1]) == pytest.approx(0.25)


def test_pairs_with_a_failed_answer_are_counted_apart(tmp_path: Path, write_set: WriteSet, tokenizer: Path) -> None:
    _write_both(write_set, english=100, chinese=100)
    model = PlantedModel(tokenizer, _knows(1, 1), failing=lambda context: "number 1" in context)
    measurement = _checks(tmp_path)["performance/cmmlu"].measure(model, 1, lambda _: None)
    gap = measurement.metrics[-1]
    assert (len(gap.values), gap.invalid) == (89, 11)
    assert measurement.metrics[0].invalid == 0


def test_without_the_other_set_there_is_no_check(tmp_path: Path, write_set: WriteSet) -> None:
    _write_both(write_set)
    (tmp_path / "mmlu.jsonl").unlink()
    assert _checks(tmp_path) == {}
    (one,) = [one for one in survey([tmp_path]) if one.name == "cmmlu"]
    assert (one.status, one.problem) == ("missing", "It is compared with 'mmlu', which is not ready.")


def test_a_set_is_not_compared_with_itself(write_set: WriteSet) -> None:
    rows = {"c.jsonl": _cmmlu(2)}
    path = write_set("cmmlu", rows, {"c.jsonl": {"part": "arts"}}, benchmark="cmmlu", compared_with="cmmlu")
    with pytest.raises(FileFormatError, match="with itself"):
        load_set_file(path)


def test_sets_without_a_common_rate_are_not_compared(tmp_path: Path, write_set: WriteSet) -> None:
    write_set("staff", {"s.jsonl": [{"question": "Who?", "answer": "Ana"}]}, task={"kind": "answer"})
    part = {"c.jsonl": {"part": "arts"}}
    write_set("cmmlu", {"c.jsonl": _cmmlu(2)}, part, benchmark="cmmlu", shots=0, compared_with="staff")
    with pytest.raises(FileFormatError, match="cannot be compared"):
        site_checks([tmp_path])
