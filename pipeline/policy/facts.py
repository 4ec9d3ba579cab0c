"""Rules on what inspection found and on what the release claims: facts, with no statistics in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pipeline.evidence.statement import Statement
from pipeline.policy.case import Case, Judgement
from pipeline.policy.language import ClaimRule, FindingRule

_LEVELS = ("info", "warn", "block", "deny")
_INSPECT = "Run the pipeline again, so that the checkpoint is inspected."


def findings(inspection: Statement) -> Sequence[Mapping[str, str]] | None:
    """The findings in an inspection statement; None when they are not as inspection writes them."""
    found = inspection.predicate.get("findings")
    if not isinstance(found, list):
        return None
    well_formed = all(
        isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry.get("severity") in _LEVELS
        for entry in found
    )
    return found if well_formed else None


def judge_findings(rule: FindingRule, case: Case) -> Judgement:
    """Whether inspection found none of what the rule names."""
    limit = f"no finding '{rule.finding}'"
    inspection = case.measured.evidence.inspection
    found = None if inspection is None else findings(inspection)
    if inspection is None or found is None:
        return Judgement("missing", "There is no readable inspection of the checkpoint.", _INSPECT, limit)
    matching = [
        entry
        for entry in found
        if fnmatchcase(entry["id"], rule.finding)
        and not any(fnmatchcase(entry["id"], pattern) for pattern in rule.allow)
        and _LEVELS.index(entry["severity"]) >= _LEVELS.index(rule.at_least)
    ]
    if not matching:
        return Judgement(
            "pass",
            "Inspection found nothing of this kind.",
            "Nothing needs to be done.",
            limit,
            evidence=inspection.digest,
        )
    first = matching[0]
    place = f" in {first['file']}" if first.get("file") else ""
    rest = f" ({len(matching) - 1} more of this kind.)" if len(matching) > 1 else ""
    why = f"Inspection found '{first['id']}'{place}: {first.get('message', '')}{rest}"
    return Judgement(
        "fail", why, first.get("remedy") or "Submit a corrected checkpoint.", limit, evidence=inspection.digest
    )


def judge_claim(rule: ClaimRule, case: Case) -> Judgement:
    """Whether the checkpoint itself confirms what the release claims of it."""
    words = rule.claim.replace("_", " ")
    limit = f"the claimed {words} confirmed"
    verification, inspection = case.measured.evidence.verification, case.measured.evidence.inspection
    if verification is None or inspection is None:
        return Judgement("missing", "There is no inspection to compare the claim with.", _INSPECT, limit)
    claims = verification.predicate.get("claims")
    claimed = claims.get(rule.claim) if isinstance(claims, dict) else None
    if claimed is None:
        outcome = "missing" if rule.required else "pass"
        remedy = f"State 'claims.{rule.claim}' in the release." if rule.required else "Nothing needs to be done."
        return Judgement(
            "missing" if outcome == "missing" else "pass", f"The release makes no claim about {words}.", remedy, limit
        )
    actual = _actual(rule.claim, inspection.predicate)
    if actual is None:
        return Judgement(
            "missing", f"Inspection could not determine the {words}.", "Submit a checkpoint that shows it.", limit
        )
    if _confirmed(rule, claimed, actual):
        why = f"The release claims {_said(claimed)}, and inspection found {_said(actual)}."
        return Judgement("pass", why, "Nothing needs to be done.", limit, evidence=inspection.digest)
    why = f"The release claims {_said(claimed)} as {words}, but inspection found {_said(actual)}."
    return Judgement(
        "fail", why, "Correct the claim, or submit the checkpoint that it is about.", limit, evidence=inspection.digest
    )


def _actual(claim: str, inspection: Mapping[str, Any]) -> Any:
    parameters = inspection.get("parameters")
    if claim in ("parameters", "active_parameters"):
        key = "total" if claim == "parameters" else "active"
        return parameters.get(key) if isinstance(parameters, dict) else None
    return inspection.get(claim)


def _confirmed(rule: ClaimRule, claimed: Any, actual: Any) -> bool:
    if rule.claim == "licence":
        return bool(claimed == actual)
    numbers = isinstance(claimed, int | float) and isinstance(actual, int | float)
    if rule.claim == "context_length":  # more than claimed is no broken promise
        return numbers and actual >= claimed
    return numbers and abs(actual - claimed) <= rule.tolerance * claimed


def _said(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else f"'{value}'"
