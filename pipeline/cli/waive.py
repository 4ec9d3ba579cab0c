"""`airlock waive RUN --candidate C --rule ID ...`: grant that one rule may fail for a time."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.approve import add_candidate_arguments, moment
from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    parser.add_argument("--rule", required=True, metavar="ID", help="the rule that may fail")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why the risk is accepted")
    parser.add_argument("--control", required=True, metavar="TEXT", help="what is done in the rule's place")
    parser.add_argument("--ticket", required=True, metavar="ID", help="where it is tracked")
    parser.add_argument("--requester", required=True, metavar="PERSON", help="who asks for it: not you")
    parser.add_argument("--requester-role", required=True, metavar="R", help="in which role they ask: not yours")
    parser.add_argument("--role", required=True, metavar="R", help="the role in which you grant it")
    parser.add_argument("--expires", required=True, type=moment, metavar="TIME", help="its end: 2027-01-31T12:00Z")
    parser.add_argument("--key", required=True, type=Path, metavar="K", help="your private key")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Sign the waiver, and say what comes next."""
    from pipeline.keys import load_signing_key
    from pipeline.run_directory import RunDirectory
    from pipeline.waive import Grant, grant_waiver
    from pipeline.workplace import open_workplace

    grant = Grant(
        rule=arguments.rule,
        reason=arguments.reason,
        control=arguments.control,
        ticket=arguments.ticket,
        requester=arguments.requester,
        requester_role=arguments.requester_role,
        role=arguments.role,
        expires=arguments.expires,
    )
    place, key = open_workplace(arguments.site), load_signing_key(arguments.key)
    digest = grant_waiver(RunDirectory(arguments.run), arguments.candidate, place, grant, key)
    document = {"candidate": arguments.candidate, "rule": grant.rule, "waiver": digest}
    text = f"'{grant.rule}' is waived for {arguments.candidate} until {grant.expires:%Y-%m-%d %H:%M %Z}.\n"
    output.result(document, text + "Have the gate decide anew with 'airlock gate'; earlier approvals are void then.")
    return ExitCode.YES
