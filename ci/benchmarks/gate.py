"""How long the gate takes: 10,000 rules over 1,000 metrics that rest on a million samples.

    .venv/bin/python ci/benchmarks/gate.py [--rules 10000] [--metrics 1000] [--items 1000] [--repeats 3] [--json FILE]

The evidence is in memory, as the store hands it over; what is timed is the decision: every bound, every rule, every
reason.  The second figure is the same after an edit of the policy, which is what re-gating costs: nothing is measured
again.  The best of the repeats counts; the first one also shows what a process pays that gates only once.
Seconds of the processor stand beside those of the clock and decide: the work is one thread's, and they hold on a busy
machine too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipeline.digests import sha256
from pipeline.evidence.statement import (
    INSPECTION_TYPE,
    MEASUREMENT_TYPE,
    VERIFICATION_TYPE,
    Evidence,
    MeasurementEvidence,
    Statement,
)
from pipeline.measurement import Metric
from pipeline.policy.document import Policy
from pipeline.policy.gate import decide
from pipeline.policy.language import PolicyFile

GOAL = 1.0  # seconds
AT = datetime(2026, 1, 2, tzinfo=UTC)
SUBJECT = sha256(b"benchmark")


def make_evidence(metrics: int, items: int) -> Evidence:
    """Ten metrics a measurement: rates, means and 95th percentiles in turn."""
    import numpy as np

    random = np.random.default_rng(0)
    names = tuple(f"item-{number}" for number in range(items))
    measurements = []
    for first in range(0, metrics, 10):
        made = tuple(_metric(number, names, random.random(items).tolist()) for number in range(first, first + 10))
        measurements.append(_measurement(f"suite/check_{first // 10}", made))
    verification = Statement(SUBJECT, VERIFICATION_TYPE, SUBJECT, "benchmark", {"verified": True}, SUBJECT)
    inspection = Statement(SUBJECT, INSPECTION_TYPE, SUBJECT, "benchmark", {"findings": []}, SUBJECT)
    return Evidence(SUBJECT, verification, inspection, tuple(measurements))


def _metric(number: int, names: tuple[str, ...], drawn: Sequence[float]) -> Metric:
    if number % 3 == 0:
        values = tuple(float(value < 0.5) for value in drawn)
        return Metric(f"metric_{number}", "rate", "ratio", "higher", names, values)
    if number % 3 == 1:
        return Metric(f"metric_{number}", "mean", "s", "lower", names, tuple(drawn))
    return Metric(f"metric_{number}", "quantile", "s", "lower", names, tuple(drawn), quantile=0.95)


def _measurement(check: str, metrics: tuple[Metric, ...]) -> MeasurementEvidence:
    digest = sha256(check.encode())
    statement = Statement(digest, MEASUREMENT_TYPE, SUBJECT, "benchmark", {}, SUBJECT)
    day = AT - timedelta(days=1)
    samples = len(metrics[0].items)
    return MeasurementEvidence(statement, check, "1", metrics, (), {}, {}, digest, samples, 0, day, day)


def make_policy(rules: int, metrics: int, low: float) -> Policy:
    """As many rules as asked for, each with a limit of its own."""
    entries = [
        {
            "id": f"rule-{number}",
            "title": "A rule of the benchmark",
            "reason": "It takes time to judge.",
            "metric": f"suite/check_{number % metrics // 10}/metric_{number % metrics}",
            "min": low + number / rules / 10,
        }
        for number in range(rules)
    ]
    file = {"apiVersion": "airlock/v1", "kind": "Policy", "name": "benchmark", "rules": entries}
    return Policy(PolicyFile.model_validate(file))


def timed(policy: Policy, evidence: Evidence) -> tuple[float, float]:
    """The seconds that one decision takes: of the processor, and by the clock."""
    start, busy = time.perf_counter(), time.process_time()
    decision = decide(policy, evidence, release="r", release_digest=SUBJECT, candidate="c", at=AT)
    seconds = time.process_time() - busy, time.perf_counter() - start
    if len(decision.results) < len(policy.rules):
        raise SystemExit("a rule was left out")
    return seconds


def main() -> int:
    """Measure, print, and say by the exit code whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rules", 10_000), ("metrics", 1_000), ("items", 1_000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    evidence = make_evidence(arguments.metrics, arguments.items)
    before, after = (make_policy(arguments.rules, arguments.metrics, low) for low in (0.3, 0.31))
    first = [timed(before, evidence) for _ in range(arguments.repeats)]
    again = [timed(after, evidence) for _ in range(arguments.repeats)]
    figures = {"first": first[0], "gate": min(first), "gate_after_an_edit": min(again)}
    shown = {name: f"{busy:.2f} s ({clock:.2f} s by the clock)" for name, (busy, clock) in figures.items()}
    samples = arguments.metrics * arguments.items
    sys.stdout.write(
        f"{arguments.rules:,} rules, {arguments.metrics:,} metrics, {samples:,} samples\n"
        f"  gate, the first time     {shown['first']}\n"
        f"  gate                     {shown['gate']}; goal {GOAL} s\n"
        f"  gate after a policy edit {shown['gate_after_an_edit']}\n"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "goal": GOAL}))
    return 0 if max(min(first)[0], min(again)[0]) < GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
