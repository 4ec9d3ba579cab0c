"""Candidate -> Checkpoint, or the reason why not: signature and files are checked, and both results become evidence.

Nothing is served that did not pass through here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.checkpoint.inspected import Checkpoint, Inspection, Predecessor
from pipeline.digests import Digest, hex_of, parse_digest, sha256
from pipeline.errors import DeniedError, ManifestError, SignatureError, UnsafeCheckpointError
from pipeline.files import read_bounded
from pipeline.manifest import FileEntry, Manifest
from pipeline.release import Candidate
from pipeline.signature.verified import SignerIdentity, VerifiedCandidate
from pipeline.site import Site
from pipeline.workplace import Workplace


@dataclass(frozen=True)
class Admission:
    """How a candidate's verification and inspection ended.

    `checkpoint` is None when either denied it; `statements` are the digests of what was recorded.  `subject` is the
    checkpoint's digest, or, when its files could not even be listed, that of the signature bundle it came with.
    """

    candidate: Candidate
    subject: Digest
    statements: tuple[Digest, ...]
    checkpoint: Checkpoint | None
    denial: DeniedError | None


def admit(
    candidate: Candidate,
    workplace: Workplace,
    progress: Callable[[int], None],
    *,
    predecessor: Predecessor | None = None,
) -> Admission:
    """Verify and inspect `candidate`, and record both.

    `predecessor` is the model that this one is to replace.  Where the site asks for the deep scan, the values of the
    tensors are looked at in the pass that verifies them.

    Raises:
        RequestError: the site does not know the signer, or its key cannot be used.
        StorageError: the disk failed.
    """
    from pipeline.checkpoint import inspect_verified, require_safe
    from pipeline.checkpoint.tensor_scan import DeepScan
    from pipeline.signature import verify_candidate

    scan = DeepScan() if workplace.site.inspection.deep else None
    watch = None if scan is None else scan.watch
    try:
        verified = verify_candidate(candidate, workplace.site, progress=progress, watch=watch)
    except (SignatureError, ManifestError) as denial:
        return _not_verified(candidate, denial, workplace)
    store, key, subject = workplace.store, workplace.key, verified.manifest.digest
    verification = store.record_verification(subject, candidate.name, verification_predicate(verified), key)
    inspection = inspect_verified(verified, tensors=None if scan is None else scan.finish(), predecessor=predecessor)
    checkpoint, refusal = None, None
    try:
        checkpoint = require_safe(verified, inspection)
    except UnsafeCheckpointError as denial:
        refusal = denial
    inspected = store.record_inspection(subject, candidate.name, inspection_predicate(inspection), key)
    return Admission(candidate, subject, (verification.digest, inspected.digest), checkpoint, refusal)


def verification_predicate(verified: VerifiedCandidate) -> dict[str, Any]:
    """What the statement of a good verification says."""
    files = [{"path": f.path, "size": f.size, "sha256": hex_of(f.digest)} for f in verified.manifest.files]
    return {
        "verified": True,
        "signer": asdict(verified.signer),
        "bundle": verified.bundle_digest,
        "files": files,
        "problems": [],
        "claims": verified.candidate.claims.model_dump(mode="json", exclude_none=True),
    }


def inspection_predicate(inspection: Inspection) -> dict[str, Any]:
    """What the statement of an inspection says."""
    return {**asdict(inspection), "findings": [asdict(finding) for finding in inspection.findings]}


def verified_from_predicate(predicate: Mapping[str, Any], candidate: Candidate, site: Site) -> VerifiedCandidate:
    """The verified candidate that a signed statement of `verification_predicate` describes, in the site's store.

    Its files are not read here; promotion hashes every one of them again.
    """
    manifest = manifest_from_predicate(predicate)
    root = site.store.path / "checkpoints" / hex_of(manifest.digest)
    signer = SignerIdentity(**predicate["signer"])
    return VerifiedCandidate(candidate, manifest, signer, parse_digest(predicate["bundle"]), root)


def manifest_from_predicate(predicate: Mapping[str, Any]) -> Manifest:
    """The files that a signed statement of `verification_predicate` lists."""
    return Manifest(tuple(FileEntry(f["path"], f["size"], Digest("sha256:" + f["sha256"])) for f in predicate["files"]))


def _not_verified(candidate: Candidate, denial: DeniedError, workplace: Workplace) -> Admission:
    bundle = sha256(read_bounded(candidate.signature.bundle))
    subject = parse_digest(denial.subject) if denial.subject else bundle
    predicate = {
        "verified": False,
        "signer": {"name": candidate.signature.signer},
        "bundle": bundle,
        "files": [],
        "problems": list(denial.problems) or [denial.why],
        "what": denial.what,
        "why": denial.why,
        "remedy": denial.remedy,
        "claims": candidate.claims.model_dump(mode="json", exclude_none=True),
    }
    statement = workplace.store.record_verification(subject, candidate.name, predicate, workplace.key)
    return Admission(candidate, subject, (statement.digest,), None, denial)
