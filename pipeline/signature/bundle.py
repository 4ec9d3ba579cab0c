"""The signature bundle: a Sigstore bundle (v0.3) around a DSSE envelope, as OpenSSF Model Signing writes it.

Parsing is strict, because a bundle is the supplier's file: unknown keys at the top, repeated JSON keys, sloppy base64,
more than one signature, or material of two methods are refused.  Nothing here says that a signature is good.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import SignatureError

BUNDLE_LIMIT = 32 * 1024 * 1024  # bytes; about 150 bytes a signed file
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_CHAIN_LIMIT = 10  # certificates


@dataclass(frozen=True)
class KeyMaterial:
    """The signer used a bare key; `hint` names it (SHA-256 of its PEM, in hexadecimal), if the bundle does."""

    hint: str | None


@dataclass(frozen=True)
class ChainMaterial:
    """The signer used a certificate: DER certificates, the leaf first."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True)
class KeylessMaterial:
    """The signer used a short-lived certificate of a Sigstore instance, in DER."""

    certificate: bytes


Material = KeyMaterial | ChainMaterial | KeylessMaterial


@dataclass(frozen=True)
class Bundle:
    """A parsed bundle.  `raw` is the file, `payload` the signed statement, `signature` the signature's bytes."""

    raw: bytes
    material: Material
    payload: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """What was signed: the DSSE v1 pre-authentication encoding of the payload."""
        return pre_authentication_encoding(self.payload)


def pre_authentication_encoding(payload: bytes) -> bytes:
    """DSSE v1's encoding of an in-toto payload (https://github.com/secure-systems-lab/dsse, protocol.md)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def unacceptable(why: str, *, remedy: str = "Ask the supplier for an unmodified bundle.") -> SignatureError:
    """The error for a bundle that cannot be accepted, with one line of why."""
    return SignatureError("the signature bundle is not acceptable", why=why, remedy=remedy)


def parse_bundle(data: bytes) -> Bundle:
    """The bundle in `data`.

    Raises:
        SignatureError: it is malformed in any way.
    """
    try:
        file = _BundleFile.model_validate(strict_json(data, "The bundle"))
    except ValidationError as error:
        raise unacceptable(_first_problem(error)) from error
    (signature,) = file.envelope.signatures
    return Bundle(
        raw=data,
        material=_material(file.material),
        payload=_base64(file.envelope.payload, "payload"),
        signature=_base64(signature.sig, "signature"),
    )


def strict_json(data: bytes, what: str) -> Any:
    """The JSON value in `data`, without repeated keys or non-finite numbers; `what` starts the message.

    Raises:
        SignatureError: it is not such JSON.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise unacceptable(f"{what} is not valid JSON: {' '.join(str(error).split())}.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Signature(_Part):
    sig: Annotated[str, Field(min_length=1)]
    keyid: str | None = None


class _Envelope(_Part):
    payload: Annotated[str, Field(min_length=1)]
    payload_type: Annotated[Literal["application/vnd.in-toto+json"], Field(alias="payloadType")]
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


class _PublicKey(_Part):
    hint: str | None = None
    raw_bytes: Annotated[str | None, Field(alias="rawBytes")] = None
    key_details: Annotated[str | None, Field(alias="keyDetails")] = None


class _Certificate(_Part):
    raw_bytes: Annotated[str, Field(alias="rawBytes", min_length=1)]


class _Chain(_Part):
    certificates: Annotated[list[_Certificate], Field(min_length=1, max_length=_CHAIN_LIMIT)]


class _Material(_Part):
    public_key: Annotated[_PublicKey | None, Field(alias="publicKey")] = None
    chain: Annotated[_Chain | None, Field(alias="x509CertificateChain")] = None
    certificate: _Certificate | None = None
    log_entries: Annotated[list[dict[str, Any]] | None, Field(alias="tlogEntries")] = None
    timestamps: Annotated[dict[str, Any] | None, Field(alias="timestampVerificationData")] = None


class _BundleFile(_Part):
    media_type: Annotated[Literal["application/vnd.dev.sigstore.bundle.v0.3+json"], Field(alias="mediaType")]
    material: Annotated[_Material, Field(alias="verificationMaterial")]
    envelope: Annotated[_Envelope, Field(alias="dsseEnvelope")]


def _material(material: _Material) -> Material:
    given = [part for part in (material.public_key, material.chain, material.certificate) if part is not None]
    if len(given) != 1:
        raise unacceptable(f"It has verification material of {len(given)} methods, and must have that of one.")
    if material.certificate is not None:
        if not material.log_entries:
            raise unacceptable("It is signed by a Sigstore certificate but has no transparency log entry.")
        return KeylessMaterial(_base64(material.certificate.raw_bytes, "certificate"))
    if material.log_entries or material.timestamps:
        raise unacceptable("It claims log entries or timestamps that its signing method cannot have.")
    if material.chain is not None:
        return ChainMaterial(tuple(_base64(item.raw_bytes, "certificate") for item in material.chain.certificates))
    return KeyMaterial(material.public_key.hint if material.public_key else None)


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise unacceptable(f"Its {what} is not valid base64.") from error
    if base64.b64encode(data) != text.encode():
        raise unacceptable(f"Its {what} is not in the canonical form of base64.")
    return data


def _first_problem(error: ValidationError) -> str:
    item = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in item["loc"]) or "it"
    return f"In the bundle, '{place}' is wrong: {item['msg']}."
