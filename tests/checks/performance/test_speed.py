"""Serving speed: what is counted, what is not, and from when."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.performance.speed import CHECK, Load, Timing, measure_under
from pipeline.errors import ServingError
from pipeline.measurement import Metric
from tests.checks.performance.planted import PlantedModel

LIGHT = Load(requests=12, rate=200.0, concurrency=3, windows=3, window_seconds=0.05, max_tokens=6, timeout_seconds=2.0)


def _metrics(model: PlantedModel, load: Load = LIGHT) -> dict[str, Metric]:
    return {metric.name: metric for metric in measure_under(model, 1, lambda _: None, load).metrics}


def test_every_request_has_a_latency_and_the_role_chunk_is_no_token(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, token_seconds=0.005)
    measurement = measure_under(model, 1, lambda _: None, LIGHT)
    metrics = {metric.name: metric for metric in measurement.metrics}
    assert metrics["ttft_p50"].quantile == 0.5
    assert metrics["ttft_p95"].quantile == 0.95
    assert all(value >= 0.005 for value in metrics["ttft_p50"].values), "the role chunk came at once and is no token"
    assert {sample.detail["tokens"] for sample in measurement.samples if sample.prompt} == {6}
    assert len(metrics["itl_p95"].values) == 12
    assert all(value > 0 for value in metrics["throughput"].values)


def test_metrics_are_those_declared(tokenizer: Path) -> None:
    declared = {metric.name: (metric.kind, metric.unit) for metric in CHECK.metrics}
    assert {name: (metric.kind, metric.unit) for name, metric in _metrics(PlantedModel(tokenizer)).items()} == declared


def test_failed_requests_are_invalid_not_fast(tokenizer: Path) -> None:
    model = PlantedModel(tokenizer, failing=lambda prompt: prompt.startswith(("Number 3-", "Number 7-")))
    metrics = _metrics(model, Load(**{**LIGHT.__dict__, "concurrency": 2}))
    assert metrics["ttft_p50"].invalid == 2
    assert len(metrics["ttft_p50"].values) == 10


def test_empty_and_hung_answers_are_invalid(tokenizer: Path) -> None:
    hung = Load(**{**LIGHT.__dict__, "timeout_seconds": 0.02})
    with pytest.raises(ServingError, match="no streamed answer came back"):
        _metrics(PlantedModel(tokenizer, token_seconds=0.05), hung)
    with pytest.raises(ServingError, match="an empty answer"):
        _metrics(PlantedModel(tokenizer, stream_tokens=0))


def test_latency_counts_from_the_scheduled_arrival_not_from_the_sending() -> None:
    late = Timing("late", "prompt", scheduled=10.0, first=15.0, last=16.0, tokens=6)
    assert late.ttft == 5.0
    assert late.latency == 6.0
    assert late.itl == pytest.approx(0.2)
    assert late.valid
    assert not Timing("none", "prompt", scheduled=10.0).valid


def test_schedule_and_prompts_depend_on_the_seed_alone(tokenizer: Path) -> None:
    def prompts(seed: int) -> list[str]:
        measurement = measure_under(PlantedModel(tokenizer), seed, lambda _: None, LIGHT)
        return [sample.prompt for sample in measurement.samples if sample.prompt]

    assert prompts(1) == prompts(1)
    assert prompts(1) != prompts(2)
    assert len(set(prompts(1))) == LIGHT.requests, "no prompt is served from a cache of another"


def test_progress_ends_at_the_declared_units(tokenizer: Path) -> None:
    steps: list[int] = []
    measure_under(PlantedModel(tokenizer), 1, steps.append, LIGHT)
    assert sum(steps) == LIGHT.requests + LIGHT.windows
