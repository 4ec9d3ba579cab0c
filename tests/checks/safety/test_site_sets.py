"""Published sets of requests on a site's disk, from set file to measurement."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from checks.catalogue.site_files import load_set_file
from checks.contract import Check
from checks.safety.site_sets import LAYOUTS, site_check
from pipeline.errors import EvidenceError, FileFormatError
from tests.checks.safety.scripted import ScriptedModel, answer

XSTEST = Path(__file__).parents[4] / "shared" / "data" / "xstest" / "xstest_prompts.csv"
REFUSAL = "I'm sorry, but I can't help with that."


def made(folder: Path, benchmark: str, name: str, data: bytes, sample: int | str = "all") -> Path:
    (folder / name).write_bytes(data)
    path = folder / f"{benchmark}.yaml"
    path.write_text(
        f"apiVersion: airlock/v1\nkind: DataSet\nname: {benchmark}\nversion: '1'\nlicence: CC-BY-4.0\n"
        f"source: the authors\nbenchmark: {benchmark}\nsample: {sample}\nfiles:\n"
        f"  - {{path: {name}, sha256: {hashlib.sha256(data).hexdigest()}, split: test}}\n"
    )
    return path


def checked(path: Path) -> Check:
    check = site_check(path, load_set_file(path))
    assert check is not None
    return check


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_xstest_is_measured_on_both_sides(tmp_path: Path) -> None:
    check = checked(made(tmp_path, "xstest", "xstest.csv", XSTEST.read_bytes()))
    measurement = check.measure(ScriptedModel(lambda _prompt: answer(REFUSAL)), 0, lambda _count: None)
    found = {metric.name: metric for metric in measurement.metrics}
    assert {name: len(metric.items) for name, metric in found.items()} == {
        "unsafe_compliance_rate": 200,
        "over_refusal_rate": 250,
        "incoherent_rate": 450,
    }
    assert sum(found["unsafe_compliance_rate"].values) == 0
    assert sum(found["over_refusal_rate"].values) == 250
    assert [(each.name, each.items) for each in check.metrics] == [(name, len(m.items)) for name, m in found.items()]


def test_a_sample_is_spread_over_types_and_both_labels(tmp_path: Path) -> None:
    check = checked(made(tmp_path, "xstest", "xstest.csv", XSTEST.read_bytes(), 90))
    measurement = check.measure(ScriptedModel(lambda _prompt: answer(REFUSAL)), 5, lambda _count: None)
    categories = [sample.detail["category"] for sample in measurement.samples]
    assert (len(categories), check.units) == (90, 90)
    assert {categories.count(category) for category in categories} == {5}


@pytest.mark.parametrize(
    ("benchmark", "row"),
    [
        ("simple_safety_tests", {"harm_area": "Scams", "prompts_final": "Trick someone."}),
        ("harmbench", {"Behavior": "Trick someone.", "SemanticCategory": "illegal"}),
        ("strongreject", {"category": "Fraud", "forbidden_prompt": "Trick someone."}),
        ("do_not_answer", {"risk_area": "Malicious uses", "question": "Trick someone?"}),
        ("jailbreakbench", {"Goal": "Trick someone.", "Category": "Fraud"}),
        ("xstest", {"type": "contrast_homonyms", "prompt": "Trick someone."}),
    ],
)
def test_each_set_in_its_own_columns(tmp_path: Path, benchmark: str, row: dict[str, str]) -> None:
    check = checked(made(tmp_path, benchmark, "x.jsonl", lines(row)))
    assert check.title == LAYOUTS[benchmark].title
    measurement = check.measure(ScriptedModel(lambda _prompt: answer(REFUSAL)), 0, lambda _count: None)
    assert [metric.name for metric in measurement.metrics] == ["unsafe_compliance_rate", "incoherent_rate"]
    assert measurement.samples[0].sensitive


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (({"harm_area": "x"},), "Row 1 has no text in a column prompts_final or prompt"),
        (({"prompt": "x", "harm_area": ""},), "Row 1 has no text in a column harm_area"),
        (({"prompt": "x", "harm_area": "y"},) * 2, "twice"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: tuple[dict[str, Any], ...], why: str) -> None:
    with pytest.raises(FileFormatError) as caught:
        checked(made(tmp_path, "simple_safety_tests", "x.jsonl", lines(*rows)))
    assert why in caught.value.why


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "xstest", "xstest.csv", XSTEST.read_bytes())
    (tmp_path / "xstest.csv").write_bytes(XSTEST.read_bytes() + b"\n")
    with pytest.raises(EvidenceError):
        checked(path)


def test_other_sets_are_not_asked_here(tmp_path: Path) -> None:
    path = made(tmp_path, "bbq", "x.jsonl", lines({"prompt": "x"}))
    assert site_check(path, load_set_file(path)) is None
