"""What one person says of one decision, signed: approve, reject, or withdraw what they said before; or break-glass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from pipeline.approvals.people import People
from pipeline.approvals.signatures import read_signed
from pipeline.attestations import Attestation, unsigned_statement
from pipeline.digests import Digest, parse_digest
from pipeline.errors import ApprovalError, EvidenceError, FileFormatError
from pipeline.evidence.envelope import IN_TOTO_PAYLOAD, seal
from pipeline.keys import MessageSigner
from pipeline.policy.decision import Decision

APPROVAL_TYPE = "urn:airlock:approval:v1"
COMMENT_LIMIT = 10_000  # characters

Says = Literal["approve", "reject", "withdraw", "break-glass"]


@dataclass(frozen=True)
class Voice:
    """One statement as read back, its signature checked; whether it counts is for `pipeline.approvals.quorum` to say.

    `keys` are the digests of the people's keys, or of the identity, that signed it.  `stage` is None for a statement
    about any stage.
    """

    says: Says
    decision: Digest
    subject: Digest
    policy: Digest
    role: str
    stage: str | None
    comment: str
    time: datetime
    expires: datetime | None
    keys: tuple[Digest, ...]
    digest: Digest
    envelope: bytes


@dataclass(frozen=True)
class Approval:
    """An approval that counts: who gave it in which role, and the signed statement itself."""

    person: str
    voice: Voice

    @property
    def role(self) -> str:
        """The role in which it was given."""
        return self.voice.role


def make_approval(
    decision: Decision,
    decision_digest: Digest,
    *,
    role: str,
    comment: str,
    key: MessageSigner,
    expires: datetime | None = None,
    stage: str | None = None,
    says: Says = "approve",
    at: datetime | None = None,
) -> bytes:
    """The statement of `key`'s owner about the decision whose envelope has `decision_digest`, signed.

    `stage` limits it to promotions into that stage; `at` is now unless given.

    Raises:
        ApprovalError: the decision is not GO and so cannot be approved, the expiry is past, or the comment is too long.
    """
    statement = approval_statement(
        decision, decision_digest, role=role, comment=comment, expires=expires, stage=stage, says=says, at=at
    )
    return seal(statement, IN_TOTO_PAYLOAD, [key])


def approval_statement(
    decision: Decision,
    decision_digest: Digest,
    *,
    role: str,
    comment: str,
    expires: datetime | None = None,
    stage: str | None = None,
    says: Says = "approve",
    at: datetime | None = None,
) -> bytes:
    """What `make_approval` signs: an in-toto statement, for those who sign with other tools.  Raises as it does."""
    now = datetime.now(UTC) if at is None else at
    _require_sensible(decision, says, comment, expires, now)
    predicate = {
        "says": says,
        "decision": decision_digest,
        "policy": decision.policy_digest,
        "role": role,
        "stage": stage,
        "comment": comment,
        "time": _text(now),
        "expires": None if expires is None else _text(expires),
    }
    name = f"{decision.release}/{decision.candidate}"
    return unsigned_statement(APPROVAL_TYPE, subject=decision.subject, name=name, predicate=predicate)


def _require_sensible(decision: Decision, says: Says, comment: str, expires: datetime | None, now: datetime) -> None:
    """Refuse to sign what could not count.  Raises ApprovalError."""
    if says == "approve" and decision.verdict != "GO":
        raise not_go(decision)
    if expires is not None and expires <= now:
        raise ApprovalError(
            "the approval would be void at once",
            why=f"It would expire at {_text(expires)}, which is past.",
            remedy="Give an expiry in the future, or none.",
            subject=decision.subject,
        )
    if says == "break-glass" and (expires is None or not comment.strip()):
        raise ApprovalError(
            "an emergency needs a reason and an end",
            why="Whoever reads the log later has to know why, and it must not last.",
            remedy="Give a comment and an expiry within the site's maximum of hours.",
            subject=decision.subject,
        )
    if len(comment) > COMMENT_LIMIT:
        raise ApprovalError(
            "the comment is too long",
            why=f"It has {len(comment)} characters; {COMMENT_LIMIT} are allowed.",
            remedy="Say it in fewer words, and refer to a document for the rest.",
            subject=decision.subject,
        )


def read_voice(envelope: bytes, people: People, *, at: datetime) -> Voice:
    """The statement in `envelope`, signed by one of `people`; `at` is the time at which trust is asked for.

    Raises:
        EvidenceError: it is malformed, forged, or signed by a stranger.
    """
    attestation = read_signed(envelope, APPROVAL_TYPE, people, at=at)
    try:
        return _voice(attestation, envelope)
    except (KeyError, TypeError, ValueError, AttributeError, FileFormatError) as error:
        raise EvidenceError(
            "an approval cannot be read",
            why=f"Its signature is good, but its contents are not what Airlock writes ({error!r:.200}).",
            remedy="Approve again with this version of Airlock.",
            subject=attestation.subject,
        ) from error


def not_go(decision: Decision) -> ApprovalError:
    """The error for a decision that nobody can approve."""
    blocking = [r for r in decision.results if r.severity == "block" and r.outcome not in ("pass", "waived")]
    return ApprovalError(
        f"the decision on '{decision.candidate}' cannot be approved",
        why=f"It is {decision.verdict}; approvals are for decisions that are GO.",
        remedy="Resolve the rules that deny, and have the gate decide again.",
        subject=decision.subject,
        problems=tuple(f"{result.rule}: {result.reason}" for result in blocking),
    )


def _voice(attestation: Attestation, envelope: bytes) -> Voice:
    predicate = attestation.predicate
    if predicate["says"] not in get_args(Says):
        raise ValueError(f"it says {predicate['says']!r}")
    texts = {name: predicate[name] for name in ("role", "comment")}
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(predicate["stage"], str | None):
        raise TypeError("a text is no text")
    return Voice(
        says=predicate["says"],
        decision=parse_digest(predicate["decision"]),
        subject=attestation.subject,
        policy=parse_digest(predicate["policy"]),
        role=texts["role"],
        stage=predicate["stage"],
        comment=texts["comment"],
        time=_moment(predicate["time"]),
        expires=None if predicate["expires"] is None else _moment(predicate["expires"]),
        keys=attestation.signers,
        digest=attestation.digest,
        envelope=envelope,
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
