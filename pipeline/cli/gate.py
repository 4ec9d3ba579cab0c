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


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that 'airlock run' wrote")
    add_policy_argument(parser)
    parser.add_argument("--explain", metavar="RULE", help="say everything about one rule")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Judge every candidate of the run; nothing is measured."""
    from pipeline.cli import verdicts
    from pipeline.flow import gate_run
    from pipeline.policy.document import load_policy
    from pipeline.release import load_release
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import open_workplace

    workplace = open_workplace(arguments.site)
    folder = RunDirectory(arguments.run)
    release = load_release(folder.run().release_path)
    judged = gate_run(release, load_policy(arguments.policy), workplace, folder)
    text = verdicts.to_text(judged) if arguments.explain is None else _explanations(judged, arguments.explain)
    output.result({"release": release.name, "candidates": verdicts.to_json(judged)}, text)
    return verdicts.exit_code(judged)


def _explanations(judged: Sequence[Judged], rule: str) -> str:
    from pipeline.policy.explain import explain

    found = [
        f"{item.candidate.name}\n{explain(result, item.decision)}"
        for item in judged
        for result in item.decision.results
        if result.rule == rule
    ]
    if not found:
        known = ", ".join(result.rule for result in judged[0].decision.results)
        raise RequestError(
            f"there is no rule '{rule}'", why=f"The policy's rules are {known}.", remedy="Name one of them."
        )
    return "\n\n".join(found)
