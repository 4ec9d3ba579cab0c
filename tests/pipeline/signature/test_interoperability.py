"""Bundles of ours verify with the `model_signing` command and API, and theirs verify here."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.errors import DeniedError
from pipeline.keys import SigningKey, write_key_pair
from pipeline.signature import manifest_of, sign_checkpoint, verify_candidate
from pipeline.site import KeySigner
from tests.pipeline.signature.parts import Workplace, write_files
from tests.pipeline.signature.reference import model_signing, model_signing_apart

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


@pytest.fixture(params=CURVES, ids=lambda curve: curve.name)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SigningKey, Path, Path]:
    """A key on each curve: the key, its private file and its public file."""
    key = SigningKey(ec.generate_private_key(request.param))
    private = tmp_path / "curve.pem"
    return key, private, write_key_pair(key, private)


def test_the_command_verifies_our_bundle(workplace: Workplace, pair: tuple[SigningKey, Path, Path]) -> None:
    key, _, public = pair
    sign_checkpoint(workplace.checkpoint, key, workplace.bundle)
    arguments = ("verify", "key", workplace.checkpoint, "--signature", workplace.bundle, "--public_key", public)
    result = model_signing(*arguments)
    assert result.code == 0, result.text
    (workplace.checkpoint / "config.json").write_bytes(b"{}")
    assert model_signing(*arguments).code != 0


def test_the_command_in_a_process_of_its_own_agrees(workplace: Workplace) -> None:
    public = workplace.root / "publisher.pub"
    arguments = ("verify", "key", workplace.checkpoint, "--signature", workplace.bundle, "--public_key", public)
    assert model_signing_apart(*arguments).code == 0
    (workplace.checkpoint / "config.json").write_bytes(b"{}")
    assert model_signing_apart(*arguments).code != 0


def test_the_api_verifies_our_bundle(workplace: Workplace, pair: tuple[SigningKey, Path, Path]) -> None:
    from model_signing.verifying import Config

    key, _, public = pair
    sign_checkpoint(workplace.checkpoint, key, workplace.bundle)
    verifier = Config().use_elliptic_key_verifier(public_key=public)  # type: ignore[no-untyped-call]
    verifier.verify(workplace.checkpoint, workplace.bundle)
    write_files(workplace.checkpoint, {"extra": b""})
    with pytest.raises(ValueError, match="Extra files"):
        verifier.verify(workplace.checkpoint, workplace.bundle)


def test_the_commands_bundle_verifies_here(workplace: Workplace, pair: tuple[SigningKey, Path, Path]) -> None:
    key, private, public = pair
    bundle = workplace.root / "theirs.sig"
    result = model_signing("sign", "key", workplace.checkpoint, "--signature", bundle, "--private_key", private)
    assert result.code == 0, result.text
    signer = KeySigner(method="key", public_key=public)
    verified = verify_candidate(workplace.candidate(bundle), workplace.site(signer))
    assert verified.manifest == manifest_of(workplace.checkpoint)
    assert verified.signer.key_digest == key.verifying_key.digest


def test_their_bundle_inside_the_checkpoint_verifies_here(workplace: Workplace) -> None:
    expected = manifest_of(workplace.checkpoint)
    bundle = workplace.checkpoint / "model.sig"
    private = workplace.root / "publisher.pem"
    model_signing("sign", "key", workplace.checkpoint, "--signature", bundle, "--private_key", private)
    verified = verify_candidate(workplace.candidate(bundle), workplace.site())
    assert verified.manifest == expected
    assert not (verified.root / "model.sig").exists(), "what cannot be signed is not served"


def test_our_bundle_inside_the_checkpoint_verifies_there_and_here(workplace: Workplace) -> None:
    bundle = workplace.checkpoint / "model.sig"
    sign_checkpoint(workplace.checkpoint, workplace.key, bundle)
    public = workplace.root / "publisher.pub"
    result = model_signing("verify", "key", workplace.checkpoint, "--signature", bundle, "--public_key", public)
    assert result.code == 0, result.text
    assert verify_candidate(workplace.candidate(bundle), workplace.site()).manifest.files


def test_git_files_that_their_command_leaves_out_are_denied_here_unless_allowed(workplace: Workplace) -> None:
    write_files(workplace.checkpoint, {".gitattributes": b"*.safetensors filter=lfs"})
    bundle, private = workplace.root / "theirs.sig", workplace.root / "publisher.pem"
    model_signing("sign", "key", workplace.checkpoint, "--signature", bundle, "--private_key", private)
    with pytest.raises(DeniedError) as caught:
        verify_candidate(workplace.candidate(bundle), workplace.site())
    assert caught.value.problems == (".gitattributes: the signer left it out, and the site does not allow that",)
    signer = KeySigner(method="key", public_key=workplace.root / "publisher.pub", allow_ignored=(".gitattributes",))
    assert verify_candidate(workplace.candidate(bundle), workplace.site(signer)).manifest.files
