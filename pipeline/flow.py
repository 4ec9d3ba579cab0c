"""The whole pipeline on one screen: a release goes in at the top, and comes out judged at the bottom.

Release -> admit -> Checkpoint -> evaluate -> Evidence -> decide -> Decision -> card
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.admission import Admission, admit
from pipeline.baseline import baseline_evidence
from pipeline.digests import Digest
from pipeline.evaluation import Laboratory, Schedule, evaluate, schedule
from pipeline.policy.decision import Decision
from pipeline.policy.document import Policy
from pipeline.policy.gate import decide
from pipeline.release import Candidate, Release
from pipeline.run_cards import write_card
from pipeline.run_directory import CandidateState, RunDirectory, RunFile
from pipeline.waive import waivers_of
from pipeline.workplace import Workplace


@dataclass(frozen=True)
class Judged:
    """A candidate at the end of the flow: its decision and that decision's digest in the evidence store."""

    candidate: Candidate
    decision: Decision
    digest: Digest


@dataclass(frozen=True)
class Measured:
    """A candidate before the gate: how its admission ended, and the digests of all statements about it."""

    admission: Admission
    statements: tuple[Digest, ...]


def run_release(
    release: Release, policy: Policy, laboratory: Laboratory, run: RunDirectory, *, now: datetime | None = None
) -> tuple[Judged, ...]:
    """Take every candidate of `release` through the pipeline; repeat it with the same `run` to go on.

    Raises:
        AirlockError: of the kind of what went wrong; what had finished is kept and not done again.
    """
    for candidate in release.candidates:  # a baseline that is missing is said before hours are spent
        baseline_evidence(candidate.name, release, laboratory.workplace)
    run.begin(_run_file(release, policy, now or datetime.now(UTC)))
    for measured in measure_release(release, laboratory, log_folder=run.folder):
        _save(measured, run)
    return gate_run(release, policy, laboratory.workplace, run, now=now)


def measure_release(
    release: Release, laboratory: Laboratory, *, log_folder: Callable[[str], Path] | None = None
) -> tuple[Measured, ...]:
    """Verify and inspect every candidate, then measure those that may be loaded.

    No server starts before every candidate was verified and inspected.  `log_folder` says, by candidate, where the
    model server's log goes; the site's store otherwise.  Raises as `run_release`.
    """
    folder = log_folder or (lambda name: laboratory.workplace.site.store.path / "logs" / name)
    admissions = [_admit(candidate, laboratory) for candidate in release.candidates]
    plans = [schedule(a.checkpoint, laboratory) if a.checkpoint else None for a in admissions]
    return tuple(
        _measure(admission, plan, laboratory, folder(admission.candidate.name) / "server.log")
        for admission, plan in zip(admissions, plans, strict=True)
    )


def gate_run(
    release: Release, policy: Policy, workplace: Workplace, run: RunDirectory, *, now: datetime | None = None
) -> tuple[Judged, ...]:
    """Judge every candidate of the run from stored evidence alone, and write its card.  Raises as `judge`."""
    workplace.store.put_blob(policy.canonical)
    at = now or datetime.now(UTC)
    judged = tuple(judge(candidate, release, policy, workplace, run, at=at) for candidate in release.candidates)
    for item in judged:
        write_card(run, item.candidate.name, workplace)
    return judged


def judge(
    candidate: Candidate, release: Release, policy: Policy, workplace: Workplace, run: RunDirectory, *, at: datetime
) -> Judged:
    """Let the gate decide on a candidate from its stored evidence, and record the decision.

    A decision that says what the run's earlier one said keeps that one's time and digest, so that approvals stay valid.

    Raises:
        EvidenceError: stored evidence is missing, edited, unsigned or about another checkpoint.
    """
    name = candidate.name
    state = run.candidate(name)
    decision = decide(
        policy,
        workplace.store.evidence_with_reruns(state.subject, state.known),
        release=release.name,
        release_digest=release.digest,
        candidate=name,
        at=at,
        baseline=baseline_evidence(name, release, workplace, subject=state.subject),
        waivers=waivers_of(run, name, workplace, policy, at=at).waivers,
    )
    digest = _unchanged(decision, state.decision, workplace)
    if digest is None:
        digest = workplace.store.record_decision(decision, workplace.key)
        workplace.store.record_summaries(digest, workplace.key)
        details = {"candidate": name, "decision": digest, "verdict": decision.verdict, "policy": decision.policy_digest}
        workplace.log.append("decided", decision.subject, details, workplace.key)
        state = state.model_copy(update={"decision": digest, "promotion": None})
        run.save(name, state)
    return Judged(candidate, workplace.store.decision(digest), digest)


def _admit(candidate: Candidate, laboratory: Laboratory) -> Admission:
    step = laboratory.progress.expect(f"{candidate.name}: signature and files", 2.0)
    laboratory.progress.start(step)
    admission = admit(candidate, laboratory.workplace, lambda _bytes: None)
    laboratory.progress.finish(step)
    if admission.denial is not None:
        laboratory.progress.say(f"{candidate.name}: stopped: {admission.denial.what}")
    return admission


def _measure(admission: Admission, plan: Schedule | None, laboratory: Laboratory, log: Path) -> Measured:
    taken = evaluate(plan, laboratory, log=log) if plan is not None else ()
    return Measured(admission, (*admission.statements, *(evidence.statement.digest for evidence in taken)))


def _save(measured: Measured, run: RunDirectory) -> None:
    """Keep the candidate's state, and its earlier decision while that is about the same checkpoint."""
    name, subject = measured.admission.candidate.name, measured.admission.subject
    earlier = run.candidate(name) if name in run.candidates() else None
    if earlier is not None and earlier.subject == subject:
        run.save(name, earlier.model_copy(update={"statements": measured.statements}))
    else:
        run.save(name, CandidateState(subject=subject, statements=measured.statements))


def _unchanged(decision: Decision, earlier: Digest | None, workplace: Workplace) -> Digest | None:
    if earlier is None:
        return None
    before = workplace.store.decision(earlier)
    return earlier if replace(decision, decided=before.decided) == before else None


def _run_file(release: Release, policy: Policy, at: datetime) -> RunFile:
    return RunFile(
        release=release.name,
        release_path=release.path,
        release_digest=release.digest,
        policy=policy.name,
        policy_digest=policy.digest,
        created=at,
    )
