"""`airlock policy lint|show P`: check a policy before any model is judged by it, or show what it demands in the end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pipeline.cli.output import ExitCode, Output

HELP = "check or show a policy"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    lint = actions.add_parser("lint", help="say what in a policy is wrong, or cannot decide")
    lint.add_argument("policy", type=Path, metavar="P", help="a policy file, or the name of a built-in policy")
    show = actions.add_parser("show", help="print a policy with everything it extends")
    show.add_argument("policy", type=Path, metavar="P", help="a policy file, or the name of a built-in policy")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Do what `action` says."""
    return _lint(arguments, output) if arguments.action == "lint" else _show(arguments, output)


def _lint(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.policy.document import load_policy

    policy = load_policy(arguments.policy)
    lines = [f"policy '{policy.name}' is valid: {len(policy.rules)} rules", *policy.loosened]
    document = {"policy": policy.name, "digest": policy.digest, "problems": list(policy.loosened)}
    output.result(document, "\n".join(lines))
    return ExitCode.YES


def _show(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.policy.describe import describe_policy
    from pipeline.policy.document import load_policy

    policy = load_policy(arguments.policy)
    document = {"digest": policy.digest, **json.loads(policy.canonical)}
    output.result(document, describe_policy(policy))
    return ExitCode.YES
