"""A private certificate authority, as an organisation or a vendor runs one, and what it may issue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

IDENTITY = "release@vendor.example"
DAY = timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Lifetime:
    """When a certificate is valid, in days from now."""

    start: float = -10
    end: float = 355

    def bounds(self) -> tuple[datetime, datetime]:
        """First and last moment."""
        now = datetime.now(UTC)
        return now + self.start * DAY, now + self.end * DAY


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate and key, and the authorities above it, nearest first."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificates that a bundle carries after a leaf of this authority."""
        return (self.certificate, *self.above)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, path: Path) -> Path:
        """Write the certificate to `path` in PEM."""
        path.write_bytes(self.pem)
        return path

    def subordinate(
        self, name: str, lifetime: Lifetime = Lifetime(), usages: Sequence[x509.ObjectIdentifier] = ()
    ) -> Authority:
        """An intermediate authority below this one."""
        key = new_key()
        builder = _authority_builder(name, key, lifetime, path_length=0).issuer_name(self.certificate.subject)
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = _with_issuer(builder, self).sign(self.key, hashes.SHA256())
        return Authority(certificate, key, self.chain)

    def issue(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        identity: str | None = IDENTITY,
        lifetime: Lifetime = Lifetime(),
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CODE_SIGNING,),
        is_authority: bool = False,
    ) -> x509.Certificate:
        """A certificate for `key`."""
        start, end = lifetime.bounds()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name("signer"))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=is_authority), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if identity is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(identity)]), critical=False)
        return _with_issuer(builder, self).sign(self.key, hashes.SHA256())


def root_authority(name: str = "vendor root", lifetime: Lifetime = Lifetime(-1000, 3000)) -> Authority:
    """A self-signed root."""
    key = new_key()
    builder = _authority_builder(name, key, lifetime, path_length=None).issuer_name(_name(name))
    return Authority(builder.sign(key, hashes.SHA256()), key)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """The key usage of an authority, or of a signer."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_builder(
    name: str, key: ec.EllipticCurvePrivateKey, lifetime: Lifetime, path_length: int | None
) -> x509.CertificateBuilder:
    start, end = lifetime.bounds()
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _with_issuer(builder: x509.CertificateBuilder, authority: Authority) -> x509.CertificateBuilder:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return builder.add_extension(identifier, critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(identity: str) -> x509.GeneralName:
    if "://" in identity:
        return x509.UniformResourceIdentifier(identity)
    return x509.RFC822Name(identity) if "@" in identity else x509.DNSName(identity)
