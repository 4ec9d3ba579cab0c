"""What lies behind a result: runs, the worst slices, and the items that flipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.policy.detail import detail
from tests.pipeline.policy.builders import decided, evidence, limit, measurement, policy, rate

TOPICS = ("history",) * 100 + ("science",) * 100


def test_the_worst_slices_come_first(tmp_path: Path) -> None:
    chosen = policy(tmp_path, limit("min: 0.5"))
    for better, first in (("higher", "science"), ("lower", "history")):
        known = evidence(measurement(rate(120, 200, slices={"topic": TOPICS}, better=better)))
        lines = detail(chosen, decided(chosen, known), "quality.floor", known).splitlines()
        assert "seed 0" in lines[0]
        assert lines[1].split()[3].startswith(first)
        assert "on 100 items" in lines[1]


def test_the_items_that_flipped_are_named(tmp_path: Path) -> None:
    chosen = policy(tmp_path, limit("versus: baseline, max_drop: 0.05"))
    before = evidence(measurement(rate(150, 200)))
    values = (0.0,) * 12 + (1.0,) * 138 + (1.0,) + (0.0,) * 49
    known = evidence(measurement(replace(rate(0, 200), values=values)))
    decision = decided(chosen, known, baseline=before)
    text = detail(chosen, decision, "quality.floor", known, before)
    assert "lost        12 items: item-0, item-1," in text
    assert "and 2 more" in text
    assert "won         1 items: item-150" in text
    assert "McNemar" in text
    assert "lost" not in detail(chosen, decision, "quality.floor", known)


def test_rules_without_a_metric_have_no_numbers(tmp_path: Path) -> None:
    chosen = policy(tmp_path, "  - {id: quality.floor, title: F, reason: R., finding: '*'}")
    decision = decided(chosen, evidence())
    assert detail(chosen, decision, "quality.floor", evidence()) == ""
    assert detail(chosen, decision, "signature.verified", evidence()) == ""
