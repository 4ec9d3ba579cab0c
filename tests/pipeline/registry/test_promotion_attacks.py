"""Promotion attacked.  Every denial asserts that no stage, index or log entry came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.approvals.waivers import Grant, make_waiver
from pipeline.digests import sha256
from pipeline.errors import (
    EvidenceError,
    PromotionError,
    RegistryContentError,
    RequestError,
)
from pipeline.keys import generate_key
from pipeline.policy.decision import RuleResult
from pipeline.registry import interface as kinds
from pipeline.registry.consume import listing, resolve
from pipeline.registry.interface import Attachment
from pipeline.registry.proof import gather_proof
from tests.pipeline.registry.helpers import (
    DECIDED,
    FILES,
    Case,
    approve,
    assert_nothing_promoted,
    case,
    verified_candidate,
)


@pytest.fixture
def ready(tmp_path: Path) -> Case:
    return case(tmp_path)


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


def test_expired_approval_at_the_time_of_promotion(ready: Case) -> None:
    voice = ready.approved.approvals[0].voice
    object.__setattr__(voice, "expires", DECIDED + timedelta(hours=2, minutes=30))

    with pytest.raises(PromotionError, match="an approval has expired"):
        ready.promote()
    assert_nothing_promoted(ready)


def _with_waiver(ready: Case, end: timedelta) -> tuple[Any, Any]:
    grant = Grant("quality.floor", "r", "c", "t", "bo", "security", "compliance", DECIDED + end)
    subject, ana = ready.verified.manifest.digest, ready.office.keys["ana"]
    envelope = make_waiver(grant, subject=subject, name="smollm2/135m", policy="demo", key=ana, at=DECIDED)
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
