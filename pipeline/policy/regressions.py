"""No regression: the candidate and the baseline on the same items, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from pipeline.policy.case import Case, Judgement, worst
from pipeline.policy.decision import Interval, Outcome
from pipeline.policy.language import RegressionRule
from pipeline.policy.limits import improvement, unmeasured, unusable
from pipeline.policy.paired import bounded_drop
from pipeline.policy.power import more_for_mean
from pipeline.policy.runs import Run
from pipeline.policy.sequential import anytime_drop
from pipeline.policy.statistics import Bounds, Values, encode
from pipeline.policy.words import items, show


@dataclass(frozen=True)
class Pairs:
    """The items that both answered: their values in parallel, the candidate's clusters, and how many only one has."""

    names: tuple[str, ...]
    baseline: Values
    candidate: Values
    clusters: tuple[str, ...] | None
    unpaired: int


@dataclass(frozen=True)
class _Demand:
    """Drops item by item, the margin that their mean must keep below, and words to begin with."""

    drops: Values
    margin: float
    words: str


def judge_regression(rule: RegressionRule, case: Case) -> Judgement:
    """Whether the candidate is worse than the baseline by less than the margin, with the policy's confidence."""
    limit = _margin_in_words(rule)
    runs = case.runs(rule.metric, rule.max_age)
    if not runs.counted:
        return unmeasured(rule, runs.problem, stale=runs.stale, limit=limit)
    if case.baseline is None:
        return Judgement("missing", "There is no evidence of a baseline to compare with.", _NAME_ONE, limit)
    before = case.baseline.runs(rule.metric, case.at, FOREVER)
    if not before.counted:
        return Judgement("missing", f"Of the baseline: {before.problem}", _NAME_ONE, limit)
    return worst([_judge_run(rule, case, run, before.counted[-1], limit) for run in runs.counted])


FOREVER = timedelta.max  # a baseline's evidence does not age: it is compared on the same items and the same version
_NAME_ONE = "Name a baseline in the release whose evidence is in the store, measured with the same checks and data."


def _judge_run(rule: RegressionRule, case: Case, run: Run, before: Run, limit: str) -> Judgement:
    problem = unusable(rule, case, run, limit) or _incomparable(run, before, limit)
    if problem is not None:
        return problem
    pairs = pair(run, before)
    general = case.policy.evidence
    allowed = general.max_invalid if rule.max_invalid is None else rule.max_invalid
    if not pairs.names or pairs.unpaired > allowed * (pairs.unpaired + len(pairs.names)):
        why = (
            f"{items(pairs.unpaired)} count for only one of candidate and baseline; {items(len(pairs.names))} for both."
        )
        return Judgement("missing", why, "Measure both with the same check, seed and data.", limit, evidence=run.digest)
    wholes = [_compare(rule, case, run, pairs)]
    return worst([*wholes, *(_compare(rule, case, run, part, words) for words, part in _slices(rule, run, pairs))])


def _incomparable(run: Run, before: Run, limit: str) -> Judgement | None:
    if run.metric.better == "neither":
        why = "The metric has no better direction, so nothing is a regression of it."
        return Judgement("missing", why, "Correct the policy: give this metric a range.", limit, evidence=run.digest)
    data = {entry.name: entry.digest for entry in run.evidence.data}
    if run.evidence.version != before.evidence.version or data != {e.name: e.digest for e in before.evidence.data}:
        why = "The baseline was measured with another version of the check, or on other data."
        return Judgement("missing", why, "Measure the baseline again with this version.", limit, evidence=run.digest)
    return None


def pair(run: Run, before: Run) -> Pairs:
    """Candidate and baseline item by item, in the candidate's order."""
    old = dict(zip(before.metric.items, before.metric.values, strict=True))
    places = [place for place, item in enumerate(run.metric.items) if item in old]
    names = tuple(run.metric.items[place] for place in places)
    clusters = run.metric.clusters
    return Pairs(
        names,
        np.asarray([old[name] for name in names], dtype=np.float64),
        np.asarray([run.metric.values[place] for place in places], dtype=np.float64),
        None if clusters is None else tuple(clusters[place] for place in places),
        unpaired=len(run.metric.items) + len(old) - 2 * len(names),
    )


def _slices(rule: RegressionRule, run: Run, pairs: Pairs) -> Sequence[tuple[str, Pairs]]:
    if rule.slices is None:
        return ()
    columns = tuple(run.metric.slices) if rule.slices == "each" else rule.slices
    found: list[tuple[str, Pairs]] = []
    for column in columns:
        labels = dict(zip(run.metric.items, run.metric.slices.get(column, ("",) * len(run.metric.items)), strict=True))
        for label in sorted(set(labels.values())):
            chosen = [place for place, name in enumerate(pairs.names) if labels[name] == label]
            found.append((f"In the slice {column} = {label}: ", _chosen(pairs, chosen)))
    return found


def _chosen(pairs: Pairs, places: list[int]) -> Pairs:
    clusters = None if pairs.clusters is None else tuple(pairs.clusters[place] for place in places)
    names = tuple(pairs.names[place] for place in places)
    return Pairs(names, pairs.baseline[places], pairs.candidate[places], clusters, 0)


def _compare(rule: RegressionRule, case: Case, run: Run, pairs: Pairs, words: str = "") -> Judgement:
    if len(pairs.names) < max(2, rule.min_slice_samples or 1 if words else 1):
        why = f"{words}only {items(len(pairs.names))} can be compared."
        return Judgement("inconclusive", why, "Measure more items.", _margin_in_words(rule), evidence=run.digest)
    sign = 1.0 if run.metric.better == "higher" else -1.0
    level = float(pairs.baseline.mean())
    parts = []
    if rule.max_drop is not None:
        drops = sign * (pairs.baseline - pairs.candidate)
        parts.append(_part(rule, case, run, pairs, _Demand(drops, rule.max_drop, words)))
    if rule.max_relative_drop is not None and (rule.relative_below is None or level < rule.relative_below):
        share = rule.max_relative_drop
        # drop <= share * baseline, item by item: the margin moves to the left, so its uncertainty is counted too
        drops = sign * (pairs.baseline - pairs.candidate) - share * pairs.baseline
        relative = f"{words}Less {share:.0%} of the baseline's {show(level, run.metric.unit)}: "
        parts.append(_part(rule, case, run, pairs, _Demand(drops, 0.0, relative)))
    return worst(parts)


def _part(rule: RegressionRule, case: Case, run: Run, pairs: Pairs, demand: _Demand) -> Judgement:
    drops, margin, words = demand.drops, demand.margin, demand.words
    clusters = None if pairs.clusters is None else encode(pairs.clusters)
    bounded = anytime_drop if case.policy.stopping == "sequential" else bounded_drop
    bounds = bounded(drops, case.policy.confidence, clusters)
    unit, n = run.metric.unit, len(drops)
    interval = Interval(
        bounds.estimate, bounds.low, bounds.high, case.policy.confidence, n, run.metric.invalid, bounds.method
    )
    reason = (
        f"{words}On {items(n)} that both answered, the candidate is worse than the baseline by "
        f"{show(bounds.estimate, unit)}; with {case.policy.confidence:.0%} confidence on each side by at least "
        f"{show(bounds.low, unit)} and at most {show(bounds.high, unit)}, and {show(margin, unit)} is allowed."
    )
    outcome: Outcome = "pass" if bounds.high <= margin else "fail" if bounds.low > margin else "inconclusive"
    more = more_for_mean(bounds, n, None, margin) if outcome == "inconclusive" else None
    return Judgement(
        outcome,
        reason,
        improvement(rule, case) if outcome == "fail" else _way_on(outcome, more, bounds, margin),
        _margin_in_words(rule),
        interval,
        run.digest,
        more,
        None,
        margin,
        margin - bounds.high,
    )


def _way_on(outcome: Outcome, more: int | None, bounds: Bounds, margin: float) -> str:
    if outcome == "pass":
        return "Nothing needs to be done."
    if more is None:
        return (
            "The measured drop lies so close to the margin that no reasonable number of samples would tell them apart."
        )
    end = "pass" if bounds.estimate < margin else "fail"
    return f"Measure about {items(more)} more: should the measured drop hold, the rule would then {end}."


def _margin_in_words(rule: RegressionRule) -> str:
    parts = [] if rule.max_drop is None else [f"at most {rule.max_drop:g} worse than the baseline"]
    if rule.max_relative_drop is not None:
        level = "" if rule.relative_below is None else f" where that is below {rule.relative_below:g}"
        parts.append(f"at most {rule.max_relative_drop:.0%} worse than the baseline{level}")
    return " and ".join(parts)
