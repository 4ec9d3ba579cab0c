"""Attacks on the gate: each must deny, and each with a reason of its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.digests import canonical_json, sha256
from pipeline.errors import FileFormatError
from pipeline.evidence.statement import VERIFICATION_TYPE
from pipeline.measurement import Metric
from pipeline.policy.decision import decision_from_json, decision_to_json
from pipeline.policy.document import load_policy, parse_policy
from tests.pipeline.policy.builders import (
    AT,
    DATA,
    MEASURED_AT,
    SERVING,
    decided,
    evidence,
    limit,
    measurement,
    policy,
    rate,
    result,
    statement,
)

GOOD = rate(400, 400)
OTHER = sha256(b"another checkpoint")


def assert_denied(folder: Path, known: Any, rule: str, words: str, **options: Any) -> None:
    settings = options.pop("settings", "")
    decision = decided(policy(folder, limit("min: 0.5"), settings), known, **options)
    assert decision.verdict == "NO-GO"
    assert result(decision, rule).outcome in ("fail", "missing", "stale")
    assert words in result(decision, rule).reason


def test_attack_unverified_signature(tmp_path: Path) -> None:
    known = evidence(
        measurement(GOOD), verified={"verified": False, "what": "a file changed", "why": "A byte differs."}
    )
    assert_denied(tmp_path, known, "signature.verified", "A file changed: A byte differs.")
    assert_denied(tmp_path, known, "quality.floor", "its signature was not verified")


@pytest.mark.parametrize("predicate", [{}, {"verified": "true"}, {"verified": 1}, {"verified": None}])
def test_attack_verification_that_is_not_exactly_true(tmp_path: Path, predicate: dict[str, Any]) -> None:
    assert_denied(tmp_path, evidence(measurement(GOOD), verified=predicate), "signature.verified", "did not succeed")


def test_attack_no_verification_at_all(tmp_path: Path) -> None:
    known = replace(evidence(measurement(GOOD)), verification=None)
    assert_denied(tmp_path, known, "signature.verified", "no signed statement")


def test_attack_verification_of_another_checkpoint(tmp_path: Path) -> None:
    foreign = statement(VERIFICATION_TYPE, {"verified": True}, OTHER)
    assert_denied(
        tmp_path,
        replace(evidence(measurement(GOOD)), verification=foreign),
        "signature.verified",
        "no signed statement",
    )


def test_attack_unsafe_checkpoint_that_was_measured_all_the_same(tmp_path: Path) -> None:
    finding = {
        "id": "checkpoint.pickle",
        "severity": "deny",
        "file": "model.bin",
        "message": "A pickle.",
        "remedy": "R.",
    }
    known = evidence(measurement(GOOD), inspected={"findings": [finding, finding]})
    assert_denied(tmp_path, known, "checkpoint.safe-to-load", "'checkpoint.pickle' in model.bin")
    assert_denied(tmp_path, known, "quality.floor", "not safe to load")


@pytest.mark.parametrize("findings", [None, {}, [1], [{"id": "x"}], [{"id": "x", "severity": "harmless"}], "none"])
def test_attack_inspection_that_cannot_be_read(tmp_path: Path, findings: Any) -> None:
    known = evidence(measurement(GOOD), inspected={"findings": findings})
    assert_denied(tmp_path, known, "checkpoint.safe-to-load", "no readable inspection")


def test_attack_no_inspection_at_all(tmp_path: Path) -> None:
    known = replace(evidence(measurement(GOOD)), inspection=None)
    assert_denied(tmp_path, known, "checkpoint.safe-to-load", "no readable inspection")


def test_attack_evidence_of_another_checkpoint(tmp_path: Path) -> None:
    known = evidence(measurement(GOOD, subject=OTHER))
    assert_denied(tmp_path, known, "evidence.of-this-checkpoint", str(OTHER))


def test_attack_evidence_of_two_serving_configurations(tmp_path: Path) -> None:
    faster = {**SERVING, "digest": sha256(b"quantised for speed")}
    known = evidence(measurement(GOOD), measurement(GOOD, check="performance/speed", serving=faster))
    assert_denied(tmp_path, known, "evidence.one-serving", "2 different serving configurations")


def test_attack_evidence_on_other_data(tmp_path: Path) -> None:
    easy = replace(DATA, digest=sha256(b"easy items"))
    settings = f"evidence: {{data: {{knowledge: '{DATA.digest}'}}}}"
    assert_denied(
        tmp_path, evidence(measurement(GOOD, data=(easy,))), "quality.floor", "is demanded", settings=settings
    )
    pinned = decided(policy(tmp_path, limit("min: 0.5"), settings), evidence(measurement(GOOD)))
    assert pinned.verdict == "GO"


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (measurement(GOOD, imported=True), "imported from another tool"),
        (measurement(GOOD, check="imported/lm_eval_knowledge"), "There is no measurement of"),
        (measurement(GOOD, serving={**SERVING, "managed": False}), "did not start"),
        (measurement(GOOD, serving={**SERVING, "endpoint": "http://127.0.0.1:1"}), "did not start"),
        (measurement(GOOD, serving={**SERVING, "options": {"load_format": "dummy"}}), "random weights"),
        (measurement(GOOD, serving={**SERVING, "options": {"load-format": "dummy"}}), "random weights"),
    ],
)
def test_attack_evidence_that_does_not_count(tmp_path: Path, known: Any, words: str) -> None:
    assert_denied(tmp_path, evidence(known), "quality.floor", words)


def test_endpoint_and_imported_evidence_count_where_the_policy_says_so(tmp_path: Path) -> None:
    chosen = policy(tmp_path, limit("min: 0.5"), "evidence: {endpoint: true}")
    assert decided(chosen, evidence(measurement(GOOD, serving={**SERVING, "managed": False}))).verdict == "GO"
    rule = limit("min: 0.5", metric="imported/lm_eval_knowledge/acc")
    other = measurement(GOOD, check="imported/lm_eval_knowledge", imported={"tool": "lm_eval"}, serving={})
    for settings, verdict in (("evidence: {imported: true}", "GO"), ("", "NO-GO")):
        assert decided(policy(tmp_path, rule, settings), evidence(measurement(GOOD), other)).verdict == verdict


def test_attack_imported_evidence_under_the_name_of_a_check_of_airlock(tmp_path: Path) -> None:
    settings = "evidence: {imported: true, endpoint: true}"
    assert_denied(
        tmp_path, evidence(measurement(GOOD, imported=True)), "quality.floor", "bears the name", settings=settings
    )
    own = evidence(measurement(GOOD, check="imported/lm_eval_knowledge"))
    rule = limit("min: 0.5", metric="imported/lm_eval_knowledge/acc")
    assert "bears the name" in result(decided(policy(tmp_path, rule, settings), own)).reason


def test_attack_best_of_several_runs(tmp_path: Path) -> None:
    bad = measurement(rate(100, 400), seed=1, finished=MEASURED_AT - timedelta(hours=1))
    known = evidence(bad, measurement(GOOD, seed=2))
    assert_denied(tmp_path, known, "quality.floor", "25.0 %")
    assert_denied(tmp_path, known, "quality.floor", "allows a single run", settings="evidence: {reruns: single}")
    assert decided(policy(tmp_path, limit("min: 0.5"), "evidence: {reruns: latest}"), known).verdict == "GO"


def test_attack_worst_run_left_out_by_a_new_version_needs_that_version(tmp_path: Path) -> None:
    old = measurement(rate(100, 400), version="1", finished=MEASURED_AT - timedelta(hours=1))
    assert decided(policy(tmp_path, limit("min: 0.5")), evidence(old, measurement(GOOD, version="2"))).verdict == "GO"
    assert (
        decided(policy(tmp_path, limit("min: 0.5")), evidence(old, measurement(GOOD, version="1"))).verdict == "NO-GO"
    )


def test_attack_two_statements_about_one_run_disagree(tmp_path: Path) -> None:
    assert_denied(
        tmp_path, evidence(measurement(GOOD), measurement(rate(399, 400))), "evidence.consistent", "different results"
    )


def test_attack_clock_set_back(tmp_path: Path) -> None:
    early = MEASURED_AT - timedelta(seconds=1)
    assert_denied(tmp_path, evidence(measurement(GOOD)), "evidence.in-time", "not before the decision", at=early)


def test_attack_measurement_that_ended_before_it_began(tmp_path: Path) -> None:
    backwards = replace(measurement(GOOD), started=MEASURED_AT + timedelta(hours=1))
    assert_denied(tmp_path, evidence(backwards), "evidence.in-time", "not before")


@pytest.mark.parametrize("metric", [rate(0, 0), rate(0, 0, invalid=400)])
def test_attack_no_valid_sample(tmp_path: Path, metric: Metric) -> None:
    assert_denied(tmp_path, evidence(measurement(metric)), "quality.floor", "nothing is known")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_attack_value_that_is_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Metric("acc", "mean", "s", "lower", ("a",), (value,))


def test_attack_policy_without_a_rule_for_the_candidate(tmp_path: Path) -> None:
    chosen = policy(tmp_path, limit("min: 0.5", more=", when: {candidates: ['other']}"))
    decision = decided(chosen, evidence(measurement(rate(0, 400))))
    assert decision.verdict == "NO-GO"
    assert "No blocking rule" in result(decision, "policy.covers-candidate").reason


def test_attack_policy_that_is_not_in_force(tmp_path: Path) -> None:
    later = f"effective_from: {AT.date() + timedelta(days=1)}"
    assert_denied(tmp_path, evidence(measurement(GOOD)), "policy.in-force", "comes into force", settings=later)


def test_attack_swapped_policy_has_another_digest(tmp_path: Path) -> None:
    strict, lax = policy(tmp_path, limit("min: 0.9")), policy(tmp_path, limit("min: 0.1"))
    decision = decided(strict, evidence(measurement(rate(300, 400))))
    assert decision.policy_digest == sha256(strict.canonical) != lax.digest


def test_attack_edited_stored_policy(tmp_path: Path) -> None:
    stored = policy(tmp_path, limit("min: 0.9")).canonical
    edited = json.loads(stored)
    edited["policy"]["rules"][0]["min"] = 0.1
    assert parse_policy(canonical_json(edited)).digest != sha256(stored)
    for data in (b"", b"{}", b"[]", stored[:-1], stored + b" ", b"\xff"):
        with pytest.raises(FileFormatError, match="stored policy"):
            parse_policy(data)


def test_attack_laid_out_differently_the_policy_is_the_same(tmp_path: Path) -> None:
    plain = policy(tmp_path, limit("min: 0.9"))
    path = tmp_path / "other-name.yaml"
    path.write_text((tmp_path / "test.yaml").read_text().replace("rules:", "# a comment\n\nrules:"))
    assert load_policy(path).digest == plain.digest


def test_attack_edited_decision(tmp_path: Path) -> None:
    decision = decided(policy(tmp_path, limit("min: 0.5")), evidence(measurement(rate(100, 400))))
    forged = json.loads(decision_to_json(decision))
    forged["verdict"] = "GO"
    assert decision_from_json(canonical_json(forged)) != decision


def test_attack_hostile_text_reaches_no_verdict(tmp_path: Path) -> None:
    finding = {"id": "x", "severity": "deny", "file": "\x1b[2J", "message": "</td><script>", "remedy": "`rm`"}
    decision = decided(policy(tmp_path, limit("min: 0.5")), evidence(inspected={"findings": [finding]}))
    assert decision.verdict == "NO-GO"
    assert decision_from_json(decision_to_json(decision)) == decision
