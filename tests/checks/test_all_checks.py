"""What holds for every built-in check: it measures what it declares, and its figures rest on its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import pytest

from checks import built_in_checks, optional_checks
from checks.contract import Check, Model
from checks.performance import speed
from checks.preflight import preflight
from checks.stability import repeat
from pipeline.evidence.reconciliation import reconcile
from pipeline.measurement import Metric
from pipeline.serving import attach
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.fakes.brain import Faults
from tests.fakes.openai_server import FakeServer
from tests.fakes.pupil import Pupil

EVERY = (*built_in_checks(), *optional_checks())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("checks") / "tiny")
    with FakeServer(checkpoint, Pupil().brain, name="tiny") as server:
        yield server


@pytest.fixture(scope="module")
def model(server: FakeServer) -> Iterator[Model]:
    with attach(server.url, server.checkpoint, "tiny") as model:
        preflight(model)
        yield model


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.name)
def test_a_check_measures_what_it_declares_and_its_figures_add_up(check: Check, model: Model) -> None:
    units: list[int] = []
    measurement = check.measure(model, 0, units.append)
    reconcile(measurement, {metric.name: metric.items for metric in check.metrics})
    assert {metric.name for metric in measurement.metrics} == {metric.name for metric in check.metrics}
    assert measurement.check == check.name
    assert measurement.version == check.version
    assert measurement.data == check.data
    assert sum(units) == check.units
    for metric, declared in zip(measurement.metrics, check.metrics, strict=True):
        assert (metric.kind, metric.unit, metric.better) == (declared.kind, declared.unit, declared.better)
        assert len(metric.values) + metric.invalid == declared.items, metric.name


@pytest.mark.parametrize(
    "check", [check for check in EVERY if check.name != "performance/speed"], ids=lambda check: check.name
)
def test_figures_add_up_where_some_requests_fail(check: Check, server: FakeServer, model: Model) -> None:
    server.faults = Faults(status=400, only=lambda body: hashlib.sha256(body.encode()).digest()[0] < 26)
    try:
        measurement = check.measure(model, 0, lambda _units: None)
    finally:
        server.faults = Faults()
    assert any(not sample.valid for sample in measurement.samples)
    reconcile(measurement, {metric.name: metric.items for metric in check.metrics})


def test_names_are_unique_and_say_suite_and_check() -> None:
    names = [check.name for check in built_in_checks()]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == {"performance", "safety", "bias", "stability"}


@pytest.mark.parametrize("check", [check for check in built_in_checks() if check.stages], ids=lambda check: check.name)
def test_the_stages_of_a_check_end_where_its_measurement_does(check: Check, model: Model) -> None:
    units: list[int] = []
    assert check.stages is not None
    growing = []
    for measurement in check.stages(model, 0, units.append):
        reconcile(measurement)
        growing.append((sum(units), {metric.name: _values(metric) for metric in measurement.metrics}))
    reconcile(measurement, {metric.name: metric.items for metric in check.metrics})
    whole = {metric.name: _values(metric) for metric in check.measure(model, 0, lambda _units: None).metrics}
    assert growing[-1][0] == check.units
    assert len(growing) > 1
    assert growing[0][0] <= check.units / 2 or check.name == "safety/jailbreaks"
    for (_, before), (_, after) in pairwise(growing):
        assert all(before[name].items() <= after[name].items() for name in before)
    for values in (whole, growing[-1][1]):
        values.pop("scoring_difference", None)  # of a few items of the first stage
    assert growing[-1][1] == whole
    for metric in measurement.metrics:
        for column, labels in metric.slices.items():
            assert set(labels) <= set(check.labels[column])


def _values(metric: Metric) -> dict[str, float]:
    return dict(zip(metric.items, metric.values, strict=True))


def test_checks_that_cannot_stop_early_say_why() -> None:
    whole = {check.name for check in built_in_checks() if check.stages is None}
    assert whole == {"performance/speed", "stability/repeat"}
    assert all("always measured in full" in (module.__doc__ or "") for module in (speed, repeat))
