"""Signatures by a certificate of a private CA: chain, validity, extended key usage and identity.

Path building and validation are `cryptography.x509.verification` with its web defaults for every extension but the
extended key usage, for which the site's demand takes the place of TLS.  The leaf is first looked at on its own, only to
say plainly what is wrong with it; the verifier has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from pipeline.digests import Digest, sha256
from pipeline.errors import KeyFileError
from pipeline.files import read_bounded
from pipeline.keys import VerifyingKey
from pipeline.signature.bundle import ChainMaterial, unacceptable
from pipeline.signature.trust import Trust
from pipeline.site import CertificateSigner

_USAGES = {"code_signing": ExtendedKeyUsageOID.CODE_SIGNING}
_NAMES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "TLS servers",
    ExtendedKeyUsageOID.CLIENT_AUTH: "TLS clients",
    ExtendedKeyUsageOID.CODE_SIGNING: "code signing",
    ExtendedKeyUsageOID.TIME_STAMPING: "time stamping",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "e-mail",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any use",
}
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


def load_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in the PEM file `path`, in order.

    Raises:
        KeyFileError: it holds no certificate.
        RequestError: it cannot be read.
    """
    return _parse_pem(read_bounded(path), path)


def load_roots(paths: Sequence[Path]) -> tuple[list[x509.Certificate], bytes]:
    """The certificates in the PEM files `paths`, and the files' bytes in order.

    Raises:
        KeyFileError: a file holds no certificate.
        RequestError: a file cannot be read.
    """
    contents = [read_bounded(path) for path in paths]
    certificates = [_parse_pem(data, path) for path, data in zip(paths, contents, strict=True)]
    return [certificate for some in certificates for certificate in some], b"".join(contents)


def _parse_pem(data: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise KeyFileError(
            f"cannot use the certificates in {path}",
            why=f"{error}.",
            remedy="Give a file with one or more certificates in PEM.",
        ) from error


def verify_chain(
    material: ChainMaterial, signer: CertificateSigner, roots: list[x509.Certificate], trust: Trust
) -> VerifyingKey:
    """The key of the leaf in `material`, which is certified for this signer, now, by one of `roots`.

    Raises:
        SignatureError: a certificate is malformed, expired, not yet valid, for another use, of another identity, of
            another root, or revoked.
    """
    leaf, *others = [parse_certificate(data) for data in material.certificates]
    required = [_usage(name) for name in signer.extended_key_usage]
    _require_leaf(leaf, required, signer.identity, trust)
    chain = _build(leaf, others, roots, required, trust)
    trust.require_not_revoked(spki_digest(certificate) for certificate in chain)
    return leaf_key(leaf)


def spki_digest(certificate: x509.Certificate) -> Digest:
    """The identity of a certificate's key: SHA-256 of its DER SubjectPublicKeyInfo."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return sha256(certificate.public_key().public_bytes(encoding, form))


def leaf_key(leaf: x509.Certificate) -> VerifyingKey:
    """The EC key of `leaf`.

    Raises:
        SignatureError: it is of another kind.
    """
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise unacceptable("The signer's certificate is not for an EC key (P-256, P-384, P-521).")
    return VerifyingKey(key)


def alternative_names(certificate: x509.Certificate) -> list[str]:
    """The e-mail addresses, URIs and DNS names in the certificate's subject alternative name."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
    return [value for kind in kinds for value in extension.get_values_for_type(kind)]


def parse_certificate(data: bytes) -> x509.Certificate:
    """The certificate in the DER `data`, parsed in every part.

    Raises:
        SignatureError: it is malformed.
    """
    try:
        certificate = x509.load_der_x509_certificate(data)
        _ = certificate.extensions, certificate.public_key(), certificate.subject, certificate.issuer  # parsed lazily
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise unacceptable(f"A certificate in it is malformed: {' '.join(str(error).split())[:200]}.") from error
    return certificate


def _usage(name: str) -> x509.ObjectIdentifier:
    try:
        return _USAGES.get(name) or x509.ObjectIdentifier(name)
    except ValueError as error:
        raise KeyFileError(
            f"'{name}' is no extended key usage",
            why="It is neither 'code_signing' nor an object identifier in dotted form.",
            remedy="Correct extended_key_usage of the signer in the site file.",
        ) from error


def _require_leaf(leaf: x509.Certificate, required: list[x509.ObjectIdentifier], identity: str, trust: Trust) -> None:
    """Say plainly what is wrong with the signer's own certificate."""
    _require_validity(leaf, "The signer's certificate", trust)
    usages = _extended_usages(leaf)
    missing = [usage for usage in required if usage not in usages]
    if missing:
        given = ", ".join(_named(usage) for usage in usages) or "no stated use"
        raise trust.refusal(
            f"Its certificate is for {given}, and not for {_named(missing[0])} (extended key usage).",
            "Have the checkpoint signed with a certificate that the CA issued for this use.",
        )
    if identity not in alternative_names(leaf):
        names = ", ".join(alternative_names(leaf)) or "nobody"
        raise trust.refusal(
            f"Its certificate names {names[:200]}, and the site wants exactly {identity}.",
            "Name the signer that made the bundle, or have the site's owner correct 'identity'.",
        )


def _require_validity(certificate: x509.Certificate, what: str, trust: Trust) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if trust.now < start:
        raise trust.refusal(f"{what} is not valid before {_day(start)}.", "Check this machine's clock, or wait.")
    if trust.now > end:
        raise trust.refusal(f"{what} expired on {_day(end)}.", "Have the checkpoint signed with a current certificate.")


def _build(
    leaf: x509.Certificate,
    others: list[x509.Certificate],
    roots: list[x509.Certificate],
    required: list[x509.ObjectIdentifier],
    trust: Trust,
) -> list[x509.Certificate]:
    def require_usages(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
        if not set(required) <= set(usage):
            raise ValueError("the extended key usage is another")

    def allow_usages(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
        if usage is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage:
            require_usages(_policy, _certificate, usage)

    usage = x509.ExtendedKeyUsage
    of_leaf = ExtensionPolicy.webpki_defaults_ee().require_present(usage, Criticality.AGNOSTIC, require_usages)
    of_ca = ExtensionPolicy.webpki_defaults_ca().may_be_present(usage, Criticality.AGNOSTIC, allow_usages)
    policy = PolicyBuilder().store(Store(roots)).time(trust.now)
    verifier = policy.extension_policies(ca_policy=of_ca, ee_policy=of_leaf).build_client_verifier()
    try:
        chain = verifier.verify(leaf, others).chain
    except (VerificationError, x509.UnsupportedGeneralNameType) as error:
        for authority in others:
            _require_validity(authority, "A certificate above the signer's", trust)
        raise trust.refusal(
            f"Its certificate does not chain to the site's roots: {' '.join(str(error).split())[:300]}.",
            "Have it signed under a root that the site trusts, with every intermediate certificate in the bundle.",
        ) from error
    _require_validity(chain[-1], "The root certificate", trust)
    return chain


def _extended_usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return []


def _named(usage: x509.ObjectIdentifier) -> str:
    return _NAMES.get(usage, usage.dotted_string)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
