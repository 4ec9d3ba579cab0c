"""A small site with people, a decision, and a verified candidate: what approvals and promotions are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipeline.digests import Digest, sha256
from pipeline.keys import SigningKey, generate_key, write_key_pair
from pipeline.policy.decision import ApprovalRequirement, Decision, Verdict
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
