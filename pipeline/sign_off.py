"""Decision -> ApprovedDecision -> Promotion, for a candidate of a run: what the commands `approve` and `promote` do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.admission import verified_from_predicate
from pipeline.approvals import check_approvals, check_break_glass, make_approval
from pipeline.approvals.people import people_of
from pipeline.approvals.quorum import Tally, tally_approvals
from pipeline.approvals.voice import Says
from pipeline.digests import Digest, hex_of, sha256
from pipeline.errors import ApprovalError, PromotionError, RequestError
from pipeline.files import read_bounded
from pipeline.keys import SigningKey
from pipeline.moment import present
from pipeline.policy.authority import require_pinned
from pipeline.policy.decision import Decision
from pipeline.registry.interface import CARD, Attachment
from pipeline.registry.promotion import Promotion, promote
from pipeline.registry.proof import gather_proof
from pipeline.release import Candidate, load_release
from pipeline.run_cards import write_card
from pipeline.run_directory import CandidateState, PromotionState, RunDirectory
from pipeline.signature.verified import VerifiedCandidate
from pipeline.standing import require_stage, require_standing
from pipeline.workplace import Workplace


@dataclass(frozen=True)
class Signed:
    """What became of a person's signature: whose it was, and who is still missing, one sentence each."""

    person: str
    decision: Digest
    missing: tuple[str, ...]


def approve_candidate(
    run: RunDirectory,
    name: str,
    workplace: Workplace,
    *,
    role: str,
    key: SigningKey,
    comment: str,
    stage: str | None = None,
    expires: datetime | None = None,
    says: Says = "approve",
) -> Signed:
    """Sign the candidate's decision with `key` in `role`, keep the statement with the run, and log it.

    Raises:
        ApprovalError: the key is nobody's at this site, its owner does not hold the role, or the decision is not GO.
        DeniedError: the clock was set back, or the decision was made for another stage than `stage`.
        RequestError: the run has no such candidate, or it was not decided yet.
    """
    now = present(workplace.log)
    state, decision, digest = _decided(run, name, workplace)
    require_stage(decision, stage)
    person = _owner(workplace, key, role)
    envelope = make_approval(
        decision, digest, role=role, comment=comment, key=key, expires=expires, stage=stage, says=says, at=now
    )
    run.add_approval(name, f"{role}-{person}-{hex_of(sha256(envelope))[:12]}", envelope)
    details = {"candidate": name, "decision": digest, "person": person, "role": role, "statement": sha256(envelope)}
    workplace.log.append(says, state.subject, details, workplace.key)
    write_card(run, name, workplace)
    return Signed(person, digest, approvals_of(run, name, workplace, stage=stage).missing)


def approvals_of(run: RunDirectory, name: str, workplace: Workplace, *, stage: str | None = None) -> Tally:
    """How far the candidate's approvals have come.  Raises as `approve_candidate`."""
    at = present(workplace.log)
    _, decision, digest = _decided(run, name, workplace)
    return tally_approvals(decision, digest, run.approvals(name), workplace.site, at=at, stage=stage)


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

    at = present(workplace.log)
    state, decision, digest = _decided(run, name, workplace)
    approvals = run.approvals(name)
    check = check_break_glass if break_glass else check_approvals
    require_stage(decision, stage)
    require_pinned(decision.policy, decision.policy_digest, stage, workplace.site.policies.pinned)
    approved = check(decision, digest, approvals, workplace.site, at=at, stage=stage)
    if not break_glass:
        require_standing(decision, workplace, at)
    verified = _verified(run, name, state, workplace)
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


def _owner(workplace: Workplace, key: SigningKey, role: str) -> str:
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
    return member.name


def _candidate(run: RunDirectory, name: str) -> Candidate:
    file = run.run()
    release = load_release(file.release_path)
    if release.digest != file.release_digest:
        raise PromotionError(
            f"{file.release_path} is not the release that was judged",
            why="It was changed after the run.",
            remedy="Run 'airlock run' again, so that what is proposed now is judged.",
        )
    return next(candidate for candidate in release.candidates if candidate.name == name)


def _verified(run: RunDirectory, name: str, state: CandidateState, workplace: Workplace) -> VerifiedCandidate:
    verification = workplace.store.evidence(state.subject, state.statements).verification
    if verification is None or verification.predicate.get("verified") is not True:
        raise PromotionError(
            f"'{name}' was not verified", why="No signed statement says so.", remedy="Run 'airlock run' again."
        )
    return verified_from_predicate(verification.predicate, _candidate(run, name), workplace.site)


def _card_attachments(folder: Path) -> Iterator[Attachment]:
    for suffix, media_type in (("json", "application/json"), ("md", "text/markdown"), ("html", "text/html")):
        yield Attachment(CARD, f"card.{suffix}", media_type, read_bounded(folder / f"card.{suffix}"))
