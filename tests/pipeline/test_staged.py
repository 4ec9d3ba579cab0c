"""Measuring in stages against a real policy: when it stops, when it goes on, and what is spent where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from checks.contract import Check, MetricDeclaration, Model
from checks.sampling import BEYOND, Questions, labels
from pipeline.errors import ServingError
from pipeline.evidence.statement import Evidence
from pipeline.measurement import Measurement, Metric, MetricKind, Sample
from pipeline.policy.settling import Settling
from pipeline.staged import LARGEST_STEP, Attempt, spend
from tests.pipeline.policy.builders import AT, DATA, evidence, limit, measurement, policy, rate

NOBODY = cast(Model, None)  # the answers of these checks are known before they are asked
SEQUENTIAL = "stopping: sequential"


def check(
    values: Sequence[float],
    sample: int | None = None,
    *,
    kind: MetricKind = "rate",
    unit: str = "ratio",
    topics: Mapping[int, str] | None = None,
    name: str = "performance/knowledge",
) -> Check:
    """A check whose items have these values, of which it draws the first `sample`."""
    size = len(values) if sample is None else sample
    everything = [f"item-{number}" for number in range(len(values))]
    answers = dict(zip(everything, values, strict=True))
    names = {item: (topics or {}).get(number, "law") for number, item in enumerate(everything)}

    def ask(_model: Model, items: Sequence[str], _seed: int, progress: Any) -> list[str]:
        progress(len(items))
        return list(items)

    def measured(items: Sequence[str], seed: int) -> Measurement:
        found = tuple(answers[item] for item in items)
        slices = {"topic": tuple(names[item] for item in items)}
        metric = Metric("acc", kind, unit, "higher", tuple(items), found, slices=slices)
        samples = tuple(Sample(item, "", "", "") for item in items)
        return Measurement(name, "1", (DATA,), (metric,), samples, seed)

    questions = Questions(lambda _seed: everything[:size], ask, measured, identity=str, everything=everything)
    declared = (MetricDeclaration("acc", kind, unit, "higher", size, "Right"),)
    return Check(
        name,
        "1",
        "Knowledge",
        (DATA,),
        declared,
        size,
        questions.measure,
        stages=questions.stages,
        available=questions.available,
        labels=labels(topic=names.values()),
    )


def goal(tmp_path: Path, rule: str, baseline: Evidence | None = None, **options: Any) -> Settling:
    chosen = policy(tmp_path, limit(rule, **options), SEQUENTIAL)
    return Settling(chosen, "tiny", evidence(), AT, baseline)


def taken(one: Check, wanted: Settling | None) -> Attempt:
    """The attempt at the end of the sample, or before."""
    attempt = Attempt.begin(one, wanted, NOBODY, 0, lambda _units: None)
    attempt.take_sample()
    return attempt


def mixed(share: float, n: int) -> list[float]:
    """Values of which about every so many-th is 0, spread evenly."""
    return [float(int((place + 1) * share) > int(place * share)) for place in range(n)]


def test_a_clear_case_stops_at_a_look_and_says_so(tmp_path: Path) -> None:
    attempt = taken(check([1.0] * 400), goal(tmp_path, "min: 0.5"))
    assert attempt.settled
    assert attempt.taken == attempt.looks[-1] <= 32
    assert attempt.saved == 400 - attempt.taken
    stopping = attempt.stopping
    assert (stopping.planned, stopping.taken, stopping.sequential, stopping.settled) == (400, attempt.taken, True, True)
    assert stopping.against["policy"] == "test"
    assert not stopping.complete


def test_a_failing_model_stops_as_early_as_a_good_one(tmp_path: Path) -> None:
    assert taken(check([0.0] * 400), goal(tmp_path, "min: 0.5")).taken <= 32


def test_a_case_on_the_limit_is_measured_in_full(tmp_path: Path) -> None:
    attempt = taken(check(mixed(0.5, 400)), goal(tmp_path, "min: 0.5"))
    assert not attempt.settled
    assert attempt.taken == 400
    assert attempt.saved == 0
    assert attempt.stopping.complete


def test_without_a_goal_it_is_measured_in_full(tmp_path: Path) -> None:
    attempt = taken(check([1.0] * 400), None)
    assert attempt.stopping.sequential is False
    assert len(attempt.finished.samples) == 400
    assert not attempt.may_go_on
    whole = taken(replace(check([1.0] * 400), stages=None), goal(tmp_path, "min: 0.5"))
    assert whole.stopping.sequential is False


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        ("min: 0.5, min_samples: 150", 150),
        ("min: 0.8, slices: [topic]", 40),
        ("min: 0.5, slices: [topic], min_slice_samples: 100", 200),
        ("min: 0.5, slices: [colour]", 400),
    ],
)
def test_demands_of_samples_and_slices_hold_it_open(tmp_path: Path, rule: str, least: int) -> None:
    topics = dict.fromkeys(range(0, 400, 4), "war")
    attempt = taken(check([1.0] * 400, topics=topics), goal(tmp_path, rule))
    assert least <= attempt.taken
    assert attempt.settled is (rule != "min: 0.5, slices: [colour]")


def test_a_metric_that_no_rule_needs_does_not_hold_it_open(tmp_path: Path) -> None:
    wanted = goal(tmp_path, "min: 0.5", metric="performance/other/acc")
    assert not wanted.needs(check([1.0]))
    assert goal(tmp_path, "min: 0.5").needs(check([1.0]))


def test_a_rule_for_other_candidates_needs_nothing(tmp_path: Path) -> None:
    assert not goal(tmp_path, "min: 0.5, when: {candidates: [large-*]}").needs(check([1.0]))


def test_a_regression_is_settled_against_the_baseline(tmp_path: Path) -> None:
    before = evidence(measurement(rate(400, 400)))
    attempt = taken(check([1.0] * 400), goal(tmp_path, "versus: baseline, max_drop: 0.1", before))
    assert attempt.settled
    assert attempt.taken <= 100
    assert taken(check([1.0] * 400), goal(tmp_path, "versus: baseline, max_drop: 0.1")).taken == 400


def test_a_mean_without_known_ends_is_measured_in_full(tmp_path: Path) -> None:
    values = [5.0 + place % 7 for place in range(400)]
    attempt = taken(check(values, kind="mean", unit="nats"), goal(tmp_path, "max: 20.0"))
    assert attempt.taken == 400
    assert attempt.settled


def test_saved_items_extend_the_sample_that_leaves_a_rule_open(tmp_path: Path) -> None:
    attempt = taken(check(mixed(0.6, 1000), 200), goal(tmp_path, "min: 0.5"))
    assert attempt.may_go_on
    assert attempt.taken == 200
    left = spend(500, [attempt], Attempt.take_more)
    assert attempt.settled
    assert 200 < attempt.taken <= 700
    assert left == 500 - (attempt.taken - 200)
    assert attempt.stopping.available == 1000
    assert not attempt.stopping.complete


def test_no_more_is_spent_than_was_saved(tmp_path: Path) -> None:
    attempt = taken(check(mixed(0.5, 1000), 200), goal(tmp_path, "min: 0.5"))
    assert spend(100, [attempt], Attempt.take_more) == 100 - 3 * LARGEST_STEP
    assert attempt.taken == 200 + 3 * LARGEST_STEP
    assert LARGEST_STEP == BEYOND


def test_savings_are_shared_in_turn_and_end_with_the_data(tmp_path: Path) -> None:
    first, second = (taken(check(mixed(0.5, size), 200), goal(tmp_path, "min: 0.5")) for size in (240, 1000))
    assert spend(1000, [first, second], Attempt.take_more) == 1000 - 40 - 800
    assert (first.taken, second.taken) == (240, 1000)
    assert not first.may_go_on


def test_a_sample_is_not_extended_where_another_rule_rests_on_the_planned_one(tmp_path: Path) -> None:
    """A mean without known ends has bounds on the planned sample alone."""
    values = [5.0 + place % 7 for place in range(1000)]
    one = check(values, 200, kind="mean", unit="nats")
    both = f"{limit('max: 20.0')}\n{limit('min: 8.0', id_='on-the-limit')}"
    wanted = Settling(policy(tmp_path, both, SEQUENTIAL), "tiny", evidence(), AT)
    attempt = taken(one, wanted)
    assert not attempt.settled
    assert not attempt.may_go_on


def test_a_check_that_asks_nothing_is_an_error(tmp_path: Path) -> None:
    empty = replace(check([1.0]), stages=lambda _model, _seed, _progress: iter(()))
    attempt = taken(empty, goal(tmp_path, "min: 0.5"))
    with pytest.raises(ServingError, match="measured nothing"):
        _ = attempt.finished
