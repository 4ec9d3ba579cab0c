"""What holds for every built-in check: it measures what it declares, and its figures rest on its samples."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks import built_in_checks
from checks.contract import Check, Model
from checks.preflight import preflight
from pipeline.evidence.records import reconcile
from pipeline.serving import attach
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.fakes.openai_server import FakeServer
from tests.fakes.pupil import Pupil


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    checkpoint = make_tiny_checkpoint(tmp_path_factory.mktemp("checks") / "tiny")
    with FakeServer(checkpoint, Pupil().brain, name="tiny") as server, attach(server.url, checkpoint, "tiny") as model:
        preflight(model)
        yield model


@pytest.mark.parametrize("check", built_in_checks(), ids=lambda check: check.name)
def test_a_check_measures_what_it_declares_and_its_figures_add_up(check: Check, model: Model) -> None:
    units: list[int] = []
    measurement = check.measure(model, 0, units.append)
    reconcile(measurement)
    assert {metric.name for metric in measurement.metrics} == {metric.name for metric in check.metrics}
    assert measurement.check == check.name
    assert measurement.version == check.version
    assert measurement.data == check.data
    assert sum(units) == check.units
    for metric, declared in zip(measurement.metrics, check.metrics, strict=True):
        assert (metric.kind, metric.unit, metric.better) == (declared.kind, declared.unit, declared.better)
        assert len(metric.values) + metric.invalid == declared.items, metric.name


def test_names_are_unique_and_say_suite_and_check() -> None:
    names = [check.name for check in built_in_checks()]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == {"performance", "safety", "bias", "stability"}
