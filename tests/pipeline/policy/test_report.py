"""Decisions in other forms: JUnit, Markdown, tables, and the statements of SLSA and in-toto."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from pipeline.digests import hex_of, sha256
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import generate_key
from pipeline.policy.attested import SVR_TYPE, VSA_TYPE
from pipeline.policy.decision import Decision
from pipeline.policy.explain import decision_table, explain
from pipeline.policy.report import Reported, junit_xml, markdown
from tests.pipeline.policy.builders import decided, evidence, limit, measurement, policy, rate, result


@pytest.fixture
def good(tmp_path: Path) -> Decision:
    return decided(policy(tmp_path, limit("min: 0.5")), evidence(measurement(rate(300, 400))))


@pytest.fixture
def bad(tmp_path: Path) -> Decision:
    rules = limit("min: 0.5") + "\n" + limit("min: 0.9", id_="quality.wish", more=", severity: warn")
    return decided(policy(tmp_path, rules), evidence(measurement(rate(100, 400, invalid=3))))


def test_junit_counts_what_blocks(good: Decision, bad: Decision) -> None:
    passed, failed = Xml.fromstring(junit_xml([Reported(good), Reported(bad)])).findall("testsuite")  # noqa: S314  # our own output
    assert (passed.get("failures"), failed.get("failures")) == ("0", "1")
    assert failed.get("tests") == str(len(bad.results))
    (failure,) = failed.findall(".//failure")
    assert failure.get("type") == "fail"
    assert "25.0 %" in (failure.text or "")
    assert failed.find("properties/property[@name='verdict']").get("value") == "NO-GO"  # type: ignore[union-attr]


def test_markdown_has_a_row_for_every_rule(good: Decision, bad: Decision) -> None:
    text = markdown([Reported(good), Reported(bad)])
    assert "**GO**" in text
    assert "**NO-GO**" in text
    for entry in bad.results:
        assert f"| {entry.rule}" in text


def test_attack_hostile_text_stays_text(bad: Decision) -> None:
    hostile = "\x00\x1b[2J </testcase> <img src=x> | `code` \ud800 [a](b)\n# head"
    decision = replace(bad, results=(replace(bad.results[0], reason=hostile, severity="block", outcome="fail"),))
    Xml.fromstring(junit_xml([Reported(decision)]))  # noqa: S314  # our own output
    text = markdown([Reported(decision)])
    assert "<img" not in text.replace("\\<", "")
    assert "\x1b" not in text
    assert "\n# head" not in text
    assert "\\[a\\](b)" in text


def test_the_table_names_every_rule_and_the_way_on(bad: Decision) -> None:
    table = decision_table(bad)
    for entry in bad.results:
        assert entry.rule in table
    assert "The way on: Submit an improved checkpoint" in table
    assert "FAIL (warn)" in table


def test_an_explanation_says_everything(bad: Decision) -> None:
    text = explain(result(bad), bad)
    for words in (
        "quality.floor",
        "fail",
        "at least 50.0 %",
        "400 valid, 3 invalid",
        "95%",
        str(bad.policy_digest),
        "why",
    ):
        assert words in text
    assert "measured" not in explain(bad.results[0], bad)


def test_summaries_are_signed_and_name_every_input(tmp_path: Path, good: Decision) -> None:
    key = generate_key()
    store = EvidenceStore(tmp_path / "evidence", [key.verifying_key])
    digest = store.record_decision(good, key)
    summary, simple = (store.statement(one) for one in store.record_summaries(digest, key))
    assert (summary.predicate_type, simple.predicate_type) == (VSA_TYPE, SVR_TYPE)
    assert summary.subject == simple.subject == good.subject
    assert summary.predicate["verificationResult"] == "PASSED"
    assert summary.predicate["policy"]["digest"]["sha256"] == hex_of(good.policy_digest)
    inputs = {entry["digest"]["sha256"] for entry in summary.predicate["inputAttestations"]}
    assert inputs == {hex_of(one) for one in (digest, *good.evidence)}
    assert "AIRLOCK_QUALITY_FLOOR" in simple.predicate["properties"]
    assert "AIRLOCK_TEST_GO" in simple.predicate["properties"]
    assert store.record_summaries(digest, key) == (summary.digest, simple.digest)
    assert store.evidence(good.subject).digests == ()


def test_a_denial_is_summarised_as_failed(tmp_path: Path, bad: Decision) -> None:
    key = generate_key()
    store = EvidenceStore(tmp_path / "evidence", [key.verifying_key])
    summary, simple = (store.statement(one) for one in store.record_summaries(store.record_decision(bad, key), key))
    assert summary.predicate["verificationResult"] == "FAILED"
    assert summary.predicate["verifiedLevels"] == ["FAILED"]
    assert not [name for name in simple.predicate["properties"] if name.endswith("GO") or "QUALITY" in name]


def test_a_pass_with_a_waiver_is_marked(tmp_path: Path, bad: Decision) -> None:
    key = generate_key()
    store = EvidenceStore(tmp_path / "evidence", [key.verifying_key])
    results = tuple(replace(entry, outcome="waived") if entry.outcome == "fail" else entry for entry in bad.results)
    waived = replace(bad, results=results, verdict="GO", waivers=(sha256(b"waiver"),))
    summary, simple = (store.statement(one) for one in store.record_summaries(store.record_decision(waived, key), key))
    assert summary.predicate["verifiedLevels"] == ["AIRLOCK_TEST_WITH_WAIVER"]
    assert "AIRLOCK_TEST_WAIVED_GO" in simple.predicate["properties"]
    assert "with waivers" in markdown([Reported(waived)])
