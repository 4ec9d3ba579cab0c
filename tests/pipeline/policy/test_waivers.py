"""Waivers before the gate: they turn a denial into a pass with a mark, within narrow bounds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.digests import sha256
from pipeline.policy.decision import Waiver
from tests.pipeline.policy.builders import AT, SUBJECT, decided, evidence, limit, measurement, policy, rate, result

GRANTED = Waiver(
    digest=sha256(b"waiver"),
    subject=SUBJECT,
    rule="quality.floor",
    reason="Only used for summaries.",
    compensating_control="Every summary is read by a person.",
    ticket="RISK-7",
    granted_by="ana",
    granted=AT - timedelta(days=1),
    until=AT + timedelta(days=9),
)
WEAK = evidence(measurement(rate(100, 400)))
TERMS = "waivers: {max_duration: 30d, never: ['safety.*']}"


def test_a_waived_rule_does_not_deny_and_says_so(tmp_path: Path) -> None:
    chosen = policy(tmp_path, limit("min: 0.5"), TERMS)
    assert decided(chosen, WEAK).verdict == "NO-GO"
    decision = decided(chosen, WEAK, waivers=[GRANTED])
    waived = result(decision)
    assert (decision.verdict, waived.outcome) == ("GO", "waived")
    assert decision.waived == (waived,)
    assert decision.waivers == (GRANTED.digest,)
    for words in ("ana", "RISK-7", "Only used for summaries.", "read by a person", "25.0 %"):
        assert words in waived.reason
    assert result(decision, "policy.waivers").outcome == "pass"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"subject": sha256(b"other")}, "another checkpoint"),
        ({"until": AT}, "ended"),
        ({"granted": AT + timedelta(seconds=1)}, "begins"),
        ({"until": GRANTED.granted + timedelta(days=31)}, "longer"),
        ({"rule": "safety.ceiling"}, "no waiver of this rule"),
        ({"rule": "signature.verified"}, "no waiver of this rule"),
    ],
)
def test_attack_waiver_that_may_not_count(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    rules = limit("min: 0.5") + "\n" + limit("min: 0.5", id_="safety.ceiling")
    waiver = replace(GRANTED, **change)  # type: ignore[arg-type]  # the test varies one field at a time
    decision = decided(policy(tmp_path, rules, TERMS), WEAK, waivers=[waiver])
    assert decision.verdict == "NO-GO"
    assert not decision.waived
    account = result(decision, "policy.waivers")
    assert account.outcome == "fail"
    assert problem in account.reason


def test_attack_waiver_of_an_unverified_signature(tmp_path: Path) -> None:
    unsigned = evidence(measurement(rate(400, 400)), verified={"verified": False})
    waivers = [GRANTED, replace(GRANTED, rule="signature.verified")]
    decision = decided(policy(tmp_path, limit("min: 0.5"), TERMS), unsigned, waivers=waivers)
    assert decision.verdict == "NO-GO"
    assert result(decision, "signature.verified").outcome == "fail"


def test_a_waiver_that_is_not_needed_is_reported(tmp_path: Path) -> None:
    decision = decided(
        policy(tmp_path, limit("min: 0.5"), TERMS), evidence(measurement(rate(300, 400))), waivers=[GRANTED]
    )
    assert decision.verdict == "GO"
    assert not decision.waived
    assert "not needed" in result(decision, "policy.waivers").reason


def test_other_rules_still_deny(tmp_path: Path) -> None:
    rules = limit("min: 0.5") + "\n" + limit("min: 0.5", id_="quality.other")
    assert decided(policy(tmp_path, rules, TERMS), WEAK, waivers=[GRANTED]).verdict == "NO-GO"
