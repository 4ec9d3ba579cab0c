"""Signed records of the registry: what was put into which stage, on whose word, and what was revoked.

A record binds digests alone: of the checkpoint, its manifest, the decision, the policy, each approval, each attachment
and the record it replaces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pipeline.attestations import Attestation, attest, read_attestation
from pipeline.digests import Digest, parse_digest
from pipeline.errors import FileFormatError, RegistryContentError
from pipeline.keys import SigningKey, VerifyingKey

PROMOTION_TYPE = "urn:airlock:promotion:v1"

Move = Literal["promotion", "rollback"]
Result = Literal["PASS", "PASS_WITH_WAIVER", "BREAK_GLASS"]


@dataclass(frozen=True)
class Reference:
    """An attachment by its digests: of its bytes, and of the manifest that attaches it.  Size in bytes is of that."""

    kind: str
    name: str
    digest: Digest
    manifest: Digest
    size: int


@dataclass(frozen=True)
class Approver:
    """Who approved, in which role, and the digest of the signed approval."""

    person: str
    role: str
    approval: Digest


@dataclass(frozen=True)
class Promotion:
    """A model in a stage, as the signed record says.

    `name` is RELEASE/CANDIDATE, `subject` the checkpoint's digest, `manifest` that of its OCI manifest, `manifest_size`
    its size in bytes.  `revision` counts the changes of this stage of this model from 1, and `previous` is the record
    that it replaced.  `reason` is given for a rollback.  `result` says how the policy was met; an emergency promotion
    (BREAK_GLASS) has its reason in `emergency` and ends at `expires`.  `digest` is that of the record's envelope.
    """

    move: Move
    name: str
    stage: str
    subject: Digest
    manifest: Digest
    manifest_size: int
    release_digest: Digest
    decision: Digest
    policy: Digest
    approvers: tuple[Approver, ...]
    attachments: tuple[Reference, ...]
    revision: int
    previous: Digest | None
    reason: str | None
    at: datetime
    digest: Digest
    result: Result = "PASS"
    emergency: str | None = None
    expires: datetime | None = None

    @property
    def promoted(self) -> datetime:
        """When it was put into the stage."""
        return self.at

    @property
    def reference(self) -> str:
        """The name with the digest by which consumers pull it."""
        return f"{self.name}@{self.manifest}"


def seal_promotion(promotion: Promotion, key: SigningKey) -> bytes:
    """The signed envelope of the record (whose own digest is not part of it)."""
    predicate = {
        "move": promotion.move,
        "stage": promotion.stage,
        "manifest": promotion.manifest,
        "manifestSize": promotion.manifest_size,
        "releaseDigest": promotion.release_digest,
        "decision": promotion.decision,
        "policy": promotion.policy,
        "approvers": [{"person": a.person, "role": a.role, "approval": a.approval} for a in promotion.approvers],
        "attachments": [
            {"kind": r.kind, "name": r.name, "digest": r.digest, "manifest": r.manifest, "size": r.size}
            for r in promotion.attachments
        ],
        "revision": promotion.revision,
        "previous": promotion.previous,
        "reason": promotion.reason,
        "at": promotion.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "result": promotion.result,
        "emergency": promotion.emergency,
        "expires": None if promotion.expires is None else promotion.expires.astimezone(UTC).isoformat(),
    }
    return attest(PROMOTION_TYPE, subject=promotion.subject, name=promotion.name, predicate=predicate, keys=[key])


def read_promotion(envelope: bytes, trusted: Sequence[VerifyingKey]) -> Promotion:
    """The record in `envelope`.

    Raises:
        EvidenceError: no trusted key signed it, or it is something else.
        RegistryContentError: it is signed, but not as Airlock writes it.
    """
    attestation = read_attestation(envelope, PROMOTION_TYPE, trusted)
    try:
        return _promotion(attestation, attestation.predicate)
    except (KeyError, TypeError, ValueError, AttributeError, FileFormatError) as error:
        raise RegistryContentError(
            f"the record {attestation.digest} cannot be read",
            why=f"Its signature is good, but its contents are not what Airlock writes ({error!r:.200}).",
            remedy="Read it with the version of Airlock that wrote it.",
            subject=attestation.subject,
        ) from error


def _promotion(attestation: Attestation, value: Mapping[str, Any]) -> Promotion:
    if value["move"] not in ("promotion", "rollback"):
        raise ValueError(f"an unknown move {value['move']!r}")
    if value["result"] not in get_args(Result) or (value["expires"] is None) != (value["result"] != "BREAK_GLASS"):
        raise ValueError(f"an unknown result {value['result']!r}")
    return Promotion(
        move=value["move"],
        name=attestation.subject_name,
        stage=str(value["stage"]),
        subject=attestation.subject,
        manifest=parse_digest(value["manifest"]),
        manifest_size=int(value["manifestSize"]),
        release_digest=parse_digest(value["releaseDigest"]),
        decision=parse_digest(value["decision"]),
        policy=parse_digest(value["policy"]),
        approvers=tuple(Approver(a["person"], a["role"], parse_digest(a["approval"])) for a in value["approvers"]),
        attachments=tuple(_reference(entry) for entry in value["attachments"]),
        revision=int(value["revision"]),
        previous=None if value["previous"] is None else parse_digest(value["previous"]),
        reason=value["reason"],
        at=datetime.fromisoformat(value["at"]),
        digest=attestation.digest,
        result=value["result"],
        emergency=value["emergency"],
        expires=None if value["expires"] is None else datetime.fromisoformat(value["expires"]),
    )


def _reference(value: Mapping[str, Any]) -> Reference:
    return Reference(
        kind=str(value["kind"]),
        name=str(value["name"]),
        digest=parse_digest(value["digest"]),
        manifest=parse_digest(value["manifest"]),
        size=int(value["size"]),
    )
