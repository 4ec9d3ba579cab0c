"""Waivers of a run: grant one for a candidate's rule, and read those that are there for the gate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.approvals.people import people_of
from pipeline.approvals.waivers import WaiverTally, make_waiver, read_waivers
from pipeline.digests import Digest, hex_of, sha256
from pipeline.errors import ApprovalError, RequestError
from pipeline.files import read_bounded, write_atomic
from pipeline.keys import SigningKey
from pipeline.moment import present
from pipeline.policy.decision import Decision
from pipeline.policy.document import Policy, parse_policy
from pipeline.policy.waivable import WaiverAccount, objection
from pipeline.run_directory import RunDirectory
from pipeline.workplace import Workplace


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


def grant_waiver(run: RunDirectory, name: str, workplace: Workplace, grant: Grant, key: SigningKey) -> Digest:
    """Sign the waiver with `key`, keep it with the run, log it, and return its digest; the gate has to decide anew.

    Raises:
        ApprovalError: the policy allows no such waiver, or the signer may not grant it; nothing is kept then.
        RequestError: the candidate was not decided yet, or no rule of the decision has that id.
    """
    state = run.candidate(name)
    if state.decision is None:
        raise RequestError(
            f"'{name}' was not decided yet",
            why=f"{run.root} holds no decision on it, so nothing is to be waived.",
            remedy="Run 'airlock run' or 'airlock gate' with this folder first.",
        )
    decision = workplace.store.decision(state.decision)
    rules = [result.rule for result in decision.results]
    if grant.rule not in rules:
        raise RequestError(
            f"there is no rule '{grant.rule}'",
            why=f"The decision on '{name}' has: {', '.join(rules)}.",
            remedy="Name one of them with --rule.",
        )
    now = present(workplace.log)
    envelope = make_waiver(
        subject=decision.subject,
        name=f"{decision.release}/{name}",
        policy=decision.policy,
        rule=grant.rule,
        reason=grant.reason,
        control=grant.control,
        ticket=grant.ticket,
        requester=grant.requester,
        requester_role=grant.requester_role,
        role=grant.role,
        key=key,
        expires=grant.expires,
        at=now,
    )
    policy = parse_policy(workplace.store.blob(decision.policy_digest))
    tally = _read([envelope], workplace, policy, decision.subject, now)
    if tally.void:
        raise ApprovalError(
            f"'{grant.rule}' cannot be waived so",
            why=tally.void[0],
            remedy="Meet the rule, or have the waiver granted as the policy allows.",
            subject=decision.subject,
        )
    digest = sha256(envelope)
    write_atomic(run.folder(name) / "waivers" / f"{grant.rule}-{hex_of(digest)[:12]}.json", envelope)
    details = {"candidate": name, "rule": grant.rule, "waiver": digest, "until": grant.expires.isoformat()}
    workplace.log.append("waived", decision.subject, details, workplace.key)
    return digest


def waivers_of(run: RunDirectory, name: str, workplace: Workplace, policy: Policy, *, at: datetime) -> WaiverTally:
    """The candidate's waivers, ready for the gate.

    Raises:
        ApprovalError, KeyFileError: the site's people cannot be told apart.
        StorageError: the disk failed.
    """
    envelopes = _envelopes(run, name)
    if not envelopes:
        return WaiverTally((), (), ())
    return _read(envelopes, workplace, policy, run.candidate(name).subject, at)


def keep_waivers(run: RunDirectory, name: str, workplace: Workplace, decision: Decision) -> None:
    """Keep the waivers that were given to the gate with the evidence, so that the decision can be recomputed."""
    for envelope in _envelopes(run, name):
        if sha256(envelope) in decision.waivers:
            workplace.store.put_blob(envelope)


def account_of(tally: WaiverTally, policy: Policy, decision: Decision) -> WaiverAccount:
    """What became of each waiver in the decision, for people to read and to act on."""
    waived = {result.rule for result in decision.waived}
    said: dict[str, list[str]] = {"used": [], "unused": [], "expired": [], "void": list(tally.void)}
    for waiver in tally.waivers:
        problem = objection(waiver, policy.file, decision.subject, decision.decided)
        words = f"The waiver of '{waiver.rule}' ({waiver.ticket})"
        if waiver.until <= decision.decided:
            said["expired"].append(f"{words} ended on {waiver.until:%Y-%m-%d}.")
        elif problem is not None:
            said["void"].append(f"{words} does not count: {problem}.")
        elif waiver.rule in waived:
            said["used"].append(f"{words} is used.")
        else:
            said["unused"].append(f"{words} is not needed: the rule passes without it.")
    return WaiverAccount(expiring=tally.expiring, **{word: tuple(lines) for word, lines in said.items()})


def _envelopes(run: RunDirectory, name: str) -> list[bytes]:
    return [read_bounded(path) for path in sorted((run.folder(name) / "waivers").glob("*.json"))]


def _read(envelopes: list[bytes], workplace: Workplace, policy: Policy, subject: Digest, at: datetime) -> WaiverTally:
    site = workplace.site
    excluded = {key.digest for key in site.pipeline_keys()}
    return read_waivers(envelopes, people_of(site), policy.file, subject=subject, at=at, excluded=excluded)
