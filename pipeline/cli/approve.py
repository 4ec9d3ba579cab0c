"""`airlock approve RUN --candidate C --role R --key K`: sign a decision as a person in a role."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path

from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    parser.add_argument("--role", required=True, metavar="R", help="the role in which you sign")
    parser.add_argument("--key", type=Path, required=True, metavar="K", help="your private key")
    parser.add_argument("--comment", default="", metavar="TEXT", help="what you want to be remembered")
    parser.add_argument("--stage", metavar="S", help="approve for this stage only")
    parser.add_argument("--expires", type=moment, metavar="TIME", help="void from then on, such as 2027-01-31T12:00Z")
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--reject", action="store_true", help="sign that you object")
    words.add_argument("--withdraw", action="store_true", help="take back what you signed before")
    words.add_argument("--break-glass", action="store_true", help="sign for an emergency, against the gate, for hours")


def add_candidate_arguments(parser: argparse.ArgumentParser) -> None:
    """Which candidate of which run, for every command about one."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder that 'airlock run' wrote")
    parser.add_argument("--candidate", required=True, metavar="C", help="the candidate's name")


def moment(text: str) -> datetime:
    """A time with its zone.  Raises ValueError otherwise."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError("a time needs its zone, such as 2027-01-31T12:00Z")
    return value


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Sign, and print who is still missing."""
    from pipeline.approvals.voice import Says
    from pipeline.keys import load_signing_key
    from pipeline.run_directory import RunDirectory
    from pipeline.sign_off import approve_candidate
    from pipeline.workplace import open_workplace

    chosen: dict[Says, bool] = {
        "reject": arguments.reject,
        "withdraw": arguments.withdraw,
        "break-glass": arguments.break_glass,
    }
    said: Says = next((word for word, given in chosen.items() if given), "approve")
    signed = approve_candidate(
        RunDirectory(arguments.run),
        arguments.candidate,
        open_workplace(arguments.site),
        role=arguments.role,
        key=load_signing_key(arguments.key),
        comment=arguments.comment,
        stage=arguments.stage,
        expires=arguments.expires,
        says=said,
    )
    document = {
        "candidate": arguments.candidate,
        "decision": signed.decision,
        "person": signed.person,
        "says": said,
        "missing": list(signed.missing),
    }
    rest = "\n".join(signed.missing) or "Nobody is missing; it can be promoted."
    output.result(document, f"{signed.person} signed '{said}' for {arguments.candidate} as {arguments.role}.\n{rest}")
    return ExitCode.YES
