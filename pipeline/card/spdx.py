"""The card as an SPDX 3.0.1 document with the AI and Dataset profiles, in JSON-LD."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.card import view, words
from pipeline.card.licences import spdx_id
from pipeline.digests import Digest, canonical_json, digest_of, hex_of

_CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_CREATION = "_:creation"
_PROFILES = ["core", "software", "ai", "dataset", "simpleLicensing"]


def to_spdx(card: Mapping[str, Any]) -> bytes:
    """The SPDX document of `card`; every identifier follows from the card's digest."""
    base = f"urn:airlock:spdx:{hex_of(digest_of(card))}"
    elements = [_agent(base), _package(card, base), *_files(card, base), *_data(card, base), *_licence(card, base)]
    relationships = list(_relationships(elements, base))
    graph = [_creation(card, base), *elements, *relationships]
    graph.append(_document(base, [element["spdxId"] for element in graph if "spdxId" in element]))
    return canonical_json({"@context": _CONTEXT, "@graph": graph})


def _creation(card: Mapping[str, Any], base: str) -> dict[str, Any]:
    return {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": _time(card["decision"]["decided"]),
        "createdBy": [f"{base}#airlock"],
    }


def _time(text: str) -> str:
    """SPDX takes whole seconds in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _element(kind: str, base: str, local: str, /, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "spdxId": f"{base}#{local}", "creationInfo": _CREATION, **fields}


def _agent(base: str) -> dict[str, Any]:
    return _element("SoftwareAgent", base, "airlock", name="airlock")


def _document(base: str, elements: list[str]) -> dict[str, Any]:
    return _element(
        "SpdxDocument",
        base,
        "document",
        profileConformance=_PROFILES,
        rootElement=[f"{base}#model"],
        element=elements,
    )


def _package(card: Mapping[str, Any], base: str) -> dict[str, Any]:
    facts = card["checkpoint"]["facts"] if card["checkpoint"] else {}
    fields = {
        "name": words.visible(card["candidate"]["name"]),
        "software_packageVersion": card["candidate"]["digest"],
        "software_primaryPurpose": "model",
        "verifiedUsing": [_hash(card["candidate"]["digest"])],
        "comment": view.banner(card).title,
        "ai_limitation": words.visible(" ".join(card["limits"])),
        "ai_metric": list(_metrics(card)),
        "ai_metricDecisionThreshold": list(_thresholds(card)),
        "ai_typeOfModel": [words.visible(facts["architecture"])] if facts.get("architecture") else [],
    }
    return _element("ai_AIPackage", base, "model", **{name: value for name, value in fields.items() if value})


def _hash(digest: Digest) -> dict[str, str]:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": hex_of(digest)}


def _entry(key: str, value: str) -> dict[str, str]:
    return {"type": "DictionaryEntry", "key": words.visible(key), "value": words.visible(value)}


def _metrics(card: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for check in card["measurements"]:
        for metric in check["metrics"]:
            if metric["figure"] is not None:
                figure = metric["figure"]
                bounds = f"[{figure['low']!r}, {figure['high']!r}] at {figure['confidence']!r}, n = {figure['n']}"
                yield _entry(metric["name"], f"{figure['value']!r} {metric['unit']} {bounds}")


def _thresholds(card: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for rule in card["rules"]:
        if rule["metric"] is not None:
            yield _entry(rule["metric"], f"{rule['limit']}: {rule['outcome']}")


def _files(card: Mapping[str, Any], base: str) -> Iterator[dict[str, Any]]:
    for index, entry in enumerate(card["files"]["entries"] if card["files"] else ()):
        yield _element(
            "software_File",
            base,
            f"file-{index}",
            name=words.visible(entry["path"]),
            verifiedUsing=[_hash(entry["digest"])],
            software_primaryPurpose="data" if entry["path"].endswith(".safetensors") else "configuration",
        )


def _data(card: Mapping[str, Any], base: str) -> Iterator[dict[str, Any]]:
    seen = {data["digest"]: data for check in card["measurements"] for data in check["data"]}
    for digest, data in sorted(seen.items()):
        yield _element(
            "dataset_DatasetPackage",
            base,
            f"data-{digest[7:23]}",
            name=words.visible(data["name"]),
            software_packageVersion=words.visible(data["version"]),
            dataset_datasetType=["text"],
            dataset_datasetSize=data["items"]["value"],
            verifiedUsing=[_hash(digest)],
        )


def _licence(card: Mapping[str, Any], base: str) -> Iterator[dict[str, Any]]:
    licence = view.licence_of(card)
    if licence is not None:
        text = spdx_id(licence) or "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", licence)[:80].strip("-")
        kind = "simplelicensing_LicenseExpression"
        yield _element(kind, base, "licence", simplelicensing_licenseExpression=text)


def _relationships(elements: list[dict[str, Any]], base: str) -> Iterator[dict[str, Any]]:
    """The package contains its files, was tested on the data, and declares its licence."""
    wanted = {
        "contains": "software_File",
        "testedOn": "dataset_DatasetPackage",
        "hasDeclaredLicense": "simplelicensing_LicenseExpression",
    }
    for name, kind in wanted.items():
        targets = [element["spdxId"] for element in elements if element["type"] == kind]
        if targets:
            fields = {"from": f"{base}#model", "relationshipType": name, "to": targets, "completeness": "complete"}
            yield _element("Relationship", base, f"relationship-{name}", **fields)
