"""`airlock gate RUN --policy P`: judge what a run measured, or explain a rule of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output
from pipeline.cli.run import add_policy_argument
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from pipeline.flow import Judged
    from pipeline.policy.document import Policy
    from pipeline.workplace import Workplace


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that 'airlock run' wrote")
    add_policy_argument(parser)
    parser.add_argument("--explain", metavar="RULE", help="say everything about one rule")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a merge request too")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Judge every candidate of the run; nothing is measured."""
    from pipeline.cli import verdicts
    from pipeline.flow import gate_run
    from pipeline.policy.authority import authorised_policy
    from pipeline.release import load_release
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import open_workplace

    workplace = open_workplace(arguments.site)
    folder = RunDirectory(arguments.run)
    release = load_release(folder.run().release_path)
    policy = authorised_policy(arguments.policy, workplace.site)
    judged = gate_run(release, policy, workplace, folder)
    _write_reports(judged, arguments)
    text = verdicts.to_text(judged)
    if arguments.explain is not None:
        text = _explanations(judged, arguments.explain, policy, workplace)
    verdict = verdicts.on_release(policy, judged)
    output.result({"release": release.name, "verdict": verdict, "candidates": verdicts.to_json(judged)}, text)
    return verdicts.exit_code(verdict)


def _write_reports(judged: Sequence[Judged], arguments: argparse.Namespace) -> None:
    from pipeline.files import write_atomic
    from pipeline.policy.report import junit_xml, markdown

    decisions = [item.decision for item in judged]
    if arguments.junit is not None:
        write_atomic(arguments.junit, junit_xml(decisions))
    if arguments.markdown is not None:
        write_atomic(arguments.markdown, markdown(decisions).encode())


def _explanations(judged: Sequence[Judged], rule: str, policy: Policy, workplace: Workplace) -> str:
    from pipeline.policy.detail import detail
    from pipeline.policy.explain import explain
    from pipeline.replay import split_evidence

    found = []
    for item in judged:
        evidence, baseline = split_evidence(item.decision, workplace.store)
        for result in item.decision.results:
            if result.rule == rule:
                numbers = detail(policy, item.decision, rule, evidence, baseline)
                found.append(f"{item.candidate.name}\n{explain(result, item.decision)}\n{numbers}".rstrip())
    if not found:
        known = ", ".join(result.rule for result in judged[0].decision.results)
        raise RequestError(
            f"there is no rule '{rule}'", why=f"The policy's rules are {known}.", remedy="Name one of them."
        )
    return "\n\n".join(found)
