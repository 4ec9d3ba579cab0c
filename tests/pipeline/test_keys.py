"""Keys: made, read, never overwritten, never taken for another."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519

from pipeline.errors import KeyFileError, StorageError
from pipeline.keys import SigningKey, generate_key, load_signing_key, load_verifying_key, write_key_pair

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
KINDS = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), None)


@pytest.mark.parametrize("curve", KINDS, ids=lambda curve: curve.name if curve else "ed25519")
def test_a_key_survives_the_disk(tmp_path: Path, curve: ec.EllipticCurve | None) -> None:
    key = SigningKey(ec.generate_private_key(curve) if curve else ed25519.Ed25519PrivateKey.generate())
    public = write_key_pair(key, tmp_path / "key.pem")
    signature = load_signing_key(tmp_path / "key.pem").sign(b"message")
    assert load_verifying_key(public).verifies(signature, b"message")
    assert not load_verifying_key(public).verifies(signature, b"another message")
    assert not generate_key().verifying_key.verifies(signature, b"message")
    assert load_verifying_key(public).digest == key.verifying_key.digest


def test_the_private_key_is_for_its_owner_only(tmp_path: Path) -> None:
    public = write_key_pair(generate_key(), tmp_path / "key.pem")
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.pem", "key.pub"]


def test_a_key_does_not_print_itself() -> None:
    assert "PRIVATE" not in repr(generate_key())


@pytest.mark.parametrize("taken", ["key.pem", "key.pub"])
def test_keys_are_never_overwritten(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key_pair(generate_key(), tmp_path / "key.pem")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {taken: b"precious"}


def test_a_dangling_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="never overwritten"):
        write_key_pair(generate_key(), tmp_path / "key.pem")
    assert not (tmp_path / "elsewhere").exists()


def test_a_private_key_cannot_take_the_name_of_its_public_half(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        write_key_pair(generate_key(), tmp_path / "key.pub")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        write_key_pair(generate_key(), tmp_path / "file" / "key.pem")


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    encryption = serialization.BestAvailableEncryption(b"passphrase")
    path.write_bytes(generate_key().private.private_bytes(PEM, PKCS8, encryption))
    with pytest.raises(KeyFileError, match="encrypted"):
        load_signing_key(path)


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----", b"\xff" * 100, b"-" * 100_000])
def test_what_is_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(data)
    with pytest.raises(KeyFileError):
        load_signing_key(path)
    with pytest.raises(KeyFileError):
        load_verifying_key(path)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256K1()), dsa.generate_private_key(2048)])
def test_other_kinds_of_keys_are_refused(tmp_path: Path, key: ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(key.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(PEM, spki))
    with pytest.raises(KeyFileError, match="supported kind"):
        load_signing_key(private)
    with pytest.raises(KeyFileError, match="supported kind"):
        load_verifying_key(public)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nowhere\.pem"):
        load_signing_key(tmp_path / "nowhere.pem")
