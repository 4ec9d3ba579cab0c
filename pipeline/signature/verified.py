"""What verification yields: a candidate whose every byte is known and signed by whom the site trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.digests import Digest
from pipeline.manifest import Manifest
from pipeline.release import Candidate


@dataclass(frozen=True)
class SignerIdentity:
    """Who signed: the site's name for the signer, the method, the key's SPKI digest, and the certified identity."""

    name: str
    method: str
    key_digest: Digest
    identity: str | None = None
    issuer: str | None = None


@dataclass(frozen=True)
class VerifiedCandidate:
    """A candidate after verification.

    `root` is the read-only copy in the store, laid out as the checkpoint was: the only place from which it is
    inspected, served and promoted.  `bundle_digest` is the digest of the signature bundle's bytes.  `warnings` are
    sentences for the reader, such as that a trust root will soon be too old.
    """

    candidate: Candidate
    manifest: Manifest
    signer: SignerIdentity
    bundle_digest: Digest
    root: Path
    warnings: tuple[str, ...] = ()
