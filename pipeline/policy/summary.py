"""A metric in one line for cards and tables: the estimate with its two-sided interval."""

from __future__ import annotations

from pipeline.measurement import Metric
from pipeline.policy.case import Part, part_bounds
from pipeline.policy.decision import Interval


def summarise(metric: Metric, confidence: float) -> Interval:
    """The estimate of `metric` and the interval that holds its true value with probability `confidence`.

    Each side of a two-sided interval at confidence c is a one-sided bound at (1 + c) / 2, so that the gate's own
    statistics serve both.

    Raises:
        ValueError: there are no values.
    """
    if not metric.values:
        raise ValueError(f"{metric.name} has no values")
    bounds = part_bounds(Part(metric), (1 + confidence) / 2)
    size, invalid = len(metric.values), metric.invalid
    return Interval(bounds.estimate, bounds.low, bounds.high, confidence, size, invalid, bounds.method)
