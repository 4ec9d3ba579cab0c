"""People who sign with a key on a token, or keyless: what counts, and each way in which a bundle does not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.approvals import ApprovedDecision, check_approvals, make_approval
from pipeline.approvals.people import People, people_of
from pipeline.approvals.signatures import read_signed
from pipeline.approvals.voice import APPROVAL_TYPE, approval_statement
from pipeline.approvals.waivers import Grant, read_waivers, waiver_end, waiver_statement
from pipeline.cli.output import ExitCode
from pipeline.digests import sha256
from pipeline.errors import ApprovalError, EvidenceError, FileFormatError
from pipeline.keys import generate_key, identity_digest, load_signing_key, write_key_pair
from pipeline.policy.decision import Decision
from pipeline.site import KeylessSettings, Site, load_site
from tests.pipeline.registry.helpers import decision
from tests.pipeline.signature.private_sigstore import PrivateSigstore
from tests.pipeline.signature.tokens import Token
from tests.pipeline.test_waivers import POLICY, RULE
from tests.runs import Organisation, Ran

ISSUER = "https://login.internal"
ANA = "ana@internal.example"
DIGEST = sha256(b"the decision's envelope")
NOW = datetime.now(UTC)
MADE = decision(demands=[("compliance", 1)], decided=NOW - timedelta(hours=1))


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> PrivateSigstore:
    """The organisation's own instance."""
    return PrivateSigstore(tmp_path_factory.mktemp("sigstore") / "timestamps")


def trusting(folder: Path, sigstore: PrivateSigstore, *, pin: str | None = None) -> str:
    """The site's [keyless], with the instance's trust file in `folder`."""
    path = folder / "sigstore.json"
    path.write_text(json.dumps(sigstore.client_trust_config()))
    digest = pin or hashlib.sha256(path.read_bytes()).hexdigest()
    return f'[keyless]\ntrust_config = "sigstore.json"\ntrust_config_sha256 = "{digest}"\n'


def person(name: str, roles: list[str], identity: str = ANA, issuer: str = ISSUER) -> str:
    return f'[people.{name}]\nidentity = "{identity}"\nissuer = "{issuer}"\nroles = {roles}\n'


def site_with(folder: Path, *parts: str) -> Site:
    """A site in `folder` with a pipeline key and these parts."""
    folder.mkdir(exist_ok=True)
    if not (folder / "pipeline.pem").exists():
        write_key_pair(generate_key(), folder / "pipeline.pem")
    (folder / "airlock.toml").write_text("\n".join(['[pipeline]\nkey = "pipeline.pem"', *parts]))
    return load_site(folder / "airlock.toml")


@pytest.fixture
def site(tmp_path: Path, sigstore: PrivateSigstore) -> Site:
    """Ana signs keyless for compliance."""
    return site_with(tmp_path, trusting(tmp_path, sigstore), person("ana", ["compliance"]))


def statement(about: Decision = MADE, **changes: Any) -> bytes:
    words = {"role": "compliance", "comment": "fine by me", "at": NOW, **changes}
    return approval_statement(about, words.pop("digest", DIGEST), **words)


def bundle(sigstore: PrivateSigstore, payload: bytes, **how: Any) -> bytes:
    return json.dumps(sigstore.sign(payload, **{"identity": ANA, "issuer": ISSUER, **how})).encode()


def check(site: Site, *approvals: bytes, **changes: Any) -> ApprovedDecision:
    return check_approvals(MADE, DIGEST, approvals, site, at=NOW + timedelta(minutes=1), **changes)


def refusal(site: Site, *approvals: bytes, **changes: Any) -> str:
    with pytest.raises(ApprovalError) as caught:
        check(site, *approvals, **changes)
    return str(caught.value)


@pytest.mark.parametrize("version", [1, 2])
def test_a_keyless_approval_counts(site: Site, sigstore: PrivateSigstore, version: int) -> None:
    (one,) = check(site, bundle(sigstore, statement(), version=version)).approvals
    assert (one.person, one.role, one.voice.comment) == ("ana", "compliance", "fine by me")
    assert one.voice.keys == (identity_digest(ANA, ISSUER),)


def test_one_person_counts_once_by_key_and_by_identity(tmp_path: Path, sigstore: PrivateSigstore) -> None:
    key = generate_key()
    write_key_pair(key, tmp_path / "ana.pem")
    both = person("ana", ["compliance"]) + 'public_key = "ana.pub"\n'
    site = site_with(tmp_path, trusting(tmp_path, sigstore), both)
    wanted = decision(demands=[("compliance", 2)], decided=MADE.decided)
    signed = make_approval(wanted, DIGEST, role="compliance", comment="", key=key, at=NOW)
    approvals = [signed, bundle(sigstore, statement(wanted))]
    with pytest.raises(ApprovalError, match="1 more approval as compliance"):
        check_approvals(wanted, DIGEST, approvals, site, at=NOW + timedelta(minutes=1))
    assert check(site, signed).approvals[0].person == "ana"


ATTACKS: dict[str, tuple[Callable[[PrivateSigstore], bytes], str]] = {
    "stranger": (lambda s: bundle(s, statement(), identity="eve@internal.example"), "who is nobody of this site"),
    "other-issuer": (lambda s: bundle(s, statement(), issuer="https://evil.internal"), "Sigstore checks failed"),
    "expired-certificate": (
        lambda s: bundle(s, statement(), signed_after=timedelta(minutes=11)),
        "Sigstore checks failed",
    ),
    "another-decision": (lambda s: bundle(s, statement(digest=sha256(b"x"))), "another decision"),
    "edited": (lambda s: _edited(bundle(s, statement(comment="no"), version=2)), "Sigstore checks failed"),
    "not-logged": (lambda s: _without_log(bundle(s, statement())), "no transparency log entry"),
    "bare-key": (lambda s: _bare_key(bundle(s, statement())), "bare key"),
    "another-kind": (lambda s: bundle(s, statement().replace(b"approval", b"approvals")), "is needed"),
    "no-bundle": (lambda _: b'{"mediaType": "text/plain"}', "malformed or by somebody"),
}


def _edited(data: bytes) -> bytes:
    value = json.loads(data)
    value["dsseEnvelope"]["payload"] = json.loads(_plain(statement()))["payload"]
    return json.dumps(value).encode()


def _plain(payload: bytes) -> bytes:
    from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, seal

    return seal(payload, IN_TOTO_PAYLOAD, [generate_key()])


def _without_log(data: bytes) -> bytes:
    value = json.loads(data)
    value["verificationMaterial"].pop("tlogEntries")
    return json.dumps(value).encode()


def _bare_key(data: bytes) -> bytes:
    value = json.loads(data)
    value["verificationMaterial"] = {"publicKey": {"hint": "x"}}
    return json.dumps(value).encode()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_keyless_approval(site: Site, sigstore: PrivateSigstore, name: str) -> None:
    make, reason = ATTACKS[name]
    assert reason in refusal(site, make(sigstore))


def test_attack_another_sigstore_instance(site: Site, tmp_path: Path) -> None:
    other = PrivateSigstore(tmp_path / "other")
    assert "Sigstore checks failed" in refusal(site, bundle(other, statement()))


def test_attack_trust_file_replaced(tmp_path: Path, sigstore: PrivateSigstore) -> None:
    """The attacker's instance in the place of the site's: the pin in the site file holds."""
    other = PrivateSigstore(tmp_path / "other")
    pin = hashlib.sha256(json.dumps(sigstore.client_trust_config()).encode()).hexdigest()
    site = site_with(tmp_path, trusting(tmp_path, other, pin=pin), person("ana", ["compliance"]))
    assert "the site file pins" in refusal(site, bundle(other, statement()))


def test_attack_one_identity_as_two_people(tmp_path: Path, sigstore: PrivateSigstore) -> None:
    parts = (person("ana", ["compliance"]), person("bo", ["security"]))
    site = site_with(tmp_path, trusting(tmp_path, sigstore), *parts)
    assert "'ana' and 'bo' have the same identity" in refusal(site, bundle(sigstore, statement()))


def test_attack_keyless_self_approval(site: Site, sigstore: PrivateSigstore) -> None:
    barred = {identity_digest(ANA, ISSUER)}
    assert "'ana' took part as" in refusal(site, bundle(sigstore, statement()), excluded=barred)


def test_a_bundle_where_the_site_has_no_instance(tmp_path: Path, sigstore: PrivateSigstore) -> None:
    write_key_pair(generate_key(), tmp_path / "ana.pem")
    site = site_with(tmp_path, '[people.ana]\npublic_key = "ana.pub"\nroles = ["compliance"]\n')
    assert "no [keyless] instance" in refusal(site, bundle(sigstore, statement()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (person("ana", ["compliance"]), "need \\[keyless\\]"),
        ('[people.ana]\nroles = ["compliance"]\n', "a public_key, or an identity"),
        ('[people.ana]\nidentity = "a@b"\nroles = ["compliance"]\n', "given together"),
    ],
)
def test_a_person_who_cannot_sign(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(FileFormatError, match=reason):
        site_with(tmp_path, text)


def test_a_keyless_waiver_counts(tmp_path: Path, sigstore: PrivateSigstore) -> None:
    write_key_pair(generate_key(), tmp_path / "eve.pem")
    eve = '[people.eve]\npublic_key = "eve.pub"\nroles = ["engineering"]\n'
    site = site_with(tmp_path, trusting(tmp_path, sigstore), person("ana", ["compliance"]), eve)
    grant = Grant(RULE, "r", "c", "RISK-1", "eve", "engineering", "compliance", NOW + timedelta(days=9))
    payload = waiver_statement(grant, subject=MADE.subject, name="m", policy="demo", at=NOW)
    signed = bundle(sigstore, payload)
    known = people_of(site)
    tally = read_waivers([signed], known, POLICY, subject=MADE.subject, at=NOW)
    assert [waiver.ticket for waiver in tally.waivers] == ["RISK-1"]
    assert waiver_end(signed) == tally.waivers[0].until
    barred = {identity_digest(ANA, ISSUER)}
    assert "took part" in read_waivers([signed], known, POLICY, subject=MADE.subject, at=NOW, excluded=barred).void[0]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.binary(max_size=99)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(("mediaType", "dsseEnvelope", "verificationMaterial")), _JSON).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_bytes_cause_another_error(data: bytes) -> None:
    keyless = KeylessSettings(trust_config=Path("nowhere"), trust_config_sha256="0" * 64)
    with pytest.raises(EvidenceError):
        read_signed(data, APPROVAL_TYPE, People((), keyless), at=NOW)


def _replace_ana(organisation: Organisation, entry: str) -> None:
    toml = organisation.root / "airlock.toml"
    text = toml.read_text()
    old = '[people.ana]\npublic_key = "keys/ana.pub"\nroles = ["compliance"]\n'
    assert old in text
    toml.write_text(text.replace(old, "") + entry)


def test_a_keyless_approval_in_two_steps_on_a_whole_release(
    judged: Organisation, sigstore: PrivateSigstore, tmp_path: Path
) -> None:
    organisation = judged.copied(tmp_path / "site")
    _replace_ana(organisation, person("ana", ["compliance"]) + trusting(organisation.root, sigstore))
    command = ("approve", organisation.run, "--candidate", "good")
    draft, signed = organisation.root / "statement.json", organisation.root / "statement.sigstore.json"
    assert organisation.airlock(*command, "--unsigned", draft).code == ExitCode.BAD_REQUEST
    written = organisation.airlock(*command, "--unsigned", draft, "--role", "compliance", "--comment", "read it all")
    assert written.code == ExitCode.YES, written.stderr
    assert not list((organisation.run / "good").glob("approvals/*"))
    signed.write_bytes(bundle(sigstore, draft.read_bytes(), identity="eve@internal.example"))
    assert organisation.airlock(*command, "--bundle", signed).code == ExitCode.DENIED
    signed.write_bytes(bundle(sigstore, draft.read_bytes()))
    taken = organisation.airlock(*command, "--bundle", signed)
    assert taken.code == ExitCode.YES, taken.stderr
    assert "ana signed 'approve' for good" in taken.stdout
    assert organisation.approve("ben", "security").code == ExitCode.YES
    promoted = organisation.promote()
    assert promoted.code == ExitCode.YES, promoted.stderr
    card = json.loads((organisation.run / "good" / "card.json").read_text())
    assert {entry["person"] for entry in card["approvals"]["given"]} == {"ana", "ben"}
    assert organisation.airlock("registry", "verify").code == ExitCode.YES


def test_a_keyless_waiver_in_two_steps(judged: Organisation, sigstore: PrivateSigstore, tmp_path: Path) -> None:
    organisation = judged.copied(tmp_path / "site")
    _replace_ana(organisation, person("ana", ["compliance"]) + trusting(organisation.root, sigstore))
    command = ("waive", organisation.run, "--candidate", "good")
    draft, signed = organisation.root / "waiver.json", organisation.root / "waiver.sigstore.json"
    ends = (NOW + timedelta(days=9)).isoformat()
    words = ("--rule", "stability.repeat", "--reason", "r", "--control", "c", "--ticket", "RISK-3", "--expires", ends)
    roles = ("--requester", "ben", "--requester-role", "security", "--role", "compliance")
    assert organisation.airlock(*command, *words, "--unsigned", draft).code == ExitCode.BAD_REQUEST
    written = organisation.airlock(*command, *words, *roles, "--unsigned", draft)
    assert written.code == ExitCode.YES, written.stderr
    signed.write_bytes(bundle(sigstore, draft.read_bytes()))
    taken = organisation.airlock(*command, "--bundle", signed)
    assert taken.code == ExitCode.YES, taken.stderr
    listed = organisation.airlock("waivers", organisation.run, "--candidate", "good")
    assert "(RISK-3) is not in the decision" in listed.stdout
    assert organisation.airlock("gate", organisation.run, "--policy", organisation.root / "attached.yaml").code == 0
    listed = organisation.airlock("waivers", organisation.run, "--candidate", "good")
    assert "(RISK-3) is not needed" in listed.stdout


def approve_with(organisation: Organisation, key: str) -> Ran:
    return organisation.airlock(
        "approve", organisation.run, "--candidate", "good", "--role", "compliance", "--key", key
    )


def test_an_approval_with_a_key_on_a_token(judged: Organisation, token: Token, tmp_path: Path) -> None:
    organisation = judged.copied(tmp_path / "site")
    public = organisation.root / "keys" / "token.pub"
    written = organisation.airlock("keys", "public", token.uri("p256"), public)
    assert written.code == ExitCode.YES, written.stderr
    _replace_ana(organisation, '[people.ana]\npublic_key = "keys/token.pub"\nroles = ["compliance"]\n')
    signed = approve_with(organisation, token.uri("p256"))
    assert signed.code == ExitCode.YES, signed.stderr
    assert approve_with(organisation, token.uri("p384")).code == ExitCode.DENIED
    assert organisation.approve("ben", "security").code == ExitCode.YES
    assert organisation.promote().code == ExitCode.YES


def test_a_revocation_with_a_key_on_a_token(judged: Organisation, token: Token, tmp_path: Path) -> None:
    organisation = judged.copied(tmp_path / "site")
    organisation.promote_with_everyone()
    organisation.airlock("keys", "public", token.uri("p256"), organisation.root / "keys" / "token.pub")
    _replace_ana(organisation, '[people.ana]\npublic_key = "keys/token.pub"\nroles = ["compliance"]\n')
    where = ("registry", "resolve", "tiny/good", "--stage", "staging")
    checkpoint = json.loads(organisation.airlock(*where, json=True).stdout)["checkpoint"]
    why = ("--reason", "it leaks", "--key", token.uri("p256"))
    revoked = organisation.airlock("revoke", checkpoint, *why)
    assert revoked.code == ExitCode.YES, revoked.stderr
    assert "it leaks" in organisation.airlock(*where).stderr


def test_attack_a_token_and_a_file_with_one_key_as_two_people(
    judged: Organisation, token: Token, tmp_path: Path
) -> None:
    organisation = judged.copied(tmp_path / "site")
    for name in ("ana", "ben"):
        (organisation.root / "keys" / f"{name}.pub").unlink()
        written = organisation.airlock("keys", "public", token.uri("p256"), organisation.root / "keys" / f"{name}.pub")
        assert written.code == ExitCode.YES
    denied = approve_with(organisation, token.uri("p256"))
    assert denied.code == ExitCode.DENIED
    assert "have the same key" in denied.stderr


def test_a_public_half_is_never_overwritten(judged: Organisation, tmp_path: Path) -> None:
    organisation = judged.copied(tmp_path / "site")
    public = organisation.key("ana").with_suffix(".pub")
    before = public.read_bytes()
    assert organisation.airlock("keys", "public", organisation.key("ben"), public).code == ExitCode.BAD_REQUEST
    assert public.read_bytes() == before
    new = organisation.root / "new.pub"
    assert organisation.airlock("keys", "public", organisation.key("ben"), new).code == ExitCode.YES
    assert new.read_bytes() == load_signing_key(organisation.key("ben")).verifying_key.pem
