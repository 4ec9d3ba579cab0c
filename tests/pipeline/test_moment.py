"""Time: the gate can look forward without deciding, and a clock that was set back makes nothing valid again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as Xml

import pytest

from pipeline.audit import AuditLog
from pipeline.cli.output import ExitCode
from pipeline.keys import load_signing_key
from pipeline.run_directory import RunDirectory
from tests.runs import Organisation, Ran

LATER = datetime.now(UTC) + timedelta(days=400)


def gate(site: Organisation, *options: object, json: bool = False) -> Ran:
    words = [str(option) for option in options]
    return site.airlock("gate", site.run, "--policy", site.root / "attached.yaml", *words, json=json)


def log_of(site: Organisation, offset: timedelta = timedelta()) -> AuditLog:
    """The organisation's log, as a machine whose clock is `offset` ahead writes it."""
    key = load_signing_key(site.key("pipeline")).verifying_key
    return AuditLog(site.root / "store" / "audit", [key], clock=lambda: datetime.now(UTC) + offset)


def set_back(site: Organisation, by: timedelta) -> None:
    """Leave the site as it is when its clock was set back by this much after the newest log entry."""
    log_of(site, by).append("noted", None, {}, load_signing_key(site.key("pipeline")))


def recorded(site: Organisation) -> tuple[object, ...]:
    """All that a decision, an approval or a promotion would change."""
    store = sorted(str(path) for path in (site.root / "store").rglob("*"))
    folder = sorted(str(path) for path in site.run.rglob("*"))
    return store, folder, RunDirectory(site.run).candidate("good"), len(log_of(site).entries())


def test_a_look_ahead_says_what_will_be_stale(site: Organisation) -> None:
    before = recorded(site)
    denied = gate(site, "--at", LATER.date())
    assert denied.code == ExitCode.DENIED
    assert denied.stdout.startswith(f"PREVIEW of {LATER:%Y-%m-%d} 00:00 UTC: not recorded")
    assert "stale" in denied.stdout
    assert recorded(site) == before


def test_a_look_ahead_is_marked_in_every_output(site: Organisation) -> None:
    junit, merge = site.root / "junit.xml", site.root / "merge.md"
    ran = gate(site, "--at", LATER.isoformat(), "--junit", junit, "--markdown", merge, json=True)
    document = json.loads(ran.stdout)
    (candidate,) = document["candidates"]
    assert document["preview"] is True
    assert candidate["decision"] is None
    assert candidate["preview"] == LATER.isoformat()
    suite = Xml.parse(junit).getroot()[0]  # noqa: S314  # our own output
    assert (suite.get("name") or "").startswith("PREVIEW ")
    assert suite.find("properties/property[@name='PREVIEW']") is not None
    assert merge.read_text().count("PREVIEW") == 2
    explained = gate(site, "--at", LATER.isoformat(), "--explain", "capability.completion")
    assert explained.stdout.startswith("PREVIEW")
    decided = json.loads(gate(site, "--explain", "capability.completion", json=True).stdout)
    assert "capability.completion" in decided["explanation"]
    assert decided["preview"] is False
    assert decided["candidates"][0]["decision"]


def test_a_look_ahead_that_is_go_promotes_nothing(site: Organisation) -> None:
    """The policy comes into force in a week: GO then, and NO-GO until then, whatever anyone signs."""
    start = datetime.now(UTC) + timedelta(days=7)
    policy = site.policy(
        "coming", f"extends: [attached]\neffective_from: {start.date()}\napprovals: [{{role: compliance, count: 1}}]\n"
    )
    assert site.airlock("gate", site.run, "--policy", policy).code == ExitCode.DENIED
    ahead = ("--at", (start + timedelta(days=1)).isoformat())
    assert site.airlock("gate", site.run, "--policy", policy, *ahead).code == ExitCode.YES
    refused = site.approve("ana", "compliance")
    assert refused.code == ExitCode.DENIED
    assert "It is NO-GO" in refused.stderr
    assert site.promote().code == ExitCode.DENIED


def test_a_look_ahead_says_which_approvals_will_have_expired(site: Organisation) -> None:
    ends = datetime.now(UTC) + timedelta(days=2)
    who = ("--role", "compliance", "--key", site.key("ana"), "--expires", ends.isoformat())
    assert site.airlock("approve", site.run, "--candidate", "good", *who).code == ExitCode.YES
    status = ("approvals", site.run, "--candidate", "good")
    assert "ana approved as compliance" in site.airlock(*status).stdout
    later = site.airlock(*status, "--at", (ends + timedelta(days=1)).isoformat())
    assert later.code == ExitCode.DENIED
    assert later.stdout.startswith("PREVIEW of ")
    assert "it expired at" in later.stdout
    assert site.airlock(*status, "--at", "2020-01-01").code == ExitCode.BAD_REQUEST


def test_a_look_ahead_by_a_coming_policy_leaves_the_present_one_in_place(site: Organisation) -> None:
    newer = site.policy("attached", "version: 2\nextends: [demo]\nevidence: {endpoint: true}\n")
    before = recorded(site)
    soon = datetime.now(UTC) + timedelta(hours=1)
    assert site.airlock("gate", site.run, "--policy", newer, "--at", soon.isoformat()).code == ExitCode.YES
    assert recorded(site) == before
    older = site.policy("attached", "extends: [demo]\nevidence: {endpoint: true}\n")
    assert site.airlock("gate", site.run, "--policy", older).code == ExitCode.YES


@pytest.mark.parametrize("offset", [timedelta(days=-1), timedelta(minutes=-1)])
def test_attack_a_look_back(site: Organisation, offset: timedelta) -> None:
    before = recorded(site)
    refused = gate(site, "--at", (datetime.now(UTC) + offset).isoformat())
    assert refused.code == ExitCode.BAD_REQUEST
    assert "only looks forward" in refused.stderr
    assert recorded(site) == before


@pytest.mark.parametrize("text", ["yesterday", "2027-01-31T12:00", "2027-13-01"])
def test_a_time_that_is_none(site: Organisation, text: str) -> None:
    assert gate(site, "--at", text).code == ExitCode.BAD_REQUEST


def test_attack_clock_set_back(site: Organisation) -> None:
    """The log has seen tomorrow: until then nothing is decided, signed, waived or promoted."""
    for person, role in (("ana", "compliance"), ("ben", "security")):
        assert site.approve(person, role).code == ExitCode.YES
    set_back(site, timedelta(days=1))
    before = recorded(site)
    candidate = ("--candidate", "good")
    attempts = (
        gate(site),
        gate(site, "--at", (datetime.now(UTC) + timedelta(hours=1)).isoformat()),
        site.release("http://127.0.0.1:9"),
        site.approve("ana", "compliance"),
        site.airlock("approvals", site.run, *candidate),
        site.promote(),
        site.airlock("promote", site.run, *candidate, "--stage", "staging", "--break-glass"),
    )
    for ran in attempts:
        assert ran.code == ExitCode.DENIED
        assert "the clock was set back" in ran.stderr
    assert recorded(site) == before
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_attack_clock_set_back_for_an_emergency_that_has_ended(site: Organisation) -> None:
    """What a stage holds is answered, and put back, as of no moment before the log's newest."""
    site.promote_with_everyone()
    stage = ("--stage", "staging")
    assert site.airlock("registry", "resolve", "tiny/good", *stage).code == ExitCode.YES
    set_back(site, timedelta(days=1))
    why = ("--reason", "back", "--key", site.key("ben"))
    for command in (("registry", "resolve", "tiny/good", *stage), ("rollback", "tiny/good", *stage, *why)):
        ran = site.airlock(*command)
        assert ran.code == ExitCode.DENIED
        assert "the clock was set back" in ran.stderr


def test_a_look_ahead_before_the_newest_entry_is_a_look_back(site: Organisation) -> None:
    set_back(site, timedelta(minutes=4))  # a correction that nobody needs to look at
    refused = gate(site, "--at", (datetime.now(UTC) + timedelta(minutes=2)).isoformat())
    assert refused.code == ExitCode.BAD_REQUEST
    assert gate(site).code == ExitCode.YES


def test_attack_clock_set_back_in_small_steps(site: Organisation) -> None:
    """Each step alone would pass for a correction; what counts is the newest time that the log has seen."""
    key = load_signing_key(site.key("pipeline"))
    for minutes in (8, 4, 0):
        log_of(site, timedelta(minutes=minutes)).append("noted", None, {}, key)
    denied = gate(site)
    assert denied.code == ExitCode.DENIED
    assert "the clock was set back" in denied.stderr
