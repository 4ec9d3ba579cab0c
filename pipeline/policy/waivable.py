"""Waivers: for which rules there may be one, and what those given to the gate change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from fnmatch import fnmatchcase

from pipeline.digests import Digest
from pipeline.policy.decision import RuleResult, Waiver
from pipeline.policy.language import PolicyFile, duration, is_built_in


@dataclass(frozen=True)
class WaiverAccount:
    """What became of a candidate's waivers: a sentence each, under the word that a reader looks for.

    A waiver that is `expiring` is also used or unused; `void` ones never counted (forged, not allowed, not yet begun).
    """

    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    expiring: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    void: tuple[str, ...] = ()

    def as_lists(self) -> dict[str, list[str]]:
        """The sentences by word, for reports; words without any are left out."""
        return {field.name: list(lines) for field in fields(self) if (lines := getattr(self, field.name))}


def waivable(policy: PolicyFile, rule: str) -> bool:
    """Whether a waiver may be granted for the rule with this id: never for a built-in one, nor for those listed."""
    return not is_built_in(rule) and not any(fnmatchcase(rule, pattern) for pattern in policy.waivers.never)


def objection(waiver: Waiver, policy: PolicyFile, subject: Digest, at: datetime) -> str | None:
    """Why the waiver does not count for this checkpoint under this policy at this moment, or None when it does."""
    if waiver.subject != subject:
        return f"it is for another checkpoint, {waiver.subject}"
    if not waivable(policy, waiver.rule):
        return "the policy allows no waiver of this rule"
    if waiver.granted > at:
        return f"it begins on {waiver.granted:%Y-%m-%d}"
    if waiver.until <= at:
        return f"it ended on {waiver.until:%Y-%m-%d}"
    if waiver.until - waiver.granted > duration(policy.waivers.max_duration):
        return f"it is longer than the {policy.waivers.max_duration} that the policy allows"
    return None


def with_waivers(
    results: Sequence[RuleResult], waivers: Sequence[Waiver], policy: PolicyFile, subject: Digest, at: datetime
) -> Iterator[RuleResult]:
    """The results with the waivers applied to rules that did not pass; at the end, what became of every waiver."""
    valid = {waiver.rule: waiver for waiver in waivers if objection(waiver, policy, subject, at) is None}
    used: set[str] = set()
    for result in results:
        waiver = valid.get(result.rule)
        if waiver is None or result.outcome == "pass":
            yield result
            continue
        used.add(result.rule)
        yield _waived(result, waiver)
    notes = [_note(waiver, policy, subject, at, used) for waiver in sorted(waivers, key=lambda w: (w.rule, w.digest))]
    if notes:
        yield _account(notes, every_used=len(used) == len(waivers))


def _waived(result: RuleResult, waiver: Waiver) -> RuleResult:
    words = (
        f"{result.reason} Waived by {waiver.granted_by} until {waiver.until:%Y-%m-%d} ({waiver.ticket}): "
        f"{waiver.reason} In its place: {waiver.compensating_control}"
    )
    return replace(result, outcome="waived", reason=words, remedy=f"Resolve it before the waiver ends. {result.remedy}")


def _note(waiver: Waiver, policy: PolicyFile, subject: Digest, at: datetime, used: set[str]) -> str:
    problem = objection(waiver, policy, subject, at)
    if problem is not None:
        return f"The waiver of '{waiver.rule}' ({waiver.ticket}) does not count: {problem}."
    if waiver.rule in used:
        return f"The waiver of '{waiver.rule}' ({waiver.ticket}) is used."
    return f"The waiver of '{waiver.rule}' ({waiver.ticket}) is not needed."


def _account(notes: Sequence[str], *, every_used: bool) -> RuleResult:
    return RuleResult(
        rule="policy.waivers",
        title="What became of the waivers",
        severity="info",
        outcome="pass" if every_used else "fail",
        metric=None,
        limit="every waiver counts and is needed",
        measured=None,
        reason=" ".join(notes),
        remedy="Nothing needs to be done." if every_used else "Withdraw waivers that are not needed or do not count.",
        evidence=None,
    )
