"""Decisions for machines and for merge requests: JUnit XML and Markdown.

Text of models and files can stand in reasons, so both escape it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as Xml

from pipeline.policy.decision import Decision, RuleResult
from pipeline.policy.waivable import WaiverAccount

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~!])")
_SIGNS = {"GO": "✅", "NO-GO": "❌", "INCONCLUSIVE": "❔"}


@dataclass(frozen=True)
class Reported:
    """A decision as it is reported.  A `preview` was not recorded, and every report says so."""

    decision: Decision
    waivers: WaiverAccount = field(default_factory=WaiverAccount)
    preview: bool = False

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What is not said by any rule, as (what it is about, the sentence)."""
        moment = f"{self.decision.decided:%Y-%m-%d %H:%M} UTC"
        marks = [("PREVIEW", f"This is what the gate would say on {moment}; nothing was recorded.")] * self.preview
        lines = [(f"waiver {word}", line) for word, found in self.waivers.as_lists().items() for line in found]
        return (*marks, *lines)


def junit_xml(reports: Sequence[Reported]) -> bytes:
    """One test suite a candidate, one test case a rule.

    A blocking rule that does not pass is a failure; where it is missing, stale or inconclusive the failure's type says
    so.  Rules that only warn or inform never fail, and say what they found in `system-out`.  What became of waivers,
    and that a decision is a preview, stands in properties of the suite.
    """
    root = Xml.Element("testsuites", name="airlock")
    for report in reports:
        decision = report.decision
        blocked = [result for result in decision.results if _blocks(result)]
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=_printable(f"{'PREVIEW ' * report.preview}{decision.release}/{decision.candidate}"),
            tests=str(len(decision.results)),
            failures=str(len(blocked)),
            timestamp=decision.decided.strftime("%Y-%m-%dT%H:%M:%S"),
        )
        properties = Xml.SubElement(suite, "properties")
        for name, value in (
            ("verdict", decision.verdict),
            ("result", decision.result),
            ("checkpoint", decision.subject),
            ("policy", f"{decision.policy} {decision.policy_digest}"),
            ("stage", decision.stage or "every stage"),
            *report.notes,
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


def markdown(reports: Sequence[Reported]) -> str:
    """A summary for a merge request: a table of the candidates, and one of the rules for each."""
    lines = ["| Candidate | Verdict | Policy |", "| --- | --- | --- |"]
    for report in reports:
        decision = report.decision
        verdict = f"{_SIGNS[decision.verdict]} **{decision.verdict}**{' with waivers' if decision.waived else ''}"
        verdict += " (**PREVIEW**)" * report.preview
        stage = f" for {_text(decision.stage)}" if decision.stage else ""
        lines.append(f"| {_text(decision.candidate)} | {verdict} | {_text(decision.policy)}{stage} |")
    for report in reports:
        lines += _section(report)
    return "\n".join(lines) + "\n"


def _section(report: Reported) -> Iterator[str]:
    decision = report.decision
    yield from ("", f"### {_text(decision.candidate)}", "")
    if report.notes:
        yield from (*(f"- **{_text(about)}**: {_text(line)}" for about, line in report.notes), "")
    yield from ("| Rule | Outcome | Demanded | Why |", "| --- | --- | --- | --- |")
    yield from (_row(result) for result in decision.results)
    yield from ("", f"Checkpoint `{decision.subject}`, policy `{decision.policy_digest}`.")


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
