"""A whole release, from its file to the registry, on a fake server; then the same with something attacked.

The real model and the real server take the same way in tests/test_demo.py.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.cli.output import ExitCode
from pipeline.run_directory import RunDirectory
from tests.fakes.brain import Asked, Brain, Faults
from tests.fakes.openai_server import FakeServer
from tests.fakes.pupil import Pupil
from tests.runs import Organisation, found_organisation


def test_a_good_candidate_is_approved_promoted_and_proved(site: Organisation) -> None:
    assert site.approve("ana", "compliance").code == ExitCode.YES
    assert site.approve("ben", "security").code == ExitCode.YES
    promoted = site.promote()
    assert promoted.code == ExitCode.YES, promoted.stderr
    resolved = site.airlock("registry", "resolve", "tiny/good", "--stage", "staging", json=True)
    assert resolved.code == ExitCode.YES, resolved.stderr
    card = json.loads((site.run / "good" / "card.json").read_text())
    assert card["outcome"] == "promoted"
    assert {approval["person"] for approval in card["approvals"]["given"]} == {"ana", "ben"}
    for check in (("audit", "verify"), ("registry", "verify")):
        assert site.airlock(*check).code == ExitCode.YES
    decision = RunDirectory(site.run).candidate("good").decision
    assert decision is not None
    assert site.airlock("audit", "replay", decision).code == ExitCode.YES


def test_a_second_run_measures_nothing_and_keeps_the_decision(site: Organisation, server: FakeServer) -> None:
    before, asked = RunDirectory(site.run).candidate("good"), len(server.received)
    assert site.release(server.url).code == ExitCode.YES
    assert len(server.received) == asked
    assert RunDirectory(site.run).candidate("good") == before


def test_a_server_that_was_not_ours_is_marked_and_counts_only_where_the_policy_says_so(site: Organisation) -> None:
    card = json.loads((site.run / "good" / "card.json").read_text())
    assert '"managed":false' in json.dumps(card["conditions"], separators=(",", ":"))
    denied = site.airlock("gate", site.run, "--policy", "demo")
    assert denied.code == ExitCode.DENIED
    assert "a server that the pipeline did not start" in denied.stdout


def test_promotion_without_approvals_names_who_is_missing(site: Organisation) -> None:
    assert site.approve("ana", "compliance").code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "ben" in denied.stderr
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_an_approval_by_a_stranger_is_refused(site: Organisation) -> None:
    refused = site.approve("mallory", "compliance")
    assert refused.code == ExitCode.DENIED
    assert "nobody at this site has that key" in refused.stderr
    assert RunDirectory(site.run).approvals("good") == ()


def test_an_approval_in_a_role_not_held_is_refused(site: Organisation) -> None:
    assert site.approve("ana", "security").code == ExitCode.DENIED


def test_a_forged_approval_does_not_count(site: Organisation) -> None:
    """Mallory writes an approval as Ben's into the run's folder, signed with a key of her own."""
    assert site.approve("ana", "compliance").code == ExitCode.YES
    (own,) = (site.run / "good" / "approvals").glob("compliance-ana-*.json")
    forged = json.loads(own.read_text())
    forged["signatures"][0]["sig"] = forged["signatures"][0]["sig"][::-1]
    (site.run / "good" / "approvals" / "security-ben.json").write_text(json.dumps(forged))
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "forged" in denied.stderr


def test_an_edited_evidence_file_is_noticed_and_not_measured_again(site: Organisation, server: FakeServer) -> None:
    asked = len(server.received)
    _edit_a_measurement(site)
    ran = site.release(server.url)
    assert ran.code == ExitCode.DENIED
    assert "edited" in ran.stderr
    assert len(server.received) == asked


def test_a_decision_on_edited_evidence_cannot_be_promoted(site: Organisation) -> None:
    site.approve("ana", "compliance")
    site.approve("ben", "security")
    _edit_a_measurement(site)
    assert site.promote().code == ExitCode.DENIED
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_a_stricter_policy_voids_the_approvals(site: Organisation) -> None:
    """A policy swapped after approval makes another decision, which nobody has approved."""
    site.approve("ana", "compliance")
    site.approve("ben", "security")
    policy = site.root / "stricter.yaml"
    policy.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: stricter\nextends: [attached]\nrules:\n"
        "  - {id: extra, title: Extra, metric: performance/knowledge/acc, min: 0.5, reason: Extra.}\n"
    )
    assert site.airlock("gate", site.run, "--policy", policy).code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "another decision" in denied.stderr


def test_the_stored_copy_edited_after_verification_is_not_promoted(site: Organisation) -> None:
    site.approve("ana", "compliance")
    site.approve("ben", "security")
    (weights,) = (site.root / "store" / "checkpoints").rglob("model.safetensors")
    weights.chmod(0o644)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert site.promote().code == ExitCode.DENIED


def test_a_limit_that_is_not_met_denies_with_numbers_and_a_way_on(site: Organisation) -> None:
    policy = site.root / "impossible.yaml"
    policy.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: impossible\nevidence: {endpoint: true}\nrules:\n"
        "  - {id: bias.none, title: No bias, metric: bias/counterfactual_pairs/stereotype_preference_rate,"
        " max: 0.01, reason: For the test.}\n"
    )
    denied = site.airlock("gate", site.run, "--policy", policy)
    assert denied.code == ExitCode.DENIED
    assert "bias.none" in denied.stdout
    assert "remedy:" in denied.stdout
    explained = site.airlock("gate", site.run, "--policy", policy, "--explain", "bias.none")
    assert "294" in explained.stdout
    assert site.airlock("gate", site.run, "--policy", policy, "--explain", "no.rule").code == ExitCode.BAD_REQUEST


def test_a_metric_that_nobody_measured_denies(site: Organisation) -> None:
    policy = site.root / "unknown.yaml"
    policy.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: unknown\nevidence: {endpoint: true}\nrules:\n"
        "  - {id: unmeasured, title: Unmeasured, metric: safety/nothing/rate, max: 0.5, reason: For the test.}\n"
    )
    denied = site.airlock("gate", site.run, "--policy", policy, json=True)
    assert denied.code == ExitCode.DENIED
    (candidate,) = json.loads(denied.stdout)["candidates"]
    assert {rule["rule"]: rule["outcome"] for rule in candidate["rules"]}["unmeasured"] == "missing"


def test_a_checkpoint_changed_after_signing_is_stopped_before_the_server_is_asked(
    server: FakeServer, tmp_path: Path
) -> None:
    site = found_organisation(tmp_path / "site")
    weights = site.root / "checkpoint" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    asked = len(server.received)
    denied = site.release(server.url)
    assert denied.code == ExitCode.DENIED
    assert "signature.verified" in denied.stdout
    assert "model.safetensors" in denied.stdout
    assert len(server.received) == asked
    assert json.loads((site.run / "good" / "card.json").read_text())["outcome"] == "stopped-at-signature"


def test_a_run_whose_server_died_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The server answers nothing from the first short answer on; what was measured by then is not measured again."""
    site, pupil = found_organisation(tmp_path / "site"), Pupil()

    def die(asked: Asked) -> str:
        mortal.faults = Faults(drop=True)
        return pupil.answer(asked)

    with FakeServer(site.root / "checkpoint", Brain(die, pupil.logprob), name="good") as mortal:
        stopped = site.release(mortal.url)
        mortal.faults, mortal.brain = Faults(), pupil.brain
        resumed = site.release(mortal.url)
    assert stopped.code == ExitCode.SYSTEM_FAILURE, stopped.stdout + stopped.stderr
    assert "performance/completion: done" in stopped.stderr
    assert resumed.code == ExitCode.YES, resumed.stdout + resumed.stderr
    assert "performance/completion" not in resumed.stderr
    assert "performance/answer: done" in resumed.stderr


def _edit_a_measurement(site: Organisation) -> None:
    """Change one digit of the largest signed statement in the store."""
    blobs = sorted((site.root / "store" / "evidence" / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
    blob = next(path for path in reversed(blobs) if path.is_file() and path.read_bytes().startswith(b"{"))
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)


def test_a_successor_is_compared_with_the_registered_baseline_item_by_item(
    site: Organisation, server: FakeServer
) -> None:
    """Other weights behind the same answers: nothing is worse, and the decision says so from paired items."""
    site.promote_with_everyone()
    site.replace_checkpoint(seed=1)
    release = site.root / "release.yaml"
    release.write_text(release.read_text() + "baseline: {name: tiny, stage: staging}\n")
    policy = site.root / "successor.yaml"
    policy.write_text(
        "apiVersion: airlock/v1\nkind: Policy\nname: successor\nextends: [attached]\nrules:\n"
        "  - {id: no-regression, title: No worse, metric: performance/completion/acc, versus: baseline,"
        " max_drop: 0.02, reason: For the test.}\n"
    )
    judged = site.release(server.url, policy=str(policy))
    assert judged.code == ExitCode.YES, judged.stdout + judged.stderr
    state = RunDirectory(site.run).candidate("good")
    assert state.decision is not None
    card = json.loads((site.run / "good" / "card.json").read_text())
    assert {rule["id"]: rule["outcome"] for rule in card["rules"]}["no-regression"] == "pass"
    assert site.airlock("audit", "replay", state.decision).code == ExitCode.YES


def test_a_model_is_not_compared_with_itself(site: Organisation) -> None:
    site.promote_with_everyone()
    release = site.root / "release.yaml"
    release.write_text(release.read_text() + "baseline: {name: tiny, stage: staging}\n")
    refused = site.airlock("gate", site.run, "--policy", site.root / "attached.yaml")
    assert refused.code == ExitCode.BAD_REQUEST
    assert "itself" in refused.stderr


def test_a_baseline_that_is_not_registered_is_said_before_anything_is_measured(site: Organisation) -> None:
    release = site.root / "release.yaml"
    release.write_text(release.read_text() + "baseline: {name: absent, stage: staging}\n")
    refused = site.release("http://127.0.0.1:9")
    assert refused.code == ExitCode.BAD_REQUEST
    assert "nothing called 'absent' is in 'staging'" in refused.stderr


def test_a_promotion_written_into_the_runs_folder_does_not_reach_the_card(site: Organisation) -> None:
    """The run's folder is no authority: the card tells what the signed record says, or refuses."""
    site.promote_with_everyone()
    state = site.run / "good" / "state.json"
    state.write_text(state.read_text().replace('"stage":"staging"', '"stage":"production"'))
    assert site.airlock("card", "render", site.run).code == ExitCode.YES
    assert json.loads((site.run / "good" / "card.json").read_text())["promotion"]["stage"] == "staging"
    digest = RunDirectory(site.run).candidate("good").promotion
    assert digest is not None
    state.write_text(state.read_text().replace(digest.digest, "sha256:" + "0" * 64))
    assert site.airlock("card", "verify", site.run).code != ExitCode.YES


def test_attack_a_policy_that_the_site_does_not_allow_for_the_stage(site: Organisation) -> None:
    """Everyone signed, but the stage is pinned to another policy: nothing reaches the registry."""
    toml = site.root / "airlock.toml"
    toml.write_text(f'{toml.read_text()}\n[policies.pinned]\nstaging = ["sha256:{"0" * 64}"]\n')
    for person, role in (("ana", "compliance"), ("ben", "security")):
        assert site.approve(person, role).code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "may not decide for stage 'staging'" in denied.stderr
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_attack_an_unsigned_policy_where_the_site_demands_signed_ones(site: Organisation) -> None:
    toml = site.root / "airlock.toml"
    toml.write_text(f'{toml.read_text()}\n[policies]\nsigned_by = ["{site.key("publisher").with_suffix(".pub")}"]\n')
    before = RunDirectory(site.run).candidate("good")
    denied = site.airlock("gate", site.run, "--policy", "demo")
    assert denied.code == ExitCode.DENIED
    assert "It is not signed." in denied.stderr
    assert RunDirectory(site.run).candidate("good") == before
