"""Confidence bounds that decide: for rates, means and quantiles, with and without clusters.

Every bound is one-sided at the confidence asked for; a low and a high bound together are two one-sided tests.  A limit
that is met by the bound on its side is broken in truth with a chance of at most one minus the confidence.

Sources: Clopper and Pearson 1934 (Biometrika 26); Wilson 1927 (JASA 22); Korn and Graubard 1998 (Survey Methodology
24), for clustered rates; Liang and Zeger 1986 (Biometrika 73) and Miller 2024 (arXiv 2411.00640), for cluster-robust
errors; Hall 1988 (Annals of Statistics 16) and 1992 (JRSS B 54), for means; David and Nagaraja 2003 (Order Statistics,
chapter 7) and Woodruff 1952 (JASA 47), for quantiles.  Rates that a grader measured: `pipeline.policy.graded`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipeline.policy.decision import Corrected

Values = NDArray[np.float64]
Clusters = NDArray[np.intp]
"""The number of each item's cluster, counted from 0 without gaps."""

_RESAMPLES = 1000
_FEW_CLUSTERS = 20
_BOOTSTRAP_BELOW = 200  # items; above, a correction for skewness does as well and costs nothing


@dataclass(frozen=True)
class Bounds:
    """An estimate between its two one-sided bounds; `method` names the formula.  An open end is an infinity.

    `corrected` is there for what a grader measured: how it reads with the grader's errors taken out.
    """

    estimate: float
    low: float
    high: float
    method: str
    corrected: Corrected | None = None


def encode(labels: Sequence[str]) -> Clusters:
    """Labels as `Clusters`."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.asarray([numbers[label] for label in labels], dtype=np.intp)


def groups_of(clusters: Clusters) -> int:
    """How many clusters there are."""
    return int(clusters.max()) + 1 if len(clusters) else 0


def wilson(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's score bounds: the roots p of (x/n - p)^2 = z^2 p (1 - p) / n, with z the normal quantile of confidence.

    Close to the nominal level on average; at unlucky rates the chance of a false pass reaches twice the nominal one.
    """
    from scipy.special import ndtri

    z2 = float(ndtri(confidence)) ** 2
    p = successes / n
    centre = p + z2 / (2 * n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def clopper_pearson(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """Exact binomial bounds: beta quantiles B(1-c; x, n-x+1) and B(c; x+1, n-x).

    A limit that they meet is broken in truth with a chance of at most 1 - c, whatever the rate and n.
    """
    from scipy.special import betaincinv

    failures = n - successes
    low = 0.0 if successes <= 0 else float(betaincinv(successes, failures + 1, 1 - confidence))
    high = 1.0 if failures <= 0 else float(betaincinv(successes + 1, failures, confidence))
    return low, high


def rate_bounds(successes: float, n: float, confidence: float) -> tuple[float, float, str]:
    """The bounds that decide on a rate: Clopper-Pearson below five events, else the wider of it and Wilson.

    Wilson's alone from five events on lets a model pass falsely in up to 10 % of cases at a nominal 5 % (computed
    exactly for n of 50 to 5,000); these never in more than the nominal share.
    """
    exact = clopper_pearson(successes, n, confidence)
    if min(successes, n - successes) < 5:
        return *exact, "Clopper-Pearson"
    score = wilson(successes, n, confidence)
    return min(score[0], exact[0]), max(score[1], exact[1]), "Wilson, widened to Clopper-Pearson"


def bounded_rate(values: Values, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The mean of values 0 and 1 with its bounds.

    Clusters reduce the number of items to an effective one (Korn and Graubard 1998): n* = p(1-p)/SE^2, SE cluster
    robust, scaled by (t_{n-1} / t_{G-1})^2 for the G clusters, and never above n.  Where all values agree no variance
    shows, and a cluster counts as one item.  Never narrower than the cluster-robust t with its correction for skewness.
    """
    n = len(values)
    estimate = float(values.mean())
    if clusters is None or groups_of(clusters) == n:
        low, high, method = rate_bounds(float(values.sum()), n, confidence)
        return Bounds(estimate, low, high, method)
    effective = effective_size(values, clusters, confidence)
    low, high = clopper_pearson(estimate * effective, effective, confidence) if effective > 0 else (0.0, 1.0)
    if 0.0 < estimate < 1.0 and effective > 0:
        between = _clustered_mean(values, confidence, clusters)
        low = max(0.0, min(low, between.low, 1 - _few_hit(1 - values, confidence, clusters)))
        high = min(1.0, max(high, between.high, _few_hit(values, confidence, clusters)))
    return Bounds(estimate, low, high, f"Korn-Graubard, {groups_of(clusters)} clusters worth {effective:.0f} items")


def _few_hit(values: Values, confidence: float, clusters: Clusters) -> float:
    """An upper bound of a rate that shows in few clusters, too few for their variance to be believed.

    The exact bound of the share of clusters with any event, times the largest share of events seen in one (1 where
    fewer than three have any).  0 where enough have: the other bounds then hold by themselves.
    """
    events, sizes = np.bincount(clusters, weights=values), np.bincount(clusters)
    hit = int((events > 0).sum())
    if hit >= _FEW_CLUSTERS:
        return 0.0
    largest = float((events / sizes).max()) if hit > 2 else 1.0
    return clopper_pearson(hit, len(sizes), confidence)[1] * largest


def effective_size(values: Values, clusters: Clusters, confidence: float) -> float:
    """How many independent items the clustered zeros and ones are worth for a bound of this confidence; see above."""
    from scipy.special import stdtrit

    n, groups = len(values), groups_of(clusters)
    if groups < 2:
        return 0.0
    p = float(values.mean())
    error = cluster_standard_error(values, clusters)
    if p in (0.0, 1.0) or error == 0.0:
        return float(groups)
    shrink = float(stdtrit(n - 1, confidence) / stdtrit(groups - 1, confidence)) ** 2
    return min(float(n), p * (1 - p) / error**2) * shrink


def cluster_standard_error(values: Values, clusters: Clusters) -> float:
    """The standard error of the mean of clustered values.

    SE^2 = (G/(G-1))^2 x sum over clusters of (sum of residuals in it)^2 / n^2: Miller's sum of within-cluster cross
    products over n^2, with the jackknife's correction for few clusters G (CR3; MacKinnon, Nielsen and Webb 2023).
    """
    sums = np.bincount(clusters, weights=values - values.mean())
    groups = len(sums)
    return math.sqrt(float(np.sum(sums**2))) * groups / (groups - 1) / len(values) if groups > 1 else math.inf


def bounded_mean(values: Values, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The mean of real values with its bounds.

    The studentised bootstrap (Hall 1988) below 200 items, above it Student's t corrected for skewness (Hall 1992); with
    clusters the latter on the cluster-robust error, with one degree of freedom less than there are clusters.
    """
    n, estimate = len(values), float(values.mean())
    if clusters is not None and groups_of(clusters) < n:
        return _clustered_mean(values, confidence, clusters)
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    if n < _BOOTSTRAP_BELOW:
        return _bootstrap_bounds(values, estimate, error, confidence)
    return _t_bounds(Bounds(estimate, 0, 0, "t, corrected for skewness"), error, n, _skewness(values), confidence)


def _clustered_mean(values: Values, confidence: float, clusters: Clusters) -> Bounds:
    groups = groups_of(clusters)
    sums = np.bincount(clusters, weights=values - values.mean()).astype(np.float64)
    method = f"t, cluster-robust over {groups} clusters"
    error = cluster_standard_error(values, clusters)
    return _t_bounds(Bounds(float(values.mean()), 0, 0, method), error, groups, _skewness(sums), confidence)


def _t_bounds(shape: Bounds, error: float, groups: int, skewness: float, confidence: float) -> Bounds:
    """estimate -/+ t_{G-1} SE, each side moved outwards as far as the skewness of the G values demands.

    Hall 1992 (JRSS B 54): the quantile t becomes the root of g(T) = T + s(T^2/3 + 1/6) + s^2 T^3/27 = t with
    s = skewness / sqrt(G), that is T = (3/s) (cbrt(1 + s (t - s/6)) - 1).  A bound is never moved inwards.
    """
    from scipy.special import stdtrit

    if groups < 2:
        return Bounds(shape.estimate, -math.inf, math.inf, "no bounds: there is but one item or cluster")
    t, s = float(stdtrit(groups - 1, confidence)), skewness / math.sqrt(groups)

    def root(quantile: float) -> float:
        return quantile if abs(s) < 1e-6 else 3 / s * (float(np.cbrt(1 + s * (quantile - s / 6))) - 1)

    low, high = shape.estimate - max(t, root(t)) * error, shape.estimate - min(-t, root(-t)) * error
    return Bounds(shape.estimate, low, high, shape.method)


def _bootstrap_bounds(values: Values, estimate: float, error: float, confidence: float) -> Bounds:
    """Studentised bootstrap: estimate - q SE, with q the quantiles of (m* - m) / SE* over resamples.

    Never narrower than t: with few values a resample often lacks the rare ones.  The seed is fixed, so that a decision
    can be recomputed.
    """
    n = len(values)
    simple = _t_bounds(Bounds(estimate, 0, 0, "t"), error, n, 0.0, confidence)
    if n < 2 or error == 0.0:
        return simple
    draws = values[np.random.default_rng(20240611).integers(0, n, size=(_RESAMPLES, n))]
    errors = draws.std(axis=1, ddof=1) / math.sqrt(n)
    studentised = (draws.mean(axis=1) - estimate)[errors > 0] / errors[errors > 0]
    low_q, high_q = np.quantile(studentised, [confidence, 1 - confidence])
    return Bounds(
        estimate,
        min(simple.low, estimate - float(low_q) * error),
        max(simple.high, estimate - float(high_q) * error),
        "studentised bootstrap",
    )


def _skewness(values: Values) -> float:
    centred = values - values.mean()
    spread = float(np.mean(centred**2)) ** 1.5
    return float(np.mean(centred**3)) / spread if spread > 0 else 0.0


def bounded_quantile(values: Values, quantile: float, confidence: float, clusters: Clusters | None = None) -> Bounds:
    """The `quantile` of `values` with distribution-free bounds that are themselves values.

    The high bound is the smallest order statistic x_(r) with P(Bin(n, q) < r) >= confidence, the low one the largest
    with P(Bin(n, q) >= r) >= confidence (David and Nagaraja, 7.1).  Where no order statistic will do, the bound is
    infinite.  With clusters the ranks are those of the effective number of items (Woodruff 1952).
    """
    n = len(values)
    ordered = np.sort(values)
    estimate = float(ordered[max(0, math.ceil(quantile * n) - 1)])
    if clusters is None or groups_of(clusters) == n:
        low_rank, high_rank = _ranks(n, quantile, confidence)
        method = "order statistics"
    else:
        at_or_below = (values <= estimate).astype(np.float64)
        effective = math.floor(effective_size(at_or_below, clusters, confidence))
        low_rank, high_rank = _ranks(effective, quantile, confidence) if effective else (0, 1)
        scale = n / max(effective, 1)
        low_rank = math.floor(low_rank * scale)
        high_rank = math.ceil(high_rank * scale) if high_rank <= effective else n + 1
        method = f"order statistics, {groups_of(clusters)} clusters worth {effective} items"
    low = float(ordered[low_rank - 1]) if low_rank >= 1 else -math.inf
    high = float(ordered[high_rank - 1]) if high_rank <= n else math.inf
    return Bounds(estimate, low, high, method)


@lru_cache(maxsize=256)
def _ranks(n: int, quantile: float, confidence: float) -> tuple[int, int]:
    """The ranks (from 1) of the low and high bounds; 0 and n + 1 where there is none."""
    from scipy.special import bdtr

    below = bdtr(np.arange(n + 1), n, quantile)  # P(Bin <= r) for r = 0..n
    reached = np.nonzero(below[:n] >= confidence)[0]
    high = int(reached[0]) + 1 if reached.size else n + 1
    allowed = np.nonzero(1 - np.concatenate([[0.0], below[:n]]) >= confidence)[0]
    return int(allowed[-1]), high
