"""Promotion, confirmed and attacked.  Every denial asserts that no stage, index or log entry came of it."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.approvals.waivers import make_waiver
from pipeline.audit import AuditLog
from pipeline.digests import hex_of, sha256
from pipeline.errors import (
    AirlockError,
    ApprovalError,
    DeniedError,
    EvidenceError,
    PromotionError,
    RegistryContentError,
    RequestError,
)
from pipeline.keys import generate_key
from pipeline.manifest import FileEntry
from pipeline.policy.decision import RuleResult
from pipeline.registry import interface as kinds
from pipeline.registry.consume import listing, resolve
from pipeline.registry.interface import Attachment
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.proof import gather_proof
from pipeline.registry.upkeep import collect_garbage, verify_registry
from tests.pipeline.registry.helpers import DECIDED, FILES, POLICY, Case, approve, case, verified_candidate


@pytest.fixture
def ready(tmp_path: Path) -> Case:
    return case(tmp_path)


def index(registry: LayoutRegistry) -> list[dict[str, Any]]:
    manifests: list[dict[str, Any]] = json.loads((registry.root / "index.json").read_bytes())["manifests"]
    return manifests


def assert_nothing_promoted(ready: Case) -> None:
    assert ready.log.entries() == ()
    assert ready.registry.table.rows() == ()
    assert ready.registry.published() == ()
    assert ready.registry.unfinished() == ()
    for digest, path in ready.registry.stored():
        assert sha256(path.read_bytes()) == digest


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


def _swap(kind: str, data: bytes) -> Callable[[tuple[Attachment, ...]], tuple[Attachment, ...]]:
    return lambda proof: tuple(replace(one, data=data) if one.kind == kind else one for one in proof)


def _drop(kind: str) -> Callable[[tuple[Attachment, ...]], tuple[Attachment, ...]]:
    return lambda proof: tuple(one for one in proof if one.kind != kind)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_swap(kinds.POLICY, b"a laxer policy"), "policy"),
        (_drop(kinds.POLICY), "policy"),
        (_swap(kinds.DECISION, b"{}"), "decision"),
        (_drop(kinds.DECISION), "decision"),
        (_swap(kinds.EVIDENCE, b"{}"), "evidence"),
        (_drop(kinds.EVIDENCE), "evidence"),
        (_swap(kinds.SIGNATURE, b"{}"), "signature bundle"),
        (lambda proof: (*proof, replace(proof[-1], kind=kinds.EVIDENCE, data=b"more")), "evidence"),
    ],
)
def test_attack_proof_swapped_between_decision_and_promotion(
    ready: Case, change: Callable[[tuple[Attachment, ...]], tuple[Attachment, ...]], word: str
) -> None:
    with pytest.raises(PromotionError, match=f"the {word} given is not what was decided on"):
        ready.promote(proof=change(ready.proof))
    assert_nothing_promoted(ready)


@pytest.mark.parametrize("name", list(FILES))
def test_attack_file_edited_in_the_store_after_verification(ready: Case, name: str) -> None:
    path = ready.verified.root / name
    edited = bytearray(path.read_bytes())
    edited[-1] ^= 1
    path.write_bytes(edited)

    with pytest.raises(PromotionError, match="not the file that was verified"):
        ready.promote()
    assert_nothing_promoted(ready)
    assert sha256(bytes(edited)) not in dict(ready.registry.stored())


def test_attack_file_edited_in_the_store_after_an_earlier_promotion(ready: Case) -> None:
    ready.promote()
    (ready.verified.root / "config.json").write_bytes(b"[]")

    with pytest.raises(PromotionError, match="not the file that was verified"):
        ready.promote(stage="production")
    assert len(ready.log.entries()) == 1


@pytest.mark.parametrize("kind", ["missing", "link", "directory"])
def test_attack_file_replaced_in_the_store(ready: Case, kind: str, tmp_path: Path) -> None:
    path = ready.verified.root / "config.json"
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        path.mkdir()

    with pytest.raises(PromotionError, match="cannot read"):
        ready.promote()
    assert_nothing_promoted(ready)


def test_attack_another_checkpoint_than_the_one_decided_on(ready: Case, tmp_path: Path) -> None:
    other = verified_candidate(tmp_path / "other", {**FILES, "config.json": b"[]"})

    with pytest.raises(PromotionError, match="not the checkpoint that was decided on"):
        ready.promote(verified=other)
    assert_nothing_promoted(ready)


def test_attack_decision_on_another_candidate(ready: Case, tmp_path: Path) -> None:
    renamed = verified_candidate(tmp_path / "other", name="135m-pruned")

    with pytest.raises(PromotionError, match="another candidate"):
        ready.promote(verified=renamed)
    assert_nothing_promoted(ready)


def test_attack_signing_with_an_unknown_key(ready: Case) -> None:
    with pytest.raises(PromotionError, match="unknown key"):
        ready.promote(key=generate_key())
    assert_nothing_promoted(ready)


def test_attack_clock_set_back_before_the_decision(ready: Case) -> None:
    with pytest.raises(PromotionError, match="before the decision"):
        ready.promote(at=DECIDED - timedelta(hours=1))
    assert_nothing_promoted(ready)


def test_attack_log_that_does_not_verify(ready: Case) -> None:
    ready.log.append("decided", None, {}, ready.office.pipeline)
    (ready.log.path / "log.jsonl").write_bytes(b"")

    with pytest.raises(EvidenceError, match="audit log"):
        ready.promote()
    assert ready.registry.table.rows() == ()
    assert ready.registry.published() == ()


def test_attack_log_put_back_before_a_promotion(ready: Case) -> None:
    ready.log.append("decided", None, {}, ready.office.pipeline)
    saved = {path.name: path.read_bytes() for path in ready.log.path.iterdir()}
    ready.promote()
    for path in ready.log.path.iterdir():
        path.unlink()
    for name, data in saved.items():
        (ready.log.path / name).write_bytes(data)

    with pytest.raises(EvidenceError, match="put back"):
        resolve(ready.registry, ready.log, "smollm2", stage="staging")
    with pytest.raises(EvidenceError, match="put back"):
        ready.promote(stage="production")


def test_attack_unknown_stage(ready: Case) -> None:
    with pytest.raises(RequestError, match="no stage 'live'"):
        ready.promote(stage="live")
    assert_nothing_promoted(ready)


def test_attack_blob_of_the_registry_edited_beforehand(ready: Case) -> None:
    promotion = ready.promote()
    path = ready.registry.path(sha256(FILES["config.json"]))
    path.chmod(0o644)
    path.write_bytes(b"[]")

    with pytest.raises(RegistryContentError, match="was edited"):
        ready.promote(stage="production")
    assert len(ready.log.entries()) == 1
    assert path.read_bytes() == b"[]"
    assert promotion.stage == "staging"


class InterruptedHereError(Exception):
    """The power went out."""


class Failing(LayoutRegistry):
    """A registry that is interrupted at its n-th operation."""

    def __init__(self, root: Path, stages: tuple[str, ...], allowed: int) -> None:
        super().__init__(root, stages)
        self.allowed = allowed

    def _count(self) -> None:
        self.allowed -= 1
        if self.allowed < 0:
            raise InterruptedHereError

    def put_blob(self, data: bytes) -> Any:
        self._count()
        return super().put_blob(data)

    def put_file(self, path: Path, entry: FileEntry) -> None:
        self._count()
        super().put_file(path, entry)

    def publish(self, manifests: Any, tags: Any) -> None:
        self._count()
        super().publish(manifests, tags)


def test_an_interruption_at_any_step_leaves_nothing_half_done_and_a_repeat_completes_it(tmp_path: Path) -> None:
    ready = case(tmp_path)
    for allowed in range(1000):
        failing = Failing(ready.registry.root, ready.registry.stages, allowed)
        try:
            ready.promote(registry=failing)
            break
        except InterruptedHereError:
            committed = bool(ready.log.entries())
            assert bool(ready.registry.table.rows()) == committed
            assert ready.registry.published() == ()
            assert ready.registry.unfinished() == ()
    assert allowed > 20

    assert verify_registry(ready.registry, ready.log).problems == ()
    assert len(ready.log.entries()) == 1


class FailingLog(AuditLog):
    """A log whose disk is full."""

    def append(self, *_arguments: Any, **_named: Any) -> Any:
        raise InterruptedHereError


def test_an_interruption_of_the_log_leaves_the_stage_as_it_was(ready: Case) -> None:
    with pytest.raises(InterruptedHereError):
        ready.promote(log=FailingLog(ready.log.path, ready.log.trusted))
    assert_nothing_promoted(ready)
    assert collect_garbage(ready.registry, ready.log).blobs > 5
    assert list(ready.registry.stored()) == []


def test_a_crash_between_log_and_table_is_completed_by_a_repeat(ready: Case) -> None:
    table = ready.registry.table

    class Crashing(type(table)):  # type: ignore[misc]
        @contextmanager
        def changing(self) -> Iterator[Any]:
            with super().changing() as change:
                yield change
                raise InterruptedHereError

    ready.registry.table = Crashing(table.path)
    with pytest.raises(InterruptedHereError):
        ready.promote()
    ready.registry.table = table

    assert len(ready.log.entries()) == 1
    assert table.rows() == ()
    promotion = ready.promote()
    assert len(ready.log.entries()) == 1
    assert resolve(ready.registry, ready.log, "smollm2", stage="staging") == promotion
    assert verify_registry(ready.registry, ready.log).problems == ()


def test_expired_approval_at_the_time_of_promotion(ready: Case) -> None:
    voice = ready.approved.approvals[0].voice
    object.__setattr__(voice, "expires", DECIDED + timedelta(hours=2, minutes=30))

    with pytest.raises(PromotionError, match="an approval has expired"):
        ready.promote()
    assert_nothing_promoted(ready)


def test_errors_are_of_the_kind_that_denies() -> None:
    assert issubclass(PromotionError, DeniedError)
    assert issubclass(ApprovalError, DeniedError)
    assert issubclass(RegistryContentError, AirlockError)


def _with_waiver(ready: Case, end: timedelta) -> tuple[Any, Any]:
    envelope = make_waiver(
        subject=ready.verified.manifest.digest,
        name="smollm2/135m",
        policy="demo",
        rule="quality.floor",
        reason="r",
        control="c",
        ticket="t",
        requester="bo",
        requester_role="security",
        role="compliance",
        key=ready.office.keys["ana"],
        expires=DECIDED + end,
        at=DECIDED,
    )
    result = RuleResult("quality.floor", "Quality", "block", "waived", None, "", None, "", "", None)
    waivers = (ready.store.put_blob(envelope),)
    decision = replace(ready.approved.decision, results=(result,), waivers=waivers)
    approved = approve(ready.office, decision, ready.store.record_decision(decision, ready.office.pipeline))
    return approved, gather_proof(ready.store, approved, ready.verified)


def test_a_promotion_with_a_waiver_says_so_and_keeps_the_waiver(ready: Case) -> None:
    approved, proof = _with_waiver(ready, timedelta(days=9))
    promotion = ready.promote(approved=approved, proof=proof)

    assert promotion.result == "PASS_WITH_WAIVER"
    assert kinds.WAIVER in {one.kind for one in promotion.attachments}


def test_attack_waiver_that_ended_between_decision_and_promotion(ready: Case) -> None:
    approved, proof = _with_waiver(ready, timedelta(hours=2, minutes=30))

    with pytest.raises(PromotionError, match=r"a waiver .* has ended"):
        ready.promote(approved=approved, proof=proof)
    with pytest.raises(PromotionError, match="the waivers given"):
        ready.promote(approved=approved, proof=_drop(kinds.WAIVER)(proof))
    assert_nothing_promoted(ready)


def test_attack_decision_for_another_stage(ready: Case) -> None:
    decision = replace(ready.approved.decision, stage="staging")
    approved = approve(ready.office, decision, ready.store.record_decision(decision, ready.office.pipeline))
    proof = gather_proof(ready.store, approved, ready.verified)

    with pytest.raises(PromotionError, match="the decision is for another stage"):
        ready.promote(approved=approved, proof=proof, stage="production")
    assert_nothing_promoted(ready)
    assert ready.promote(approved=approved, proof=proof).stage == "staging"


def test_attack_self_approval_by_who_signed_the_checkpoint(ready: Case) -> None:
    signer = replace(ready.verified.signer, key_digest=ready.office.keys["ana"].verifying_key.digest)

    with pytest.raises(PromotionError, match="own signer approved it"):
        ready.promote(verified=replace(ready.verified, signer=signer))
    assert_nothing_promoted(ready)


def _say(ready: Case, event: str, person: str, role: str, decision: str | None = None) -> None:
    details = {"decision": decision or ready.approved.digest, "person": person, "role": role}
    ready.log.append(event, ready.approved.decision.subject, details, ready.office.pipeline)


@pytest.mark.parametrize(("event", "person"), [("reject", "bo"), ("withdraw", "bo"), ("reject", "zoe")])
def test_attack_rejection_deleted_from_the_folder_is_known_to_the_log(ready: Case, event: str, person: str) -> None:
    _say(ready, event, person, "security")

    with pytest.raises(PromotionError, match=f"'{person}' \\(security\\): {event}"):
        ready.promote()
    assert ready.registry.table.rows() == ()
    _say(ready, "approve", person, "security")
    assert ready.promote().revision == 1


def test_what_was_said_of_another_decision_or_by_nobody_who_counts_is_no_objection(ready: Case) -> None:
    _say(ready, "reject", "bo", "security", sha256(b"another decision"))
    _say(ready, "withdraw", "zoe", "security")

    assert ready.promote().revision == 1


def test_attack_log_entries_that_do_not_follow_from_one_another(ready: Case) -> None:
    ready.promote()
    entry = ready.log.entries()[-1]
    for changed in (
        {"previous": None},
        {"previous": None, "revision": 2},
        {"stage": "production", "revision": "x"},
        {},
    ):
        copied = case(ready.registry.root.parent / f"copy-{len(changed)}-{changed.get('revision')}")
        copied.log.append(entry.event, entry.subject, dict(entry.details), copied.office.pipeline)
        copied.log.append(entry.event, entry.subject, {**entry.details, **changed}, copied.office.pipeline)
        with pytest.raises(EvidenceError, match="makes no sense"):
            listing(copied.registry, copied.log)


@pytest.mark.parametrize("event", ["stage-moved", "revoked"])
def test_attack_log_entry_without_a_subject_or_details(ready: Case, event: str) -> None:
    ready.log.append(event, None, {}, ready.office.pipeline)

    with pytest.raises(EvidenceError, match="makes no sense"):
        listing(ready.registry, ready.log)
