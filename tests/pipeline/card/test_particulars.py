"""Baselines, waivers, unbounded intervals, foreign servers, unread checkpoints: said on the card, each in its words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.card import view
from pipeline.card.build import build_card
from pipeline.card.cyclonedx import to_cyclonedx
from pipeline.card.html import to_html
from pipeline.card.limits import limits
from pipeline.card.markdown import to_markdown
from pipeline.card.release import build_release_card, release_html
from pipeline.card.schema import schema_problems
from pipeline.card.sources import CardPromotion, CardSources
from pipeline.digests import sha256
from pipeline.errors import EvidenceError
from pipeline.measurement import Grader, Measurement, Metric, Sample
from pipeline.policy.decision import Interval, RuleResult
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import START, Laboratory


def test_the_baseline_of_a_comparison_is_named_among_the_evidence(lab: Laboratory, promoted: CardSources) -> None:
    baseline = candidates.denied(lab).evidence
    both = tuple(sorted({*promoted.decision.evidence, *baseline.digests}))
    sources = replace(promoted, decision=replace(promoted.decision, evidence=both))
    with pytest.raises(EvidenceError, match="store does not give"):
        build_card(sources)
    card = build_card(replace(sources, baseline=baseline))
    assert {r["kind"] for r in card["evidence"] if r["digest"] in baseline.digests} == {
        "baseline inspection",
        "baseline measurement",
        "baseline verification",
    }


def waived(result: RuleResult) -> RuleResult:
    return replace(result, outcome="waived") if result.rule == "safety.harmful-compliance" else result


def test_a_waiver_stands_in_the_heading_and_among_the_evidence(promoted: CardSources) -> None:
    waiver = sha256(b"a signed waiver")
    results = tuple(waived(result) for result in promoted.decision.results)
    card = build_card(
        replace(promoted, decision=replace(promoted.decision, results=results, waivers=(waiver,), stage="staging"))
    )
    assert view.banner(card).title == "Promoted to staging, with a waiver"
    assert [record["kind"] for record in card["evidence"] if record["digest"] == waiver] == ["waiver"]
    assert "demo for staging" in to_html(card).decode()


def test_an_emergency_stays_on_the_card(denied: CardSources) -> None:
    promotion = CardPromotion("staging", "demo@x", START, sha256(b"record"), emergency="ana: the old one is down")
    card = build_card(replace(denied, promotion=promotion))
    assert schema_problems(card) == []
    text = to_html(card).decode()
    assert "Promoted to staging in an emergency" in text
    assert "ana: the old one is down" in text
    assert view.banner(card).tone == "no"
    assert "in an emergency" in to_markdown(card).decode()
    assert "airlock-emergency" in to_markdown(card).decode()
    assert b'"airlock:emergency"' in to_cyclonedx(card)
    assert '<article class="banner no"' in release_html(build_release_card([card])).decode()


def test_of_two_runs_of_a_check_the_samples_are_those_of_the_last(promoted: CardSources) -> None:
    first = promoted.evidence.measurements[0]
    earlier = replace(first, samples=sha256(b"other samples"))
    evidence = replace(promoted.evidence, measurements=(earlier, *promoted.evidence.measurements))
    card = build_card(replace(promoted, evidence=evidence))
    shown = {sample["evidence"] for sample in card["examples"] if sample["check"] == first.check}
    assert shown == {first.samples}


def test_an_interval_without_an_upper_bound_ends_in_an_arrow(promoted: CardSources) -> None:
    def open_above(metric: Metric, confidence: float, _stopping: object) -> Interval:
        return Interval(0.5, 0.4, float("inf"), confidence, len(metric.values), 0, "lower bound")

    text = to_html(build_card(replace(promoted, summarise=open_above))).decode()
    assert text.count("<polygon") >= 7
    assert "from 40.0 %" in text


def test_a_demand_that_is_no_number_is_shown_in_the_policys_words(denied: CardSources) -> None:
    result = next(r for r in denied.decision.results if r.rule == "capability.arc-easy")
    between, compared = replace(result, minimum=0.2, maximum=0.8), replace(result, minimum=None, limit="no worse")
    results = (between, replace(compared, rule="capability.no-regression"))
    card = build_card(replace(denied, decision=replace(denied.decision, results=results)))
    assert [row.limit for row in view.rule_rows(card)] == ["20 % to 80 %", "no worse"]
    (arc,) = [check for check in card["measurements"] if check["check"] == "performance/arc_easy"]
    assert view.figure_rows(card, arc)[0].limit_text == "20 % to 80 %"


def test_a_server_that_airlock_did_not_start_is_a_limit(denied: CardSources) -> None:
    measured = [
        replace(
            measurement,
            serving={"managed": False, "endpoint": "http://127.0.0.1:8000", "isolation": "none"},
            environment={"machine": {"accelerators": []}},
        )
        for measurement in denied.evidence.measurements
    ]
    said = " ".join(limits(replace(denied.evidence, measurements=tuple(measured))))
    assert "a server that Airlock did not start" in said
    assert "Nothing but its own offline switches" in said
    assert "without an accelerator" in said


def test_a_checkpoint_that_could_not_be_read_is_known_by_its_bundle(stopped: CardSources) -> None:
    statement = stopped.evidence.verification
    assert statement is not None
    predicate = {**statement.predicate, "bundle": stopped.evidence.subject, "signer": {"name": None}}
    evidence = replace(stopped.evidence, verification=replace(statement, predicate=predicate))
    card = build_card(replace(stopped, evidence=evidence))
    assert view.identity_label(card) == "Signature bundle"
    assert view.signer_of(card) == "nobody that this site trusts"


def test_an_inconclusive_candidate_is_said_to_be_undecided(denied: CardSources) -> None:
    card = build_card(replace(denied, decision=replace(denied.decision, verdict="INCONCLUSIVE")))
    assert view.banner(card).tone == "open"
    assert "cannot decide yet" in view.banner(card).sentence


def test_a_graded_rate_shows_both_readings_and_the_record_of_its_grader(lab: Laboratory) -> None:
    who = Grader("refusal", sha256(b"weights"), (400, 471), (407, 429))
    metric = candidates.rate("unsafe_compliance_rate", 0.4, 300, better="lower", grader=who)
    sample = tuple(Sample(item, "?", "no", "refused") for item in metric.items)
    candidates.verification(lab, "graded")
    candidates.inspection(lab, "graded")
    candidates.record(lab, "graded", [Measurement("safety/harmful_requests", "3", (), (metric,), sample, 0)])
    card = build_card(candidates.sources(lab, candidates.decision(lab, "graded")))
    assert schema_problems(card) == []
    shown = card["measurements"][0]["metrics"][0]["figure"]["corrected"]
    assert (shown["grader"], shown["sensitivity"], shown["specificity"]) == ("refusal", [400, 471], [407, 429])
    sentence = "corrected for its errors 43.7 %"
    assert "(sensitivity 84.9 % of 471, specificity 94.87 % of 429 on labels by people)" in to_html(card).decode()
    assert sentence in to_html(card).decode()
    assert sentence in to_markdown(card).decode()
