"""The card of a run's candidate, as files beside its state: card.json, card.md and card.html."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipeline.approvals.quorum import tally_approvals
from pipeline.card.build import build_card
from pipeline.card.html import to_html
from pipeline.card.markdown import to_markdown
from pipeline.card.sources import CardApproval, CardPromotion, CardSources
from pipeline.digests import Digest, canonical_json, parse_digest
from pipeline.errors import RequestError
from pipeline.evidence.statement import Evidence
from pipeline.files import write_atomic
from pipeline.manifest import FileEntry, Manifest
from pipeline.policy.decision import Decision
from pipeline.policy.summary import summarise
from pipeline.run_directory import CandidateState, RunDirectory
from pipeline.workplace import Workplace


def write_card(run: RunDirectory, name: str, workplace: Workplace) -> Path:
    """Write the candidate's card from signed evidence, and return the path of its HTML form.

    Raises:
        EvidenceError: stored evidence is missing, edited, unsigned or about another checkpoint.
        RequestError: the candidate was not decided yet.
        StorageError: the disk failed.
    """
    card = build_card(card_sources(run, name, workplace))
    folder = run.folder(name)
    write_atomic(folder / "card.json", canonical_json(card))
    write_atomic(folder / "card.md", to_markdown(card))
    write_atomic(folder / "card.html", to_html(card))
    return folder / "card.html"


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
    evidence = workplace.store.evidence(state.subject, state.statements)
    claims = evidence.verification.predicate.get("claims", {}) if evidence.verification else {}
    return CardSources(
        decision=decision,
        decision_digest=state.decision,
        evidence=evidence,
        summarise=summarise,
        approvals=_approvals(run, name, workplace, decision, state.decision),
        promotion=_promotion(state),
        claims=claims,
        samples={m.check: tuple(workplace.store.samples(m.samples)) for m in evidence.measurements},
        manifest=_manifest(evidence),
    )


def _approvals(
    run: RunDirectory, name: str, workplace: Workplace, decision: Decision, digest: Digest
) -> tuple[CardApproval, ...]:
    if decision.verdict != "GO":
        return ()
    tally = tally_approvals(decision, digest, run.approvals(name), workplace.site, at=datetime.now(UTC))
    return tuple(
        CardApproval(one.person, one.role, one.voice.time, one.voice.comment, one.voice.digest) for one in tally.counted
    )


def _promotion(state: CandidateState) -> CardPromotion | None:
    if state.promotion is None:
        return None
    return CardPromotion(
        stage=state.promotion.stage,
        reference=state.promotion.reference,
        promoted=state.promotion.promoted,
        digest=state.promotion.digest,
    )


def _manifest(evidence: Evidence) -> Manifest | None:
    if evidence.verification is None or evidence.verification.predicate.get("verified") is not True:
        return None
    files = evidence.verification.predicate["files"]
    return Manifest(tuple(FileEntry(f["path"], f["size"], parse_digest("sha256:" + f["sha256"])) for f in files))
