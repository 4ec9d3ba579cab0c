"""What the registry reads from disk or network is hostile: every parser answers with an error of ours or a value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.attestations import attest, read_attestation
from pipeline.digests import canonical_json, sha256
from pipeline.errors import AirlockError, EvidenceError, RegistryContentError
from pipeline.keys import generate_key
from pipeline.manifest import FileEntry, Manifest
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.model import model_config, model_manifest, read_manifest, read_model
from pipeline.registry.records import PROMOTION_TYPE, read_promotion
from tests.pipeline.registry.helpers import SUBJECT

KEY = generate_key()
TRUSTED = [KEY.verifying_key]
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}\.(safetensors|json|md)", fullmatch=True)


def entry(path: str, data: bytes = b"x") -> FileEntry:
    return FileEntry(path, len(data), sha256(data))


@patient
@given(st.dictionaries(PATHS, st.binary(max_size=20), max_size=6))
def test_a_checkpoint_survives_the_way_to_its_manifest_and_back(files: dict[str, bytes]) -> None:
    manifest = Manifest(tuple(entry(path, data) for path, data in files.items()))

    assert read_model(model_manifest(manifest)) == manifest
    layers = json.loads(model_config(manifest))["modelfs"]["diffIds"]
    assert layers == [file.digest for file in manifest.files]


@patient
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_no_model(data: bytes) -> None:
    for read in (read_model, read_manifest):
        with pytest.raises(RegistryContentError):
            read(data)


@patient
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_every_changed_byte_of_a_manifest_is_noticed(place: int, flip: int) -> None:
    data = bytearray(model_manifest(Manifest((entry("a.json"), entry("b.safetensors", b"yy")))))
    data[place % len(data)] ^= flip

    with pytest.raises(RegistryContentError):
        read_model(bytes(data))


@pytest.mark.parametrize(
    "paths",
    [
        ["../evil"],
        ["a/../../evil"],
        ["/etc/passwd"],
        ["a//b"],
        ["./a"],
        ["a\\..\\b"],
        ["a\0b"],
        [""],
        ["a/"],
        ["Config.json", "config.json"],
        ["caf\u00e9.json", "cafe\u0301.json"],
    ],
)
def test_attack_paths_that_leave_the_folder_or_overwrite_one_another(paths: list[str]) -> None:
    manifest = Manifest(tuple(entry(path) for path in paths))

    with pytest.raises(RegistryContentError, match="no model of this registry"):
        read_model(model_manifest(manifest))


@patient
@given(st.dictionaries(st.sampled_from(["move", "stage", "result", "at", "revision", "approvers"]), JSON))
def test_a_signed_record_of_nonsense_is_an_error_of_ours(predicate: dict[str, Any]) -> None:
    envelope = attest(PROMOTION_TYPE, subject=SUBJECT, name="m", predicate=predicate, keys=[KEY])

    with pytest.raises(RegistryContentError, match="cannot be read"):
        read_promotion(envelope, TRUSTED)


@patient
@given(JSON)
def test_a_signed_statement_of_nonsense_is_an_error_of_ours(statement: Any) -> None:
    from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, seal

    with pytest.raises(EvidenceError):
        read_attestation(seal(canonical_json(statement), IN_TOTO_PAYLOAD, [KEY]), PROMOTION_TYPE, TRUSTED)


def test_attack_a_statement_of_another_kind() -> None:
    envelope = attest("urn:airlock:revocation:v1", subject=SUBJECT, name="m", predicate={}, keys=[KEY])

    with pytest.raises(EvidenceError, match="another kind"):
        read_promotion(envelope, TRUSTED)


@patient
@given(data=st.binary(max_size=100) | JSON.map(lambda value: json.dumps({"manifests": value}).encode()))
def test_any_index_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "index.json").write_bytes(data)
    registry = LayoutRegistry(tmp_path, ("staging",))

    try:
        assert isinstance(registry.published(), tuple)
        assert isinstance(registry.referrers(SUBJECT), tuple)
    except AirlockError as error:
        assert error.remedy
