"""Signatures by certificate: each way in which a chain can be wrong is denied by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.errors import DeniedError, KeyFileError, RequestError, SignatureError
from pipeline.keys import SigningKey, generate_key
from pipeline.signature import VerifiedCandidate, manifest_of, sign_with_certificate, verify_candidate
from pipeline.signature.certificate import spki_digest
from pipeline.site import CertificateSigner
from tests.pipeline.signature.authority import IDENTITY, Authority, Lifetime, new_key, root_authority
from tests.pipeline.signature.parts import Workplace
from tests.pipeline.signature.reference import model_signing

TLS_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
ROOT = root_authority()
INTERMEDIATE = ROOT.subordinate("vendor releases")
VECTOR = Path(__file__).parents[4] / "shared/data/oms_vectors/test-vectors/v1.0/valid/certificate.bundle.json"


def sign(workplace: Workplace, authority: Authority = INTERMEDIATE, **leaf: Any) -> x509.Certificate:
    """Sign the checkpoint with a certificate that `authority` issues as `leaf` says."""
    key = new_key()
    certificate = authority.issue(key, **leaf)
    chain = [certificate, *authority.chain]
    sign_with_certificate(workplace.checkpoint, SigningKey(key), chain, workplace.bundle)
    return certificate


def verify(workplace: Workplace, roots: Sequence[Authority] = (ROOT,), **signer: Any) -> VerifiedCandidate:
    """Verify the candidate against a signer known by `roots` and by what `signer` says."""
    paths = tuple(root.write(workplace.root / f"root{number}.pem") for number, root in enumerate(roots))
    fields: dict[str, Any] = {"method": "certificate", "roots": paths, "identity": IDENTITY} | signer
    return verify_candidate(workplace.candidate(), workplace.site(CertificateSigner(**fields)))


def verify_with_roots(workplace: Workplace, *paths: Path) -> VerifiedCandidate:
    """Verify the candidate against a signer known by the root files `paths`."""
    signer = CertificateSigner(method="certificate", roots=paths, identity=IDENTITY)
    return verify_candidate(workplace.candidate(), workplace.site(signer))


def denial(workplace: Workplace, roots: Sequence[Authority] = (ROOT,), **signer: Any) -> SignatureError:
    """The denial of the candidate, after checking that it names the files and stores nothing."""
    with pytest.raises(SignatureError) as caught:
        verify(workplace, roots, **signer)
    assert caught.value.subject == manifest_of(workplace.checkpoint).digest
    assert workplace.stored() == []
    return caught.value


def test_a_chain_to_the_root_is_accepted(workplace: Workplace) -> None:
    leaf = sign(workplace)
    verified = verify(workplace)
    assert verified.signer.method == "certificate"
    assert verified.signer.identity == IDENTITY
    assert verified.signer.key_digest == spki_digest(leaf)


@pytest.mark.parametrize("identity", ["https://ci.vendor.example/release", "release.vendor.example"])
def test_other_kinds_of_identities_are_accepted(workplace: Workplace, identity: str) -> None:
    sign(workplace, identity=identity)
    assert verify(workplace, identity=identity).signer.identity == identity


def test_one_of_several_roots_is_enough(workplace: Workplace) -> None:
    sign(workplace)
    assert verify(workplace, (root_authority("another"), ROOT)).manifest.files


def test_an_expired_certificate(workplace: Workplace) -> None:
    sign(workplace, lifetime=Lifetime(-20, -1))
    assert "The signer's certificate expired on" in denial(workplace).why


def test_a_certificate_that_is_not_yet_valid(workplace: Workplace) -> None:
    sign(workplace, lifetime=Lifetime(1, 20))
    assert "The signer's certificate is not valid before" in denial(workplace).why


def test_an_expired_intermediate(workplace: Workplace) -> None:
    sign(workplace, ROOT.subordinate("old", Lifetime(-20, -1)))
    assert "A certificate above the signer's expired on" in denial(workplace).why


def test_an_expired_root(workplace: Workplace) -> None:
    root = root_authority("old", Lifetime(-20, -1))
    sign(workplace, root)
    assert "expired" in denial(workplace, (root,)).why


def test_a_tls_server_certificate(workplace: Workplace) -> None:
    sign(workplace, usages=(TLS_SERVER,), identity="release.vendor.example")
    assert "is for TLS servers, and not for code signing" in denial(workplace, identity="release.vendor.example").why


def test_a_certificate_without_a_stated_use(workplace: Workplace) -> None:
    sign(workplace, usages=())
    assert "is for no stated use" in denial(workplace).why


def test_a_certificate_for_any_use(workplace: Workplace) -> None:
    sign(workplace, usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))
    assert "is for any use" in denial(workplace).why


def test_an_intermediate_for_tls_only(workplace: Workplace) -> None:
    sign(workplace, ROOT.subordinate("tls", usages=(TLS_SERVER,)))
    assert "does not chain" in denial(workplace).why


def test_a_use_of_the_sites_own(workplace: Workplace) -> None:
    own = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
    sign(workplace, usages=(ExtendedKeyUsageOID.CODE_SIGNING, own))
    both = ("code_signing", "1.3.6.1.4.1.99999.1")
    assert verify(workplace, extended_key_usage=both).manifest.files
    sign(workplace)
    with pytest.raises(SignatureError, match=r"not for 1\.3\.6\.1\.4\.1\.99999\.1"):
        verify(workplace, extended_key_usage=both)


def test_a_use_that_does_not_exist(workplace: Workplace) -> None:
    sign(workplace)
    with pytest.raises(KeyFileError, match="no extended key usage"):
        verify(workplace, extended_key_usage=("signing code",))


def test_a_chain_to_another_root(workplace: Workplace) -> None:
    sign(workplace, root_authority().subordinate("vendor releases"))
    assert "does not chain to the site's roots" in denial(workplace).why


def test_an_intermediate_that_is_missing(workplace: Workplace) -> None:
    key = new_key()
    leaf = INTERMEDIATE.issue(key)
    sign_with_certificate(workplace.checkpoint, SigningKey(key), [leaf], workplace.bundle)
    assert "does not chain" in denial(workplace).why


def test_a_leaf_that_acts_as_an_authority(workplace: Workplace) -> None:
    key = new_key()
    middle = INTERMEDIATE.issue(key)  # a mere signer's certificate
    pretender = Authority(middle, key, INTERMEDIATE.chain)
    sign(workplace, pretender)
    assert "does not chain" in denial(workplace).why


def test_an_authority_that_acts_as_a_signer(workplace: Workplace) -> None:
    sign(workplace, is_authority=True)
    assert "does not chain" in denial(workplace).why


@pytest.mark.parametrize("identity", ["intern@vendor.example", "release@vendor.example.evil.example", None])
def test_another_identity(workplace: Workplace, identity: str | None) -> None:
    sign(workplace, identity=identity)
    assert f"wants exactly {IDENTITY}" in denial(workplace).why


def test_a_signature_by_another_key_under_a_good_certificate(workplace: Workplace) -> None:
    sign(workplace)
    bundle = json.loads(workplace.bundle.read_bytes())
    other = generate_key().sign(b"something else")
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(other).decode()
    workplace.bundle.write_text(json.dumps(bundle))
    assert "does not verify" in denial(workplace).why


def test_a_certificate_that_is_no_certificate(workplace: Workplace) -> None:
    sign(workplace)
    bundle = json.loads(workplace.bundle.read_bytes())
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][1]["rawBytes"] = "AAAA"
    workplace.bundle.write_text(json.dumps(bundle))
    assert "malformed" in denial(workplace).why


@pytest.mark.parametrize("position", [0, 1, 2], ids=["leaf", "intermediate", "root"])
def test_a_revoked_key_anywhere_in_the_chain(workplace: Workplace, position: int) -> None:
    chain = [sign(workplace), *INTERMEDIATE.chain]
    revoked = spki_digest(chain[position])
    assert f"The key {revoked} is revoked" in denial(workplace, revoked_keys=(revoked,)).why


def test_a_bundle_by_bare_key_does_not_pass_for_a_certificate(workplace: Workplace) -> None:
    assert "of another" in denial(workplace).why


def test_a_chain_does_not_pass_for_a_bare_key(workplace: Workplace) -> None:
    sign(workplace)
    with pytest.raises(SignatureError, match="not signed the way"):
        verify_candidate(workplace.candidate(), workplace.site())


def test_an_rsa_certificate(workplace: Workplace) -> None:
    sign(workplace)
    key: Any = rsa.generate_private_key(65537, 2048)
    leaf = INTERMEDIATE.issue(key)
    bundle = json.loads(workplace.bundle.read_bytes())
    encoded = base64.b64encode(leaf.public_bytes(serialization.Encoding.DER)).decode()
    bundle["verificationMaterial"]["x509CertificateChain"]["certificates"][0]["rawBytes"] = encoded
    workplace.bundle.write_text(json.dumps(bundle))
    assert "not for an EC key" in denial(workplace).why


def test_the_conformance_vector_names_nobody(workplace: Workplace) -> None:
    workplace.bundle.write_bytes(VECTOR.read_bytes())
    assert "Its certificate names nobody" in denial(workplace).why


def test_a_root_file_without_certificates(workplace: Workplace) -> None:
    sign(workplace)
    (workplace.root / "empty.pem").write_bytes(b"nothing here")
    with pytest.raises(KeyFileError, match=r"empty\.pem"):
        verify_with_roots(workplace, workplace.root / "empty.pem")


def test_a_root_file_that_is_missing(workplace: Workplace) -> None:
    sign(workplace)
    with pytest.raises(RequestError, match=r"nowhere\.pem"):
        verify_with_roots(workplace, workplace.root / "nowhere.pem")


def test_signing_with_the_certificate_of_another_key(workplace: Workplace) -> None:
    leaf = INTERMEDIATE.issue(new_key())
    with pytest.raises(KeyFileError, match="certificate"):
        sign_with_certificate(workplace.checkpoint, generate_key(), [leaf], workplace.root / "new.sig")
    assert not (workplace.root / "new.sig").exists()


# Interoperability


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_model_signing_and_we_agree_on_chains(workplace: Workplace, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    leaf = INTERMEDIATE.issue(key)
    sign_with_certificate(workplace.checkpoint, SigningKey(key), [leaf, *INTERMEDIATE.chain], workplace.bundle)
    assert verify(workplace).manifest.files
    assert model_signing_verifies(workplace)
    workplace.bundle.unlink()
    model_signing_signs(workplace, key, leaf)
    assert verify(workplace).signer.key_digest == spki_digest(leaf)
    (workplace.checkpoint / "config.json").write_bytes(b"{}")
    assert not model_signing_verifies(workplace)
    with pytest.raises(DeniedError):
        verify(workplace)


def model_signing_verifies(workplace: Workplace) -> bool:
    """Whether the `model_signing` command accepts the bundle."""
    root = ROOT.write(workplace.root / "root.pem")
    command = ["verify", "certificate", str(workplace.checkpoint), "--signature", str(workplace.bundle)]
    return model_signing(*command, "--certificate_chain", str(root)).code == 0


def model_signing_signs(workplace: Workplace, key: ec.EllipticCurvePrivateKey, leaf: x509.Certificate) -> None:
    """Write a bundle with the `model_signing` command."""
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (workplace.root / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    (workplace.root / "leaf.pem").write_bytes(leaf.public_bytes(encoding))
    (workplace.root / "chain.pem").write_bytes(b"".join(item.public_bytes(encoding) for item in INTERMEDIATE.chain))
    command = ["sign", "certificate", str(workplace.checkpoint), "--signature", str(workplace.bundle)]
    for option, name in (("private_key", "key"), ("signing_certificate", "leaf"), ("certificate_chain", "chain")):
        command += [f"--{option}", str(workplace.root / f"{name}.pem")]
    assert model_signing(*command).code == 0
