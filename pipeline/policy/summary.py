"""A metric in one line for cards and tables: the estimate with its two-sided interval."""

from __future__ import annotations

import numpy as np

from pipeline.measurement import Metric
from pipeline.policy.decision import Interval
from pipeline.policy.statistics import bounded_mean, bounded_quantile, bounded_rate


def summarise(metric: Metric, confidence: float) -> Interval:
    """The estimate of `metric` and the interval that holds its true value with probability `confidence`.

    Each side of a two-sided interval at confidence c is a one-sided bound at (1 + c) / 2, so that the gate's own
    statistics serve both.

    Raises:
        ValueError: there are no values.
    """
    values, side = np.asarray(metric.values, dtype=np.float64), (1 + confidence) / 2
    if not values.size:
        raise ValueError(f"{metric.name} has no values")
    if metric.kind == "rate":
        bounds = bounded_rate(values, side, metric.clusters)
    elif metric.kind == "mean":
        bounds = bounded_mean(values, side, metric.clusters)
    else:
        bounds = bounded_quantile(values, metric.quantile or 0.0, side, metric.clusters)
    size, invalid = len(metric.values), metric.invalid
    return Interval(bounds.estimate, bounds.low, bounds.high, confidence, size, invalid, bounds.method)
