"""Promotion: what it stores, where it is found, and who wins."""

from __future__ import annotations

import json
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.digests import hex_of, sha256
from pipeline.errors import (
    AirlockError,
    ApprovalError,
    DeniedError,
    PromotionError,
    RegistryContentError,
)
from pipeline.registry import interface as kinds
from pipeline.registry.consume import listing, resolve
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.upkeep import verify_registry
from tests.pipeline.registry.helpers import (
    DECIDED,
    FILES,
    POLICY,
    Case,
    case,
)


@pytest.fixture
def ready(tmp_path: Path) -> Case:
    return case(tmp_path)


def index(registry: LayoutRegistry) -> list[dict[str, Any]]:
    manifests: list[dict[str, Any]] = json.loads((registry.root / "index.json").read_bytes())["manifests"]
    return manifests


def test_a_promotion_is_resolved_by_name_and_stage(ready: Case) -> None:
    promotion = ready.promote()

    assert resolve(ready.registry, ready.log, "smollm2/135m", stage="staging") == promotion
    assert resolve(ready.registry, ready.log, "smollm2", stage="staging") == promotion
    assert promotion.subject == ready.verified.manifest.digest
    assert promotion.reference == f"smollm2/135m@{promotion.manifest}"
    assert [(one.person, one.role) for one in promotion.approvers] == [("ana", "compliance"), ("bo", "security")]
    assert (promotion.revision, promotion.previous, promotion.move) == (1, None, "promotion")
    assert verify_registry(ready.registry, ready.log).problems == ()


def test_the_layout_is_an_oci_image_layout_with_a_modelpack_manifest(ready: Case) -> None:
    promotion = ready.promote()
    root = ready.registry.root

    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    manifest = json.loads((root / "blobs" / "sha256" / hex_of(promotion.manifest)).read_bytes())
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    types = {layer["annotations"]["org.cncf.model.filepath"]: layer["mediaType"] for layer in manifest["layers"]}
    assert types == {
        "LICENSE": "application/vnd.cncf.model.doc.v1.raw",
        "README.md": "application/vnd.cncf.model.doc.v1.raw",
        "config.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "model.safetensors": "application/vnd.cncf.model.weight.v1.raw",
    }
    for layer in manifest["layers"]:
        data = (root / "blobs" / "sha256" / hex_of(layer["digest"])).read_bytes()
        assert data == FILES[layer["annotations"]["org.cncf.model.filepath"]]
    tagged = [entry for entry in index(ready.registry) if "annotations" in entry]
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in tagged] == ["smollm2/135m:staging"]


def test_blobs_are_read_only_copies_and_never_hard_links(ready: Case) -> None:
    ready.promote()

    for _, path in ready.registry.stored():
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert path.stat().st_nlink == 1
    (ready.verified.root / "config.json").write_bytes(b"edited later")
    assert verify_registry(ready.registry, ready.log).problems == ()


def test_the_proof_is_attached_by_subject(ready: Case) -> None:
    promotion = ready.promote()

    referrers = ready.registry.referrers(promotion.manifest)
    assert sorted({one.artifact_type or "" for one in referrers}) == sorted(
        {kinds.SIGNATURE, kinds.POLICY, kinds.DECISION, kinds.EVIDENCE, kinds.APPROVAL, kinds.RECORD}
    )
    for one in referrers:
        assert json.loads(ready.registry.manifest(one.digest))["subject"]["digest"] == promotion.manifest
    assert {one.digest for one in promotion.attachments} >= {ready.approved.digest, sha256(POLICY)}


def test_promoting_again_changes_nothing(ready: Case) -> None:
    first = ready.promote()
    before = {path: path.read_bytes() for path in ready.registry.root.rglob("*") if path.is_file()}

    assert ready.promote(at=DECIDED + timedelta(days=1)) == first
    assert {path: path.read_bytes() for path in ready.registry.root.rglob("*") if path.is_file()} == before
    assert len(ready.log.entries()) == 1


def test_the_same_checkpoint_has_the_same_manifest_in_every_stage(ready: Case) -> None:
    staging, production = ready.promote(), ready.promote(stage="production")

    assert staging.manifest == production.manifest
    assert staging.digest != production.digest
    assert [(one.placement.name, one.placement.stage) for one in listing(ready.registry, ready.log)] == [
        ("smollm2/135m", "production"),
        ("smollm2/135m", "staging"),
    ]


def test_a_later_promotion_replaces_the_earlier_and_names_it(ready: Case, tmp_path: Path) -> None:
    first = ready.promote()
    other = case(tmp_path, {**FILES, "config.json": b"{ }"}, people=ready.office, name="other")
    second = other.promote()

    assert (second.revision, second.previous) == (2, first.digest)
    assert resolve(ready.registry, ready.log, "smollm2/135m", stage="staging").subject == second.subject
    assert verify_registry(ready.registry, ready.log).models == 2


def test_a_promotion_that_came_between_is_not_replaced(ready: Case, tmp_path: Path) -> None:
    first = ready.promote()
    other = case(tmp_path, {**FILES, "config.json": b"{ }"}, people=ready.office, name="other")

    with pytest.raises(PromotionError, match="changed meanwhile"):
        other.promote(expected=None)
    assert resolve(ready.registry, ready.log, "smollm2", stage="staging") == first
    assert other.promote(expected=first.digest).revision == 2


def test_of_forty_concurrent_promotions_exactly_one_wins(tmp_path: Path) -> None:
    first = case(tmp_path)
    cases = [
        case(tmp_path, {**FILES, "config.json": b"%d" % number}, people=first.office, name=f"m{number}")
        for number in range(40)
    ]
    won: list[str] = []
    lost: list[PromotionError] = []

    def attempt(one: Case) -> None:
        try:
            won.append(one.promote(expected=None).subject)
        except PromotionError as error:
            lost.append(error)

    threads = [threading.Thread(target=attempt, args=(one,)) for one in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), len(lost)) == (1, 39)
    assert resolve(first.registry, first.log, "smollm2", stage="staging").subject == won[0]
    assert len(first.log.entries()) == 1
    assert verify_registry(first.registry, first.log).problems == ()


def test_errors_are_of_the_kind_that_denies() -> None:
    assert issubclass(PromotionError, DeniedError)
    assert issubclass(ApprovalError, DeniedError)
    assert issubclass(RegistryContentError, AirlockError)
