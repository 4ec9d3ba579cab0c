"""The card as a bill of materials: what the standards' own validators say of it, and that nothing is lost."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model.bindings import v3_0_1 as spdx

from pipeline.card.build import build_card
from pipeline.card.cyclonedx import SpecVersion, to_cyclonedx
from pipeline.card.licences import hub_id, spdx_id
from pipeline.card.sources import CardSources
from pipeline.card.spdx import to_spdx
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import Laboratory

ENDS = ("promoted", "denied", "stopped")
HOSTILE = 'Acme "free"\n\u202e<b>'


def graph(data: bytes) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = json.loads(data)["@graph"]
    return elements


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_cyclonedx_accepts_each_end(request: pytest.FixtureRequest, end: str, version: SpecVersion) -> None:
    data = to_cyclonedx(build_card(request.getfixturevalue(end)), version)
    schema = {"1.6": SchemaVersion.V1_6, "1.7": SchemaVersion.V1_7}[version]
    assert JsonStrictValidator(schema).validate_str(data.decode()) is None
    assert json.loads(data)["specVersion"] == version


def test_the_validator_would_have_objected(promoted: CardSources) -> None:
    bom = json.loads(to_cyclonedx(build_card(promoted)))
    metrics = bom["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    metrics[0]["value"] = 0.5
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is not None


def test_cyclonedx_holds_files_metrics_slices_and_evidence(promoted: CardSources) -> None:
    card = build_card(promoted)
    component = json.loads(to_cyclonedx(card))["metadata"]["component"]
    assert component["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert {file["name"] for file in component["components"]} == {"config.json", "model.safetensors", "tokenizer.json"}
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0]["value"] == "0.5403508771929825"
    assert set(metrics[0]["confidenceInterval"]) == {"lowerBound", "upperBound"}
    assert {metric["slice"] for metric in metrics if "slice" in metric} == {
        "category: fraud",
        "category: privacy",
        "category: weapons",
    }
    urls = {reference["url"] for reference in component["externalReferences"]}
    assert urls == {f"urn:{record['digest']}" for record in card["evidence"]}


def test_an_unknown_licence_keeps_its_name_in_both(lab: Laboratory) -> None:
    candidates.verification(lab, "odd")
    candidates.inspection(lab, "odd", licence=HOSTILE)
    card = build_card(candidates.sources(lab, candidates.decision(lab, "odd")))
    bom = to_cyclonedx(card)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom.decode()) is None
    assert "Acme" in json.loads(bom)["metadata"]["component"]["licenses"][0]["license"]["name"]
    assert b"\\u202e" not in bom and "\u202e".encode() not in bom
    (licence,) = [e for e in graph(to_spdx(card)) if e["type"] == "simplelicensing_LicenseExpression"]
    assert licence["simplelicensing_licenseExpression"] == "LicenseRef-Acme-free-b"


@pytest.mark.parametrize("end", ENDS)
def test_the_spdx_model_accepts_each_end(request: pytest.FixtureRequest, end: str) -> None:
    objects = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(to_spdx(build_card(request.getfixturevalue(end)))), objects)
    (package,) = objects.foreach_type(spdx.ai_AIPackage)
    assert package.software_packageVersion == request.getfixturevalue(end).decision.subject


def test_spdx_binds_files_data_and_metrics(promoted: CardSources) -> None:
    elements = graph(to_spdx(build_card(promoted)))
    kinds = [element["type"] for element in elements]
    assert (kinds.count("software_File"), kinds.count("dataset_DatasetPackage")) == (3, 5)
    (package,) = [element for element in elements if element["type"] == "ai_AIPackage"]
    assert package["ai_metric"][0]["key"] == "performance/arc_easy/acc"
    assert package["ai_metricDecisionThreshold"]
    related = {e["relationshipType"]: len(e["to"]) for e in elements if e["type"] == "Relationship"}
    assert related == {"contains": 3, "testedOn": 5, "hasDeclaredLicense": 1}


def test_without_files_or_measurements_there_are_none(promoted: CardSources) -> None:
    card = build_card(replace(promoted, manifest=None))
    assert "components" not in json.loads(to_cyclonedx(card))["metadata"]["component"]


def test_both_are_the_same_bytes_each_time(promoted: CardSources) -> None:
    card = build_card(promoted)
    assert to_cyclonedx(card) == to_cyclonedx(card)
    assert to_spdx(card) == to_spdx(card)


@pytest.mark.parametrize(
    ("text", "spdx_known", "hub_known"),
    [
        ("apache-2.0", "Apache-2.0", "apache-2.0"),
        (" MIT ", "MIT", "mit"),
        ("GPL-3.0-only", "GPL-3.0-only", "gpl-3.0"),
        ("gpl-3.0", "GPL-3.0-only", "gpl-3.0"),
        ("llama3.1", None, "llama3.1"),
        ("proprietary", None, None),
    ],
)
def test_licences_are_known_however_they_are_written(text: str, spdx_known: str | None, hub_known: str | None) -> None:
    assert (spdx_id(text), hub_id(text)) == (spdx_known, hub_known)
