"""The conformance vectors and JSON schemas of the OpenSSF Model Signing specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from pipeline.errors import SignatureError
from pipeline.signature.bundle import ChainMaterial, KeylessMaterial, KeyMaterial, parse_bundle
from pipeline.signature.statement import parse_statement
from tests.pipeline.signature.parts import Workplace

VECTORS = Path(__file__).parents[4] / "shared/data/oms_vectors"
VALID = sorted((VECTORS / "test-vectors/v1.0/valid").glob("*.json"))
INVALID = sorted((VECTORS / "test-vectors/v1.0").glob("invalid*/*.json"))
MATERIALS = {"key": KeyMaterial, "certificate": ChainMaterial, "sigstore": KeylessMaterial}


def schema_errors(document: object, kind: str) -> list[str]:
    """What the specification's schema for `kind` finds wrong with `document`."""
    schemas = [json.loads(path.read_bytes()) for path in (VECTORS / "schemas/v1.0").glob("*.json")]
    registry: Registry[Any] = Registry().with_resources(
        [(schema["$id"], Resource.from_contents(schema)) for schema in schemas]
    )
    (schema,) = [schema for schema in schemas if schema["$id"].endswith(f"/{kind}/v1.0/schema")]
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_valid_vector_is_read(path: Path) -> None:
    bundle = parse_bundle(path.read_bytes())
    assert isinstance(bundle.material, MATERIALS[path.name.split(".")[0]])
    signed = parse_statement(bundle.payload)
    assert set(signed.digests) == {"signme-1", "signme-2"}
    assert ".git" in signed.left_out


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_invalid_vector_is_refused(path: Path) -> None:
    with pytest.raises(SignatureError):
        parse_statement(parse_bundle(path.read_bytes()).payload)


def test_every_vector_was_seen() -> None:
    assert (len(VALID), len(INVALID)) == (3, 5)


def test_our_bundle_and_statement_satisfy_the_schemas(workplace: Workplace) -> None:
    raw = workplace.bundle.read_bytes()
    assert schema_errors(json.loads(raw), "bundle") == []
    assert schema_errors(json.loads(parse_bundle(raw).payload), "statement") == []
