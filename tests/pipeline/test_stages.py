"""A decision is for a stage: by the rules, the pins and the approvals of that stage, and promotes into no other."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import policies
from pipeline.cli.output import ExitCode
from pipeline.run_directory import RunDirectory
from tests.runs import Organisation, Ran

EXAMPLES = Path(policies.__file__).parent / "examples" / "invalid"
RULES = """extends: [attached]
rules:
  - id: bias.none
    title: No bias
    reason: For the test.
    metric: bias/counterfactual_pairs/stereotype_preference_rate
    max: 0.01
    when: {stages: [production]}
"""


@pytest.fixture
def staged(site: Organisation) -> Organisation:
    """A policy with one rule, for production alone, that the candidate breaks."""
    site.policy("staged", RULES)
    return site


def gate(site: Organisation, *options: str, policy: str = "staged") -> Ran:
    return site.airlock("gate", site.run, "--policy", site.root / f"{policy}.yaml", *options, json=True)


def approve(site: Organisation, *options: str) -> None:
    for person, role in (("ana", "compliance"), ("ben", "security")):
        who = ("--role", role, "--key", site.key(person))
        signed = site.airlock("approve", site.run, "--candidate", "good", *who, *options)
        assert signed.code == ExitCode.YES, signed.stderr


def held(site: Organisation, stage: str) -> bool:
    return site.airlock("registry", "resolve", "tiny/good", "--stage", stage).code == ExitCode.YES


def test_rules_are_judged_for_the_stage_asked_for(staged: Organisation) -> None:
    assert gate(staged, "--stage", "production").code == ExitCode.DENIED
    judged = gate(staged, "--stage", "staging")
    assert judged.code == ExitCode.YES
    (candidate,) = json.loads(judged.stdout)["candidates"]
    assert candidate["stage"] == "staging"
    assert gate(staged).code == ExitCode.DENIED  # without a stage the rules of every stage count
    text = staged.airlock("gate", staged.run, "--policy", staged.root / "staged.yaml", "--stage", "staging")
    assert text.stdout.startswith("For the stage 'staging'.")


def test_a_run_is_judged_for_its_stage(staged: Organisation) -> None:
    release, policy = staged.root / "release.yaml", staged.root / "staged.yaml"
    ran = staged.airlock("run", release, "--policy", policy, "--run", staged.root / "other", "--stage", "nowhere")
    assert ran.code == ExitCode.BAD_REQUEST
    assert "there is no stage 'nowhere'" in ran.stderr
    assert not (staged.root / "other").exists()


def test_a_decision_for_the_stage_promotes(staged: Organisation) -> None:
    assert gate(staged, "--stage", "staging").code == ExitCode.YES
    approve(staged)
    promoted = staged.promote()
    assert promoted.code == ExitCode.YES, promoted.stderr
    assert held(staged, "staging")


def test_attack_stage_swapped_between_decision_and_promotion(staged: Organisation) -> None:
    """Judged and approved for staging, where the broken rule does not hold, then promoted to production."""
    assert gate(staged, "--stage", "staging").code == ExitCode.YES
    approve(staged)
    denied = staged.promote("production")
    assert denied.code == ExitCode.DENIED
    assert "It was judged for 'staging'" in denied.stderr
    assert not held(staged, "production")


def test_attack_approval_for_another_stage_than_decided(staged: Organisation) -> None:
    assert gate(staged, "--stage", "staging").code == ExitCode.YES
    who = ("--role", "compliance", "--key", staged.key("ana"), "--stage", "production")
    denied = staged.airlock("approve", staged.run, "--candidate", "good", *who)
    assert denied.code == ExitCode.DENIED
    assert "is for another stage" in denied.stderr
    assert RunDirectory(staged.run).approvals("good") == ()


def test_attack_policy_swapped_between_decision_and_promotion(site: Organisation) -> None:
    """Approved by the strict policy, gated again by a lax one of the same name: the approvals were for another."""
    approve(site)
    (site.root / "swapped").mkdir()
    lax = site.root / "swapped" / "attached.yaml"
    lax.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: attached\nevidence: {endpoint: true}\nrules:\n"
        "  - {id: any, title: Any, reason: For the test., metric: performance/completion/acc, min: 0.01}\n"
        "approvals: [{role: compliance, count: 1}]\n"
    )
    assert site.airlock("gate", site.run, "--policy", lax).code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "another decision" in denied.stderr
    assert not held(site, "staging")


@pytest.mark.parametrize(
    ("name", "words"),
    [("empty", "has no rules"), ("no-rules-key", "has no rules"), ("no-blocking-rule", "is of severity 'block'")],
)
def test_attack_a_policy_that_asks_for_nothing(site: Organisation, name: str, words: str) -> None:
    """An empty file, a policy without rules, one whose rules only warn: none becomes the run's decision."""
    before = RunDirectory(site.run).candidate("good")
    refused = site.airlock("gate", site.run, "--policy", EXAMPLES / f"{name}.yaml")
    assert refused.code == ExitCode.BAD_REQUEST
    assert words in refused.stderr
    assert RunDirectory(site.run).candidate("good") == before


def test_attack_an_older_version_of_the_policy(site: Organisation) -> None:
    """The memory of versions is deleted; the signed log still knows that version 2 has decided."""
    newer = site.policy("attached", "version: 2\nextends: [demo]\nevidence: {endpoint: true}\n")
    assert site.airlock("gate", site.run, "--policy", newer).code == ExitCode.YES
    older = site.policy("attached", "extends: [demo]\nevidence: {endpoint: true}\n")
    before = RunDirectory(site.run).candidate("good")
    for _ in range(2):
        denied = site.airlock("gate", site.run, "--policy", older)
        assert denied.code == ExitCode.DENIED
        assert "versions never go back" in denied.stderr
        shutil.rmtree(site.root / "store" / "policies", ignore_errors=True)
    assert RunDirectory(site.run).candidate("good") == before


def test_attack_promotion_by_a_decision_of_an_older_version(site: Organisation) -> None:
    """Decided and approved by version 1; version 2 has decided elsewhere since."""
    approve(site)
    shutil.copytree(site.run, site.root / "other")
    newer = site.policy("attached", "version: 2\nextends: [demo]\nevidence: {endpoint: true}\n")
    assert site.airlock("gate", site.root / "other", "--policy", newer).code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "versions never go back" in denied.stderr
    assert not held(site, "staging")


def test_attack_a_policy_that_the_stage_is_not_pinned_to_is_refused_at_the_gate(staged: Organisation) -> None:
    toml = staged.root / "airlock.toml"
    toml.write_text(f'{toml.read_text()}\n[policies.pinned]\nstaging = ["sha256:{"0" * 64}"]\n')
    before = RunDirectory(staged.run).candidate("good")
    denied = gate(staged, "--stage", "staging")
    assert denied.code == ExitCode.DENIED
    assert "may not decide for stage 'staging'" in denied.stderr
    assert RunDirectory(staged.run).candidate("good") == before


def test_attack_a_decision_that_would_be_another_by_now(site: Organisation) -> None:
    """GO with a waiver that is used, approved, and promoted after the waiver was to end."""
    policy = site.policy(
        "brief", RULES.replace("    when: {stages: [production]}\n", "") + "separation: {exclude: []}\n"
    )
    assert site.airlock("gate", site.run, "--policy", policy).code == ExitCode.DENIED
    ends = datetime.now(UTC) + timedelta(minutes=4)
    words = ("--reason", "r", "--control", "c", "--ticket", "T-1", "--requester", "sam", "--expires", ends.isoformat())
    roles = ("--requester-role", "engineering", "--role", "security", "--key", site.key("ben"))
    granted = site.airlock(
        *("waive", site.run, "--candidate", "good", "--rule", "bias.none", "--expires", ends.isoformat()),
        *words,
        *roles,
    )
    assert granted.code == ExitCode.YES, granted.stderr
    assert site.airlock("gate", site.run, "--policy", policy).code == ExitCode.YES
    approve(site)
    _wait_until_seen(site, ends)
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "no longer stands" in denied.stderr
    assert "bias.none" in denied.stderr
    assert not held(site, "staging")


def _wait_until_seen(site: Organisation, moment: datetime) -> None:
    """Let the log see a moment in the near future, as another machine's clock a little ahead would write it."""
    from pipeline.audit import AuditLog
    from pipeline.keys import load_signing_key

    key = load_signing_key(site.key("pipeline"))
    log = AuditLog(site.root / "store" / "audit", [key.verifying_key], clock=lambda: moment + timedelta(seconds=1))
    log.append("noted", None, {}, key)
