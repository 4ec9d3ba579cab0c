"""Signing and verifying keys: EC (P-256, P-384, P-521) and Ed25519, in PEM files.

A key's identity is the SHA-256 of its DER SubjectPublicKeyInfo: two files, names or key ids of one key are one key.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pipeline.digests import Digest, canonical_json, sha256
from pipeline.errors import AirlockError, KeyFileError, RequestError
from pipeline.files import read_bounded, storage_failure, write_atomic

_KEY_LIMIT = 64 * 1024  # bytes
_HASH_OF_CURVE: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@dataclass(frozen=True)
class VerifyingKey:
    """A public key."""

    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

    @property
    def digest(self) -> Digest:
        """The key's identity: SHA-256 of its DER SubjectPublicKeyInfo."""
        return sha256(
            self.public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    @property
    def pem(self) -> bytes:
        """The key as a PEM SubjectPublicKeyInfo."""
        return self.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message` (ECDSA in DER with the curve's hash, or Ed25519)."""
        try:
            if isinstance(self.public, ed25519.Ed25519PublicKey):
                self.public.verify(signature, message)
            else:
                self.public.verify(signature, message, ec.ECDSA(_HASH_OF_CURVE[self.public.curve.name]))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, repr=False)
class SigningKey:
    """A private key; never printed."""

    private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.private.public_key())

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: ECDSA in DER with the curve's hash, or Ed25519."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(message)
        return self.private.sign(message, ec.ECDSA(_HASH_OF_CURVE[self.private.curve.name]))


class MessageSigner(Protocol):
    """What can sign a message: a key in memory or on a token."""

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: ECDSA in DER with the curve's hash, or Ed25519."""


def identity_digest(identity: str, issuer: str) -> Digest:
    """What stands for a keyless signer, whose keys last for minutes, where a key's digest does for others."""
    return sha256(canonical_json({"identity": identity, "issuer": issuer}))


def load_signing_key(path: Path) -> SigningKey:
    """The unencrypted private key in the PEM file `path`.

    Raises:
        KeyFileError: it cannot be read, is encrypted, or is of an unsupported kind.
    """
    try:
        key = serialization.load_pem_private_key(_key_bytes(path), password=None)
    except TypeError as error:
        raise KeyFileError(
            f"cannot use the key {path}",
            why="It is encrypted with a passphrase.",
            remedy="Give an unencrypted key in a file that only the pipeline's user may read, or a key on a token.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path, "private") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SigningKey(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _HASH_OF_CURVE:
        return SigningKey(key)
    raise _not_a_key(path, "private")


def load_verifying_key(path: Path) -> VerifyingKey:
    """The public key in the PEM file `path`.

    Raises:
        KeyFileError: it cannot be read or is of an unsupported kind.
    """
    return parse_verifying_key(_key_bytes(path), path)


def parse_verifying_key(pem: bytes, path: Path) -> VerifyingKey:
    """The public key in `pem`; `path` is for the messages.  Raises KeyFileError."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_a_key(path, "public") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return VerifyingKey(key)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASH_OF_CURVE:
        return VerifyingKey(key)
    raise _not_a_key(path, "public")


def generate_key() -> SigningKey:
    """A new P-256 key, the kind that every verifier of OpenSSF Model Signing reads."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()))


def write_key_pair(key: SigningKey, private: Path) -> Path:
    """Write `key` to `private` (mode 0600) and its public half beside it with the suffix .pub; returns that path.

    Raises:
        KeyFileError: either file exists already; a key is never overwritten.
        StorageError: the disk failed.
    """
    public = private.with_suffix(".pub")
    if os.path.lexists(public):
        raise _exists_already(public)
    encoded = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_new(private, encoded, mode=0o600)
    try:
        _write_new(public, key.verifying_key.pem, mode=0o644)
    except AirlockError:
        private.unlink()  # half a pair is of no use, and would stand in the way of the next attempt
        raise
    return public


def write_public_key(key: VerifyingKey, path: Path) -> None:
    """Write `key` to the new file `path`, in PEM.  Raises as `write_key_pair`."""
    _write_new(path, key.pem, mode=0o644)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that must not exist: whole under another name, then linked to its own, which never replaces."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_atomic(temporary, data, mode=mode)
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _exists_already(path) from error
    except OSError as error:
        raise storage_failure(f"cannot write the key {path}", error) from error
    finally:
        temporary.unlink()


def _exists_already(path: Path) -> KeyFileError:
    return KeyFileError(
        f"cannot write the key {path}",
        why="There is a file of that name already, and keys are never overwritten.",
        remedy="Choose another name, or move the old key away.",
    )


def _key_bytes(path: Path) -> bytes:
    try:
        return read_bounded(path, limit=_KEY_LIMIT)
    except RequestError as error:
        raise KeyFileError(f"cannot read the key {path}", why=error.why, remedy=error.remedy) from error


def _not_a_key(path: Path, half: str) -> KeyFileError:
    return KeyFileError(
        f"cannot use the key {path}",
        why=f"It is no {half} key of a supported kind (EC P-256, P-384, P-521 or Ed25519, in PEM).",
        remedy="Check the file, or make a key pair with 'airlock keys generate'.",
    )
