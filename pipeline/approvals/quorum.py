"""Decision + signed statements -> ApprovedDecision, or who is missing and why each void statement is void.

One person counts once, in one role, however many keys they have and statements they made; the last statement of a
person in a role is the one that stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pipeline.approvals.people import Member, People, people_of
from pipeline.approvals.voice import Approval, Voice, not_go, read_voice
from pipeline.digests import Digest
from pipeline.errors import ApprovalError, EvidenceError
from pipeline.policy.decision import ApprovalRequirement, Decision
from pipeline.site import Site

_CLOCK_TOLERANCE = timedelta(minutes=5)  # between the machine that signed and this one
_POSITIVE = ("approve", "break-glass")  # what can expire, and can be for one stage
_CHECKED: Final = object()  # what only this module can pass to ApprovedDecision


@dataclass(frozen=True)
class BreakGlass:
    """An emergency: why the gate was not heeded, by whom, and until when."""

    reason: str
    expires: datetime


@dataclass(frozen=True)
class ApprovedDecision:
    """A decision that is GO and that everyone whom its policy demands has approved.  Only `check_approvals` makes one.

    (Or `pipeline.approvals.emergency.check_break_glass`, and `break_glass` then says so.)
    `digest` is that of the decision's envelope; `approvals` are those that count, by role and person; `void` says of
    every other statement why it does not; `stage` is the stage approved for, or None for any.
    """

    decision: Decision
    digest: Digest
    approvals: tuple[Approval, ...]
    void: tuple[str, ...] = ()
    stage: str | None = None
    break_glass: BreakGlass | None = None
    checked: InitVar[object] = field(default=None, kw_only=True)

    def __post_init__(self, checked: object) -> None:
        if checked is not _CHECKED:
            raise TypeError("an ApprovedDecision is made by check_approvals alone")


@dataclass(frozen=True)
class Tally:
    """How far the approvals of a decision have come.

    `missing` has one line for each open requirement, `rejections` one for each person who said no, `void` one for each
    statement that does not count.
    """

    counted: tuple[Approval, ...]
    missing: tuple[str, ...]
    rejections: tuple[str, ...]
    void: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everyone needed has approved and nobody objects."""
        return not self.missing and not self.rejections


def check_approvals(
    decision: Decision,
    decision_digest: Digest,
    approvals: Sequence[bytes],
    site: Site,
    *,
    at: datetime,
    excluded: Collection[Digest] = (),
    stage: str | None = None,
) -> ApprovedDecision:
    """The decision as approved, when enough of the right people signed for it.

    `approvals` are envelopes by `make_approval`; `excluded` are the keys of those who took part (submitter, evaluator)
    and so may not approve; the pipeline's own keys never may.  With `stage`, approvals for another stage are void.

    Raises:
        ApprovalError: the decision is not GO, somebody is missing or objects, or two people share a key.
        KeyFileError: a person's key cannot be read.
    """
    if decision.verdict != "GO":
        raise not_go(decision)
    tally = tally_approvals(decision, decision_digest, approvals, site, at=at, excluded=excluded, stage=stage)
    if not tally.complete:
        problems = (*tally.rejections, *tally.missing)
        raise ApprovalError(
            f"the decision on '{decision.candidate}' is not approved",
            why=" ".join(problems) + (f" Not counted: {' '.join(tally.void)}" if tally.void else ""),
            remedy="Have the people named sign with 'airlock approve', then run the same command again.",
            subject=decision.subject,
            problems=(*problems, *tally.void),
        )
    return ApprovedDecision(decision, decision_digest, tally.counted, tally.void, stage, checked=_CHECKED)


def tally_approvals(
    decision: Decision,
    decision_digest: Digest,
    approvals: Sequence[bytes],
    site: Site,
    *,
    at: datetime,
    excluded: Collection[Digest] = (),
    stage: str | None = None,
) -> Tally:
    """How far the approvals of the decision have come.  Raises ApprovalError (a shared key) and KeyFileError."""
    people = people_of(site)
    barred = _barred(site, excluded)
    valid, void = read_statements(decision, decision_digest, approvals, site, at=at, excluded=excluded, stage=stage)
    standing = _last_of_each(one for one in valid if one.voice.says != "break-glass")
    rejections = tuple(
        f"'{said.person}' ({said.role}) rejects it: {said.voice.comment or 'no comment'}."
        for said in standing
        if said.voice.says == "reject"
    )
    approving = [said for said in standing if said.voice.says == "approve"]
    counted, missing = _fill(decision.approvals, approving, people, barred)
    return Tally(counted, missing, rejections, tuple(void))


def read_statements(
    decision: Decision,
    decision_digest: Digest,
    statements: Sequence[bytes],
    site: Site,
    *,
    at: datetime,
    excluded: Collection[Digest] = (),
    stage: str | None = None,
) -> tuple[list[Approval], list[str]]:
    """The statements about this decision that are good, with their authors, and why each other is void."""
    case = _Case(decision, decision_digest, people_of(site), _barred(site, excluded), at, stage)
    valid: list[Approval] = []
    void: list[str] = []
    for number, envelope in enumerate(dict.fromkeys(statements), start=1):
        try:
            valid.append(case.read(envelope))
        except ApprovalError as error:
            void.append(f"Statement {number}: {error.why}")
    return valid, void


def break_with(
    decision: Decision,
    decision_digest: Digest,
    *,
    pair: tuple[Approval, Approval],
    emergency: BreakGlass,
    void: tuple[str, ...],
    stage: str | None,
) -> ApprovedDecision:
    """The decision as let through in an emergency, for `pipeline.approvals.emergency` alone."""
    return ApprovedDecision(decision, decision_digest, pair, void, stage, emergency, checked=_CHECKED)


def _barred(site: Site, excluded: Collection[Digest]) -> frozenset[Digest]:
    return frozenset((*excluded, *(key.digest for key in site.pipeline_keys())))


@dataclass(frozen=True)
class _Case:
    """What statements are judged against."""

    decision: Decision
    digest: Digest
    people: People
    barred: frozenset[Digest]
    at: datetime
    stage: str | None

    def read(self, envelope: bytes) -> Approval:
        """The statement in `envelope` with its author.  Raises ApprovalError when it is void, and says why."""
        try:
            voice = read_voice(envelope, self.people, at=self.at)
        except EvidenceError as error:
            why = error.why.rstrip(".")
            raise _void(f"it is forged, malformed or by somebody the site does not know ({why})") from error
        authors = {member.name: member for key in voice.keys if (member := self.people.owner(key)) is not None}
        if len(authors) != 1:
            raise _void("it is signed by several people; each must sign a statement of their own")
        (member,) = authors.values()
        problem = (
            self._other_subject(voice)
            or self._not_entitled(voice, member)
            or self._out_of_time(voice)
            or self._other_stage(voice)
        )
        if problem is not None:
            raise _void(f"by '{member.name}' as {voice.role}: {problem}")
        return Approval(member.name, voice)

    def _other_subject(self, voice: Voice) -> str | None:
        if voice.subject != self.decision.subject:
            return f"it is for another checkpoint, {voice.subject}"
        if voice.decision != self.digest:
            return f"it is for another decision, {voice.decision}"
        if voice.policy != self.decision.policy_digest:
            return f"it is for another policy, {voice.policy}"
        return None

    def _not_entitled(self, voice: Voice, member: Member) -> str | None:
        if voice.role not in member.roles:
            return f"'{member.name}' does not hold the role '{voice.role}'"
        if member.holds_any(self.barred):
            return f"'{member.name}' took part as submitter, evaluator or pipeline, and may not approve"
        return None

    def _out_of_time(self, voice: Voice) -> str | None:
        if voice.expires is not None and voice.expires <= self.at and voice.says in _POSITIVE:
            return f"it expired at {voice.expires:%Y-%m-%d %H:%M} UTC"
        if voice.time > self.at + _CLOCK_TOLERANCE:
            return f"it is dated in the future, {voice.time:%Y-%m-%d %H:%M} UTC"
        if voice.time < self.decision.decided - _CLOCK_TOLERANCE:
            return f"it is dated before the decision was made, {voice.time:%Y-%m-%d %H:%M} UTC"
        return None

    def _other_stage(self, voice: Voice) -> str | None:
        if voice.says in _POSITIVE and voice.stage is not None and voice.stage != self.stage:
            return f"it is for the stage '{voice.stage}' only"
        return None


def _void(problem: str) -> ApprovalError:
    return ApprovalError("an approval is void", why=f"{problem}.", remedy="Have its author sign a new one.")


def _last_of_each(said: Iterable[Approval]) -> list[Approval]:
    """Each person's last statement in each role; of two at the same time the one that says less yes."""
    caution = {"approve": 0, "withdraw": 1, "reject": 2}
    ordered = sorted(said, key=lambda one: (one.voice.time, caution[one.voice.says]))
    return list({(one.person, one.role): one for one in ordered}.values())


def _fill(
    requirements: Sequence[ApprovalRequirement],
    approving: Sequence[Approval],
    people: People,
    barred: frozenset[Digest],
) -> tuple[tuple[Approval, ...], tuple[str, ...]]:
    """Who fills which requirement, each person one at most, and a line for each requirement that stays open."""
    places = [requirement.role for requirement in requirements for _ in range(requirement.count)]
    offers = {(one.person, one.role): one for one in approving}
    taken: dict[int, str] = {}
    for person in sorted({one.person for one in approving}):
        _seat(person, places, offers, taken, set())
    counted = tuple(offers[taken[place], places[place]] for place in sorted(taken))
    open_roles = [role for place, role in enumerate(places) if place not in taken]
    missing = [
        _missing_line(role, open_roles.count(role), counted, people, barred) for role in dict.fromkeys(open_roles)
    ]
    missing += [
        f"The policy demands {requirement.count} approvals as {requirement.role}, which is no demand."
        for requirement in requirements
        if requirement.count < 1
    ]
    return counted, tuple(missing)


def _seat(
    person: str,
    places: Sequence[str],
    offers: Mapping[tuple[str, str], Approval],
    taken: dict[int, str],
    tried: set[int],
) -> bool:
    """Give `person` a place, moving others where that helps (Kuhn's augmenting paths for bipartite matching)."""
    for place, role in enumerate(places):
        if (person, role) not in offers or place in tried:
            continue
        tried.add(place)
        if place not in taken or _seat(taken[place], places, offers, taken, tried):
            taken[place] = person
            return True
    return False


def _missing_line(role: str, count: int, counted: Sequence[Approval], people: People, barred: frozenset[Digest]) -> str:
    used = {one.person for one in counted}
    able = [m.name for m in people.holding(role) if m.name not in used and not m.holds_any(barred)]
    who = f"who may sign: {', '.join(able)}" if able else "and nobody else at this site may sign in that role"
    return f"{count} more approval{'s' if count > 1 else ''} as {role} needed; {who}."
