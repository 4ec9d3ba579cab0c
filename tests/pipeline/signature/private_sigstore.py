"""A whole Sigstore instance in memory: a certificate authority (Fulcio), a log of certificates, a log of signatures
(Rekor, version 1 or 2) and a timestamp authority.  It signs as the real services do, and opens no connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from pipeline.signature.bundle import MEDIA_TYPE, PAYLOAD_TYPE, pre_authentication_encoding
from tests.pipeline.signature.authority import key_usage, new_key

IDENTITY = "https://ci.internal/release@main"
ISSUER = "https://oidc.internal"
ISSUER_V1 = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")  # the raw text
ISSUER_V2 = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")  # the text as a DER UTF8String
SIGNED_CERTIFICATE_TIMESTAMPS = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_DER, _PEM = serialization.Encoding.DER, serialization.Encoding.PEM
_AGE = timedelta(days=30)  # of the instance


def encoded(data: bytes) -> str:
    """Base64, as JSON carries bytes."""
    return base64.b64encode(data).decode()


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of the key."""
    return key.public_key().public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """An ECDSA signature with SHA-256."""
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass
class TransparencyLog:
    """A Merkle tree (RFC 6962) whose head one key signs.  `origin` names it in its checkpoints."""

    origin: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    leaves: list[bytes] = field(default_factory=list)

    @property
    def key_id(self) -> bytes:
        """What names the log: the SHA-256 of its key."""
        return hashlib.sha256(public_der(self.key)).digest()

    def append(self, body: bytes) -> dict[str, Any]:
        """Add an entry; returns its position and the proof that it is included."""
        index = len(self.leaves)
        self.leaves.append(hashlib.sha256(b"\x00" + body).digest())
        return {
            "logIndex": str(index),
            "rootHash": encoded(_root(self.leaves)),
            "treeSize": str(len(self.leaves)),
            "hashes": [encoded(node) for node in _path(index, self.leaves)],
            "checkpoint": {"envelope": self._checkpoint()},
        }

    def promise(self, body: bytes, when: datetime, index: int) -> str:
        """Version 1's signed promise that the entry was received at `when`."""
        fields: dict[str, Any] = {
            "body": encoded(body),
            "integratedTime": int(when.timestamp()),
            "logID": self.key_id.hex(),
            "logIndex": index,
        }
        return encoded(signed(self.key, rfc8785.dumps(fields)))

    def trust(self, start: datetime) -> dict[str, Any]:
        """How a trust root names this log."""
        return {
            "baseUrl": f"https://{self.origin.split()[0]}",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": encoded(public_der(self.key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": _rfc3339(start)},
            },
            "logId": {"keyId": encoded(self.key_id)},
        }

    def _checkpoint(self) -> str:
        head = f"{self.origin}\n{len(self.leaves)}\n{encoded(_root(self.leaves))}\n"
        signature = encoded(self.key_id[:4] + signed(self.key, head.encode()))
        return f"{head}\n\N{EM DASH} {self.origin.split()[0]} {signature}\n"


@dataclass
class TimestampAuthority:
    """An RFC 3161 authority: OpenSSL answers its requests, with files in `directory`."""

    directory: Path
    start: datetime

    def __post_init__(self) -> None:
        root_key, key = new_key(), new_key()
        self.root = _certificate("timestamp root", root_key, None, self.start)
        self.leaf = _certificate(
            "timestamps", key, (self.root, root_key), self.start, ExtendedKeyUsageOID.TIME_STAMPING
        )
        pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.directory.mkdir()
        (self.directory / "key.pem").write_bytes(key.private_bytes(_PEM, pkcs8, plain))
        (self.directory / "leaf.pem").write_bytes(self.leaf.public_bytes(_PEM))
        (self.directory / "serial").write_text("01")
        (self.directory / "settings").write_text(
            "[tsa]\ndefault_tsa = here\n[here]\nserial = serial\nsigner_cert = leaf.pem\nsigner_key = key.pem\n"
            "signer_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\naccuracy = secs:1\n"
            "ess_cert_id_alg = sha256\n"
        )

    def stamp(self, data: bytes) -> bytes:
        """A timestamp response over `data`, of this moment."""
        (self.directory / "data").write_bytes(data)
        self._openssl("-query", "-data", "data", "-sha256", "-cert", "-out", "query")
        self._openssl("-reply", "-config", "settings", "-queryfile", "query", "-out", "reply")
        return (self.directory / "reply").read_bytes()

    def trust(self) -> dict[str, Any]:
        """How a trust root names this authority."""
        return _authority_trust("timestamps", [self.leaf, self.root], self.start)

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", "ts", *arguments], cwd=self.directory, check=True, capture_output=True)


@dataclass
class PrivateSigstore:
    """The instance.  `directory` holds the timestamp authority's files; `now` is the time at which it works."""

    directory: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.start = self.now - _AGE
        self.authority_key = new_key()
        self.authority = _certificate("fulcio", self.authority_key, None, self.start)
        self.certificate_log = TransparencyLog("ct.internal")
        self.signature_log = TransparencyLog("rekor.internal")
        for number in range(5):  # so that inclusion proofs are more than one node
            self.signature_log.append(b"entry of another signer %d" % number)
        self.timestamps = TimestampAuthority(self.directory, self.start)

    def issue(
        self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str, when: datetime, usage: ObjectIdentifier
    ) -> x509.Certificate:
        """A certificate of ten minutes from `when`, logged as real ones are."""
        name = x509.UniformResourceIdentifier(identity) if "://" in identity else x509.RFC822Name(identity)
        authority_key = self.authority_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(when)
            .not_valid_after(when + timedelta(minutes=10))
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(x509.UnrecognizedExtension(ISSUER_V1, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(ISSUER_V2, _tlv(0x0C, issuer.encode())), critical=False)
        )
        before_logging = builder.sign(self.authority_key, hashes.SHA256()).tbs_certificate_bytes
        timestamps = _tlv(0x04, self._certificate_timestamps(before_logging, when))
        extension = x509.UnrecognizedExtension(SIGNED_CERTIFICATE_TIMESTAMPS, timestamps)
        return builder.add_extension(extension, critical=False).sign(self.authority_key, hashes.SHA256())

    def _certificate_timestamps(self, before_logging: bytes, when: datetime) -> bytes:
        """The CT log's signed promise to include the certificate (RFC 6962, section 3)."""
        milliseconds = int(when.timestamp() * 1000)
        issuer_key = hashlib.sha256(public_der(self.authority_key)).digest()
        length = len(before_logging).to_bytes(3, "big")
        statement = struct.pack("!BBQH", 0, 0, milliseconds, 1) + issuer_key + length + before_logging + b"\x00\x00"
        signature = signed(self.certificate_log.key, statement)
        algorithm = b"\x04\x03"  # SHA-256 and ECDSA
        head = struct.pack("!B32sQH", 0, self.certificate_log.key_id, milliseconds, 0)
        timestamp = head + algorithm + struct.pack("!H", len(signature)) + signature
        return struct.pack("!HH", len(timestamp) + 2, len(timestamp)) + timestamp

    def sign(
        self,
        payload: bytes,
        *,
        version: int = 1,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
        signed_after: timedelta = timedelta(seconds=1),
        usage: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> dict[str, Any]:
        """A bundle over `payload`, recorded by a log of `version`, `signed_after` the certificate was issued."""
        key, issued = new_key(), self.now - timedelta(seconds=30)
        certificate = self.issue(key, identity, issuer, issued, usage)
        signature = signed(key, pre_authentication_encoding(payload))
        envelope = {
            "payload": encoded(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": encoded(signature)}],
        }
        record: Callable[..., dict[str, Any]] = self._record_v1 if version == 1 else self._record_v2
        material = record(envelope, payload, signature, certificate, issued + signed_after)
        material["certificate"] = {"rawBytes": encoded(certificate.public_bytes(_DER))}
        return {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}

    def _record_v1(
        self, envelope: dict[str, Any], payload: bytes, signature: bytes, certificate: x509.Certificate, when: datetime
    ) -> dict[str, Any]:
        verifier = encoded(certificate.public_bytes(_PEM))
        body = rfc8785.dumps(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _sha256(json.dumps(envelope).encode()),
                    "payloadHash": _sha256(payload),
                    "signatures": [{"signature": encoded(signature), "verifier": verifier}],
                },
            }
        )
        proof = self.signature_log.append(body)
        promise = self.signature_log.promise(body, when, int(proof["logIndex"]))
        entry = self._entry(body, proof, "dsse", "0.0.1")
        entry |= {"integratedTime": str(int(when.timestamp())), "inclusionPromise": {"signedEntryTimestamp": promise}}
        return {"tlogEntries": [entry]}

    def _record_v2(
        self,
        _envelope: dict[str, Any],
        payload: bytes,
        signature: bytes,
        certificate: x509.Certificate,
        _when: datetime,
    ) -> dict[str, Any]:
        digest = hashlib.sha256(pre_authentication_encoding(payload)).digest()
        verifier = {
            "x509Certificate": {"rawBytes": encoded(certificate.public_bytes(_DER))},
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        }
        specification: dict[str, Any] = {
            "data": {"algorithm": "SHA2_256", "digest": encoded(digest)},
            "signature": {"content": encoded(signature), "verifier": verifier},
        }
        body = rfc8785.dumps(
            {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": specification}}
        )
        entry = self._entry(body, self.signature_log.append(body), "hashedrekord", "0.0.2")
        stamps = [{"signedTimestamp": encoded(self.timestamps.stamp(signature))}]
        return {"tlogEntries": [entry], "timestampVerificationData": {"rfc3161Timestamps": stamps}}

    def _entry(self, body: bytes, proof: dict[str, Any], kind: str, version: str) -> dict[str, Any]:
        return {
            "logIndex": proof["logIndex"],
            "logId": {"keyId": encoded(self.signature_log.key_id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": proof,
            "canonicalizedBody": encoded(body),
        }

    def trusted_root(self) -> dict[str, Any]:
        """The instance's trust root."""
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.signature_log.trust(self.start)],
            "ctlogs": [self.certificate_log.trust(self.start)],
            "certificateAuthorities": [_authority_trust("fulcio", [self.authority], self.start)],
            "timestampAuthorities": [self.timestamps.trust()],
        }

    def client_trust_config(self) -> dict[str, Any]:
        """The trust root with the addresses that a signing client would use; a verifier must never call them."""
        service = [
            {
                "url": "https://unreachable.internal",
                "majorApiVersion": 1,
                "operator": "internal",
                "validFor": {"start": _rfc3339(self.start)},
            }
        ]
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.trusted_root(),
            "signingConfig": {
                "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "caUrls": service,
                "oidcUrls": service,
                "rekorTlogUrls": service,
                "rekorTlogConfig": {"selector": "ANY"},
                "tsaUrls": service,
                "tsaConfig": {"selector": "ANY"},
            },
        }


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    start: datetime,
    usage: ObjectIdentifier | None = None,
) -> x509.Certificate:
    """A root, or what one issues; an organisation is named because Sigstore's own certificates name theirs."""
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "internal")
    subject = x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing_key = issuer[1] if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
    return builder.sign(signing_key, hashes.SHA256())


def _authority_trust(name: str, certificates: Sequence[x509.Certificate], start: datetime) -> dict[str, Any]:
    return {
        "subject": {"organization": "internal", "commonName": name},
        "uri": f"https://{name}.internal",
        "certChain": {"certificates": [{"rawBytes": encoded(item.public_bytes(_DER))} for item in certificates]},
        "validFor": {"start": _rfc3339(start)},
    }


def _root(hashes_: Sequence[bytes]) -> bytes:
    if len(hashes_) == 1:
        return hashes_[0]
    split = _split(len(hashes_))
    return hashlib.sha256(b"\x01" + _root(hashes_[:split]) + _root(hashes_[split:])).digest()


def _path(index: int, hashes_: Sequence[bytes]) -> list[bytes]:
    if len(hashes_) == 1:
        return []
    split = _split(len(hashes_))
    if index < split:
        return [*_path(index, hashes_[:split]), _root(hashes_[split:])]
    return [*_path(index - split, hashes_[split:]), _root(hashes_[:split])]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _sha256(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _tlv(tag: int, content: bytes) -> bytes:
    """A DER value; `content` is shorter than 256 bytes."""
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + length + content


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
