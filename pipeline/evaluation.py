"""Checkpoint x checks -> Evidence: serves a checkpoint and takes every measurement that is not there yet.

A measurement is bound to the checkpoint, the check with its data and settings, the serving configuration and the
environment.  One that exists for all of these is not taken again, and of one that was interrupted the answered requests
are not asked again, so a run goes on where it stopped; the server starts only when something is left to measure.

With a `Goal`, a check that can stop early does so when the rules that need it are settled (`pipeline.staged`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
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
from pipeline.staged import Attempt, Goal, spend
from pipeline.workplace import Workplace

if TYPE_CHECKING:
    from pipeline.judging import SeatedJudge
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
    start one.  `seed` decides every random choice of the checks.  `judges` grade the answers afterwards
    (`pipeline.judging`).
    """

    workplace: Workplace
    checks: Sequence[Check]
    progress: Progress
    endpoint: str | None = None
    seed: int = 0
    judges: Sequence[SeatedJudge] = ()


@dataclass(frozen=True)
class _Pending:
    """A check to take; `goal` is None where its whole sample is wanted."""

    check: Check
    key: Digest
    step: Step
    goal: Goal | None = None


@dataclass(frozen=True)
class Schedule:
    """What is known of a checkpoint already, and what is left to measure."""

    checkpoint: Checkpoint
    serving: ServingDescription
    environment: Environment
    finished: tuple[MeasurementEvidence, ...]
    pending: tuple[_Pending, ...]
    start: Step | None


def schedule(checkpoint: Checkpoint, laboratory: Laboratory, goal: Goal | None = None) -> Schedule:
    """Look up what is measured already and announce the rest.

    With a `goal`, checks that it needs are measured until it is settled; what was measured in full serves it as well,
    and what stopped early only where it settles this goal too.

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
    missing: list[tuple[Check, Digest, Goal | None]] = []
    for check in laboratory.checks:
        key = _key(checkpoint, check, serving, environment, laboratory.seed)
        found = laboratory.workplace.store.find_measurement(key)
        own = goal if goal is not None and check.stages is not None and goal.needs(check) else None
        if found is None and check.stages is not None:
            early = _key(checkpoint, check, serving, environment, laboratory.seed, sequential=True)
            found = _enough(laboratory.workplace.store.find_measurement(early), own)
            key = key if own is None else early
        if found is not None:
            finished.append(found)
        else:
            missing.append((check, key, own))
    start = _expect_start(checkpoint, laboratory) if missing else None
    pending = tuple(_Pending(c, key, _expect(checkpoint, c, laboratory, own), own) for c, key, own in missing)
    return Schedule(checkpoint, serving, environment, tuple(finished), pending, start)


def _enough(found: MeasurementEvidence | None, goal: Goal | None) -> MeasurementEvidence | None:
    """A sequential measurement that need not be taken again: of the whole sample, or one that settles `goal`."""
    if found is None or found.stopping is None:
        return None
    if goal is None:
        return found if found.stopping.complete else None
    return found if found.stopping.taken >= found.stopping.planned or goal.settled_by(found) else None


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
            taken.extend(_Bench(model, plan, laboratory, serving).measured())
        _say_what_was_saved(plan, taken, laboratory.progress)
    order = {check.name: place for place, check in enumerate(laboratory.checks)}
    return tuple(sorted(taken, key=lambda evidence: order[evidence.check]))


def _say_what_was_saved(plan: Schedule, taken: Sequence[MeasurementEvidence], progress: Progress) -> None:
    """One line on the measurements that stopped early or went on beyond their samples."""
    ends = [one.stopping for one in taken if one.stopping is not None and one.stopping.sequential]
    if not ends:
        return
    planned, spent = sum(end.planned for end in ends), sum(end.taken for end in ends)
    beyond = sum(max(0, end.taken - end.planned) for end in ends)
    line = f"{plan.checkpoint.verified.candidate.name}: {spent:,} of {planned:,} planned requests settled the policy"
    more = f", {beyond:,} of them beyond the samples of checks that left a rule open" if beyond else ""
    progress.say(f"{line}{more}; {max(0, planned - spent):,} were saved")


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


@dataclass(frozen=True)
class _Begun:
    """A check under way, with the answers of an interrupted attempt at it."""

    item: _Pending
    attempt: Attempt
    started: datetime
    journal: Journal | None


@dataclass(frozen=True)
class _Bench:
    """A served model, and what is to be measured of it."""

    model: ServedModel
    plan: Schedule
    laboratory: Laboratory
    serving: Mapping[str, Any]

    def measured(self) -> Iterator[MeasurementEvidence]:
        """Every pending measurement, recorded as soon as it is finished.

        Those that leave a rule open and could take more items wait for what the others save.
        """
        saved, waiting = 0, list[_Begun]()
        with ExitStack() as journals:
            for item in self.plan.pending:
                begun = self._begin(item, journals)
                with self.model.keeping(begun.journal):
                    begun.attempt.take_sample()
                if begun.attempt.may_go_on:
                    waiting.append(begun)
                else:
                    saved += begun.attempt.saved
                    yield self._record(begun)
            spend(saved, waiting, self._go_on)
            for begun in waiting:
                yield self._record(begun)

    def _begin(self, item: _Pending, journals: ExitStack) -> _Begun:
        self.laboratory.progress.start(item.step)
        started = datetime.now(UTC)
        journal = journals.enter_context(_journal(item, self.laboratory))
        advance = _advance(self.laboratory.progress, item.step)
        attempt = Attempt.begin(item.check, item.goal, self.model, self.laboratory.seed, advance)
        return _Begun(item, attempt, started, journal)

    def _go_on(self, begun: _Begun, budget: int) -> int:
        with self.model.keeping(begun.journal):
            return begun.attempt.take_more(budget)

    def _record(self, begun: _Begun) -> MeasurementEvidence:
        journal, attempt, verified = begun.journal, begun.attempt, self.plan.checkpoint.verified
        egress = self.model.egress()
        resumed = 0 if journal is None else journal.resumed
        evidence = self.laboratory.workplace.store.record_measurement(
            verified.manifest.digest,
            verified.candidate.name,
            attempt.finished,
            serving={**self.serving, "egress": None if egress is None else egress.to_json()},
            environment=self.plan.environment.to_json(),
            started=journal.begun if journal is not None and resumed else begun.started,
            finished=datetime.now(UTC),
            key=self.laboratory.workplace.key,
            cached_as=begun.item.key,
            resumed=resumed,
            planned=_planned(begun.item.check) if attempt.stopping.complete else None,
            stopping=attempt.stopping,
        )
        if journal is not None:
            journal.discard()
        self.laboratory.progress.finish(begun.item.step, attempt.taken)
        return evidence


def _planned(check: Check) -> dict[str, int]:
    """How many items each metric of the whole sample rests on."""
    return {metric.name: metric.items for metric in check.metrics}


def _journal(item: _Pending, laboratory: Laboratory) -> AbstractContextManager[Journal | None]:
    """The answers of an interrupted attempt; none for a check of speed, whose times are of one attempt or of none."""
    from pipeline.serving.journal import Journals

    if any(metric.unit in _TIMED for metric in item.check.metrics):
        return nullcontext()
    return Journals(laboratory.workplace.store.unfinished, laboratory.workplace.key).open(item.key)


def _advance(progress: Progress, step: Step) -> Callable[[int], None]:
    return lambda units: progress.advance(step, units)


def _key(
    checkpoint: Checkpoint,
    check: Check,
    serving: ServingDescription,
    environment: Environment,
    seed: int,
    *,
    sequential: bool = False,
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
        sequential=sequential,
    )


def _expect(checkpoint: Checkpoint, check: Check, laboratory: Laboratory, goal: Goal | None) -> Step:
    name = f"{checkpoint.verified.candidate.name}: {check.name}"
    return laboratory.progress.expect(name, check.units * _SECONDS_A_UNIT, check.units, at_most=goal is not None)


def _expect_start(checkpoint: Checkpoint, laboratory: Laboratory) -> Step | None:
    if laboratory.endpoint is not None:
        return None
    return laboratory.progress.expect(f"{checkpoint.verified.candidate.name}: starting the server", _SECONDS_TO_START)
