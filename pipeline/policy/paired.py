"""Regressions against a baseline, on the same items: how much worse may the candidate truly be?

The quantity is the drop, baseline minus candidate in the direction that is better; what decides is its upper bound.

Sources: Tango 1998 (Statistics in Medicine 17), the score interval for paired proportions; McNemar 1947 (Psychometrika
12), reported as evidence; Hall 1988, the bootstrap of paired differences that are no zeros and ones.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.policy.statistics import (
    Bounds,
    Clusters,
    Values,
    bounded_mean,
    clopper_pearson,
    cluster_standard_error,
    groups_of,
)

_FEW_DISCORDANT = 10  # below, the score interval is too narrow (tests/pipeline/policy/test_simulation.py)


def bounded_drop(drops: Values, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The mean of the paired drops with its bounds; `drops` are per item, in the same order as `clusters`.

    Differences of zeros and ones (-1, 0, 1) take Tango's score bounds, and where fewer than ten items differ the exact
    bound of the losses alone (the gains can only help).  Others take the paired bootstrap or t, or with clusters the
    cluster-robust t.
    """
    binary = bool(np.isin(drops, (-1.0, 0.0, 1.0)).all())
    if clusters is not None and groups_of(clusters) < len(drops):
        return _clustered(drops, confidence, clusters, binary=binary)
    if not binary:
        bounds = bounded_mean(drops, confidence)
        return Bounds(bounds.estimate, bounds.low, bounds.high, f"paired {bounds.method}")
    n, losses, gains = len(drops), int((drops > 0).sum()), int((drops < 0).sum())
    high = drop_upper(losses, gains, n, confidence)
    low = -drop_upper(gains, losses, n, confidence)
    method = "paired, exact" if losses + gains < _FEW_DISCORDANT else "paired score (Tango)"
    return Bounds((losses - gains) / n, low, high, method)


def drop_upper(losses: int, gains: int, n: int, confidence: float) -> float:
    """The bound of (losses - gains) / n that decides: Tango's, or the exact one of the losses where few differ."""
    if losses + gains < _FEW_DISCORDANT or gains == 0:
        return clopper_pearson(losses, n, confidence)[1]
    return tango_upper(losses, gains, n, confidence)


def _clustered(drops: Values, confidence: float, clusters: Clusters, *, binary: bool) -> Bounds:
    bounds = bounded_mean(drops, confidence, clusters)
    groups = groups_of(clusters)
    if binary and int((drops != 0).sum()) < _FEW_DISCORDANT and groups > 1:
        # Hardly any item differs, so hardly any variance shows: a cluster with a loss counts as one lost item.
        hit = {side: len(np.unique(clusters[drops * side > 0])) for side in (1, -1)}
        high = max(bounds.high, clopper_pearson(hit[1], groups, confidence)[1])
        low = min(bounds.low, -clopper_pearson(hit[-1], groups, confidence)[1])
        return Bounds(bounds.estimate, low, high, f"paired, exact over {groups} clusters")
    if cluster_standard_error(drops, clusters) == 0.0:
        return Bounds(bounds.estimate, -math.inf, math.inf, "no bounds: the clusters do not vary")
    return Bounds(bounds.estimate, bounds.low, bounds.high, f"paired {bounds.method}")


def tango_upper(losses: int, gains: int, n: int, confidence: float) -> float:
    """Tango's upper score bound for (losses - gains) / n.

    The largest d with (losses - gains - n d) / sqrt(n (2 q + d (1 - d))) >= -z, where q is the constrained maximum
    likelihood estimate of the share of gains: the larger root of 2n q^2 + (-losses - gains + (2n - losses + gains) d) q
    - gains d (1 - d) = 0.
    """
    from scipy.special import ndtri

    z = float(ndtri(confidence))
    low, high = (losses - gains) / n, 1.0
    for _ in range(60):  # halvings: the bound is then exact to the last bit
        middle = (low + high) / 2
        if _tango_score(losses, gains, n, middle) >= -z:
            low = middle
        else:
            high = middle
    return high


def _tango_score(losses: int, gains: int, n: int, d: float) -> float:
    a, b, c = 2.0 * n, -losses - gains + (2 * n - losses + gains) * d, -gains * d * (1 - d)
    q = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * q + d * (1 - d))
    return (losses - gains - n * d) / math.sqrt(variance) if variance > 0 else -math.inf


def mcnemar_exact(losses: int, gains: int) -> float:
    """The two-sided p-value that losses and gains are equally likely: binomial with p = 1/2.  For the reader."""
    from scipy.special import bdtr

    n = losses + gains
    return min(1.0, 2 * float(bdtr(min(losses, gains), n, 0.5))) if n else 1.0
