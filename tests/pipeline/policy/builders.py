"""Evidence in memory, for the tests of the gate: statements as the store would hand them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.digests import Digest, canonical_json, sha256
from pipeline.evidence.statement import (
    INSPECTION_TYPE,
    MEASUREMENT_TYPE,
    VERIFICATION_TYPE,
    Evidence,
    MeasurementEvidence,
    Statement,
)
from pipeline.measurement import DataSet, Metric, MetricKind
from pipeline.policy.decision import Decision, RuleResult
from pipeline.policy.document import Policy, load_policy
from pipeline.policy.gate import decide

SUBJECT = sha256(b"candidate")
RELEASE = sha256(b"release")
KEY = sha256(b"key")
MEASURED_AT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
AT = MEASURED_AT + timedelta(days=1)
DATA = DataSet("knowledge", "1", 400, sha256(b"data"), "CC0-1.0")
SERVING = {"engine": "vllm", "managed": True, "digest": sha256(b"serving")}
ACC = "performance/knowledge/acc"


def statement(kind: str, predicate: Mapping[str, Any], subject: Digest = SUBJECT) -> Statement:
    """A statement whose digest depends on all of it."""
    digest = sha256(kind.encode() + canonical_json(dict(predicate)) + subject.encode())
    return Statement(digest, kind, subject, "tiny", predicate, KEY)


def rate(ones: int, n: int, *, invalid: int = 0, name: str = "acc", **fields: Any) -> Metric:
    """A rate: `ones` of `n` items are 1."""
    values = (1.0,) * ones + (0.0,) * (n - ones)
    items = tuple(f"item-{number}" for number in range(n))
    return Metric(name, "rate", "ratio", fields.pop("better", "higher"), items, values, invalid=invalid, **fields)


def real(values: Sequence[float], *, name: str = "acc", quantile: float | None = None, **fields: Any) -> Metric:
    """A mean, or a quantile where one is given."""
    items = tuple(f"item-{number}" for number in range(len(values)))
    kind: MetricKind = "mean" if quantile is None else "quantile"
    better = fields.pop("better", "lower")
    return Metric(name, kind, fields.pop("unit", "s"), better, items, tuple(values), quantile=quantile, **fields)


def measurement(
    *metrics: Metric,
    check: str = "performance/knowledge",
    subject: Digest = SUBJECT,
    finished: datetime = MEASURED_AT,
    version: str = "1",
    seed: int = 0,
    data: tuple[DataSet, ...] = (DATA,),
    serving: Mapping[str, Any] = SERVING,
    **extra: Any,
) -> MeasurementEvidence:
    """One measurement, finished five minutes after it started."""
    values = [[metric.name, list(metric.values), metric.invalid] for metric in metrics]
    predicate = {"check": check, "seed": seed, "metrics": values, "finished": finished.isoformat(), **extra}
    return MeasurementEvidence(
        statement=statement(MEASUREMENT_TYPE, predicate, subject),
        check=check,
        version=version,
        metrics=metrics,
        data=data,
        serving=serving,
        environment={},
        samples=sha256(canonical_json(predicate)),
        sample_count=max((len(metric.items) for metric in metrics), default=0),
        seed=seed,
        started=finished - timedelta(minutes=5),
        finished=finished,
    )


def evidence(
    *measurements: MeasurementEvidence,
    subject: Digest = SUBJECT,
    verified: Mapping[str, Any] | None = None,
    inspected: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence of a checkpoint that is signed and clean, unless other predicates are given."""
    good_verification = {"verified": True, "claims": {}}
    good_inspection = {"findings": [], "parameters": {"total": 1000, "active": 1000}}
    return Evidence(
        subject,
        statement(VERIFICATION_TYPE, good_verification if verified is None else verified, subject),
        statement(INSPECTION_TYPE, good_inspection if inspected is None else inspected, subject),
        measurements,
    )


def policy(folder: Path, rules: str, settings: str = "") -> Policy:
    """The policy whose rules and other settings are given as YAML."""
    path = folder / "test.yaml"
    path.write_text(f"apiVersion: airlock/v1\nkind: Policy\nname: test\n{settings}\nrules:\n{rules}\n")
    return load_policy(path)


def limit(text: str, *, metric: str = ACC, id_: str = "quality.floor", more: str = "") -> str:
    """One rule as YAML, such as limit('min: 0.5')."""
    return f"  - {{id: {id_}, title: Quality, reason: Users need it., metric: {metric}, {text}{more}}}"


def decided(chosen: Policy, known: Evidence, **options: Any) -> Decision:
    """The decision on `known`, a day after everything was measured."""
    arguments: dict[str, Any] = {"release": "r", "release_digest": RELEASE, "candidate": "tiny", "at": AT, **options}
    return decide(chosen, known, **arguments)


def result(decision: Decision, rule: str = "quality.floor") -> RuleResult:
    """What became of one rule."""
    return next(entry for entry in decision.results if entry.rule == rule)
