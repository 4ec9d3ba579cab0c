"""Whether a bundle's signature is that of a signer whom the site trusts: the one door to every signing method."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.errors import KeyFileError, SignatureError
from pipeline.keys import VerifyingKey, load_verifying_key
from pipeline.signature.bundle import Bundle, KeyMaterial
from pipeline.signature.verified import SignerIdentity
from pipeline.site import CertificateSigner, KeylessSigner, KeySigner

Signer = KeySigner | CertificateSigner | KeylessSigner


def authenticate(bundle: Bundle, name: str, signer: Signer) -> SignerIdentity:
    """Who signed `bundle`, which must be the site's signer called `name`.

    Raises:
        SignatureError: the signature is not that signer's.
        KeyFileError: a key or certificate of the site cannot be used.
    """
    if isinstance(signer, KeySigner):
        return _by_key(bundle, name, signer)
    raise wrong_method(name, signer.method)


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


def wrong_method(name: str, method: str) -> SignatureError:
    """The error for a bundle that was made by another method than the signer's."""
    return SignatureError(
        f"the bundle is not signed the way signer '{name}' signs",
        why=f"The site knows '{name}' by method '{method}', and the bundle carries material of another method.",
        remedy="Name the signer that made the bundle, or have the supplier sign it the agreed way.",
    )


def forged(name: str) -> SignatureError:
    """The error for a signature that does not verify."""
    return SignatureError(
        f"the signature is not by signer '{name}'",
        why="It does not verify: the bundle was edited, or another key made it.",
        remedy="Get the bundle again from the supplier; check the signer's key with them over another channel.",
    )


def _by_key(bundle: Bundle, name: str, signer: KeySigner) -> SignerIdentity:
    if not isinstance(bundle.material, KeyMaterial):
        raise wrong_method(name, signer.method)
    key = require_ec(load_verifying_key(signer.public_key), f"the key of signer '{name}'")
    hint = bundle.material.hint
    if hint and hint != key_hint(key):
        raise SignatureError(
            f"the signature is not by signer '{name}'",
            why=f"The bundle names the key {hint[:64]}, and the site's key for '{name}' is {key_hint(key)}.",
            remedy="Name the signer that made the bundle; check the signer's key with them over another channel.",
        )
    if not key.verifies(bundle.signature, bundle.message):
        raise forged(name)
    return SignerIdentity(name=name, method=signer.method, key_digest=key.digest)
