"""The card as a machine-learning bill of materials: CycloneDX 1.6 or 1.7 JSON, for tools that keep inventories."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pipeline.card import view, words
from pipeline.card.licences import spdx_id
from pipeline.digests import Digest, canonical_json, digest_of, hex_of

SpecVersion = Literal["1.6", "1.7"]

_REFERENCE_TYPES = {"verification": "digital-signature", "decision": "certification-report", "approval": "attestation"}


def to_cyclonedx(card: Mapping[str, Any], spec_version: SpecVersion = "1.6") -> bytes:
    """The bill of materials of `card`; its serial number follows from the card's digest, its time is the decision's."""
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": spec_version,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest_of(card))}",
        "version": 1,
        "metadata": {
            "timestamp": card["decision"]["decided"],
            "tools": {"components": [{"type": "application", "name": "airlock"}]},
            "component": _component(card),
        },
    }
    return canonical_json(bom)


def _component(card: Mapping[str, Any]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": card["candidate"]["digest"],
        "group": card["release"]["name"],
        "name": card["candidate"]["name"],
        "version": card["candidate"]["digest"],
        "properties": list(_properties(card)),
        "externalReferences": [_reference(record) for record in card["evidence"]],
        "modelCard": _model_card(card),
    }
    licence = view.licence_of(card)
    if licence is not None:
        known = spdx_id(licence)
        component["licenses"] = [{"license": {"id": known} if known else {"name": words.visible(licence)}}]
    if card["files"]:
        component["components"] = [_file(entry) for entry in card["files"]["entries"]]
    return component


def _properties(card: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    facts = {
        "outcome": card["outcome"],
        "verdict": card["verdict"],
        "policy": card["decision"]["policy"],
        "policy-digest": card["decision"]["policy_digest"],
        "decision-digest": card["decision"]["digest"],
        "stage": card["promotion"]["stage"] if card["promotion"] else None,
        "emergency": card["promotion"]["emergency"] if card["promotion"] else None,
    }
    for name, value in facts.items():
        if value is not None:
            yield {"name": f"airlock:{name}", "value": words.visible(value)}
    for rule in card["rules"]:
        yield {"name": f"airlock:rule:{words.visible(rule['id'])}", "value": rule["outcome"]}


def _reference(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": _REFERENCE_TYPES.get(record["kind"], "evidence"),
        "url": f"urn:{record['digest']}",
        "comment": words.visible(" ".join(part for part in (record["kind"], record["about"]) if part)),
        "hashes": [_hash(record["digest"])],
    }


def _hash(digest: Digest) -> dict[str, str]:
    return {"alg": "SHA-256", "content": hex_of(digest)}


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{entry['path']}",
        "name": words.visible(entry["path"]),
        "hashes": [_hash(entry["digest"])],
        "properties": [{"name": "airlock:size", "value": str(entry["size"])}],
    }


def _model_card(card: Mapping[str, Any]) -> dict[str, Any]:
    facts = card["checkpoint"]["facts"] if card["checkpoint"] else {}
    parameters: dict[str, Any] = {"task": "text-generation", "datasets": list(_datasets(card))}
    for key, field in (("architecture", "modelArchitecture"), ("model_type", "architectureFamily")):
        if facts.get(key):
            parameters[field] = words.visible(facts[key])
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(card))},
        "considerations": {"technicalLimitations": [words.visible(sentence) for sentence in card["limits"]]},
    }


def _datasets(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The data it was evaluated on; what it was trained on is not known here."""
    for check in card["measurements"]:
        for data in check["data"]:
            facts = {"version": data["version"], "digest": data["digest"], "licence": data["licence"]}
            properties = [{"name": f"airlock:{name}", "value": words.visible(value)} for name, value in facts.items()]
            yield {
                "type": "dataset",
                "name": words.visible(data["name"]),
                "description": f"Evaluation data of {words.visible(check['check'])}",
                "contents": {"properties": properties},
            }


def _metrics(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for check in card["measurements"]:
        for metric in check["metrics"]:
            if metric["figure"] is not None:
                yield _metric(metric, metric["figure"])
            for part in metric["slices"]:
                if part["figure"] is not None:
                    slice_name = words.visible(f"{part['slice']}: {part['label']}")
                    yield {**_metric(metric, part["figure"]), "slice": slice_name}


def _metric(metric: Mapping[str, Any], figure: Mapping[str, Any]) -> dict[str, Any]:
    """The standard wants numbers as text."""
    bounds = {"lowerBound": figure["low"], "upperBound": figure["high"]}
    unit = f" ({words.visible(metric['unit'])})" if metric["unit"] else ""
    return {
        "type": f"{words.visible(metric['name'])}{unit}",
        "value": repr(figure["value"]),
        "confidenceInterval": {name: repr(value) for name, value in bounds.items() if value is not None},
    }
