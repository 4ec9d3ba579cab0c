"""Decision + waivers -> Decision: rules that did not pass and are waived say so, and so does the verdict.

Pure, like the gate: the same decision and waivers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pipeline.approvals.waivers import Waiver
from pipeline.policy.decision import Decision, RuleResult
from pipeline.policy.language import PolicyFile
from pipeline.policy.waivable import waivable

EXPIRING = timedelta(days=7)  # a waiver that ends within this time is reported
_OPEN = ("fail", "inconclusive", "missing", "stale")


def apply_waivers(decision: Decision, policy: PolicyFile, waivers: Sequence[Waiver]) -> Decision:
    """`decision` with what `waivers` (checked by `pipeline.approvals.waivers.read_waivers`) make of it.

    A waived rule has the outcome `waived`, never `pass`.  A waiver that has expired, ends soon or is not needed is
    reported as a result of its own, severity `warn`.
    """
    from pipeline.policy.gate import verdict_of

    at = decision.decided
    valid = [w for w in waivers if _is_for(w, decision) and w.expires > at and waivable(policy, w.rule)]
    by_rule = {waiver.rule: waiver for waiver in sorted(valid, key=lambda w: (w.expires, w.digest))}
    results = tuple(
        _waived(result, by_rule[result.rule]) if result.rule in by_rule and result.outcome in _OPEN else result
        for result in decision.results
    )
    used = {result.rule for result in results if result.outcome == "waived"}
    notes = tuple(_notes(waivers, used, at))
    digests = tuple(sorted({waiver.digest for waiver in waivers}))
    return replace(decision, results=(*results, *notes), verdict=verdict_of(results), waivers=digests)


def _is_for(waiver: Waiver, decision: Decision) -> bool:
    return waiver.subject == decision.subject and waiver.policy == decision.policy


def _waived(result: RuleResult, waiver: Waiver) -> RuleResult:
    reason = (
        f"{result.reason} Waived until {waiver.expires:%Y-%m-%d} by {waiver.granter} ({waiver.granter_role}), as "
        f"{waiver.requester} ({waiver.requester_role}) asked: {waiver.reason} Instead: {waiver.control} "
        f"({waiver.ticket})."
    )
    return replace(result, outcome="waived", reason=reason)


def _notes(waivers: Sequence[Waiver], used: set[str], at: datetime) -> Iterator[RuleResult]:
    for waiver in sorted(waivers, key=lambda one: (one.rule, one.digest)):
        if waiver.expires <= at:
            yield _note("expired", waiver, f"it expired on {waiver.expires:%Y-%m-%d}, and no longer counts")
        elif waiver.rule not in used:
            yield _note("unused", waiver, "the rule passes, or is not of this policy; it is not needed")
        elif waiver.expires <= at + EXPIRING:
            yield _note("expiring", waiver, f"it ends on {waiver.expires:%Y-%m-%d}; the rule then denies again")


def _note(kind: str, waiver: Waiver, why: str) -> RuleResult:
    return RuleResult(
        rule=f"waiver.{kind}",
        title=f"Waiver of '{waiver.rule}'",
        severity="warn",
        outcome="fail",
        metric=None,
        limit="every waiver is needed and in force",
        measured=None,
        reason=f"Of the waiver of '{waiver.rule}' by {waiver.granter} ({waiver.ticket}): {why}.",
        remedy="Meet the rule, or have the waiver granted anew." if kind != "unused" else "Remove the waiver.",
        evidence=waiver.digest,
    )
