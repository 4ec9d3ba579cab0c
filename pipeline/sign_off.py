"""Decision -> ApprovedDecision -> Promotion, for a candidate of a run: what the commands `approve` and `promote` do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.admission import verified_from_predicate
from pipeline.approvals import check_approvals, check_break_glass, make_approval
from pipeline.approvals.people import people_of
from pipeline.approvals.quorum import Tally, read_statements, tally_approvals
from pipeline.approvals.voice import Says, approval_statement, not_go, read_voice
from pipeline.digests import Digest, hex_of, sha256
from pipeline.errors import ApprovalError, PromotionError, RequestError
from pipeline.files import read_bounded
from pipeline.keys import MessageSigner
from pipeline.moment import foreseen, present
from pipeline.policy.authority import require_newest, require_pinned
from pipeline.policy.decision import Decision
from pipeline.policy.document import parse_policy
from pipeline.registry.interface import CARD, Attachment
from pipeline.registry.promotion import Promotion, promote
from pipeline.registry.proof import gather_proof
from pipeline.release import Candidate, load_release
from pipeline.replay import split_evidence
from pipeline.run_cards import write_card
from pipeline.run_directory import CandidateState, PromotionState, RunDirectory
from pipeline.signature.verified import VerifiedCandidate
from pipeline.standing import barred_by, require_known_submitter, require_stage, require_standing
from pipeline.workplace import Workplace


@dataclass(frozen=True)
class Signed:
    """What became of a person's signature: whose it was, what it says, and who is missing yet, one sentence each."""

    person: str
    says: Says
    decision: Digest
    missing: tuple[str, ...]


def approve_candidate(
    run: RunDirectory,
    name: str,
    workplace: Workplace,
    *,
    role: str,
    key: MessageSigner,
    comment: str,
    stage: str | None = None,
    expires: datetime | None = None,
    says: Says = "approve",
) -> Signed:
    """Sign the candidate's decision with `key` in `role`, keep the statement with the run, and log it.

    Raises:
        ApprovalError: the key is nobody's at this site, its owner does not hold the role or had a part in what was
            decided on, or the decision is not GO.
        DeniedError: the clock was set back, or the decision was made for another stage than `stage`.
        RequestError: the run has no such candidate, or it was not decided yet.
    """
    at = present(workplace.log.entries())
    _, decision, digest = _decided(run, name, workplace)
    _owner(workplace, key, role)
    envelope = make_approval(
        decision, digest, role=role, comment=comment, key=key, expires=expires, stage=stage, says=says, at=at
    )
    return _keep(run, name, workplace, envelope, at)


def draft_statement(
    run: RunDirectory,
    name: str,
    workplace: Workplace,
    *,
    role: str,
    comment: str,
    stage: str | None = None,
    expires: datetime | None = None,
    says: Says = "approve",
) -> bytes:
    """What `approve_candidate` would sign, for somebody to sign keyless with another tool.  Raises as it does."""
    at = present(workplace.log.entries())
    _, decision, digest = _decided(run, name, workplace)
    return approval_statement(
        decision, digest, role=role, comment=comment, expires=expires, stage=stage, says=says, at=at
    )


def keep_statement(run: RunDirectory, name: str, workplace: Workplace, envelope: bytes) -> Signed:
    """Keep a signed statement about the candidate's decision with the run, once it counts, and log it.

    Raises:
        ApprovalError: it is void, or approves what is not GO; nothing is kept.
        EvidenceError: it is malformed, forged, or by nobody of this site.
        DeniedError, RequestError: as `approve_candidate`.
    """
    return _keep(run, name, workplace, envelope, present(workplace.log.entries()))


def _keep(run: RunDirectory, name: str, workplace: Workplace, envelope: bytes, at: datetime) -> Signed:
    state, decision, digest = _decided(run, name, workplace)
    voice = read_voice(envelope, people_of(workplace.site), at=at)
    require_stage(decision, voice.stage)
    require_known_submitter(decision, workplace)
    if voice.says == "approve" and decision.verdict != "GO":
        raise not_go(decision)
    barred = barred_by(decision, workplace)
    valid, void = read_statements(
        decision, digest, [envelope], workplace.site, at=at, excluded=barred, stage=voice.stage
    )
    if not valid:
        raise ApprovalError(
            f"the statement on '{name}' would not count",
            why=void[0],
            remedy="Have somebody sign who may, or sign anew what is to be said.",
            subject=decision.subject,
        )
    person, kept = valid[0].person, sha256(envelope)
    run.add_approval(name, f"{voice.role}-{person}-{hex_of(kept)[:12]}", envelope)
    details = {"candidate": name, "decision": digest, "person": person, "role": voice.role, "statement": kept}
    workplace.log.append(voice.says, state.subject, details, workplace.key)
    write_card(run, name, workplace)
    return Signed(person, voice.says, digest, _tally(run, name, workplace, voice.stage, at).missing)


def approvals_of(
    run: RunDirectory, name: str, workplace: Workplace, *, stage: str | None = None, at: datetime | None = None
) -> Tally:
    """How far the candidate's approvals have come; or, at a coming moment `at`, which of them will have expired.

    Raises:
        RequestError: as `approve_candidate`, or `at` is not yet to come.
        DeniedError: as `approve_candidate`.
    """
    entries = workplace.log.entries()
    return _tally(run, name, workplace, stage, present(entries) if at is None else foreseen(at, entries))


def _tally(run: RunDirectory, name: str, workplace: Workplace, stage: str | None, at: datetime) -> Tally:
    _, decision, digest = _decided(run, name, workplace)
    barred = barred_by(decision, workplace)
    return tally_approvals(
        decision, digest, run.approvals(name), workplace.site, at=at, excluded=barred, stage=stage or decision.stage
    )


def promote_candidate(
    run: RunDirectory, name: str, workplace: Workplace, *, stage: str, break_glass: bool = False
) -> Promotion:
    """Promote the candidate into `stage`, from the store's copy of its files alone, and bring its card up to date.

    `break_glass` does so in an emergency, against the gate or without its approvals.

    Raises:
        ApprovalError: the decision is not GO, or approvals are missing.
        DeniedError: the clock was set back, or the policy may not decide for the stage.
        PromotionError: what is to be promoted is not what was decided, was judged for another stage, would be judged
            otherwise by now, or the stage has moved on.
        RequestError: the run has no such candidate, or the registry no such stage.
    """
    from pipeline.registry.opening import open_registry

    entries = workplace.log.entries()
    at = present(entries)
    state, decision, digest = _decided(run, name, workplace)
    approvals = run.approvals(name)
    check = check_break_glass if break_glass else check_approvals
    require_stage(decision, stage)
    require_newest(parse_policy(workplace.store.blob(decision.policy_digest)), entries)
    require_pinned(decision.policy, decision.policy_digest, stage, workplace.site.policies.pinned)
    require_known_submitter(decision, workplace)
    barred = barred_by(decision, workplace)
    approved = check(decision, digest, approvals, workplace.site, at=at, excluded=barred, stage=stage)
    if not break_glass:
        require_standing(decision, workplace, entries, at)
    verified = _verified(run, name, decision, workplace)
    write_card(run, name, workplace)
    promotion = promote(
        approved,
        verified,
        (*gather_proof(workplace.store, approved, verified), *_card_attachments(run.folder(name))),
        stage=stage,
        registry=open_registry(workplace.site),
        key=workplace.key,
        log=workplace.log,
        at=at,
    )
    kept = PromotionState(
        stage=stage,
        reference=promotion.reference,
        digest=promotion.digest,
        promoted=promotion.at,
        emergency=promotion.emergency,
    )
    run.save(name, state.model_copy(update={"promotion": kept}))
    write_card(run, name, workplace)
    return promotion


def _decided(run: RunDirectory, name: str, workplace: Workplace) -> tuple[CandidateState, Decision, Digest]:
    state = run.candidate(name)
    if state.decision is None:
        raise RequestError(
            f"'{name}' was not decided yet",
            why=f"{run.root} holds no decision on it.",
            remedy="Run 'airlock run' or 'airlock gate' with this folder first.",
        )
    decision = workplace.store.decision(state.decision)
    if (decision.candidate, decision.subject) != (name, state.subject):
        raise PromotionError(
            f"the decision kept for '{name}' is about something else",
            why=f"It is on '{decision.candidate}', {decision.subject}, and the run says {state.subject}.",
            remedy="Find out who changed the run's folder; gate the candidate again.",
        )
    return state, decision, state.decision


def _owner(workplace: Workplace, key: MessageSigner, role: str) -> None:
    """Say at once what would make the signature void."""
    digest = key.verifying_key.digest
    member = people_of(workplace.site).owner(digest)
    if member is None:
        raise ApprovalError(
            "nobody at this site has that key",
            why=f"No person in {workplace.site.path} has the public key {digest}.",
            remedy="Sign with the key whose public half the site's owner entered for you.",
        )
    if role not in member.roles:
        raise ApprovalError(
            f"'{member.name}' cannot sign as {role}",
            why=f"{workplace.site.path} gives them the roles {', '.join(member.roles)}.",
            remedy="Sign in a role that you hold.",
        )


def _candidate(run: RunDirectory, decision: Decision) -> Candidate:
    path = run.run().release_path
    release = load_release(path)
    if release.digest != decision.release_digest:
        raise PromotionError(
            f"{path} is not the release that was judged",
            why="It was changed after the run.",
            remedy="Run 'airlock run' again, so that what is proposed now is judged.",
        )
    return next(candidate for candidate in release.candidates if candidate.name == decision.candidate)


def _verified(run: RunDirectory, name: str, decision: Decision, workplace: Workplace) -> VerifiedCandidate:
    verification = split_evidence(decision, workplace.store)[0].verification
    if verification is None or verification.predicate.get("verified") is not True:
        raise PromotionError(
            f"'{name}' was not verified", why="No signed statement says so.", remedy="Run 'airlock run' again."
        )
    return verified_from_predicate(verification.predicate, _candidate(run, decision), workplace.site)


def _card_attachments(folder: Path) -> Iterator[Attachment]:
    for suffix, media_type in (("json", "application/json"), ("md", "text/markdown"), ("html", "text/html")):
        yield Attachment(CARD, f"card.{suffix}", media_type, read_bounded(folder / f"card.{suffix}"))
