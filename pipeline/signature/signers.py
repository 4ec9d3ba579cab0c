"""Whether a bundle's signature is that of a signer whom the site trusts: the one door to every signing method."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.errors import KeyFileError, SignatureError
from pipeline.keys import VerifyingKey, load_verifying_key
from pipeline.signature.bundle import Bundle, ChainMaterial, KeylessMaterial, KeyMaterial
from pipeline.signature.trust import Trust, require_fresh_root
from pipeline.signature.verified import SignerIdentity
from pipeline.site import CertificateSigner, KeylessSigner, KeySigner

Signer = KeySigner | CertificateSigner | KeylessSigner


@dataclass(frozen=True)
class Authenticated:
    """Who signed, and sentences that the reader should see."""

    signer: SignerIdentity
    warnings: tuple[str, ...] = ()


def authenticate(bundle: Bundle, signer: Signer, trust: Trust) -> Authenticated:
    """Who signed `bundle`, which must be the site's signer `signer`.

    Raises:
        SignatureError: the signature is not that signer's, or the signer is not to be trusted now.
        KeyFileError: a key or certificate of the site cannot be used.
        RequestError: a file of the site cannot be read.
    """
    if isinstance(signer, KeySigner) and isinstance(bundle.material, KeyMaterial):
        return _by_key(bundle, bundle.material, signer, trust)
    if isinstance(signer, CertificateSigner) and isinstance(bundle.material, ChainMaterial):
        return _by_certificate(bundle, bundle.material, signer, trust)
    if isinstance(signer, KeylessSigner) and isinstance(bundle.material, KeylessMaterial):
        return _keyless(bundle, bundle.material, signer, trust)
    raise SignatureError(
        f"the bundle is not signed the way signer '{trust.name}' signs",
        why=f"The site knows '{trust.name}' by method '{signer.method}'; the bundle is of another.",
        remedy="Name the signer that made the bundle, or have the supplier sign it the agreed way.",
    )


def require_ec(key: VerifyingKey, where: str) -> VerifyingKey:
    """`key`, which must be of a kind that OpenSSF Model Signing defines.

    Raises:
        KeyFileError: it is not an EC key.
    """
    if not isinstance(key.public, ec.EllipticCurvePublicKey):
        raise KeyFileError(
            f"cannot use {where} for checkpoints",
            why="OpenSSF Model Signing knows EC keys (P-256, P-384, P-521) only.",
            remedy="Use an EC key; 'airlock keys generate' makes one.",
        )
    return key


def key_hint(key: VerifyingKey) -> str:
    """How a bundle names a bare key: the SHA-256 of its PEM, in hexadecimal."""
    return hashlib.sha256(key.pem).hexdigest()


def _by_key(bundle: Bundle, material: KeyMaterial, signer: KeySigner, trust: Trust) -> Authenticated:
    key = require_ec(load_verifying_key(signer.public_key), f"the key of signer '{trust.name}'")
    if signer.key_digest is not None and key.digest != signer.key_digest:
        raise trust.refusal(
            f"The file {signer.public_key.name} holds the key {key.digest}, and the site file pins another.",
            "Find out who replaced the key file; put the pinned key back.",
        )
    if material.hint and material.hint != key_hint(key):
        raise SignatureError(
            f"the signature is not by signer '{trust.name}'",
            why=f"The bundle names the key {material.hint[:64]}, and the site's key is {key_hint(key)}.",
            remedy="Name the signer that made the bundle; check the signer's key with them over another channel.",
        )
    _require_signature(bundle, key, trust)
    trust.require_not_revoked([key.digest])
    trust.require_time(trust.now)
    return Authenticated(SignerIdentity(name=trust.name, method=signer.method, key_digest=key.digest))


def _by_certificate(bundle: Bundle, material: ChainMaterial, signer: CertificateSigner, trust: Trust) -> Authenticated:
    from pipeline.signature.certificate import load_roots, verify_chain

    roots, raw = load_roots(signer.roots)
    warnings = require_fresh_root(signer, raw, trust)
    key = verify_chain(material, signer, roots, trust)
    _require_signature(bundle, key, trust)
    trust.require_time(trust.now)
    identity = SignerIdentity(name=trust.name, method=signer.method, key_digest=key.digest, identity=signer.identity)
    return Authenticated(identity, warnings)


def _keyless(bundle: Bundle, material: KeylessMaterial, signer: KeylessSigner, trust: Trust) -> Authenticated:
    from pipeline.signature.keyless import load_trust_root, verify_keyless

    root, raw = load_trust_root(signer, trust)
    warnings = require_fresh_root(signer, raw, trust)
    key = verify_keyless(bundle, material, signer, root, trust)
    identity = SignerIdentity(
        name=trust.name,
        method=signer.method,
        key_digest=key.digest,
        identity=signer.identity,
        issuer=signer.issuer,
    )
    return Authenticated(identity, warnings)


def _require_signature(bundle: Bundle, key: VerifyingKey, trust: Trust) -> None:
    if not key.verifies(bundle.signature, bundle.message):
        raise SignatureError(
            f"the signature is not by signer '{trust.name}'",
            why="It does not verify: the bundle was edited, or another key made it.",
            remedy="Get the bundle again from the supplier; check the signer's key with them over another channel.",
        )
