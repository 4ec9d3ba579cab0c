"""What the gate says: one result a rule, and a verdict for the candidate."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.digests import Digest, canonical_json
from pipeline.errors import EvidenceError

Outcome = Literal["pass", "fail", "inconclusive", "missing", "stale", "waived"]
Verdict = Literal["GO", "NO-GO", "INCONCLUSIVE"]
RuleSeverity = Literal["block", "warn", "info"]


@dataclass(frozen=True)
class Corrected:
    """A measured value with the errors of its grader taken out: what it would be, had people graded.

    `sensitivity` and `specificity` are the grader's record on labels by people, as (right, all).
    """

    grader: str
    estimate: float
    low: float
    high: float
    sensitivity: tuple[int, int]
    specificity: tuple[int, int]


@dataclass(frozen=True)
class Interval:
    """A measured value with its one- or two-sided confidence bounds, and the number of items it rests on.

    Where a grader that errs gave the values, `estimate` is as it graded, and the bounds hold in both readings: as
    graded, and as `corrected`.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    samples: int
    invalid: int
    method: str
    corrected: Corrected | None = None


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
class Waiver:
    """A waiver as the gate needs it: signature, role and separation of duties were checked by whoever read it.

    `digest` is that of the signed envelope, `subject` the checkpoint it is for.  It holds from `granted` until `until`.
    """

    digest: Digest
    subject: Digest
    rule: str
    reason: str
    compensating_control: str
    ticket: str
    granted_by: str
    granted: datetime
    until: datetime


@dataclass(frozen=True)
class ApprovalRequirement:
    """How many people of a role must approve."""

    role: str
    count: int


@dataclass(frozen=True)
class Decision:
    """The gate's verdict on one candidate, bound to everything it was made from.

    `stage` is the registry stage it was made for, or None for any; `waivers` are the digests of the signed waivers that
    were given to the gate, sorted.
    """

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
    stage: str | None = None
    waivers: tuple[Digest, ...] = ()

    @property
    def waived(self) -> tuple[RuleResult, ...]:
        """The rules that did not pass and were waived: with any, GO is a pass with waiver and never a plain pass."""
        return tuple(result for result in self.results if result.outcome == "waived")

    @property
    def result(self) -> str:
        """The verdict with a mark: GO is PASS, or PASS_WITH_WAIVER and then never PASS; the others stay as they are."""
        if self.verdict != "GO":
            return self.verdict
        return "PASS_WITH_WAIVER" if self.waived else "PASS"


DECISION_TYPE = "urn:airlock:decision:v1"


def decision_to_json(decision: Decision) -> bytes:
    """The decision as canonical JSON: equal decisions give equal bytes.

    An unbounded end of an interval, for which JSON has no number, is written as null.
    """
    document = dataclasses.asdict(decision)
    document["decided"] = decision.decided.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    for result in document["results"]:
        if result["measured"] is not None:
            found = {name: _finite(value) for name, value in result["measured"].items()}
            result["measured"] = {name: value for name, value in found.items() if (name, value) != ("corrected", None)}
    return canonical_json(document)


def decision_from_json(data: bytes) -> Decision:
    """The decision that `decision_to_json` wrote.

    Raises:
        EvidenceError: the bytes are not what it writes.
    """
    try:
        document = json.loads(data)
        decision = _DECISION.validate_python(_with_infinities(document))
        if decision_to_json(decision) != data:
            raise ValueError("it has other keys, or spells a value in another way")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EvidenceError(
            "a stored decision cannot be read",
            why=f"It is not what Airlock writes ({' '.join(str(error).split()):.300}).",
            remedy="Restore the original, or gate again: the evidence is kept.",
        ) from error
    return decision


_DECISION = TypeAdapter(Decision)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and math.isinf(value) else value


def _with_infinities(document: dict[str, Any]) -> dict[str, Any]:
    for result in document["results"]:
        measured = result["measured"]
        if measured is not None:
            measured["low"] = -math.inf if measured["low"] is None else measured["low"]
            measured["high"] = math.inf if measured["high"] is None else measured["high"]
    return document
