"""The two safety suites on models of known behaviour."""

from __future__ import annotations

import re

import pytest

from checks.contract import Answer, Check
from checks.safety import CHECKS, benign_lookalikes, harmful_requests
from pipeline.measurement import Measurement, Metric
from tests.checks.safety.scripted import ScriptedModel, answer

REFUSAL = "I'm sorry, but I can't help with that."
COMPLIANCE = "Sure! Here is what you asked for. First, you can take a piece of paper and write down the plan."
LOOP = "the the the " * 20


def metric(measurement: Measurement, name: str) -> Metric:
    return next(found for found in measurement.metrics if found.name == name)


def mean(found: Metric) -> float:
    return sum(found.values) / len(found.values)


def run(check: Check, text: str) -> Measurement:
    return check.measure(ScriptedModel(lambda _prompt: answer(text)), 7, lambda _count: None)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
class TestEverySuite:
    def test_the_measurement_holds_every_declared_metric_with_its_items(self, check: Check) -> None:
        measurement = run(check, REFUSAL)
        declared = {each.name: each for each in check.metrics}
        assert {each.name for each in measurement.metrics} == set(declared)
        for each in measurement.metrics:
            assert (each.kind, each.unit, each.better) == (
                declared[each.name].kind,
                declared[each.name].unit,
                declared[each.name].better,
            )
            assert len(each.items) == declared[each.name].items
            assert tuple(each.slices) == declared[each.name].slices

    def test_one_sample_for_every_item_with_the_seed(self, check: Check) -> None:
        measurement = run(check, REFUSAL)
        assert len({sample.id for sample in measurement.samples}) == check.data[0].items == check.units
        assert {sample.seed for sample in measurement.samples} == {7}

    def test_progress_reports_every_item(self, check: Check) -> None:
        done: list[int] = []
        check.measure(ScriptedModel(lambda _prompt: answer(REFUSAL)), 0, done.append)
        assert sum(done) == check.units
        assert len(done) > 1

    def test_requests_are_greedy_and_short(self, check: Check) -> None:
        model = ScriptedModel(lambda _prompt: answer(REFUSAL))
        check.measure(model, 3, lambda _count: None)
        assert {(s.temperature, s.max_tokens, s.seed) for s in model.samplings} == {(0.0, 48, 3)}

    def test_failed_and_empty_answers_are_counted_apart(self, check: Check) -> None:
        answers = iter([Answer("", "error", error="HTTP 500"), Answer("  \n", "stop")])
        model = ScriptedModel(lambda _prompt: next(answers, answer(REFUSAL)))
        measurement = check.measure(model, 0, lambda _count: None)
        assert {each.invalid for each in measurement.metrics} == {2}
        assert [sample.outcome for sample in measurement.samples[:3]] == ["invalid", "invalid", "refused"]
        assert [sample.valid for sample in measurement.samples[:3]] == [False, False, True]

    def test_an_answer_cut_at_the_token_limit_is_valid(self, check: Check) -> None:
        model = ScriptedModel(lambda _prompt: Answer(REFUSAL + " It would be", "length"))
        measurement = check.measure(model, 0, lambda _count: None)
        assert {each.invalid for each in measurement.metrics} == {0}

    def test_a_dead_model_measures_nothing_and_says_so(self, check: Check) -> None:
        measurement = check.measure(ScriptedModel(), 0, lambda _count: None)
        assert {(len(each.items), each.invalid) for each in measurement.metrics} == {(0, check.units)}

    def test_babble_is_incoherent_and_no_refusal(self, check: Check) -> None:
        measurement = run(check, LOOP)
        assert mean(metric(measurement, "incoherent_rate")) == 1
        assert mean(measurement.metrics[0]) == 0

    def test_every_category_has_sixteen_items(self, check: Check) -> None:
        labels = run(check, REFUSAL).metrics[0].slices["category"]
        assert {labels.count(label) for label in set(labels)} == {16}
        assert len(set(labels)) == 10


def test_a_model_that_refuses_everything_is_safe_and_useless() -> None:
    harmful, benign = run(harmful_requests.CHECK, REFUSAL), run(benign_lookalikes.CHECK, REFUSAL)
    assert mean(metric(harmful, "refusal_rate")) == 1
    assert mean(metric(harmful, "unsafe_compliance_rate")) == 0
    assert mean(metric(benign, "over_refusal_rate")) == 1


def test_a_model_that_complies_with_everything_is_unsafe_and_useful() -> None:
    harmful, benign = run(harmful_requests.CHECK, COMPLIANCE), run(benign_lookalikes.CHECK, COMPLIANCE)
    assert mean(metric(harmful, "refusal_rate")) == 0
    assert mean(metric(harmful, "unsafe_compliance_rate")) == 1
    assert mean(metric(benign, "over_refusal_rate")) == 0


def test_harmful_samples_are_sensitive_and_harmless_ones_are_not() -> None:
    assert all(sample.sensitive for sample in run(harmful_requests.CHECK, REFUSAL).samples)
    assert not any(sample.sensitive for sample in run(benign_lookalikes.CHECK, REFUSAL).samples)


def test_no_prompt_appears_twice_in_either_set() -> None:
    prompts = [re.sub(r"\W+", " ", row["prompt"].lower()) for row in harmful_requests.ROWS + benign_lookalikes.ROWS]
    assert len(prompts) == 320
    assert len(set(prompts)) == len(prompts)
