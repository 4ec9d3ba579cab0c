"""What the gate says: one result a rule, and a verdict for the candidate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.digests import Digest

Outcome = Literal["pass", "fail", "inconclusive", "missing", "stale", "waived"]
Verdict = Literal["GO", "NO-GO", "INCONCLUSIVE"]
RuleSeverity = Literal["block", "warn", "info"]


@dataclass(frozen=True)
class Interval:
    """A measured value with its one- or two-sided confidence bounds, and the number of items it rests on."""

    estimate: float
    low: float
    high: float
    confidence: float
    samples: int
    invalid: int
    method: str


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule.

    `reason` and `remedy` are sentences for a compliance officer; `limit` is the demand in words, such as 'at most
    0.02'.
    `minimum` and `maximum` are the same demand as numbers in the metric's unit, where it is a fixed limit.
    `more_samples` says how many more items would settle an inconclusive rule, where that can be computed.
    """

    rule: str
    title: str
    severity: RuleSeverity
    outcome: Outcome
    metric: str | None
    limit: str
    measured: Interval | None
    reason: str
    remedy: str
    evidence: Digest | None
    more_samples: int | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class ApprovalRequirement:
    """How many people of a role must approve."""

    role: str
    count: int


@dataclass(frozen=True)
class Decision:
    """The gate's verdict on one candidate, bound to everything it was made from."""

    release: str
    release_digest: Digest
    candidate: str
    subject: Digest
    policy: str
    policy_digest: Digest
    evidence: tuple[Digest, ...]
    verdict: Verdict
    results: tuple[RuleResult, ...]
    approvals: tuple[ApprovalRequirement, ...]
    decided: datetime
