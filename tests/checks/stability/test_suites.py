"""Stability is measured as planted: a steady model, a fickle one, one that follows letters, one that typos confuse."""

from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.contract import Check
from checks.datasets import load_builtin
from checks.performance import answer as answers
from checks.performance import knowledge
from checks.stability import CHECKS, option_order, repeat, typos
from pipeline.measurement import Measurement, Metric
from tests.checks.performance.planted import PlantedModel


def _measure(check: Check, model: PlantedModel, seed: int = 5) -> tuple[Measurement, dict[str, Metric]]:
    measurement = check.measure(model, seed, lambda _: None)
    return measurement, {metric.name: metric for metric in measurement.metrics}


def _mean(metric: Metric) -> float:
    return sum(metric.values) / len(metric.values)


def test_steady_model_repeats_itself(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, answer=lambda prompt: f"about {prompt}")
    _, metrics = _measure(repeat.CHECK, model)
    assert _mean(metrics["identical_rate"]) == 1
    assert model.calls["chat"] == repeat.CHECK.units


def test_one_changed_answer_makes_an_item_inconsistent(tokenizer: Path) -> None:
    turn = itertools.count()
    model = PlantedModel(tokenizer, answer=lambda _: "other" if next(turn) < 18 else "same")
    measurement, metrics = _measure(repeat.CHECK, model)
    assert _mean(metrics["identical_rate"]) == 1 - 18 / repeat.DATA.items
    assert sum(sample.outcome == "changed" for sample in measurement.samples) == 18


def test_empty_and_failed_repeats_are_invalid(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, answer=lambda prompt: "" if "rainbow" in prompt else "text")
    measurement, metrics = _measure(repeat.CHECK, model)
    assert metrics["identical_rate"].invalid == 2
    assert {sample.detail.get("error") for sample in measurement.samples} == {None, "empty answer"}
    _, metrics = _measure(repeat.CHECK, PlantedModel(tokenizer, failing=lambda _: True))
    assert metrics["identical_rate"].invalid == repeat.DATA.items


def test_truncated_repeats_are_compared_all_the_same(tokenizer: Path) -> None:
    _, metrics = _measure(repeat.CHECK, PlantedModel(tokenizer, finish="length"))
    assert metrics["identical_rate"].invalid == 0


@cache
def _right_options() -> dict[str, str]:
    _, rows = load_builtin(knowledge.DATA.name, knowledge.DATA.digest)
    return {row["question"]: row["choices"][row["answer"]] for row in rows}


def _follows_the_option(context: str, continuation: str) -> float:
    lines = context.rsplit("\n\n", maxsplit=1)[1].split("\n")
    option = next(line for line in lines if line.startswith(continuation.strip() + ". "))[3:]
    return -0.1 if option == _right_options()[lines[0]] else -4.0


def test_model_that_follows_the_option_is_consistent(tokenizer: Path) -> None:
    measurement, metrics = _measure(option_order.CHECK, PlantedModel(tokenizer, _follows_the_option))
    assert _mean(metrics["consistency"]) == 1
    assert _mean(metrics["accuracy"]) == 1
    assert len(set(metrics["accuracy"].clusters or ())) == option_order.ITEMS
    assert len(measurement.samples) == option_order.CHECK.units


def test_model_that_follows_the_letter_is_not(tokenizer: Path) -> None:
    always_c = PlantedModel(tokenizer, lambda _, letter: -0.1 if letter == " C" else -4.0)
    _, metrics = _measure(option_order.CHECK, always_c)
    assert _mean(metrics["consistency"]) == 0
    assert _mean(metrics["accuracy"]) == 0.25
    by_letter = dict(zip(metrics["accuracy"].slices["letter"], metrics["accuracy"].values, strict=True))
    assert by_letter == {"A": 0, "B": 0, "C": 1, "D": 0}


def test_question_with_one_failed_order_is_invalid(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, _follows_the_option, failing=lambda prompt: "Kyoto?\nA. Japan" in prompt)
    _, metrics = _measure(option_order.CHECK, model)
    assert (metrics["consistency"].invalid, metrics["accuracy"].invalid) == (1, 1)


def test_topics_are_evenly_drawn_and_prompts_are_those_of_the_knowledge_suite(tokenizer: Path) -> None:
    _, rows = load_builtin(knowledge.DATA.name, knowledge.DATA.digest)
    drawn = option_order.spread(rows)
    assert len(drawn) == option_order.ITEMS
    measurement = knowledge.CHECK.measure(PlantedModel(tokenizer), 5, lambda _: None)
    prompts = {sample.id: sample.prompt for sample in measurement.samples}
    assert all(option_order.prompt_of(row, 0) == prompts[row["id"]] for row in drawn)


def test_typos_that_confuse_are_measured_pair_by_pair(tokenizer: Path) -> None:
    _, rows = load_builtin(answers.DATA.name, answers.DATA.digest)
    right = {row["question"]: row["answers"][0] for row in rows}

    def knows_clean_text(prompt: str) -> str:
        question = prompt.rsplit("Question: ", 1)[1].split("\n", maxsplit=1)[0]
        return str(right.get(question, "no idea"))

    _, metrics = _measure(typos.CHECK, PlantedModel(tokenizer, answer=knows_clean_text))
    assert _mean(metrics["consistency"]) < 0.02
    assert _mean(metrics["accuracy_drop"]) > 0.98
    _, metrics = _measure(typos.CHECK, PlantedModel(tokenizer, answer=lambda _: "always this"))
    assert _mean(metrics["consistency"]) == 1
    assert _mean(metrics["accuracy_drop"]) == 0


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"answer": lambda _: " "}, "empty answer"),
        ({"finish": "length"}, "truncated at 24 tokens"),
        ({"failing": lambda _: True}, "refused by the server"),
    ],
)
def test_answers_that_cannot_be_compared_are_invalid(tokenizer: Path, model: dict[str, object], reason: str) -> None:
    measurement, metrics = _measure(typos.CHECK, PlantedModel(tokenizer, **model))  # type: ignore[arg-type]
    assert metrics["consistency"].invalid == answers.DATA.items
    assert {sample.detail["error"] for sample in measurement.samples} == {reason}


@given(
    st.sampled_from(["What is the capital of France?", "Who is it?", "How many legs does a spider have?"]), st.text()
)
def test_slips_are_repeatable_and_keep_short_words_and_first_letters(text: str, seed: str) -> None:
    slipped = typos.with_slips(text, seed)
    assert slipped == typos.with_slips(text, seed)
    before, after = text.split(" "), slipped.split(" ")
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert len(changed) == min(typos.SLIPS, sum(len(word.strip("?")) >= 4 for word in before))
    assert all(one[0] == other[0] for one, other in changed)
    assert all(abs(len(one) - len(other)) <= 1 for one, other in changed)


def test_declared_metrics_are_the_measured_ones_and_progress_ends_at_the_units(tokenizer: Path) -> None:
    for check in CHECKS:
        steps: list[int] = []
        measurement = check.measure(PlantedModel(tokenizer), 5, steps.append)
        assert sum(steps) == check.units
        assert {(metric.name, metric.kind, metric.unit, metric.better) for metric in measurement.metrics} == {
            (one.name, one.kind, one.unit, one.better) for one in check.metrics
        }
        for metric, declared in zip(measurement.metrics, check.metrics, strict=True):
            assert len(metric.items) + metric.invalid == declared.items
