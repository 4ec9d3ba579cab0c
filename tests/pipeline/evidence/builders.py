"""Small measurements and stores for the tests of evidence, and of what is decided from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipeline.digests import Digest, sha256
from pipeline.evidence.statement import MeasurementEvidence
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey
from pipeline.measurement import DataSet, Measurement, Metric, Sample

STARTED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
FINISHED = datetime(2026, 11, 1, 12, 5, tzinfo=UTC)
SUBJECT = sha256(b"checkpoint")
DATA = DataSet("colours", "1", 4, sha256(b"colours"), "CC0-1.0")


def measurement(values: tuple[float, ...] = (1, 0, 1, 1), *, check: str = "performance/knowledge") -> Measurement:
    """A check of as many items as `values`, each with its sample."""
    items = tuple(f"item-{number}" for number in range(len(values)))
    metric = Metric(f"{check}/acc", "rate", "ratio", "higher", items, values, slices={"language": ("en",) * len(items)})
    samples = tuple(Sample(item, "Which colour?", "red", "correct", detail={"logprob": -0.25}) for item in items)
    return Measurement(check, "1", (DATA,), (metric,), samples, seed=7)


def record(
    store: EvidenceStore, key: SigningKey, *, subject: Digest = SUBJECT, cached_as: Digest | None = None
) -> MeasurementEvidence:
    """`measurement()` of `subject`, recorded."""
    return store.record_measurement(
        subject,
        "tiny",
        measurement(),
        serving={"engine": "vllm"},
        environment={"machine": "x86_64"},
        started=STARTED,
        finished=FINISHED,
        key=key,
        cached_as=cached_as,
    )


def blob_path(root: Path, digest: Digest) -> Path:
    """Where the store under `root` keeps the blob `digest`."""
    return root / "blobs" / digest[7:9] / digest[7:]
