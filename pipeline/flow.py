"""The whole pipeline on one screen: a release goes in at the top, and comes out judged at the bottom.

Release -> admit -> Checkpoint -> evaluate -> Evidence -> decide -> Decision -> card
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pipeline.admission import Admission, admit
from pipeline.digests import Digest
from pipeline.evaluation import Laboratory, Schedule, evaluate, schedule
from pipeline.policy.decision import Decision
from pipeline.policy.document import Policy
from pipeline.policy.gate import decide
from pipeline.release import Candidate, Release
from pipeline.run_directory import CandidateState, RunDirectory, RunFile


@dataclass(frozen=True)
class Judged:
    """A candidate at the end of the flow: its decision and that decision's digest in the evidence store."""

    candidate: Candidate
    decision: Decision
    digest: Digest


def run_release(
    release: Release, policy: Policy, laboratory: Laboratory, run: RunDirectory, *, now: datetime | None = None
) -> tuple[Judged, ...]:
    """Take every candidate of `release` through the pipeline; repeat it with the same `run` to go on.

    No server starts before every candidate was verified and inspected.

    Raises:
        AirlockError: of the kind of what went wrong; what had finished is kept and not done again.
    """
    at = now or datetime.now(UTC)
    run.begin(_run_file(release, policy, at))
    laboratory.store.put_blob(policy.canonical)
    evaluate_release(release, laboratory, run)
    return tuple(judge(candidate.name, release, policy, laboratory, run, at=at) for candidate in release.candidates)


def evaluate_release(release: Release, laboratory: Laboratory, run: RunDirectory) -> None:
    """Verify and inspect every candidate, then measure those that may be loaded.  Raises as `run_release`."""
    admissions = [_admit(candidate, laboratory) for candidate in release.candidates]
    plans = [schedule(a.checkpoint, laboratory) if a.checkpoint else None for a in admissions]
    for admission in admissions:
        _save(admission, (), run)
    for admission, plan in zip(admissions, plans, strict=True):
        if plan is not None:
            _save(admission, _measured(admission, plan, laboratory, run), run)


def judge(
    name: str, release: Release, policy: Policy, laboratory: Laboratory, run: RunDirectory, *, at: datetime
) -> Judged:
    """Let the gate decide on a candidate from its stored evidence, and record the decision.

    A decision that says what the run's earlier one said keeps that one's time and digest, so that approvals stay valid.

    Raises:
        EvidenceError: stored evidence is missing, edited, unsigned or about another checkpoint.
    """
    state = run.candidate(name)
    evidence = laboratory.store.evidence(state.subject, state.statements)
    decision = decide(policy, evidence, release=release.name, release_digest=release.digest, candidate=name, at=at)
    digest = _unchanged(decision, state.decision, laboratory)
    if digest is None:
        digest = laboratory.store.record_decision(decision, laboratory.key)
        state = state.model_copy(update={"decision": digest, "promotion": None})
        run.save(name, state)
    candidate = next(candidate for candidate in release.candidates if candidate.name == name)
    return Judged(candidate, laboratory.store.decision(digest), digest)


def _admit(candidate: Candidate, laboratory: Laboratory) -> Admission:
    step = laboratory.progress.expect(f"{candidate.name}: signature and files", 2.0)
    laboratory.progress.start(step)
    admission = admit(candidate, laboratory.site, laboratory.store, laboratory.key, lambda _bytes: None)
    laboratory.progress.finish(step)
    if admission.denial is not None:
        laboratory.progress.say(f"{candidate.name}: stopped: {admission.denial.what}")
    return admission


def _measured(admission: Admission, plan: Schedule, laboratory: Laboratory, run: RunDirectory) -> Sequence[Digest]:
    log = run.folder(admission.candidate.name) / "server.log"
    return [evidence.statement.digest for evidence in evaluate(plan, laboratory, log=log)]


def _save(admission: Admission, measurements: Sequence[Digest], run: RunDirectory) -> None:
    """Keep the candidate's state, and its earlier decision while that is about the same checkpoint."""
    name = admission.candidate.name
    earlier = run.candidate(name) if name in run.candidates() else None
    same = earlier is not None and earlier.subject == admission.subject
    run.save(
        name,
        CandidateState(
            subject=admission.subject,
            statements=(*admission.statements, *measurements),
            decision=earlier.decision if earlier is not None and same else None,
            promotion=earlier.promotion if earlier is not None and same else None,
        ),
    )


def _unchanged(decision: Decision, earlier: Digest | None, laboratory: Laboratory) -> Digest | None:
    if earlier is None:
        return None
    before = laboratory.store.decision(earlier)
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
