"""A small site with people, a decision, and a verified candidate: what approvals and promotions are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.approvals import ApprovedDecision, check_approvals, make_approval
from pipeline.audit import AuditLog
from pipeline.digests import Digest, sha256
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey, generate_key, write_key_pair
from pipeline.manifest import FileEntry, Manifest
from pipeline.policy.decision import ApprovalRequirement, Decision, Verdict
from pipeline.registry import open_registry
from pipeline.registry.interface import Attachment
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.promotion import Promotion, promote
from pipeline.registry.proof import gather_proof
from pipeline.release import Candidate, SignatureReference
from pipeline.signature.verified import SignerIdentity, VerifiedCandidate
from pipeline.site import Site, load_site

SUBJECT = sha256(b"a checkpoint")
DECIDED = datetime(2026, 11, 2, 12, tzinfo=UTC)
POLICY = b"apiVersion: airlock/v1\nkind: Policy\nname: demo\n"


@dataclass(frozen=True)
class Office:
    """A site on disk and the private keys of everyone in it."""

    site: Site
    pipeline: SigningKey
    keys: Mapping[str, SigningKey] = field(default_factory=dict)


def office(
    folder: Path, people: Mapping[str, Sequence[str]] | None = None, *, same_key: Mapping[str, str] | None = None
) -> Office:
    """A site in `folder` with `people` (name -> roles); `same_key` lets one person use another's key."""
    people = {"ana": ["compliance"], "bo": ["security"]} if people is None else people
    pipeline = generate_key()
    write_key_pair(pipeline, folder / "keys" / "pipeline.pem")
    keys = {name: generate_key() for name in people}
    lines = ['[pipeline]\nkey = "keys/pipeline.pem"\n[registry]\nstages = ["staging", "production"]']
    for name, roles in people.items():
        write_key_pair(keys[name], folder / "keys" / f"{name}.pem")
        holder = (same_key or {}).get(name, name)
        lines.append(f'[people.{name}]\npublic_key = "keys/{holder}.pub"\nroles = {list(roles)!r}')
    (folder / "airlock.toml").write_text("\n".join(lines))
    return Office(load_site(folder / "airlock.toml"), pipeline, keys)


def decision(
    subject: Digest = SUBJECT,
    *,
    verdict: Verdict = "GO",
    demands: Sequence[tuple[str, int]] = (("compliance", 1), ("security", 1)),
    evidence: Sequence[Digest] = (),
    policy: bytes = POLICY,
    candidate: str = "135m",
    decided: datetime = DECIDED,
) -> Decision:
    """A decision on `subject` as the gate makes it."""
    return Decision(
        release="smollm2",
        release_digest=sha256(b"release"),
        candidate=candidate,
        subject=subject,
        policy="demo",
        policy_digest=sha256(policy),
        evidence=tuple(sorted(evidence)),
        verdict=verdict,
        results=(),
        approvals=tuple(ApprovalRequirement(role, count) for role, count in demands),
        decided=decided,
    )


FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 1024, "README.md": b"a model", "LICENSE": b"x"}


@dataclass(frozen=True)
class Case:
    """An approved decision on a verified candidate, with its proof in a store: ready to promote."""

    office: Office
    approved: ApprovedDecision
    verified: VerifiedCandidate
    proof: tuple[Attachment, ...]
    store: EvidenceStore
    registry: LayoutRegistry
    log: AuditLog

    def promote(self, **changes: Any) -> Promotion:
        """Promote it to staging, an hour after the decision."""
        arguments: dict[str, Any] = {
            "stage": "staging",
            "registry": self.registry,
            "key": self.office.pipeline,
            "log": self.log,
            "at": DECIDED + timedelta(hours=3),
            **changes,
        }
        approved, verified = arguments.pop("approved", self.approved), arguments.pop("verified", self.verified)
        return promote(approved, verified, arguments.pop("proof", self.proof), **arguments)


def verified_candidate(folder: Path, files: Mapping[str, bytes] = FILES, name: str = "135m") -> VerifiedCandidate:
    """A candidate as verification leaves it, its files in `folder`."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    bundle = folder.parent / f"{folder.name}.sig"
    bundle.write_bytes(b'{"a": "bundle"}')
    manifest = Manifest(tuple(FileEntry(path, len(data), sha256(data)) for path, data in files.items()))
    candidate = Candidate(name=name, checkpoint=folder, signature=SignatureReference(bundle=bundle, signer="publisher"))
    signer = SignerIdentity("publisher", "key", sha256(b"a key"))
    return VerifiedCandidate(candidate, manifest, signer, sha256(bundle.read_bytes()), folder)


def approve(people: Office, about: Decision, digest: Digest) -> ApprovedDecision:
    """`about` as approved by everyone it needs."""
    at = DECIDED + timedelta(hours=1)
    approvals = [
        make_approval(about, digest, role=role, comment="", key=people.keys[name], at=at)
        for name, role in (("ana", "compliance"), ("bo", "security"))
    ]
    return check_approvals(about, digest, approvals, people.site, at=DECIDED + timedelta(hours=2))


def case(folder: Path, files: Mapping[str, bytes] = FILES, *, people: Office | None = None, name: str = "m") -> Case:
    """A case in `folder`; cases of one office share its registry and its log."""
    people = people or office(folder)
    site = people.site
    verified = verified_candidate(folder / name, files)
    store = EvidenceStore(site.store.path / "evidence", site.pipeline_keys())
    subject = verified.manifest.digest
    inspection = store.record_inspection(subject, "135m", {"findings": []}, people.pipeline)
    store.put_blob(POLICY)
    about = decision(subject, evidence=[inspection.digest])
    digest = store.record_decision(about, people.pipeline)
    approved = approve(people, about, digest)
    registry = open_registry(site)
    if not isinstance(registry, LayoutRegistry):
        raise TypeError("the site's registry is no layout")
    log = AuditLog(site.store.path / "audit", site.pipeline_keys())
    return Case(people, approved, verified, gather_proof(store, approved, verified), store, registry, log)


def assert_nothing_promoted(ready: Case) -> None:
    """Check that no stage, index or log entry came of an attempt, and that every stored blob is whole."""
    assert ready.log.entries() == ()
    assert ready.registry.table.rows() == ()
    assert ready.registry.published() == ()
    assert ready.registry.unfinished() == ()
    for digest, path in ready.registry.stored():
        assert sha256(path.read_bytes()) == digest
