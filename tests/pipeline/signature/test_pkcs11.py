"""Signing with a key on a token (SoftHSM): verified here and by `model_signing`, which signs with the same key too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pipeline.errors import AirlockError, KeyFileError, RequestError
from pipeline.keys import SigningKey, VerifyingKey
from pipeline.signature import manifest_of, sign_checkpoint, sign_with_certificate, verify_candidate
from pipeline.signature.pkcs11_key import PIN_VARIABLE, opened_token_key, parse_token_key
from pipeline.site import CertificateSigner, KeySigner
from tests.pipeline.signature.authority import IDENTITY, root_authority
from tests.pipeline.signature.parts import Workplace
from tests.pipeline.signature.reference import model_signing, model_signing_apart
from tests.pipeline.signature.tokens import CURVES, MODULE, PIN, Token


def write_public(workplace: Workplace, token: Token, label: str) -> Path:
    """The public half of the token's key, as the site keeps it."""
    path = workplace.root / f"{label}.pub"
    path.write_bytes(VerifyingKey(token.keys[label].public_key()).pem)
    return path


@pytest.mark.parametrize("label", CURVES)
def test_a_token_signs_for_us_and_model_signing_agrees(workplace: Workplace, token: Token, label: str) -> None:
    with opened_token_key(token.uri(label)) as key:
        sign_checkpoint(workplace.checkpoint, key, workplace.bundle)
    public = write_public(workplace, token, label)
    verified = verify_candidate(workplace.candidate(), workplace.site(KeySigner(method="key", public_key=public)))
    assert verified.signer.key_digest == SigningKey(token.keys[label]).verifying_key.digest
    result = model_signing(
        *("verify", "key", workplace.checkpoint, "--signature", workplace.bundle, "--public_key", public)
    )
    assert result.code == 0, result.text


def test_what_model_signing_signs_with_the_token_verifies_here(workplace: Workplace, token: Token) -> None:
    (token.directory / "pin-only").write_text(PIN)  # it takes the file as it is, line break included
    uri = f"pkcs11:token=airlock;object=p256?module-path={MODULE}&pin-source=file:{token.directory / 'pin-only'}"
    result = model_signing_apart(  # one process cannot hold two users of the module
        *("sign", "pkcs11-key", workplace.checkpoint, "--signature", workplace.bundle, "--pkcs11_uri", uri)
    )
    assert result.code == 0, result.text
    signer = KeySigner(method="key", public_key=write_public(workplace, token, "p256"))
    assert verify_candidate(workplace.candidate(), workplace.site(signer)).manifest.files


def test_a_token_signs_by_certificate(workplace: Workplace, token: Token) -> None:
    root = root_authority()
    leaf = root.issue(token.keys["p256"])
    with opened_token_key(token.uri("p256")) as key:
        sign_with_certificate(workplace.checkpoint, key, [leaf], workplace.bundle)
    path = root.write(workplace.root / "root.pem")
    signer = CertificateSigner(method="certificate", roots=(path,), identity=IDENTITY)
    assert verify_candidate(workplace.candidate(), workplace.site(signer)).manifest.files


def test_the_command_signs_with_a_token_by_certificate(workplace: Workplace, token: Token) -> None:
    root = root_authority()
    chain = workplace.root / "chain.pem"
    chain.write_bytes(root.issue(token.keys["p256"]).public_bytes(serialization.Encoding.PEM) + root.pem)
    uri = f"pkcs11:token=airlock;id=%00?module-path={MODULE}"
    arguments = ["sign", str(workplace.checkpoint), "--key", uri, "--certificate", str(chain)]
    code = f"from pipeline.cli.main import main; main({arguments!r})"
    environment = os.environ | {PIN_VARIABLE: PIN}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    assert manifest_of(workplace.checkpoint).digest in result.stdout
    path = root.write(workplace.root / "root.pem")
    signer = CertificateSigner(method="certificate", roots=(path,), identity=IDENTITY)
    assert verify_candidate(workplace.candidate(), workplace.site(signer)).manifest.files


@pytest.mark.parametrize(
    ("label", "changes", "kind"),
    [
        ("nobody", {}, KeyFileError),
        ("rsa", {}, KeyFileError),
        ("p256", {"token": "another"}, KeyFileError),
        ("p256", {"module": "/nowhere/module.so"}, KeyFileError),
        ("p256", {"pin": "file:/nowhere/pin"}, RequestError),
    ],
)
def test_a_key_that_cannot_be_used(token: Token, label: str, changes: dict[str, str], kind: type[AirlockError]) -> None:
    with pytest.raises(kind), opened_token_key(token.uri(label, **changes)):
        raise AssertionError("the key was opened")


def test_a_wrong_pin(token: Token, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("9999")
    with (
        pytest.raises(KeyFileError, match="PinIncorrect"),
        opened_token_key(token.uri("p256", pin=f"file:{tmp_path / 'pin'}")),
    ):
        raise AssertionError("the key was opened")


def test_no_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PIN_VARIABLE, raising=False)
    with (
        pytest.raises(RequestError, match="is not known"),
        opened_token_key(f"pkcs11:token=airlock;object=p256?module-path={MODULE}"),
    ):
        raise AssertionError("the key was opened")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=t",
        "pkcs11:token=t;object=o",
        "pkcs11:token=t?module-path=/m.so",
        "pkcs11:object=o?module-path=/m.so",
        "pkcs11:token=t;object=o;object=p?module-path=/m.so",
        "pkcs11:token=t;object=o;colour=red?module-path=/m.so",
        "pkcs11:token=t;object=o?module-path=/m.so&pin-value=1234",
    ],
)
def test_uris_that_name_no_key(uri: str) -> None:
    with pytest.raises(RequestError):
        parse_token_key(uri)


def test_a_uri_with_escapes() -> None:
    name = parse_token_key("pkcs11:token=my%20token;id=%01%FF?module-path=/m%2Eso&pin-source=file:///run/pin")
    assert (name.token, name.identifier, name.label) == ("my token", b"\x01\xff", None)
    assert (name.module, name.pin_file) == (Path("/m.so"), Path("/run/pin"))
