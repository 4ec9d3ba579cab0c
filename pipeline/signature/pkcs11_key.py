"""Signing with an EC key that never leaves its token: a hardware module, or SoftHSM, spoken to by PKCS#11.

A key is named by an RFC 7512 URI such as
`pkcs11:token=release;object=publisher?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin`.
The PIN comes from that file or from the environment variable AIRLOCK_PKCS11_PIN, never from the URI itself, which every
user of the machine could read in the list of processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pipeline.errors import KeyFileError, RequestError
from pipeline.files import read_bounded
from pipeline.keys import VerifyingKey

SCHEME = "pkcs11:"
PIN_VARIABLE = "AIRLOCK_PKCS11_PIN"
_PATH_ATTRIBUTES = ("token", "object", "id", "serial", "type")
_QUERY_ATTRIBUTES = ("module-path", "pin-source")
_HASHES = {"secp256r1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}


@dataclass(frozen=True)
class TokenKeyName:
    """Which key of which token, and how to reach it.  At least one of `label` and `identifier` is given."""

    module: Path
    token: str
    label: str | None
    identifier: bytes | None
    pin_file: Path | None


@dataclass(frozen=True, repr=False)
class TokenKey:
    """A private key on a token, in an open session."""

    private: Any
    public: ec.EllipticCurvePublicKey

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.public)

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: ECDSA in DER with the curve's hash.

        Raises:
            KeyFileError: the token refused.
        """
        import pkcs11

        digest = hashlib.new(_HASHES[self.public.curve.name], message).digest()
        with _token_errors("cannot sign with the token's key"):
            raw: bytes = self.private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def parse_token_key(uri: str) -> TokenKeyName:
    """The key that the RFC 7512 `uri` names.

    Raises:
        RequestError: the URI is malformed, carries a PIN, or leaves out the token, the key or the module.
    """
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    attributes = _attributes(path.split(";"), _PATH_ATTRIBUTES, uri)
    options = _attributes(query.split("&"), _QUERY_ATTRIBUTES, uri)
    if "token" not in attributes or "module-path" not in options or not {"object", "id"} & attributes.keys():
        raise _bad_uri(uri, "It must name the token, the key ('object' or 'id') and the module ('module-path').")
    source = options.get("pin-source")
    return TokenKeyName(
        module=Path(unquote(options["module-path"])),
        token=unquote(attributes["token"]),
        label=unquote(attributes["object"]) if "object" in attributes else None,
        identifier=unquote_to_bytes(attributes["id"]) if "id" in attributes else None,
        pin_file=Path(unquote(source.removeprefix("file:").removeprefix("//"))) if source else None,
    )


@contextlib.contextmanager
def opened_token_key(uri: str) -> Iterator[TokenKey]:
    """The key that `uri` names, for as long as the block lasts.

    Raises:
        RequestError: the URI is malformed, the PIN is not to be had, or PKCS#11 support is not installed.
        KeyFileError: the module, the token or the key is not there, the PIN is wrong, or the key is no EC key.
    """
    name = parse_token_key(uri)
    pin = _pin(name)
    try:
        import pkcs11
    except ImportError as error:
        raise RequestError(
            "cannot sign with a token",
            why="The package python-pkcs11 is not installed.",
            remedy="Install it into Airlock's environment: pip install python-pkcs11.",
        ) from error
    with _token_errors(f"cannot open the token '{name.token}'"):
        if not name.module.is_file():
            raise _unusable(f"There is no PKCS#11 module {name.module}.", "Correct 'module-path' in the URI.")
        session = pkcs11.lib(str(name.module)).get_token(token_label=name.token).open(user_pin=pin)
    with session:
        yield _find(session, name)


def _find(session: Any, name: TokenKeyName) -> TokenKey:
    import pkcs11
    from pkcs11.util.ec import encode_ec_public_key

    which = {"label": name.label, "id": name.identifier}
    given = {key: value for key, value in which.items() if value is not None}
    with _token_errors(f"cannot find the key in the token '{name.token}'"):
        private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **given)
        public = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **given)
        if private.key_type is not pkcs11.KeyType.EC:
            raise _unusable("The key is no EC key.", "Make an EC key (P-256, P-384 or P-521) in the token.")
        key = load_der_public_key(encode_ec_public_key(public))
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _unusable("The key is on another curve.", "Make an EC key (P-256, P-384 or P-521) in the token.")
    return TokenKey(private, key)


def _attributes(items: list[str], known: tuple[str, ...], uri: str) -> Mapping[str, str]:
    pairs = [item.partition("=") for item in items if item]
    names = [name for name, _, _ in pairs]
    if "pin-value" in names:
        raise RequestError(
            "the PIN must not stand in the URI",
            why="Every user of this machine can read the arguments of a running command.",
            remedy=f"Name a file by pin-source=file:/PATH, or set the environment variable {PIN_VARIABLE}.",
        )
    for name in names:
        if name not in known or names.count(name) > 1:
            raise _bad_uri(uri, f"'{name}' is unknown there or given twice.")
    return {name: value for name, _, value in pairs}


def _pin(name: TokenKeyName) -> str:
    if name.pin_file is not None:
        return read_bounded(name.pin_file, limit=1024).decode("utf-8", "replace").strip()
    pin = os.environ.get(PIN_VARIABLE)
    if pin is None:
        raise RequestError(
            f"the PIN of the token '{name.token}' is not known",
            why=f"The URI names no pin-source, and {PIN_VARIABLE} is not set.",
            remedy=f"Add pin-source=file:/PATH to the URI, or set {PIN_VARIABLE}.",
        )
    return pin


@contextlib.contextmanager
def _token_errors(what: str) -> Iterator[None]:
    """Turn whatever the PKCS#11 library raises inside into a KeyFileError that starts with `what`."""
    from pkcs11.exceptions import PKCS11Error

    try:
        yield
    except (PKCS11Error, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise KeyFileError(
            what,
            why=f"The module says: {type(error).__name__}{f' ({text})' if text else ''}.",
            remedy="Check the token's label, the key's label or id, and the PIN.",
        ) from error


def _unusable(why: str, remedy: str) -> KeyFileError:
    return KeyFileError("cannot use the token's key", why=why, remedy=remedy)


def _bad_uri(uri: str, why: str) -> RequestError:
    return RequestError(
        f"'{uri[:200]}' names no key",
        why=why,
        remedy="Write it as pkcs11:token=T;object=K?module-path=/PATH/TO/MODULE.so&pin-source=file:/PATH (RFC 7512).",
    )
