"""Keyless signatures: a short-lived certificate from a Sigstore instance, whose use a transparency log attests.

The checks are those of the `sigstore` library - certificate chain and embedded timestamp of the CT log, identity, entry
and inclusion proof of the Rekor log (v1, or v2 with a timestamp authority), envelope - against one trust file that the
site pins by its digest.  The library would fetch its own trust root if it were allowed to; here it is always given one,
and opens no connection.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from pipeline.errors import KeyFileError
from pipeline.files import read_bounded
from pipeline.keys import VerifyingKey
from pipeline.signature.bundle import PAYLOAD_TYPE, Bundle, KeylessMaterial, unacceptable
from pipeline.signature.certificate import leaf_key, parse_certificate, spki_digest
from pipeline.signature.trust import Trust
from pipeline.site import KeylessSigner

if TYPE_CHECKING:
    from sigstore.models import TrustedRoot


def load_trust_root(signer: KeylessSigner, trust: Trust) -> tuple[TrustedRoot, bytes]:
    """The trust root of `signer`, and the bytes of its file: a Sigstore ClientTrustConfig or TrustedRoot, in JSON.

    Raises:
        SignatureError: the file is not the one that the site pins.
        KeyFileError: it is no trust file.
        RequestError: it cannot be read.
    """
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore_models.trustroot.v1 import TrustedRoot as InnerRoot

    raw = read_bounded(signer.trust_config)
    observed = hashlib.sha256(raw).hexdigest()
    if observed != signer.trust_config_sha256:
        raise trust.refusal(
            f"Its trust file has the digest {observed}, and the site file pins {signer.trust_config_sha256}.",
            "Find out who changed the trust file; put the pinned one back, or pin the new one after checking it.",
        )
    try:
        bare = "trustedroot" in json.loads(raw)["mediaType"]
        root = TrustedRoot(InnerRoot.from_json(raw)) if bare else ClientTrustConfig.from_json(raw.decode()).trusted_root
    except Exception as error:  # the library raises whatever its parsers do; any of it means that this is no trust file
        raise KeyFileError(
            f"cannot use the trust file {signer.trust_config}",
            why=f"It is no Sigstore trust configuration: {_summary(error)}.",
            remedy="Export the ClientTrustConfig or the trusted root of your Sigstore instance again.",
        ) from error
    return root, raw


def verify_keyless(
    bundle: Bundle, material: KeylessMaterial, signer: KeylessSigner, root: TrustedRoot, trust: Trust
) -> VerifyingKey:
    """The short-lived key that signed `bundle`, certified by the instance of `root` for the identity of `signer`.

    Raises:
        SignatureError: any of the checks failed.
    """
    leaf = parse_certificate(material.certificate)
    payload_type, payload = _verified_payload(bundle, signer, root, trust)
    if payload_type != PAYLOAD_TYPE or payload != bundle.payload:
        raise unacceptable("What its signature covers is not the statement that was read.")
    trust.require_not_revoked(spki_digest(certificate) for certificate in (leaf, *_issuers(leaf, root)))
    for moment in (leaf.not_valid_before_utc, leaf.not_valid_after_utc):  # the attested time lies between them
        trust.require_time(moment)
    return leaf_key(leaf)


def _verified_payload(bundle: Bundle, signer: KeylessSigner, root: TrustedRoot, trust: Trust) -> tuple[str, bytes]:
    from sigstore.models import Bundle as SigstoreBundle
    from sigstore.verify import Verifier, policy

    issuer: Any = policy.AnyOf([policy.OIDCIssuer(signer.issuer), policy.OIDCIssuerV2(signer.issuer)])
    demanded = policy.AllOf([policy.Identity(identity=signer.identity), issuer])
    try:
        return Verifier(trusted_root=root).verify_dsse(SigstoreBundle.from_json(bundle.raw), demanded)
    except Exception as error:  # on hostile input the library raises far more than its own errors; each is a no
        raise trust.refusal(
            f"The Sigstore checks failed: {_summary(error)}.",
            "Name the signer that made the bundle, or get an unmodified bundle; "
            "a bundle of another Sigstore instance needs a signer with that instance's trust file.",
        ) from error


def _issuers(leaf: x509.Certificate, root: TrustedRoot) -> list[x509.Certificate]:
    """Every certificate authority of the trust root above `leaf`."""
    above: list[x509.Certificate] = []
    pending = [leaf]
    authorities = list(root.get_fulcio_certs())
    while pending:
        certificate = pending.pop()
        found = [authority for authority in authorities if authority not in above and _issued(authority, certificate)]
        above += found
        pending += found
    return above


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _summary(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
