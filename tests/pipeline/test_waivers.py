"""Waivers, confirmed and attacked: from the signed statement to the decision that says 'waived'."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.approvals.people import People, people_of
from pipeline.approvals.waivers import WAIVER_TYPE, Grant, make_waiver, read_waivers, waiver_end
from pipeline.attestations import attest
from pipeline.digests import sha256
from pipeline.errors import ApprovalError
from pipeline.keys import generate_key
from pipeline.policy.gate import decide
from pipeline.policy.language import PolicyFile
from pipeline.replay import replay
from tests.pipeline.registry.helpers import DECIDED, SUBJECT, Office, office
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
    grant = Grant(**{one.name: arguments.pop(one.name) for one in fields(Grant)})
    return make_waiver(grant, **arguments)


def tally(people: Office, *envelopes: bytes, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"subject": SUBJECT, "at": DECIDED + timedelta(hours=1), **changes}
    return read_waivers(envelopes, people_of(people.site), POLICY, **arguments)


def test_a_good_waiver_is_read_for_the_gate(people: Office) -> None:
    found = tally(people, waiver(people))
    (read,) = found.waivers

    assert (read.rule, read.subject, read.ticket) == (RULE, SUBJECT, "RISK-12")
    assert read.granted_by == "ana (compliance), as eve (engineering) asked,"
    assert (read.granted, read.until) == (DECIDED, DECIDED + timedelta(days=20))
    assert (found.void, found.expiring) == ((), ())
    assert waiver_end(waiver(people)) == read.until


def test_a_waiver_that_ends_soon_is_reported(people: Office) -> None:
    found = tally(people, waiver(people), at=DECIDED + timedelta(days=15))

    assert found.expiring == (f"The waiver of '{RULE}' (RISK-12) ends on 2026-11-22.",)


def test_an_expired_waiver_goes_to_the_gate_which_reports_it(people: Office) -> None:
    found = tally(people, waiver(people), at=DECIDED + timedelta(days=21))

    assert len(found.waivers) == 1
    assert found.expiring == ()


def test_the_order_of_files_does_not_matter(people: Office) -> None:
    both = [waiver(people), waiver(people, ticket="RISK-13")]

    assert tally(people, *both, both[0]).waivers == tally(people, *reversed(both)).waivers


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


@pytest.mark.parametrize("field", ["rule", "reason", "control", "ticket", "requester", "requester_role"])
def test_a_waiver_with_something_left_out_is_not_made(people: Office, field: str) -> None:
    with pytest.raises(ApprovalError, match="incomplete"):
        waiver(people, **{field: " "})


def test_a_waiver_that_has_ended_is_not_made(people: Office) -> None:
    with pytest.raises(ApprovalError, match="incomplete"):
        waiver(people, expires=DECIDED)


@pytest.mark.parametrize("garbage", [b"", b"{}", b'{"payload": "x"}'])
def test_the_end_of_something_that_is_no_waiver(garbage: bytes) -> None:
    with pytest.raises(ApprovalError, match="void"):
        waiver_end(garbage)


def test_a_decision_with_a_waiver_is_a_marked_go_and_is_recomputed(people: Office, tmp_path: Path) -> None:
    judged = judge(tmp_path / "store", 100)
    stated: dict[str, Any] = {"at": REPLAYED_AT - timedelta(hours=1), "expires": REPLAYED_AT + timedelta(days=9)}
    envelope = waiver(people, subject=JUDGED, policy="test", **stated)
    judged.store.put_blob(envelope)
    known = people_of(people.site)
    read = read_waivers([envelope], known, judged.policy.file, subject=JUDGED, at=REPLAYED_AT)
    made = decide(
        judged.policy,
        judged.store.evidence(JUDGED),
        release="r",
        release_digest=sha256(b"r"),
        candidate="m",
        at=REPLAYED_AT,
        stage="staging",
        waivers=read.waivers,
    )
    digest = judged.store.record_decision(made, KEY)

    assert made.verdict == "GO"
    assert [result.rule for result in made.waived] == [RULE]
    assert replay(digest, judged.store, known).same
    without = replay(digest, judged.store, People(()))
    assert 'decision.verdict: "GO" -> "NO-GO"' in without.differences
