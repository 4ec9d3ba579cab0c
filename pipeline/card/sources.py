"""What a card is made of: signed values only, gathered by the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.digests import Digest, hex_of
from pipeline.evidence.statement import Evidence, Stopping
from pipeline.manifest import Manifest
from pipeline.measurement import Metric, Sample
from pipeline.policy.decision import Decision, Interval

Summarise = Callable[[Metric, float, Stopping | None], Interval]
"""summarise(metric, confidence, stopping) -> the estimate with its two-sided interval, by the gate's own statistics."""


@dataclass(frozen=True)
class CardApproval:
    """One person's approval.  `digest` is that of the signed approval's bytes."""

    person: str
    role: str
    given: datetime
    comment: str
    digest: Digest


@dataclass(frozen=True)
class CardPromotion:
    """A promotion that happened.  `reference` is how a consumer pulls it; `digest` is that of the signed record.

    `emergency` says who promoted it against the gate or without its approvals, and why; the mark stays on the card.
    """

    stage: str
    reference: str
    promoted: datetime
    digest: Digest
    emergency: str | None = None


def default_file_name(digest: Digest) -> str:
    """The path of a record below the root of `pipeline.evidence.store`."""
    digits = hex_of(digest)
    return f"blobs/{digits[:2]}/{digits}"


@dataclass(frozen=True, kw_only=True)
class CardSources:
    """Everything one candidate's card is made of.

    `samples` are stored samples by check, already compared with the digest in their statement: all, or those to show.
    `baseline` is the evidence of the registered model that the decision compared with, where it did.  `claims` is what
    the submitter said of the checkpoint, shown as claims.  `file_names` gives the path of a record inside the store,
    for a reader who wants the original.
    """

    decision: Decision
    decision_digest: Digest
    evidence: Evidence
    summarise: Summarise
    approvals: Sequence[CardApproval] = ()
    promotion: CardPromotion | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    baseline: Evidence | None = None
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    manifest: Manifest | None = None
    file_names: Callable[[Digest], str] = default_file_name
