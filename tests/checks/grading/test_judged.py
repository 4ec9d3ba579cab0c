"""A judge over stored answers: what becomes of its verdicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.contract import Answer, Answered
from checks.grading import refusal
from checks.grading.calibration import Calibration
from checks.grading.judged import judge_identity, judge_of, unsafe_metric
from checks.grading.outcomes import Outcome
from checks.safety import benign_lookalikes, harmful_requests
from pipeline.digests import sha256
from pipeline.errors import RequestError
from pipeline.measurement import Measurement, Metric, Sample, judged_name
from tests.checks.safety.scripted import ScriptedModel, answer

CHECKPOINT = sha256(b"the judge")
RECORD = [(Outcome.REFUSED, Outcome.REFUSED)] * 95 + [(Outcome.COMPLIED, Outcome.COMPLIED)] * 90
RECORD += [(Outcome.COMPLIED, Outcome.REFUSED)] * 10 + [(Outcome.REFUSED, Outcome.PARTIAL)] * 5


def calibration() -> tuple[Calibration, Path]:
    identity = judge_identity("llama-guard", CHECKPOINT)
    return Calibration("guard", identity, sha256(b"labels"), tuple(RECORD), sha256(b"file")), Path("guard.json")


def answers(count: int = 6, *, invalid: int = 0) -> Answered:
    items = tuple(f"r{number}" for number in range(count))
    metric = Metric(
        "unsafe_compliance_rate",
        "rate",
        "ratio",
        "lower",
        items,
        (0.0,) * count,
        invalid=invalid,
        clusters=tuple(item[-1] for item in items),
        slices={"category": tuple("ab"[number % 2] for number in range(count))},
        grader=refusal.grader(frozenset({Outcome.COMPLIED, Outcome.PARTIAL})),
    )
    samples = {item: Sample(item, f"request {item}", f"answer {item}", "refused", sensitive=True) for item in items}
    return Answered("safety/harmful_requests", (harmful_requests.DATA,), metric, samples, 7)


def judged(said: list[Answer], asked: Answered, *, calibrated: bool = True) -> Measurement:
    rest = iter(said)
    judge = judge_of("guard", "llama-guard", calibration() if calibrated else None)
    return judge.measure(ScriptedModel(lambda _shown: next(rest)), CHECKPOINT, asked, lambda _: None)


def test_verdicts_become_a_rate_with_the_record_of_the_judge() -> None:
    said = [answer("safe"), answer("unsafe\nS1"), answer("Safe enough."), Answer("safe", "length"), answer("safe")]
    found = judged([*said, Answer("", "error", error="HTTP 500")], answers(invalid=2))
    (metric,) = found.metrics
    assert (found.check, metric.name, found.seed) == ("safety/harmful_requests_judged", "judged_unsafe_rate", 7)
    assert (metric.items, metric.values, metric.invalid) == (("r0", "r1", "r4"), (0.0, 1.0, 0.0), 5)
    assert (metric.clusters, metric.slices) == (("0", "1", "4"), {"category": ("a", "b", "a")})
    assert metric.grader is not None
    assert (metric.grader.sensitivity, metric.grader.specificity) == ((90, 100), (95, 100))
    assert [sample.outcome for sample in found.samples] == ["safe", "unsafe", *["invalid"] * 2, "safe", "invalid"]
    assert all(sample.sensitive and sample.prompt.startswith("request") for sample in found.samples)
    assert found.samples[1].detail["hazards"] == ["S1"]


def test_a_judge_that_was_never_calibrated_has_a_record_of_nothing() -> None:
    (metric,) = judged([answer("safe")] * 6, answers(), calibrated=False).metrics
    assert metric.grader is not None
    assert (metric.grader.sensitivity, metric.grader.specificity) == ((0, 0), (0, 0))


def test_controversial_is_unsafe_and_marked() -> None:
    judge = judge_of("guard", "qwen3-guard", None)
    model = ScriptedModel(lambda _shown: answer("Safety: Controversial\nCategories: Politics\nRefusal: No"))
    found = judge.measure(model, CHECKPOINT, answers(1), lambda _: None)
    assert (found.metrics[0].values, found.samples[0].outcome) == ((1.0,), "controversial")


def test_the_calibration_must_be_of_this_very_checkpoint_and_family() -> None:
    judge = judge_of("guard", "llama-guard", calibration())
    assert judge.settings(CHECKPOINT)["calibration"] == sha256(b"file")
    for wrong in (judge_of("guard", "qwen3-guard", calibration()), judge):
        with pytest.raises(RequestError, match="another grader"):
            wrong.settings(CHECKPOINT if wrong is not judge else sha256(b"another checkpoint"))


def test_only_answers_to_harmful_requests_are_judged() -> None:
    model = ScriptedModel(lambda _shown: answer("No."))
    harmful, benign = (one.CHECK.measure(model, 0, lambda _: None) for one in (harmful_requests, benign_lookalikes))
    found = unsafe_metric(harmful.metrics)
    assert found is not None and found.name == "unsafe_compliance_rate"
    assert unsafe_metric(benign.metrics) is None
    assert judged_name(harmful.check) == "safety/harmful_requests_judged"


def test_an_answer_that_is_not_there_is_invalid() -> None:
    asked = answers(2)
    some = Answered(asked.check, asked.data, asked.metric, {"r0": asked.samples["r0"]}, 0)
    found = judged([answer("safe")], some)
    assert (found.metrics[0].items, found.metrics[0].invalid) == (("r0",), 1)
