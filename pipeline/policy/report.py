"""Decisions for machines and for merge requests: JUnit XML and Markdown.

Text of models and files can stand in reasons, so both escape it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from pipeline.policy.decision import Decision, RuleResult

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~!])")
_SIGNS = {"GO": "✅", "NO-GO": "❌", "INCONCLUSIVE": "❔"}


def junit_xml(decisions: Sequence[Decision]) -> bytes:
    """One test suite a candidate, one test case a rule.

    A blocking rule that does not pass is a failure; where it is missing, stale or inconclusive the failure's type says
    so.  Rules that only warn or inform never fail, and say what they found in `system-out`.
    """
    root = Xml.Element("testsuites", name="airlock")
    for decision in decisions:
        blocked = [result for result in decision.results if _blocks(result)]
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=_printable(f"{decision.release}/{decision.candidate}"),
            tests=str(len(decision.results)),
            failures=str(len(blocked)),
            timestamp=decision.decided.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        properties = Xml.SubElement(suite, "properties")
        for name, value in (
            ("verdict", decision.verdict),
            ("checkpoint", decision.subject),
            ("policy", f"{decision.policy} {decision.policy_digest}"),
        ):
            Xml.SubElement(properties, "property", name=name, value=_printable(value))
        for result in decision.results:
            _case(suite, result)
    document: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _case(suite: Xml.Element, result: RuleResult) -> None:
    case = Xml.SubElement(suite, "testcase", name=_printable(result.rule), classname=result.severity)
    text = _printable(f"{result.reason}\nDemanded: {result.limit}\nThe way on: {result.remedy}")
    if _blocks(result):
        failure = Xml.SubElement(case, "failure", type=result.outcome, message=_printable(result.title))
        failure.text = text
    else:
        Xml.SubElement(case, "system-out").text = f"{result.outcome}: {text}"


def markdown(decisions: Sequence[Decision]) -> str:
    """A summary for a merge request: a table of the candidates, and one of the rules for each."""
    lines = ["| Candidate | Verdict | Policy |", "| --- | --- | --- |"]
    for decision in decisions:
        verdict = f"{_SIGNS[decision.verdict]} **{decision.verdict}**{' with waivers' if decision.waived else ''}"
        lines.append(f"| {_text(decision.candidate)} | {verdict} | {_text(decision.policy)} |")
    for decision in decisions:
        lines += [
            "",
            f"### {_text(decision.candidate)}",
            "",
            "| Rule | Outcome | Demanded | Why |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_row(result) for result in decision.results]
        lines += ["", f"Checkpoint `{decision.subject}`, policy `{decision.policy_digest}`."]
    return "\n".join(lines) + "\n"


def _row(result: RuleResult) -> str:
    outcome = f"**{result.outcome}**" if _blocks(result) else result.outcome
    why = f"{result.reason} {result.remedy}" if _blocks(result) else result.reason
    severity = "" if result.severity == "block" else f" ({result.severity})"
    return f"| {_text(result.rule)}{severity} | {outcome} | {_text(result.limit)} | {_text(why)} |"


def _blocks(result: RuleResult) -> bool:
    return result.severity == "block" and result.outcome not in ("pass", "waived")


def _printable(text: str) -> str:
    """`text` without what XML cannot hold."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(text: str) -> str:
    """`text` as Markdown that means nothing but itself, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(_printable(text).split()))
