"""Checkpoint x checks -> Evidence: serves a checkpoint and takes every measurement that is not there yet.

A measurement is bound to the checkpoint, the check with its data and settings, the serving configuration and the
environment.  One that exists for all of these is not taken again, and of one that was interrupted the answered requests
are not asked again, so a run goes on where it stopped; the server starts only when something is left to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.contract import Check
from pipeline.checkpoint.inspected import Checkpoint
from pipeline.digests import Digest
from pipeline.environment import Environment, current_environment
from pipeline.evidence.statement import MeasurementEvidence
from pipeline.evidence.store import cache_key
from pipeline.planning import ServingPlan, plan_serving
from pipeline.progress import Progress, Step
from pipeline.workplace import Workplace

if TYPE_CHECKING:
    from pipeline.serving.client import ServedModel
    from pipeline.serving.description import ServingDescription
    from pipeline.serving.journal import Journal

_SECONDS_A_UNIT = 0.1  # a first guess at the time a request takes; finished steps correct it
_TIMED = frozenset({"s", "tokens/s"})  # units of what the clock decides
_SECONDS_TO_START = 45.0  # a first guess at how long the server takes to answer


@dataclass(frozen=True)
class Laboratory:
    """What measuring needs besides the checkpoint.

    `endpoint` is the address of a server that is already up and serves the model under the candidate's name, or None to
    start one.  `seed` decides every random choice of the checks.
    """

    workplace: Workplace
    checks: Sequence[Check]
    progress: Progress
    endpoint: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Pending:
    check: Check
    key: Digest
    step: Step


@dataclass(frozen=True)
class Schedule:
    """What is known of a checkpoint already, and what is left to measure."""

    checkpoint: Checkpoint
    serving: ServingDescription
    environment: Environment
    finished: tuple[MeasurementEvidence, ...]
    pending: tuple[_Pending, ...]
    start: Step | None


def schedule(checkpoint: Checkpoint, laboratory: Laboratory) -> Schedule:
    """Look up what is measured already and announce the rest.

    Raises:
        EvidenceError: a stored measurement was edited or is unsigned.
        ServingError: no server can be described: vLLM is not installed, or the endpoint does not answer.
    """
    from pipeline.serving import describe, describe_endpoint

    if laboratory.endpoint is None:
        serving = describe(_plan(checkpoint, laboratory), laboratory.workplace.site.serving)
    else:
        serving = describe_endpoint(laboratory.endpoint, checkpoint.verified.candidate.name)
    environment = current_environment()
    finished: list[MeasurementEvidence] = []
    missing: list[tuple[Check, Digest]] = []
    for check in laboratory.checks:
        key = _key(checkpoint, check, serving, environment, laboratory.seed)
        found = laboratory.workplace.store.find_measurement(key)
        if found is not None:
            finished.append(found)
        else:
            missing.append((check, key))
    start = _expect_start(checkpoint, laboratory) if missing else None
    pending = tuple(_Pending(check, key, _expect(checkpoint, check, laboratory)) for check, key in missing)
    return Schedule(checkpoint, serving, environment, tuple(finished), pending, start)


def evaluate(plan: Schedule, laboratory: Laboratory, *, log: Path) -> tuple[MeasurementEvidence, ...]:
    """Take the pending measurements of `plan`; returns all of the checkpoint's, in the order of the checks.

    Each is recorded, signed, as soon as it is finished.  `log` receives what the model server prints.

    Raises:
        ServingError: the server did not start, died, or failed the preflight check; what had finished is kept.
        StorageError: the disk failed, or the stored copy was changed since it was verified.
    """
    taken = list(plan.finished)
    if plan.pending:
        from checks.preflight import preflight

        if plan.start is not None:
            laboratory.progress.start(plan.start)
        with _server(plan, laboratory, log) as model:
            report = preflight(model)
            if plan.start is not None:
                laboratory.progress.finish(plan.start)
            serving = {**plan.serving.to_json(), "digest": plan.serving.digest, "preflight": asdict(report)}
            taken.extend(_measure(item, model, plan, laboratory, serving) for item in plan.pending)
    order = {check.name: place for place, check in enumerate(laboratory.checks)}
    return tuple(sorted(taken, key=lambda evidence: order[evidence.check]))


def _plan(checkpoint: Checkpoint, laboratory: Laboratory) -> ServingPlan:
    return plan_serving(checkpoint, accelerators=laboratory.workplace.site.accelerators)


def _server(plan: Schedule, laboratory: Laboratory, log: Path) -> AbstractContextManager[ServedModel]:
    from pipeline.serving import attach, serve
    from pipeline.signature import checkpoint_store

    verified = plan.checkpoint.verified
    checkpoint_store(laboratory.workplace.site).confirm(verified.manifest)  # others may have been measured since
    if laboratory.endpoint is not None:
        return attach(laboratory.endpoint, verified.root, verified.candidate.name)
    return serve(plan.checkpoint, _plan(plan.checkpoint, laboratory), laboratory.workplace.site, log=log)


def _measure(
    item: _Pending, model: ServedModel, plan: Schedule, laboratory: Laboratory, serving: Mapping[str, Any]
) -> MeasurementEvidence:
    laboratory.progress.start(item.step)
    started = datetime.now(UTC)
    verified = plan.checkpoint.verified
    with _journal(item, laboratory) as journal:
        with model.keeping(journal):
            measurement = item.check.measure(model, laboratory.seed, _advance(laboratory.progress, item.step))
        egress = model.egress()
        resumed = 0 if journal is None else journal.resumed
        evidence = laboratory.workplace.store.record_measurement(
            verified.manifest.digest,
            verified.candidate.name,
            measurement,
            serving={**serving, "egress": None if egress is None else egress.to_json()},
            environment=plan.environment.to_json(),
            started=journal.begun if journal is not None and resumed else started,
            finished=datetime.now(UTC),
            key=laboratory.workplace.key,
            cached_as=item.key,
            resumed=resumed,
        )
        if journal is not None:
            journal.discard()
    laboratory.progress.finish(item.step)
    return evidence


def _journal(item: _Pending, laboratory: Laboratory) -> AbstractContextManager[Journal | None]:
    """The answers of an interrupted attempt; none for a check of speed, whose times are of one attempt or of none."""
    from pipeline.serving.journal import Journals

    if any(metric.unit in _TIMED for metric in item.check.metrics):
        return nullcontext()
    return Journals(laboratory.workplace.store.unfinished, laboratory.workplace.key).open(item.key)


def _advance(progress: Progress, step: Step) -> Callable[[int], None]:
    return lambda units: progress.advance(step, units)


def _key(
    checkpoint: Checkpoint, check: Check, serving: ServingDescription, environment: Environment, seed: int
) -> Digest:
    return cache_key(
        check=check.name,
        version=check.version,
        data=check.data,
        settings=check.settings,
        subject=checkpoint.verified.manifest.digest,
        serving=serving.digest,
        packages=environment.digest,
        seed=seed,
    )


def _expect(checkpoint: Checkpoint, check: Check, laboratory: Laboratory) -> Step:
    name = f"{checkpoint.verified.candidate.name}: {check.name}"
    return laboratory.progress.expect(name, check.units * _SECONDS_A_UNIT, check.units)


def _expect_start(checkpoint: Checkpoint, laboratory: Laboratory) -> Step | None:
    if laboratory.endpoint is not None:
        return None
    return laboratory.progress.expect(f"{checkpoint.verified.candidate.name}: starting the server", _SECONDS_TO_START)
