"""Break-glass: a decision promoted against the gate, or without its approvals, in an emergency.

Two different people in the two roles that the site names sign for it, each with a reason and an end within the site's
maximum of hours.  What nobody can break is the gate's own rules: a checkpoint that was not verified, or is unsafe to
load, or whose evidence cannot be believed, stays out.  The mark stays on record, log and card; after the end the
registry resolves it no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pipeline.approvals.quorum import ApprovedDecision, BreakGlass, break_with, read_statements
from pipeline.approvals.voice import Approval
from pipeline.digests import Digest
from pipeline.errors import ApprovalError, RequestError
from pipeline.policy.decision import Decision
from pipeline.policy.language import is_built_in
from pipeline.site import BreakGlassSettings, Site


def check_break_glass(
    decision: Decision,
    decision_digest: Digest,
    statements: Sequence[bytes],
    site: Site,
    *,
    at: datetime,
    excluded: Collection[Digest] = (),
    stage: str | None = None,
) -> ApprovedDecision:
    """The decision as let through by the two people whom the site's `break_glass` demands.

    `statements` are envelopes by `make_approval(..., says="break-glass")`; others among them are passed over.

    Raises:
        RequestError: the site allows no break-glass.
        ApprovalError: a rule of the gate itself did not pass, or somebody is missing.
        KeyFileError: a person's key cannot be read.
    """
    settings = site.break_glass
    if settings is None:
        raise RequestError(
            "there is no break-glass at this site",
            why=f"{site.path} has no [break_glass].",
            remedy="Have the decision approved; or have the site's owner name two roles for emergencies.",
        )
    _require_believable(decision)
    valid, void = read_statements(decision, decision_digest, statements, site, at=at, excluded=excluded, stage=stage)
    valid = [one for one in valid if one.voice.says == "break-glass"]
    short = [one for one in valid if _lasts(one) <= timedelta(hours=settings.max_hours)]
    void += [f"'{one.person}' asks for more than {settings.max_hours:g} hours." for one in valid if one not in short]
    pair = _pair(short, settings)
    if pair is None:
        raise ApprovalError(
            f"the emergency promotion of '{decision.candidate}' is not agreed on",
            why=f"It takes two people, one as {settings.roles[0]} and one as {settings.roles[1]}; signed have "
            + (", ".join(f"{one.person} ({one.role})" for one in short) or "none")
            + (f". Not counted: {' '.join(void)}" if void else "."),
            remedy="Have both sign with 'airlock approve --break-glass', a reason and an end.",
            subject=decision.subject,
            problems=tuple(void),
        )
    reason = "; ".join(f"{one.person} ({one.role}): {one.voice.comment}" for one in pair)
    ends = [one.voice.expires for one in pair if one.voice.expires is not None]
    emergency = BreakGlass(reason, min(ends))
    return break_with(decision, decision_digest, pair=pair, emergency=emergency, void=tuple(void), stage=stage)


def _require_believable(decision: Decision) -> None:
    broken = [result for result in decision.results if is_built_in(result.rule) and result.outcome != "pass"]
    blocking = [result for result in broken if result.severity == "block"]
    if blocking:
        raise ApprovalError(
            f"'{decision.candidate}' cannot be promoted, in an emergency either",
            why=f"{blocking[0].rule}: {blocking[0].reason}",
            remedy=blocking[0].remedy,
            subject=decision.subject,
            problems=tuple(f"{result.rule}: {result.reason}" for result in blocking),
        )


def _lasts(one: Approval) -> timedelta:
    return timedelta.max if one.voice.expires is None else one.voice.expires - one.voice.time


def _pair(valid: Sequence[Approval], settings: BreakGlassSettings) -> tuple[Approval, Approval] | None:
    """Two different people in the two roles, or None."""
    first, second = ([one for one in valid if one.role == role] for role in settings.roles)
    return next(((one, other) for one in first for other in second if one.person != other.person), None)
