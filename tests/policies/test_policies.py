"""The policies that come with Airlock, the published schema, and example files good and bad."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import policies
from pipeline.errors import FileFormatError
from pipeline.policy.document import built_in_names, load_policy, parse_policy
from pipeline.policy.language import json_schema

FOLDER = Path(policies.__file__).parent
VALID = sorted((FOLDER / "examples" / "valid").glob("*.yaml"))
INVALID = sorted((FOLDER / "examples" / "invalid").glob("*.yaml"))


def test_the_published_schema_is_the_one_of_the_model() -> None:
    published = json.loads((FOLDER / "schema" / "policy.schema.json").read_bytes())
    assert published == json_schema()
    Draft202012Validator.check_schema(published)


def test_the_built_in_policies_are_known() -> None:
    assert {"base", "staging", "production", "demo"} <= set(built_in_names())


@pytest.mark.parametrize("name", built_in_names())
def test_a_built_in_policy_loads_and_loosens_nothing(name: str) -> None:
    policy = load_policy(Path(name))
    assert policy.name == name
    assert policy.loosened == ()
    assert all(rule.reason for rule in policy.rules)
    assert parse_policy(policy.canonical) == policy


REFERENCE = re.compile(
    r"EU AI Act (Article [0-9]+(\([0-9a-z]\))*|Annex XI [12]\([0-9]\)(\([a-z]\))?)"
    r"|GPAI Model Documentation Form: [a-z ]+"
    r"|NIST AI RMF (GOVERN|MAP|MEASURE|MANAGE) [1-6]\.[0-9]{1,2}"
    r"|ISO 42001 A\.[0-9]{1,2}(\.[0-9]){0,2}"
)


@pytest.mark.parametrize("name", built_in_names())
def test_every_rule_that_people_use_names_what_it_serves(name: str) -> None:
    """A reader finds each rule's items of law and standard, all written in one way."""
    for rule in load_policy(Path(name)).rules:
        assert rule.references, rule.id
        assert [entry for entry in rule.references if not REFERENCE.fullmatch(entry)] == []


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_loads(path: Path) -> None:
    policy = load_policy(path)
    assert parse_policy(policy.canonical).digest == policy.digest


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_example_is_refused_in_plain_words(path: Path) -> None:
    with pytest.raises(FileFormatError) as refused:
        load_policy(path)
    assert refused.value.why
    assert refused.value.remedy
    assert path.name in refused.value.what


def test_there_are_examples() -> None:
    assert len(VALID) >= 4
    assert len(INVALID) >= 30


def test_the_demonstration_needs_two_people() -> None:
    approvals = {entry.role: entry.count for entry in load_policy(Path("demo")).file.approvals}
    assert approvals == {"compliance": 1, "security": 1}
