"""What a site demands beyond the signature: windows, revocation, pinned keys, version and age of trust roots."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.digests import sha256
from pipeline.errors import FileFormatError, RequestError, SignatureError
from pipeline.keys import SigningKey, generate_key
from pipeline.signature import VerifiedCandidate, sign_with_certificate, verify_candidate
from pipeline.site import CertificateSigner, KeySigner, TrustSettings, load_site
from tests.pipeline.signature.authority import IDENTITY, new_key, root_authority
from tests.pipeline.signature.parts import Workplace

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ROOT = root_authority()


def verify_by_key(workplace: Workplace, **fields: Any) -> VerifiedCandidate:
    """Verify the candidate with further demands on its signer's key."""
    signer = KeySigner(method="key", public_key=workplace.root / "publisher.pub", **fields)
    return verify_candidate(workplace.candidate(), workplace.site(signer))


def verify_by_root(workplace: Workplace, record: dict[str, object] | bytes | None, **fields: Any) -> VerifiedCandidate:
    """Verify the candidate, signed under ROOT, with `record` beside the root and demands on it."""
    key = new_key()
    sign_with_certificate(workplace.checkpoint, SigningKey(key), [ROOT.issue(key)], workplace.bundle)
    path = workplace.root / "root.json"
    if record is not None:
        path.write_bytes(record if isinstance(record, bytes) else json.dumps(record).encode())
    roots = (ROOT.write(workplace.root / "root.pem"),)
    signer = CertificateSigner(method="certificate", roots=roots, identity=IDENTITY, root_record=path, **fields)
    return verify_candidate(workplace.candidate(), workplace.site(signer))


def a_record(version: int = 3, age_days: float = 10, of: bytes = ROOT.pem) -> dict[str, object]:
    """A record of a trust root."""
    return {"version": version, "issued": (NOW - age_days * DAY).isoformat(), "digest": sha256(of)}


def test_a_window_that_is_open(workplace: Workplace) -> None:
    assert verify_by_key(workplace, valid_from=NOW - HOUR, valid_until=NOW + HOUR).manifest.files


def test_a_window_that_is_not_yet_open(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="trusts this signer from"):
        verify_by_key(workplace, valid_from=NOW + HOUR)


def test_a_window_that_has_closed(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="trusts this signer until"):
        verify_by_key(workplace, valid_until=NOW - HOUR)
    assert workplace.stored() == []


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "airlock.toml"
    site.write_text(
        '[pipeline]\nkey="p.pem"\n[signers.a]\nmethod="key"\npublic_key="a.pub"\nvalid_until=2026-01-01T00:00:00\n'
    )
    with pytest.raises(FileFormatError, match="timezone"):
        load_site(site)


@pytest.mark.parametrize("patterns", [("tiny",), ("other", "t*y"), ("*",)])
def test_a_signer_who_may_sign_the_candidate(workplace: Workplace, patterns: tuple[str, ...]) -> None:
    assert verify_by_key(workplace, may_sign=patterns).manifest.files


@pytest.mark.parametrize("patterns", [("large",), ("tin",), ("TINY",), ("vendor-*", "")])
def test_a_signer_who_may_sign_other_candidates_only(workplace: Workplace, patterns: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError, match="and this is 'tiny'"):
        verify_by_key(workplace, may_sign=patterns)
    assert workplace.stored() == []


def test_a_key_that_the_signer_lost(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="is revoked by the site"):
        verify_by_key(workplace, revoked_keys=(workplace.key.verifying_key.digest,))


def test_a_key_that_the_site_revoked_for_all(workplace: Workplace) -> None:
    revoked = TrustSettings(revoked_keys=(workplace.key.verifying_key.digest,))
    site = workplace.site().model_copy(update={"trust": revoked})
    with pytest.raises(SignatureError, match="is revoked by the site"):
        verify_candidate(workplace.candidate(), site)
    assert workplace.stored() == []


def test_another_key_that_was_revoked_is_of_no_concern(workplace: Workplace) -> None:
    assert verify_by_key(workplace, revoked_keys=(generate_key().verifying_key.digest,)).manifest.files


def test_a_pinned_key(workplace: Workplace) -> None:
    assert verify_by_key(workplace, key_digest=workplace.key.verifying_key.digest).manifest.files
    with pytest.raises(SignatureError, match="the site file pins another"):
        verify_by_key(workplace, key_digest=generate_key().verifying_key.digest)


def test_a_fresh_root_of_a_high_enough_version(workplace: Workplace) -> None:
    demands = {"minimum_root_version": 3, "warn_root_age_days": 20, "max_root_age_days": 30}
    assert verify_by_root(workplace, a_record(), **demands).warnings == ()


def test_a_root_that_was_rolled_back(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="has version 3, the site demands 4"):
        verify_by_root(workplace, a_record(), minimum_root_version=4)


def test_an_ageing_root_warns(workplace: Workplace) -> None:
    verified = verify_by_root(workplace, a_record(age_days=25), warn_root_age_days=20, max_root_age_days=30)
    assert verified.warnings == (
        "The trust root of signer 'publisher' is 25 days old; it is refused after 30. Import a current one.",
    )


def test_a_root_that_is_too_old_denies(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="is 31 days old, and the site allows 30"):
        verify_by_root(workplace, a_record(age_days=31), warn_root_age_days=20, max_root_age_days=30)
    assert workplace.stored() == []


def test_a_root_from_the_future_denies(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="issued in the future"):
        verify_by_root(workplace, a_record(age_days=-400), max_root_age_days=30)


def test_a_record_of_another_root(workplace: Workplace) -> None:
    with pytest.raises(SignatureError, match="is of another trust root"):
        verify_by_root(workplace, a_record(of=b"another"), max_root_age_days=30)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"\xff",
        a_record(version=0),
        a_record() | {"issued": "2026-01-01T00:00:00"},
        a_record() | {"extra": 1},
    ],
)
def test_a_malformed_record(workplace: Workplace, record: dict[str, object] | bytes) -> None:
    with pytest.raises(FileFormatError, match="no record of a trust root"):
        verify_by_root(workplace, record)


def test_a_missing_record(workplace: Workplace) -> None:
    with pytest.raises(RequestError, match="no such file"):
        verify_by_root(workplace, None)


def test_demands_without_a_record_are_refused(tmp_path: Path) -> None:
    site = tmp_path / "airlock.toml"
    site.write_text(
        '[pipeline]\nkey="p.pem"\n[signers.a]\nmethod="certificate"\nroots=["r.pem"]\nidentity="a@b.example"\n'
        "max_root_age_days=30\n"
    )
    with pytest.raises(FileFormatError, match="need root_record"):
        load_site(site)
