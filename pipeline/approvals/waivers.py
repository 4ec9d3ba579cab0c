"""Waivers: someone answerable accepts, for a time, that one rule does not pass for one checkpoint.

A waiver names who asked for it and who granted it: two people in two roles.  It is bound to the checkpoint's digest,
the rule and the policy's name, and ends within what the policy allows.  Built-in rules are never waived.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.approvals.people import Member, People
from pipeline.approvals.signatures import read_signed
from pipeline.attestations import Attestation, unsigned_statement
from pipeline.digests import Digest
from pipeline.errors import ApprovalError, EvidenceError
from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, seal
from pipeline.keys import MessageSigner
from pipeline.policy.decision import Waiver
from pipeline.policy.language import PolicyFile, duration
from pipeline.policy.waivable import waivable

WAIVER_TYPE = "urn:airlock:waiver:v1"
EXPIRING = timedelta(days=7)  # a waiver that ends within this time is reported
_CLOCK_TOLERANCE = timedelta(minutes=5)
_TEXT_LIMIT = 10_000  # characters


@dataclass(frozen=True)
class WaiverTally:
    """The waivers that may count, ready for the gate; for each other why it may not; and which of them end soon."""

    waivers: tuple[Waiver, ...]
    void: tuple[str, ...]
    expiring: tuple[str, ...]


@dataclass(frozen=True)
class Grant:
    """What someone grants: `rule` may fail until `expires`, because `reason`, with `control` in its place.

    `requester` asked for it in `requester_role`; who signs grants it in `role`.
    """

    rule: str
    reason: str
    control: str
    ticket: str
    requester: str
    requester_role: str
    role: str
    expires: datetime


@dataclass(frozen=True)
class _Read:
    """A signed waiver as read, before it is judged."""

    waiver: Waiver
    policy: str
    requester: str
    requester_role: str
    granter: str
    granter_role: str


def make_waiver(
    grant: Grant, *, subject: Digest, name: str, policy: str, key: MessageSigner, at: datetime | None = None
) -> bytes:
    """The waiver for the checkpoint `subject` under `policy`, signed by `key`'s owner; `at` is now unless given.

    Raises:
        ApprovalError: something is left empty or too long, or the end is past.
    """
    return seal(waiver_statement(grant, subject=subject, name=name, policy=policy, at=at), IN_TOTO_PAYLOAD, [key])


def waiver_statement(grant: Grant, *, subject: Digest, name: str, policy: str, at: datetime | None = None) -> bytes:
    """What `make_waiver` signs: an in-toto statement, for those who sign with other tools.  Raises as it does."""
    now = datetime.now(UTC) if at is None else at
    texts = {
        "rule": grant.rule,
        "reason": grant.reason,
        "control": grant.control,
        "ticket": grant.ticket,
        "requester": grant.requester,
        "requesterRole": grant.requester_role,
        "role": grant.role,
        "policy": policy,
    }
    unfit = [word for word, text in texts.items() if not text.strip() or len(text) > _TEXT_LIMIT]
    if unfit or grant.expires <= now:
        raise ApprovalError(
            f"the waiver of '{grant.rule}' is incomplete",
            why=f"Left empty or too long: {', '.join(unfit)}." if unfit else "Its end is past.",
            remedy="Give a rule, a reason, what is done instead, a ticket, who asks for it, and an end in the future.",
            subject=subject,
        )
    predicate = {**texts, "time": _text(now), "expires": _text(grant.expires)}
    return unsigned_statement(WAIVER_TYPE, subject=subject, name=name, predicate=predicate)


def waiver_end(envelope: bytes) -> datetime:
    """When a waiver ends that a signed decision names by its digest, and whose signature was checked for that decision.

    Raises:
        ApprovalError: it is no waiver.
    """
    try:
        signed = json.loads(envelope)
        signed = signed.get("dsseEnvelope", signed)  # a keyless one is a Sigstore bundle around the envelope
        payload = json.loads(base64.b64decode(signed["payload"]))
        return datetime.fromisoformat(payload["predicate"]["expires"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _void(f"it cannot be read ({error!r:.100})") from error


def read_waivers(
    envelopes: Sequence[bytes],
    people: People,
    policy: PolicyFile,
    *,
    subject: Digest,
    at: datetime,
    excluded: Collection[Digest] = (),
) -> WaiverTally:
    """The waivers in `envelopes` that may count under `policy` for the checkpoint `subject`.

    `excluded` are the keys of those who took part (submitter, evaluator, pipeline), who may not grant any.
    """
    good: list[Waiver] = []
    void: list[str] = []
    for number, envelope in enumerate(dict.fromkeys(envelopes), start=1):
        try:
            good.append(_read(envelope, people, policy, subject, at, excluded))
        except (ApprovalError, EvidenceError) as error:
            void.append(f"Waiver {number}: {error.why}")
    good.sort(key=lambda waiver: (waiver.rule, waiver.digest))
    expiring = tuple(
        f"The waiver of '{waiver.rule}' ({waiver.ticket}) ends on {waiver.until:%Y-%m-%d}."
        for waiver in good
        if at < waiver.until <= at + EXPIRING
    )
    return WaiverTally(tuple(good), tuple(void), expiring)


def _read(  # noqa: PLR0917  # the whole of what one waiver is judged by
    envelope: bytes, people: People, policy: PolicyFile, subject: Digest, at: datetime, excluded: Collection[Digest]
) -> Waiver:
    attestation = read_signed(envelope, WAIVER_TYPE, people, at=at)
    granters = {member.name: member for key in attestation.signers if (member := people.owner(key)) is not None}
    if len(granters) != 1:
        raise _void("it is signed by several people; one grants it, and answers for it")
    (granter,) = granters.values()
    grant = _parse(attestation, granter.name)
    problem = (
        _other_subject(grant, policy, subject)
        or _not_entitled(grant, granter, people, policy, excluded)
        or _not_allowed(grant.waiver, policy, at)
    )
    if problem is not None:
        raise _void(f"of '{grant.waiver.rule}' by '{granter.name}': {problem}")
    return grant.waiver


def _parse(attestation: Attestation, granter: str) -> _Read:
    predicate = attestation.predicate
    try:
        texts = [predicate[key] for key in ("rule", "policy", "reason", "control", "ticket", "requester")]
        roles = [predicate[key] for key in ("requesterRole", "role")]
        if not all(isinstance(text, str) and text.strip() for text in [*texts, *roles]):
            raise ValueError("a text is empty")
        granted, expires = (datetime.fromisoformat(predicate[key]) for key in ("time", "expires"))
        if granted.tzinfo is None or expires.tzinfo is None:
            raise ValueError("a time without a zone")
    except (KeyError, TypeError, ValueError) as error:
        raise _void(f"it is signed, but incomplete ({error!r:.200})") from error
    rule, policy, reason, control, ticket, requester = texts
    waiver = Waiver(
        digest=attestation.digest,
        subject=attestation.subject,
        rule=rule,
        reason=reason,
        compensating_control=control,
        ticket=ticket,
        granted_by=f"{granter} ({roles[1]}), as {requester} ({roles[0]}) asked,",
        granted=granted,
        until=expires,
    )
    return _Read(waiver, policy, requester, roles[0], granter, roles[1])


def _other_subject(grant: _Read, policy: PolicyFile, subject: Digest) -> str | None:
    if grant.waiver.subject != subject:
        return f"it is for another checkpoint, {grant.waiver.subject}"
    if grant.policy != policy.name:
        return f"it is for the policy '{grant.policy}', not for '{policy.name}'"
    return None


def _not_entitled(
    grant: _Read, granter: Member, people: People, policy: PolicyFile, excluded: Collection[Digest]
) -> str | None:
    requester = next((member for member in people.members if member.name == grant.requester), None)
    deciding = {approval.role for approval in policy.approvals} or {grant.granter_role}
    demands = {
        f"'{granter.name}' does not hold the role '{grant.granter_role}'": grant.granter_role in granter.roles,
        f"'{granter.name}' took part as submitter, evaluator or pipeline": not granter.holds_any(excluded),
        f"the role '{grant.granter_role}' signs nothing off under this policy": grant.granter_role in deciding,
        f"who asked for it, '{grant.requester}', does not hold the role '{grant.requester_role}' here": (
            requester is not None and grant.requester_role in requester.roles
        ),
        "nobody grants what they asked for themselves": grant.requester != granter.name,
        "it was asked for and granted in one role": grant.requester_role != grant.granter_role,
    }
    return next((problem for problem, met in demands.items() if not met), None)


def _not_allowed(waiver: Waiver, policy: PolicyFile, at: datetime) -> str | None:
    if not waivable(policy, waiver.rule):
        return "there are no waivers for this rule"
    longest = duration(policy.waivers.max_duration)
    if waiver.until - waiver.granted > longest:
        return f"it would last longer than the {policy.waivers.max_duration} that the policy allows"
    if waiver.granted > at + _CLOCK_TOLERANCE:
        return f"it is dated in the future, {waiver.granted:%Y-%m-%d %H:%M} UTC"
    return None


def _void(problem: str) -> ApprovalError:
    return ApprovalError("a waiver is void", why=f"{problem}.", remedy="Have it granted anew, or meet the rule.")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
