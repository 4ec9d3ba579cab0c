"""Claims against what the files show; licences from card and files; provenance kept as the supplier's word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoint import inspect_candidate, inspect_directory
from pipeline.checkpoint.claims import compare_claims
from pipeline.checkpoint.inspected import Finding
from pipeline.release import Claims
from tests.assets.checkpoints import make_tiny_checkpoint
from tests.assets.served import checkpoint_of

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n"


def compared(folder: Path, architecture: str = "llama", **claims: Any) -> list[Finding]:
    inspection = inspect_directory(make_tiny_checkpoint(folder / "model", architecture=architecture))
    return list(compare_claims(inspection, Claims(**claims)))


def card(directory: Path, front_matter: str) -> None:
    (directory / "README.md").write_text(f"---\n{front_matter}\n---\n# A model\n")


def test_true_claims_are_no_finding(tmp_path: Path) -> None:
    claims: dict[str, Any] = {
        "parameters": 8.2e4,
        "active_parameters": 8.2e4,
        "context_length": 2048,
        "licence": "apache-2.0",
    }
    assert compared(tmp_path, **claims) == []


@pytest.mark.parametrize(
    ("claims", "identifier", "words"),
    [
        ({"parameters": 9e9}, "checkpoint.claim-parameters", "9,000,000,000 parameters; the headers hold 82,240"),
        ({"context_length": 4096}, "checkpoint.claim-context-length", "4,096 tokens; config.json allows 2,048"),
        ({"licence": "MIT"}, "checkpoint.claim-licence", "claims the licence MIT; the checkpoint names Apache-2.0"),
    ],
)
def test_a_false_claim_is_named_with_both_numbers(
    tmp_path: Path, claims: dict[str, Any], identifier: str, words: str
) -> None:
    (found,) = compared(tmp_path, **claims)
    assert found.id == identifier
    assert words in found.message


def test_a_false_claim_of_active_parameters_is_named(tmp_path: Path) -> None:
    inspection = inspect_directory(make_tiny_checkpoint(tmp_path / "model", architecture="qwen3-moe"))
    assert inspection.parameters is not None
    true, false = inspection.parameters.active, inspection.parameters.active * 0.7
    assert not compare_claims(inspection, Claims(active_parameters=true))
    (found,) = compare_claims(inspection, Claims(active_parameters=false))
    assert found.id == "checkpoint.claim-active-parameters"


def test_a_candidate_carries_what_its_claims_came_to(tmp_path: Path) -> None:
    verified = checkpoint_of(make_tiny_checkpoint(tmp_path / "model")).verified
    candidate = verified.candidate.model_copy(update={"claims": Claims(parameters=1e9)})
    checkpoint = inspect_candidate(replace(verified, candidate=candidate))
    assert [found.id for found in checkpoint.inspection.findings] == ["checkpoint.claim-parameters"]


@pytest.mark.parametrize(
    ("front_matter", "file", "licence", "ids"),
    [
        ("license: mit", None, "MIT", set()),
        ("license: [apache-2.0]", None, "Apache-2.0", set()),
        ("license: gemma", None, "LicenseRef-gemma", {"checkpoint.licence-unknown"}),
        (
            "license: other\nlicense_name: our own terms",
            None,
            "LicenseRef-our-own-terms",
            {"checkpoint.licence-unknown"},
        ),
        ("license: other", MIT, "MIT", set()),
        ("language: en", APACHE, "Apache-2.0", set()),
        ("license: apache-2.0", APACHE, "Apache-2.0", set()),
        ("license: apache-2.0", MIT, "Apache-2.0", {"checkpoint.licence-conflict"}),
        ("language: en", None, None, {"checkpoint.licence-missing"}),
        ("license: [a, b]", None, None, {"checkpoint.licence-missing"}),
        ("a: &x 1\nb: *x", None, None, {"checkpoint.card", "checkpoint.licence-missing"}),
        ("license: mit\nx: " + "y" * 70_000, None, None, {"checkpoint.card", "checkpoint.licence-missing"}),
    ],
)
def test_the_licence_is_found(
    tmp_path: Path, front_matter: str, file: str | None, licence: str | None, ids: set[str]
) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    card(directory, front_matter)
    if file is not None:
        (directory / "LICENSE").write_text(file)
    inspection = inspect_directory(directory)
    assert inspection.licence == licence
    assert {found.id for found in inspection.findings} == ids


def test_a_readme_without_front_matter_says_nothing(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    (directory / "README.md").write_text("# A model\n")
    assert inspect_directory(directory).licence is None


def test_provenance_is_kept_as_the_suppliers_word(tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path / "model")
    card(directory, "license: mit\nbase_model: someone/base\ndatasets: [one, two, 3]\ndownloads: 7")
    inspection = inspect_directory(directory)
    assert inspection.provenance == {"base_model": "someone/base", "datasets": ["one", "two"]}
    (found,) = compare_claims(inspection, Claims(base_model="another/base"))
    assert found.id == "checkpoint.claim-base-model"
    assert compare_claims(inspection, Claims(base_model="someone/base")) == ()
