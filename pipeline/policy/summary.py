"""A metric in one line for cards and tables: the estimate with its two-sided interval."""

from __future__ import annotations

from pipeline.evidence.statement import Stopping
from pipeline.measurement import Metric
from pipeline.policy.case import Part, interval_of, part_bounds
from pipeline.policy.decision import Interval
from pipeline.policy.stopped import sequential


def summarise(metric: Metric, confidence: float, stopping: Stopping | None = None) -> Interval:
    """The estimate of `metric` and the interval that holds its true value with probability `confidence`.

    Each side of a two-sided interval at confidence c is a one-sided bound at (1 + c) / 2, so that the gate's own
    statistics serve both.  `stopping` is how its measurement was stopped.

    Raises:
        ValueError: there are no values.
    """
    if not metric.values:
        raise ValueError(f"{metric.name} has no values")
    part = Part(metric, stopping=stopping)
    bounds = part_bounds(part, (1 + confidence) / 2, sequential=sequential(stopping))
    return interval_of(bounds, confidence, len(metric.values), metric.invalid)
