"""A site's sets measured in stages: first the sample, then, where it may be exceeded, everything there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.bias.site_sets import site_check as bias_check
from checks.catalogue.site_checks import site_checks
from checks.catalogue.site_files import load_set_file
from checks.contract import Check, Model
from pipeline.measurement import Measurement
from tests.checks.bias.test_site_sets import DATA, Uniform, described
from tests.checks.catalogue.conftest import tokenizer, write_set
from tests.checks.performance.planted import PlantedModel
from tests.checks.safety.scripted import ScriptedModel, answer
from tests.checks.safety.test_site_sets import XSTEST, checked, made

__all__ = ["tokenizer", "write_set"]


def growing(check: Check, model: Model, seed: int = 3) -> list[tuple[int, Measurement]]:
    """Every stage: the requests until then, and the measurement."""
    units: list[int] = []
    assert check.stages is not None
    return [(sum(units), measurement) for measurement in check.stages(model, seed, units.append)]


def sampled(check: Check, model: Model) -> tuple[Measurement, list[tuple[int, Measurement]]]:
    """The stage that ends the sample, which is the measurement in full; and the stages after it."""
    stages = growing(check, model)
    (place,) = [place for place, (units, _) in enumerate(stages) if units == check.units]
    whole = check.measure(model, 3, lambda _units: None)
    staged = stages[place][1]
    assert {sample.id for sample in staged.samples} == {sample.id for sample in whole.samples}
    assert {metric.name: sum(metric.values) for metric in staged.metrics if metric.name != "scoring_difference"} == {
        metric.name: pytest.approx(sum(metric.values))
        for metric in whole.metrics
        if metric.name != "scoring_difference"
    }
    return staged, stages[place + 1 :]


def test_requests_of_a_safety_set_go_on_to_all_rows(tmp_path: Path) -> None:
    check = checked(made(tmp_path, "xstest", "xstest.csv", XSTEST.read_bytes(), 90))
    _, beyond = sampled(check, ScriptedModel(lambda _prompt: answer("Of course, here is how.")))
    assert check.available == 450
    assert beyond[-1][0] == 450
    assert len({sample.id for sample in beyond[-1][1].samples}) == 450
    for metric in beyond[-1][1].metrics:
        known = check.labels.get(f"{metric.name}/category", check.labels["category"])
        assert set(metric.slices["category"]) == set(known)


def test_pairs_go_on_to_all_rows_and_clusters_end_with_the_sample(tmp_path: Path) -> None:
    pairs = "crows_pairs/crows_pairs_anonymized.csv"
    for name, file, more in (("bbq", "bbq/Age.jsonl", False), ("crows_pairs", pairs, True)):
        path = described(tmp_path, name, DATA / file, 100)
        check = bias_check(path, load_set_file(path))
        assert check is not None
        _, beyond = sampled(check, Uniform())
        assert bool(beyond) is more
        assert (check.available is not None) is more


def test_clusters_are_whole_in_every_stage(tmp_path: Path) -> None:
    path = described(tmp_path, "bbq", DATA / "bbq" / "Age.jsonl", 200)
    check = bias_check(path, load_set_file(path))
    assert check is not None
    before: set[str] = set()
    sizes: dict[str, int] = {}
    for _, measurement in growing(check, Uniform()):
        templates = [str(sample.detail["template"]) for sample in measurement.samples]
        assert all(templates.count(template) == size for template, size in sizes.items())
        sizes = {template: templates.count(template) for template in templates}
        assert before < set(templates)
        before = set(templates)


def test_a_set_of_the_sites_own_goes_on_to_all_rows(tmp_path: Path, write_set: object, tokenizer: Path) -> None:
    rows = [{"q": f"What is number {n}?", "a": "one", "options": ["one", "two"]} for n in range(60)]
    assert callable(write_set)
    task = {"kind": "choices", "question": "q", "answer": "a", "choices": "options"}
    write_set("own", {"own.jsonl": rows}, {"own.jsonl": {"split": "test"}}, task=task, sample=20)
    (check,) = site_checks([tmp_path])
    staged, beyond = sampled(check, PlantedModel(tokenizer))
    assert check.available == 60
    assert beyond[-1][0] == 60
    differences = next(metric for metric in beyond[-1][1].metrics if metric.name == "scoring_difference")
    assert set(differences.items) <= {sample.id for sample in staged.samples}
