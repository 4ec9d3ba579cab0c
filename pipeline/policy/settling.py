"""When a policy has seen enough of a check: the gate's own judgement, asked of a measurement that is not finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.digests import Digest
from pipeline.evidence.statement import MEASUREMENT_TYPE, Evidence, MeasurementEvidence, Statement, Stopping
from pipeline.measurement import Measurement, judged_name
from pipeline.policy.case import Case, open_case
from pipeline.policy.document import Policy
from pipeline.policy.gate import applies, judge
from pipeline.policy.language import LimitRule, RegressionRule
from pipeline.policy.runs import full_name

if TYPE_CHECKING:
    from checks.contract import Check

_NOT_YET = Digest("sha256:" + "0" * 64)  # the digest of what is not recorded


@dataclass(frozen=True)
class Settling:
    """What a policy wants to know of one candidate.

    `evidence` is what is known of it before anything is measured, and `baseline` that of the model that it is compared
    with.  A rule is settled when it passes or fails by bounds that hold at every look; one that lacks samples, slices
    or valid answers is open, and so is one whose baseline is missing.
    """

    policy: Policy
    candidate: str
    evidence: Evidence
    at: datetime
    baseline: Evidence | None = None
    stage: str | None = None

    @property
    def against(self) -> Mapping[str, Any]:
        """The policy, and the confidence of its bounds."""
        return {"policy": self.policy.name, "digest": self.policy.digest, "confidence": self.policy.file.confidence}

    def needs(self, check: Check) -> bool:
        """Whether a rule for this candidate rests on a metric that `check` promises.

        Not where another one rests on what a judge makes of the answers later: that wants all of them.
        """
        names = {full_name(check.name, metric.name) for metric in check.metrics}
        rules = self._rules(self._case(()))
        if any(rule.metric.startswith(f"{judged_name(check.name)}/") for rule in rules):
            return False
        return any(rule.metric in names for rule in rules)

    def settled(self, measurement: Measurement, stopping: Stopping) -> Mapping[str, bool]:
        """Which rules on the metrics of `measurement` it settles, by id."""
        return self._settled(self._unrecorded(measurement, stopping))

    def settled_by(self, evidence: MeasurementEvidence) -> bool:
        """Whether a recorded measurement settles every rule on its metrics."""
        same = replace(evidence, serving={}, started=self.at, finished=self.at)  # whether it counts, the gate says
        return all(self._settled(same).values())

    def _settled(self, measured: MeasurementEvidence) -> Mapping[str, bool]:
        case = self._case((measured,))
        rules = [rule for rule in self._rules(case) if rule.metric.rpartition("/")[0] == measured.check]
        judged = {rule.id: judge(rule, case) for rule in rules}
        return {id_: one.outcome in ("pass", "fail") and one.measured is not None for id_, one in judged.items()}

    def _case(self, measurements: tuple[MeasurementEvidence, ...]) -> Case:
        known = Evidence(self.evidence.subject, self.evidence.verification, self.evidence.inspection, measurements)
        return open_case(self.policy.file, known, self.candidate, at=self.at, baseline=self.baseline, stage=self.stage)

    def _rules(self, case: Case) -> Sequence[LimitRule | RegressionRule]:
        return [
            rule for rule in self.policy.rules if isinstance(rule, LimitRule | RegressionRule) and applies(rule, case)
        ]

    def _unrecorded(self, measurement: Measurement, stopping: Stopping) -> MeasurementEvidence:
        subject = self.evidence.subject
        return MeasurementEvidence(
            statement=Statement(_NOT_YET, MEASUREMENT_TYPE, subject, self.candidate, {}, _NOT_YET),
            check=measurement.check,
            version=measurement.version,
            metrics=measurement.metrics,
            data=measurement.data,
            serving={},
            environment={},
            samples=_NOT_YET,
            sample_count=len(measurement.samples),
            seed=measurement.seed,
            started=self.at,
            finished=self.at,
            stopping=stopping,
        )
