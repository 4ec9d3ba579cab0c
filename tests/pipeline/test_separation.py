"""Separation of duties on a whole release: who had a part in it signs nothing off, by whatever key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.approvals.people import Identity, Member, People
from pipeline.approvals.separation import barred_keys
from pipeline.cli.output import ExitCode
from pipeline.digests import sha256
from pipeline.policy.document import load_policy
from pipeline.run_directory import RunDirectory
from tests.runs import Organisation


def edit(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there, in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def assert_refused(site: Organisation, person: str, role: str, words: str) -> None:
    """Check that the person's signature is refused for this reason, and that nothing was kept or logged."""
    log = site.root / "store" / "audit" / "log.jsonl"
    before = log.read_bytes()
    refused = site.approve(person, role)
    assert refused.code == ExitCode.DENIED
    assert words in refused.stderr
    assert RunDirectory(site.run).approvals("good") == ()
    assert log.read_bytes() == before


def test_attack_self_approval_by_the_submitter(site: Organisation) -> None:
    """Sam, who submitted the release, holds the role of an approver too."""
    assert_refused(site, "sam", "compliance", "'sam' took part as submitter")


def test_attack_self_approval_by_the_submitter_with_a_second_key(site: Organisation) -> None:
    edit(site.root / "airlock.toml", 'public_key = "keys/sam.pub"', _keys("sam", "mallory"))
    assert_refused(site, "mallory", "compliance", "'sam' took part as submitter")


def test_attack_self_approval_written_into_the_folder(site: Organisation) -> None:
    """The submitter signs where the policy lets them, and moves the file to where it does not."""
    lax = site.policy("lax", "extends: [attached]\nseparation: {exclude: []}\n")
    assert site.airlock("gate", site.run, "--policy", lax).code == ExitCode.YES
    assert site.approve("sam", "compliance").code == ExitCode.YES
    assert site.airlock("gate", site.run, "--policy", site.root / "attached.yaml").code == ExitCode.YES
    assert site.approve("ben", "security").code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "1 more approval as compliance needed; who may sign: ana." in denied.stderr


def test_a_policy_may_let_the_submitter_approve(site: Organisation) -> None:
    lax = site.policy("lax", "extends: [attached]\nseparation: {exclude: []}\n")
    assert site.airlock("gate", site.run, "--policy", lax).code == ExitCode.YES
    assert site.approve("sam", "compliance").code == ExitCode.YES
    assert site.approve("ben", "security").code == ExitCode.YES
    assert site.promote().code == ExitCode.YES


def test_attack_approval_by_the_checkpoints_signer(site: Organisation) -> None:
    """Ana's key is that of the publisher who signed the checkpoint; no policy can allow that."""
    edit(site.root / "airlock.toml", 'public_key = "keys/ana.pub"', 'public_key = "keys/publisher.pub"')
    lax = site.policy("lax", "extends: [attached]\nseparation: {exclude: []}\n")
    assert site.airlock("gate", site.run, "--policy", lax).code == ExitCode.YES
    assert_refused(site, "publisher", "compliance", "'ana' took part as")


def test_attack_approval_by_the_identity_that_signed_the_checkpoint() -> None:
    """A keyless signer's keys last for minutes: what is barred is the identity."""
    policy = load_policy(Path("demo")).file
    ana = Member("ana", ("compliance",), (), Identity("ana@internal", "https://login"))
    signer = {"key_digest": sha256(b"for ten minutes"), "identity": "ana@internal", "issuer": "https://login"}
    assert ana.holds_any(barred_keys(policy, People((ana,)), submitter=None, signer=signer))
    other = {**signer, "issuer": "https://elsewhere"}
    assert not ana.holds_any(barred_keys(policy, People((ana,)), submitter=None, signer=other))
    assert ana.holds_any(barred_keys(policy, People((ana,)), submitter="ana", signer={}))


def test_attack_approval_by_the_evaluator(site: Organisation) -> None:
    """Ana's key is the pipeline's, which signed the evidence."""
    edit(site.root / "airlock.toml", 'public_key = "keys/ana.pub"', 'public_key = "keys/pipeline.pub"')
    assert_refused(site, "pipeline", "compliance", "'ana' took part as")


def test_attack_one_person_with_two_keys_in_two_roles(site: Organisation) -> None:
    """Ana has a second key and Ben's role: the decision still waits for a second person."""
    edit(site.root / "airlock.toml", 'public_key = "keys/ana.pub"', _keys("ana", "mallory"))
    edit(site.root / "airlock.toml", 'roles = ["compliance"]', 'roles = ["compliance", "security"]')
    assert site.approve("ana", "compliance").code == ExitCode.YES
    assert site.approve("mallory", "security").code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "1 more approval as" in denied.stderr
    assert site.airlock("registry", "resolve", "tiny/good", "--stage", "staging").code != ExitCode.YES


def test_attack_one_key_as_two_people(site: Organisation) -> None:
    edit(site.root / "airlock.toml", 'public_key = "keys/ben.pub"', 'public_key = "keys/ana.pub"')
    assert_refused(site, "ana", "compliance", "'ana' and 'ben' have the same key")


def test_attack_revoked_key(site: Organisation) -> None:
    """Ana's key is revoked after she signed: what she signed counts no more, and she signs nothing else."""
    from pipeline.keys import load_verifying_key

    site.approve("ana", "compliance")
    site.approve("ben", "security")
    digest = load_verifying_key(site.key("ana").with_suffix(".pub")).digest
    with (site.root / "airlock.toml").open("a") as file:
        file.write(f'[trust]\nrevoked_keys = ["{digest}"]\n')
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "revoked" in denied.stderr
    assert site.approve("ana", "compliance").code == ExitCode.DENIED


def test_attack_the_release_is_edited_to_name_another_submitter(site: Organisation) -> None:
    """What counts is the release that was judged; editing the file afterwards frees nobody, and stops promotion."""
    edit(site.root / "release.yaml", "submitter: sam", "submitter: ben")
    assert_refused(site, "sam", "compliance", "'sam' took part as submitter")
    assert site.approve("ana", "compliance").code == ExitCode.YES
    assert site.approve("ben", "security").code == ExitCode.YES
    denied = site.promote()
    assert denied.code == ExitCode.DENIED
    assert "is not the release that was judged" in denied.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [("", "The release names no submitter"), ("submitter: nobody\n", "Nobody of this site is called 'nobody'")],
)
def test_a_release_must_name_its_submitter_where_the_policy_bars_submitters(
    site: Organisation, line: str, words: str
) -> None:
    edit(site.root / "release.yaml", "submitter: sam\n", line)
    shutil.rmtree(site.run)
    refused = site.release("http://127.0.0.1:9")  # said before anything is measured
    assert refused.code == ExitCode.BAD_REQUEST
    assert words in refused.stderr
    assert not site.run.exists()


def _keys(first: str, second: str) -> str:
    return f'public_key = "keys/{first}.pub"\nfurther_keys = ["keys/{second}.pub"]'
