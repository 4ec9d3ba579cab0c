"""Keyless signatures, by a private Sigstore of versions 1 and 2 and by the public one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from pipeline.errors import KeyFileError, ManifestError, SignatureError
from pipeline.signature import VerifiedCandidate, manifest_of, verify_candidate
from pipeline.signature.certificate import spki_digest
from pipeline.signature.statement import encode_statement
from pipeline.site import KeylessSigner
from tests.pipeline.signature.parts import Workplace, make_workplace
from tests.pipeline.signature.private_sigstore import IDENTITY, ISSUER, PrivateSigstore, encoded
from tests.pipeline.signature.reference import model_signing

VECTOR = Path(__file__).parents[4] / "shared/data/oms_vectors/test-vectors/v1.0/valid/sigstore.bundle.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def sigstore(tmp_path_factory: pytest.TempPathFactory) -> PrivateSigstore:
    """One instance for all tests."""
    return PrivateSigstore(tmp_path_factory.mktemp("sigstore") / "timestamps")


def sign(workplace: Workplace, sigstore: PrivateSigstore, **how: Any) -> dict[str, Any]:
    """Sign the checkpoint by `sigstore`; returns the bundle, which is also on disk."""
    payload = encode_statement(manifest_of(workplace.checkpoint), name="model", left_out=())
    bundle = sigstore.sign(payload, **how)
    workplace.bundle.write_text(json.dumps(bundle))
    return bundle


def verify(workplace: Workplace, trust: dict[str, Any], **fields: Any) -> VerifiedCandidate:
    """Verify the candidate against a signer known by the trust file's content `trust`."""
    path = workplace.root / "sigstore.json"
    path.write_text(json.dumps(trust))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    demands = {"trust_config_sha256": digest, "identity": IDENTITY, "issuer": ISSUER} | fields
    return verify_candidate(
        workplace.candidate(), workplace.site(KeylessSigner(method="keyless", trust_config=path, **demands))
    )


def denial(workplace: Workplace, trust: dict[str, Any], **fields: Any) -> str:
    """Why the candidate is denied, after checking that the denial names the files and nothing was stored."""
    with pytest.raises(SignatureError) as caught:
        verify(workplace, trust, **fields)
    assert caught.value.subject == manifest_of(workplace.checkpoint).digest
    assert workplace.stored() == []
    return caught.value.why


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("form", ["client_trust_config", "trusted_root"])
def test_a_keyless_signature_is_accepted(
    workplace: Workplace, sigstore: PrivateSigstore, version: int, form: str
) -> None:
    sign(workplace, sigstore, version=version)
    signer = verify(workplace, getattr(sigstore, form)()).signer
    assert (signer.method, signer.identity, signer.issuer) == ("keyless", IDENTITY, ISSUER)


def test_an_address_as_identity(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore, identity="ana@internal.example")
    assert verify(workplace, sigstore.trusted_root(), identity="ana@internal.example").manifest.files


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "fields", [{"identity": "https://ci.internal/release@fork"}, {"issuer": "https://evil.internal"}]
)
def test_another_identity_or_issuer(
    workplace: Workplace, sigstore: PrivateSigstore, version: int, fields: dict[str, str]
) -> None:
    sign(workplace, sigstore, version=version)
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root(), **fields)


@pytest.mark.parametrize("version", [1, 2])
def test_another_instance(workplace: Workplace, sigstore: PrivateSigstore, version: int, tmp_path: Path) -> None:
    sign(workplace, PrivateSigstore(tmp_path / "timestamps"), version=version)
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root())


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"])
def test_any_one_service_of_another_instance(
    workplace: Workplace, sigstore: PrivateSigstore, tmp_path: Path, part: str
) -> None:
    sign(workplace, sigstore, version=2)
    other = PrivateSigstore(tmp_path / "timestamps").trusted_root()
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root() | {part: other[part]})


def test_a_trust_file_that_was_changed(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore)
    assert "the site file pins" in denial(workplace, sigstore.trusted_root(), trust_config_sha256="0" * 64)


@pytest.mark.parametrize("trust", [{}, {"mediaType": "trustedroot"}, {"mediaType": 1}, [], "text"])
def test_a_trust_file_that_is_none(workplace: Workplace, sigstore: PrivateSigstore, trust: Any) -> None:
    sign(workplace, sigstore)
    with pytest.raises(KeyFileError, match="no Sigstore trust configuration"):
        verify(workplace, trust)


def test_a_signature_after_the_certificate_expired(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore, signed_after=timedelta(minutes=11))
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root())


def test_a_signature_before_the_certificate_was_valid(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore, signed_after=timedelta(minutes=-1))
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root())


def test_a_tls_certificate_of_the_instance(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root())


def test_validity_windows_count_the_time_of_signing(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore)
    before, after = sigstore.now - timedelta(hours=1), sigstore.now + timedelta(hours=1)
    assert "trusts this signer until" in denial(workplace, sigstore.trusted_root(), valid_until=before)
    assert "trusts this signer from" in denial(workplace, sigstore.trusted_root(), valid_from=after)
    assert verify(workplace, sigstore.trusted_root(), valid_from=before, valid_until=after).manifest.files


def test_a_revoked_leaf_or_authority(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore)
    leaf = verify_key(workplace)
    for revoked in (leaf, spki_digest(sigstore.authority)):
        assert "is revoked" in denial(workplace, sigstore.trusted_root(), revoked_keys=(revoked,))


def verify_key(workplace: Workplace) -> str:
    """The digest of the key in the bundle's certificate."""
    from cryptography import x509

    bundle = json.loads(workplace.bundle.read_bytes())
    der = base64.b64decode(bundle["verificationMaterial"]["certificate"]["rawBytes"])
    return spki_digest(x509.load_der_x509_certificate(der))


def entry(bundle: dict[str, Any]) -> dict[str, Any]:
    """The bundle's log entry."""
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


EDITS: dict[str, tuple[int, Change]] = {
    "no log entry": (1, lambda bundle: bundle["verificationMaterial"].update(tlogEntries=[])),
    "two log entries": (1, lambda bundle: bundle["verificationMaterial"]["tlogEntries"].append(entry(bundle))),
    "no proof": (1, lambda bundle: entry(bundle).pop("inclusionProof")),
    "no promise": (1, lambda bundle: entry(bundle).pop("inclusionPromise")),
    "an edited promise": (1, lambda bundle: entry(bundle)["inclusionPromise"].update(signedEntryTimestamp="AAAA")),
    "an edited time": (1, lambda bundle: entry(bundle).update(integratedTime="1")),
    "an edited position": (1, lambda bundle: entry(bundle)["inclusionProof"].update(logIndex="0")),
    "an edited root": (1, lambda bundle: entry(bundle)["inclusionProof"].update(rootHash=encoded(b"\0" * 32))),
    "an edited checkpoint": (1, lambda bundle: entry(bundle)["inclusionProof"]["checkpoint"].update(envelope="x")),
    "another entry's body": (1, lambda bundle: entry(bundle).update(canonicalizedBody=encoded(b"{}"))),
    "no timestamps": (2, lambda bundle: bundle["verificationMaterial"].pop("timestampVerificationData")),
    "an edited timestamp": (
        2,
        lambda bundle: bundle["verificationMaterial"]["timestampVerificationData"].update(
            rfc3161Timestamps=[{"signedTimestamp": "MAA="}]
        ),
    ),
    "a certificate of nobody": (
        1,
        lambda bundle: bundle["verificationMaterial"]["certificate"].update(rawBytes="AAAA"),
    ),
    "another signature": (1, lambda bundle: bundle["dsseEnvelope"]["signatures"][0].update(sig=encoded(b"\0" * 70))),
    "another payload": (1, lambda bundle: bundle["dsseEnvelope"].update(payload=encoded(b"{}"))),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_bundle(workplace: Workplace, sigstore: PrivateSigstore, name: str) -> None:
    version, change = EDITS[name]
    bundle = sign(workplace, sigstore, version=version)
    change(bundle)
    workplace.bundle.write_text(json.dumps(bundle))
    assert denial(workplace, sigstore.trusted_root())


def test_material_of_another_bundle_of_the_same_signer(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    first, second = sign(workplace, sigstore), sign(workplace, sigstore)
    workplace.bundle.write_text(json.dumps(second | {"verificationMaterial": first["verificationMaterial"]}))
    assert "Sigstore checks failed" in denial(workplace, sigstore.trusted_root())


def test_a_tampered_file(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore)
    (workplace.checkpoint / "config.json").write_bytes(b"{}")
    with pytest.raises(ManifestError, match="changed after it was signed"):
        verify(workplace, sigstore.trusted_root())


def test_model_signing_accepts_the_same_bundles(workplace: Workplace, sigstore: PrivateSigstore) -> None:
    sign(workplace, sigstore)
    trust = workplace.root / "trust.json"
    trust.write_text(json.dumps(sigstore.client_trust_config()))
    command = ["verify", "sigstore", str(workplace.checkpoint), "--signature", str(workplace.bundle)]
    who = ["--identity", IDENTITY, "--identity_provider", ISSUER]
    result = model_signing(*command, "--trust_config", str(trust), *who)
    assert result.code == 0, result.text


def test_the_conformance_vector_by_the_public_instance(tmp_path: Path) -> None:
    """A signature that the public Sigstore attests, over a model of two files that hold their own names."""
    store = files("sigstore") / "_store" / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev" / "trusted_root.json"
    trust = json.loads(store.read_bytes())
    workplace = make_workplace(tmp_path, {"signme-1": b"signme-1", "signme-2": b"signme-2"})
    workplace.bundle.write_bytes(VECTOR.read_bytes())
    who = {"identity": "stefanb@us.ibm.com", "issuer": "https://sigstore.verify.ibm.com/oauth2"}
    assert "Sigstore checks failed" in denial(workplace, trust, issuer=who["issuer"])
    assert verify(workplace, trust, **who).manifest == manifest_of(workplace.checkpoint)
