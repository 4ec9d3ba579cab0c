"""The cards of a run: each candidate's, from signed evidence, and one that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.approvals.quorum import tally_approvals
from pipeline.card.build import build_card
from pipeline.card.examples import choose
from pipeline.card.files import read_card, write_card_files, write_release_files
from pipeline.card.sources import CardApproval, CardPromotion, CardSources
from pipeline.digests import Digest, parse_digest
from pipeline.errors import EvidenceError, RequestError
from pipeline.evidence.statement import Evidence
from pipeline.manifest import FileEntry, Manifest
from pipeline.policy.decision import Decision
from pipeline.policy.summary import summarise
from pipeline.registry.opening import open_registry
from pipeline.registry.records import Promotion, read_promotion
from pipeline.replay import split_evidence
from pipeline.run_directory import CandidateState, RunDirectory
from pipeline.standing import barred_by
from pipeline.workplace import Workplace


def write_card(run: RunDirectory, name: str, workplace: Workplace) -> Path:
    """Write the candidate's card in every form, bring the release's up to date, and return the path of its page.

    Raises:
        EvidenceError: stored evidence is missing, edited, unsigned or about another checkpoint.
        RequestError: the candidate was not decided yet.
        StorageError: the disk failed.
    """
    write_card_files(build_card(card_sources(run, name, workplace)), run.folder(name))
    paths = [run.folder(known) / "card.json" for known in run.candidates()]
    write_release_files([read_card(path) for path in paths if path.exists()], run.root)
    return run.folder(name) / "card.html"


def card_sources(run: RunDirectory, name: str, workplace: Workplace) -> CardSources:
    """What the candidate's card is made of: signed values only.  Raises as `write_card`."""
    state = run.candidate(name)
    if state.decision is None:
        raise RequestError(
            f"'{name}' was not decided yet",
            why=f"{run.root} holds no decision on it.",
            remedy="Run 'airlock run' or 'airlock gate' with this folder first.",
        )
    decision = workplace.store.decision(state.decision)
    evidence, baseline = split_evidence(decision, workplace.store)  # what was decided from, no more and no less
    claims = evidence.verification.predicate.get("claims", {}) if evidence.verification else {}
    record = _record(state, workplace)
    return CardSources(
        decision=decision,
        decision_digest=state.decision,
        evidence=evidence,
        baseline=baseline,
        summarise=summarise,
        approvals=_approvals(run.approvals(name), workplace, decision, state.decision, record),
        promotion=_promotion(record),
        claims=claims,
        samples={m.check: choose(workplace.store.samples(m.samples)) for m in evidence.measurements},
        manifest=_manifest(evidence),
    )


def _approvals(
    signed: Sequence[bytes], workplace: Workplace, decision: Decision, digest: Digest, record: Promotion | None
) -> tuple[CardApproval, ...]:
    """The approvals that counted: at the promotion where there was one, else now."""
    if decision.verdict != "GO":
        return ()
    at = record.at if record is not None else datetime.now(UTC)
    stage = record.stage if record is not None else decision.stage
    barred = barred_by(decision, workplace)
    tally = tally_approvals(decision, digest, signed, workplace.site, at=at, excluded=barred, stage=stage)
    return tuple(
        CardApproval(one.person, one.role, one.voice.time, one.voice.comment, one.voice.digest) for one in tally.counted
    )


def _record(state: CandidateState, workplace: Workplace) -> Promotion | None:
    """The signed record of the candidate's promotion: the run's folder only says which one it is.

    Raises:
        EvidenceError: it is missing, edited or unsigned, or about another checkpoint or decision.
    """
    if state.promotion is None:
        return None
    envelope = open_registry(workplace.site).blob(state.promotion.digest)
    record = read_promotion(envelope, workplace.site.pipeline_keys())
    if (record.subject, record.decision) != (state.subject, state.decision):
        raise EvidenceError(
            "the run names another candidate's promotion",
            why=f"The record {record.digest} is of the checkpoint {record.subject}, not of {state.subject}.",
            remedy="Find out who changed the run's folder; promote again with 'airlock promote'.",
        )
    return record


def _promotion(record: Promotion | None) -> CardPromotion | None:
    if record is None:
        return None
    return CardPromotion(
        stage=record.stage,
        reference=record.reference,
        promoted=record.at,
        digest=record.digest,
        emergency=record.emergency,
    )


def _manifest(evidence: Evidence) -> Manifest | None:
    if evidence.verification is None or evidence.verification.predicate.get("verified") is not True:
        return None
    files = evidence.verification.predicate["files"]
    return Manifest(tuple(FileEntry(f["path"], f["size"], parse_digest("sha256:" + f["sha256"])) for f in files))
