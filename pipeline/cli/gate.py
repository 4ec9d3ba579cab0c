"""`airlock gate RUN --policy P`: judge what a run measured, or explain a rule of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.approve import coming
from pipeline.cli.output import ExitCode, Output
from pipeline.cli.run import add_policy_argument, add_stage_argument
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from pipeline.flow import Judged
    from pipeline.policy.document import Policy
    from pipeline.workplace import Workplace


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that 'airlock run' wrote")
    add_policy_argument(parser)
    add_stage_argument(parser)
    parser.add_argument("--at", type=coming, metavar="TIME", help="preview the verdict of a coming day, unrecorded")
    parser.add_argument("--explain", metavar="RULE", help="say everything about one rule")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a merge request too")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Judge every candidate of the run; nothing is measured."""
    from pipeline.cli import verdicts
    from pipeline.flow import gate_run, preview_run
    from pipeline.policy.authority import authorised_policy
    from pipeline.release import load_release
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import open_workplace

    workplace = open_workplace(arguments.site)
    folder = RunDirectory(arguments.run)
    release = load_release(folder.run().release_path)
    stage, at = arguments.stage, arguments.at
    policy = authorised_policy(arguments.policy, workplace.site, remember=at is None)
    if at is None:
        judged = gate_run(release, policy, workplace, folder, stage=stage)
    else:
        judged = preview_run(release, policy, workplace, folder, at=at, stage=stage)
    _write_reports(judged, arguments)
    verdict = verdicts.on_release(policy, judged)
    document: dict[str, Any] = {"release": release.name, "verdict": verdict, "preview": at is not None}
    document["candidates"] = verdicts.to_json(judged)
    text = verdicts.to_text(judged)
    if arguments.explain is not None:
        document["explanation"] = _explanations(judged, arguments.explain, policy, workplace)
        text = "\n".join([*verdicts.heading(judged[0]), document["explanation"]])
    output.result(document, text)
    return verdicts.exit_code(verdict)


def _write_reports(judged: Sequence[Judged], arguments: argparse.Namespace) -> None:
    from pipeline.files import write_atomic
    from pipeline.policy.report import Reported, junit_xml, markdown

    reports = [Reported(item.decision, item.waivers, preview=item.digest is None) for item in judged]
    if arguments.junit is not None:
        write_atomic(arguments.junit, junit_xml(reports))
    if arguments.markdown is not None:
        write_atomic(arguments.markdown, markdown(reports).encode())


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
