"""Waivers, confirmed and attacked: from the signed statement to the decision that says 'waived'."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.approvals.people import People, people_of
from pipeline.approvals.waivers import WAIVER_TYPE, make_waiver, read_waivers
from pipeline.approvals.waiving import apply_waivers
from pipeline.attestations import attest
from pipeline.digests import sha256
from pipeline.errors import ApprovalError
from pipeline.keys import generate_key
from pipeline.policy.decision import Decision, RuleResult, Verdict
from pipeline.policy.language import PolicyFile
from pipeline.replay import replay
from tests.pipeline.registry.helpers import DECIDED, SUBJECT, Office, decision, office
from tests.pipeline.test_replay import AT as REPLAYED_AT
from tests.pipeline.test_replay import KEY, judge
from tests.pipeline.test_replay import SUBJECT as JUDGED

RULE = "quality.floor"
POLICY = PolicyFile.model_validate(
    {
        "apiVersion": "airlock/v1",
        "kind": "Policy",
        "name": "demo",
        "rules": [
            {
                "id": RULE,
                "title": "Quality",
                "reason": "Users need it.",
                "metric": "performance/knowledge/acc",
                "min": 1,
            },
            {"id": "safety.harm", "title": "Safety", "reason": "Law.", "metric": "safety/harmful/rate", "max": 0.02},
        ],
        "approvals": [{"role": "compliance", "count": 1}, {"role": "security", "count": 1}],
        "waivers": {"max_duration": "30d", "never": ["safety.*"]},
    }
)


@pytest.fixture
def people(tmp_path: Path) -> Office:
    return office(tmp_path, {"ana": ["compliance"], "bo": ["security"], "eve": ["engineering", "compliance"]})


def waiver(people: Office, by: str = "ana", **changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "subject": SUBJECT,
        "name": "smollm2/135m",
        "policy": "demo",
        "rule": RULE,
        "reason": "the summaries are read by people anyway",
        "control": "every answer is reviewed",
        "ticket": "RISK-12",
        "requester": "eve",
        "requester_role": "engineering",
        "role": "compliance",
        "key": people.keys[by],
        "at": DECIDED,
        "expires": DECIDED + timedelta(days=20),
        **changes,
    }
    return make_waiver(**arguments)


def tally(people: Office, *envelopes: bytes, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"subject": SUBJECT, "at": DECIDED + timedelta(hours=1), **changes}
    return read_waivers(envelopes, people_of(people.site), POLICY, **arguments)


def rule(outcome: Any = "fail", id_: str = RULE) -> RuleResult:
    return RuleResult(id_, "Quality", "block", outcome, None, "at least 1", None, "It is 0.5.", "Train it.", None)


def refused(*results: RuleResult, verdict: Verdict = "NO-GO") -> Decision:
    return replace(decision(verdict=verdict, decided=DECIDED + timedelta(hours=1)), results=results or (rule(),))


def test_a_waived_rule_is_waived_and_never_a_pass(people: Office) -> None:
    made = apply_waivers(refused(), POLICY, tally(people, waiver(people)).waivers)

    assert made.verdict == "GO"
    (result,) = made.results
    assert result.outcome == "waived"
    assert made.waived == (result,)
    for words in ("It is 0.5.", "until 2026-11-22", "by ana (compliance)", "eve (engineering) asked", "RISK-12"):
        assert words in result.reason
    assert made.waivers == (sha256(waiver(people)),) or len(made.waivers) == 1


@pytest.mark.parametrize("outcome", ["fail", "inconclusive", "missing", "stale"])
def test_whatever_is_open_can_be_waived(people: Office, outcome: Any) -> None:
    made = apply_waivers(refused(rule(outcome)), POLICY, tally(people, waiver(people)).waivers)

    assert [result.outcome for result in made.results] == ["waived"]


def test_one_waiver_leaves_the_other_rules_as_they_are(people: Office) -> None:
    made = apply_waivers(refused(rule(), rule(id_="other.rule")), POLICY, tally(people, waiver(people)).waivers)

    assert made.verdict == "NO-GO"
    assert [result.outcome for result in made.results] == ["waived", "fail"]


def test_an_unused_waiver_is_reported(people: Office) -> None:
    made = apply_waivers(refused(rule("pass"), verdict="GO"), POLICY, tally(people, waiver(people)).waivers)

    assert made.verdict == "GO"
    assert made.waived == ()
    assert [(result.rule, result.severity) for result in made.results[1:]] == [("waiver.unused", "warn")]


def test_an_expired_waiver_is_reported_and_counts_no_more(people: Office) -> None:
    late = replace(refused(), decided=DECIDED + timedelta(days=21))
    waivers = tally(people, waiver(people), at=late.decided).waivers
    made = apply_waivers(late, POLICY, waivers)

    assert made.verdict == "NO-GO"
    assert [result.rule for result in made.results] == [RULE, "waiver.expired"]


def test_a_waiver_that_ends_soon_is_reported(people: Office) -> None:
    late = replace(refused(), decided=DECIDED + timedelta(days=15))
    made = apply_waivers(late, POLICY, tally(people, waiver(people), at=late.decided).waivers)

    assert made.verdict == "GO"
    assert [result.rule for result in made.results] == [RULE, "waiver.expiring"]


def test_the_same_input_gives_the_same_bytes_in_any_order(people: Office) -> None:
    both = [waiver(people), waiver(people, ticket="RISK-13")]
    one = apply_waivers(refused(), POLICY, tally(people, *both).waivers)

    assert apply_waivers(refused(), POLICY, tally(people, *reversed(both)).waivers) == one


VOID: dict[str, tuple[dict[str, Any], str]] = {
    "other-checkpoint": ({"subject": sha256(b"another")}, "another checkpoint"),
    "other-policy": ({"policy": "staging"}, "for the policy 'staging'"),
    "never-list": ({"rule": "safety.harm"}, "no waivers for this rule"),
    "built-in": ({"rule": "signature.verified"}, "no waivers for this rule"),
    "unsafe-to-load": ({"rule": "checkpoint.safe-to-load"}, "no waivers for this rule"),
    "too-long": ({"expires": DECIDED + timedelta(days=31)}, "longer than the 30d"),
    "future": ({"at": DECIDED + timedelta(days=1)}, "dated in the future"),
    "self-granted": ({"requester": "ana", "requester_role": "compliance"}, "asked for themselves"),
    "same-role": ({"requester_role": "compliance"}, "in one role"),
    "requester-unknown": ({"requester": "mallory"}, "'mallory', does not hold"),
    "requester-without-role": ({"requester": "bo"}, "'bo', does not hold the role 'engineering'"),
    "role-not-held": ({"role": "security"}, "'ana' does not hold the role 'security'"),
    "stranger": ({"key": generate_key()}, "trusted keys"),
}


@pytest.mark.parametrize("name", VOID)
def test_attack_void_waiver_has_its_own_reason_and_waives_nothing(people: Office, name: str) -> None:
    changes, reason = VOID[name]

    found = tally(people, waiver(people, **changes))
    assert found.waivers == ()
    assert reason in found.void[0]


def test_attack_granted_in_a_role_that_signs_nothing_off(tmp_path: Path) -> None:
    people = office(tmp_path, {"ana": ["intern"], "eve": ["engineering"]})

    assert "signs nothing off" in tally(people, waiver(people, role="intern")).void[0]


def test_attack_granted_by_the_submitter(people: Office) -> None:
    excluded = {people.keys["ana"].verifying_key.digest}

    assert "took part" in tally(people, waiver(people), excluded=excluded).void[0]


def test_attack_signed_by_requester_and_granter_together(people: Office) -> None:
    envelope = attest(
        WAIVER_TYPE, subject=SUBJECT, name="x", predicate={}, keys=[people.keys["ana"], people.keys["eve"]]
    )

    assert "several people" in tally(people, envelope).void[0]


@pytest.mark.parametrize("predicate", [{}, {"rule": 1}, {"rule": ""}])
def test_attack_signed_nonsense(people: Office, predicate: dict[str, Any]) -> None:
    envelope = attest(WAIVER_TYPE, subject=SUBJECT, name="x", predicate=predicate, keys=[people.keys["ana"]])

    assert "incomplete" in tally(people, envelope).void[0]


def test_attack_a_waiver_slipped_past_the_reading_still_waives_no_built_in_rule(people: Office) -> None:
    (good,) = tally(people, waiver(people)).waivers
    slipped = replace(good, rule="signature.verified")
    made = apply_waivers(refused(rule(id_="signature.verified")), POLICY, [slipped])

    assert made.verdict == "NO-GO"


@pytest.mark.parametrize("field", ["rule", "reason", "control", "ticket", "requester", "requester_role"])
def test_a_waiver_with_something_left_out_is_not_made(people: Office, field: str) -> None:
    with pytest.raises(ApprovalError, match="incomplete"):
        waiver(people, **{field: " "})


def test_a_waiver_that_has_ended_is_not_made(people: Office) -> None:
    with pytest.raises(ApprovalError, match="incomplete"):
        waiver(people, expires=DECIDED)


def test_a_decision_with_a_waiver_is_recomputed(people: Office, tmp_path: Path) -> None:
    judged = judge(tmp_path / "store", 100)
    stated: dict[str, Any] = {"at": REPLAYED_AT - timedelta(hours=1), "expires": REPLAYED_AT + timedelta(days=9)}
    envelope = waiver(people, subject=JUDGED, policy="test", **stated)
    judged.store.put_blob(envelope)
    known = people_of(people.site)
    read = read_waivers([envelope], known, judged.policy.file, subject=JUDGED, at=REPLAYED_AT)
    made = apply_waivers(judged.store.decision(judged.digest), judged.policy.file, read.waivers)
    digest = judged.store.record_decision(made, KEY)

    assert made.verdict == "GO"
    assert replay(digest, judged.store, known).same
    without = replay(digest, judged.store, People(()))
    assert 'decision.verdict: "GO" -> "NO-GO"' in without.differences
