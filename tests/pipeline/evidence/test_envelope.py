"""DSSE envelopes: interoperable, and strict about everything that a forger could vary."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]  # re-exported without __all__

from pipeline.errors import EvidenceError
from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, open_envelope, pre_authentication_encoding, seal
from pipeline.keys import SigningKey, generate_key

ALL_KINDS = [
    SigningKey(ec.generate_private_key(ec.SECP256R1())),
    SigningKey(ec.generate_private_key(ec.SECP384R1())),
    SigningKey(ec.generate_private_key(ec.SECP521R1())),
    SigningKey(ed25519.Ed25519PrivateKey.generate()),
]
KEY = ALL_KINDS[0]


def edited(envelope: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(envelope), **changes}).encode()


def test_the_encoding_is_the_one_of_the_specification() -> None:
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld") == expected


@pytest.mark.parametrize("key", ALL_KINDS)
@settings(deadline=None)
@given(payload=st.binary(max_size=200))
def test_what_is_sealed_opens(key: SigningKey, payload: bytes) -> None:
    opened = open_envelope(seal(payload, IN_TOTO_PAYLOAD, [key]), IN_TOTO_PAYLOAD, [key.verifying_key])
    assert opened.payload == payload
    assert opened.signers == (key.verifying_key.digest,)


@pytest.mark.parametrize("key", ALL_KINDS)
def test_securesystemslib_verifies_ours(key: SigningKey) -> None:
    envelope = Envelope.from_dict(json.loads(seal(b"payload", IN_TOTO_PAYLOAD, [key])))
    theirs = SSlibKey.from_crypto(key.verifying_key.public, keyid=key.verifying_key.digest)
    assert list(envelope.verify([theirs], 1)) == [key.verifying_key.digest]


@pytest.mark.parametrize("key", ALL_KINDS)
def test_we_verify_those_of_securesystemslib(key: SigningKey) -> None:
    envelope = Envelope(b"payload", IN_TOTO_PAYLOAD, {})
    envelope.sign(CryptoSigner(key.private))
    opened = open_envelope(json.dumps(envelope.to_dict()).encode(), IN_TOTO_PAYLOAD, [key.verifying_key])
    assert opened.payload == b"payload"


def test_a_signature_without_keyid_is_allowed_as_the_specification_says() -> None:
    envelope = json.loads(seal(b"payload", IN_TOTO_PAYLOAD, [KEY]))
    del envelope["signatures"][0]["keyid"]
    opened = open_envelope(json.dumps(envelope).encode(), IN_TOTO_PAYLOAD, [KEY.verifying_key])
    assert opened.signers == (KEY.verifying_key.digest,)


def test_attack_one_key_signs_twice_under_two_key_ids() -> None:
    envelope = json.loads(seal(b"payload", IN_TOTO_PAYLOAD, [KEY, KEY]))
    envelope["signatures"][1]["keyid"] = "someone else"
    with pytest.raises(EvidenceError, match="not signed as it must be"):
        open_envelope(
            json.dumps(envelope).encode(), IN_TOTO_PAYLOAD, [KEY.verifying_key, KEY.verifying_key], threshold=2
        )


def test_two_keys_meet_a_threshold_of_two() -> None:
    keys = ALL_KINDS[:2]
    opened = open_envelope(
        seal(b"payload", IN_TOTO_PAYLOAD, keys), IN_TOTO_PAYLOAD, [k.verifying_key for k in keys], threshold=2
    )
    assert opened.signers == tuple(sorted(k.verifying_key.digest for k in keys))


@pytest.mark.parametrize("threshold", [0, -1])
def test_a_threshold_below_one_denies(threshold: int) -> None:
    with pytest.raises(EvidenceError):
        open_envelope(seal(b"x", IN_TOTO_PAYLOAD, [KEY]), IN_TOTO_PAYLOAD, [KEY.verifying_key], threshold=threshold)


def test_attack_signed_by_an_unknown_key() -> None:
    with pytest.raises(EvidenceError, match="0 of 1"):
        open_envelope(seal(b"payload", IN_TOTO_PAYLOAD, [generate_key()]), IN_TOTO_PAYLOAD, [KEY.verifying_key])


def test_no_trusted_key_denies() -> None:
    with pytest.raises(EvidenceError, match="0 are trusted"):
        open_envelope(seal(b"payload", IN_TOTO_PAYLOAD, [KEY]), IN_TOTO_PAYLOAD, [])


def test_nothing_is_sealed_without_a_key() -> None:
    with pytest.raises(EvidenceError):
        seal(b"payload", IN_TOTO_PAYLOAD, [])


def test_attack_payload_replaced() -> None:
    envelope = edited(seal(b"payload", IN_TOTO_PAYLOAD, [KEY]), payload=base64.b64encode(b"Payload").decode())
    with pytest.raises(EvidenceError, match="not signed as it must be"):
        open_envelope(envelope, IN_TOTO_PAYLOAD, [KEY.verifying_key])


def test_attack_type_confusion() -> None:
    with pytest.raises(EvidenceError, match="malformed"):
        open_envelope(seal(b"payload", "text/plain", [KEY]), IN_TOTO_PAYLOAD, [KEY.verifying_key])


SIGNATURE = {"keyid": "a", "sig": "AA=="}


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": 7},
        {"payload": "eA=="[:-1]},
        {"payload": "eB=="},  # the same byte in a second spelling
        {"payload": "e\nA=="},
        {"payload": "ЖЖЖЖ"},
        {"payloadType": None},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": ["x"]},
        {"signatures": [{}]},
        {"signatures": [SIGNATURE] * 101},
        {"signatures": [{**SIGNATURE, "extra": 1}]},
        {"signatures": [{**SIGNATURE, "keyid": 1}]},
        {"signatures": [{**SIGNATURE, "sig": None}]},
        {"signatures": [{**SIGNATURE, "sig": "AAAA" * 2000}]},
        {"unknown": 1},
    ],
)
def test_a_malformed_envelope_denies(changes: dict[str, Any]) -> None:
    with pytest.raises(EvidenceError, match="malformed"):
        open_envelope(edited(seal(b"x", IN_TOTO_PAYLOAD, [KEY]), **changes), IN_TOTO_PAYLOAD, [KEY.verifying_key])


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"payload":"","payload":""}'])
def test_other_bytes_deny(data: bytes) -> None:
    with pytest.raises(EvidenceError, match="malformed"):
        open_envelope(data, IN_TOTO_PAYLOAD, [KEY.verifying_key])


@settings(deadline=None)
@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_no_flipped_byte_yields_another_payload(position: int, flip: int) -> None:
    data = bytearray(seal(b"payload", IN_TOTO_PAYLOAD, [KEY]))
    data[position % len(data)] ^= flip
    with contextlib.suppress(EvidenceError):
        assert open_envelope(bytes(data), IN_TOTO_PAYLOAD, [KEY.verifying_key]).payload == b"payload"


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_cause_another_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        open_envelope(data, IN_TOTO_PAYLOAD, [KEY.verifying_key])
