"""`airlock approvals RUN --candidate C`: who has approved, who is missing, and which statements are void."""

from __future__ import annotations

import argparse

from pipeline.cli.approve import add_candidate_arguments, coming
from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    parser.add_argument("--stage", metavar="S", help="for promotion into this stage")
    parser.add_argument("--at", type=coming, metavar="TIME", help="preview which will have expired on a coming day")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Print how far the approvals have come."""
    from pipeline.run_directory import RunDirectory
    from pipeline.sign_off import approvals_of
    from pipeline.workplace import open_workplace

    place = open_workplace(arguments.site)
    about = (RunDirectory(arguments.run), arguments.candidate, place)
    tally = approvals_of(*about, stage=arguments.stage, at=arguments.at)
    document = {
        "candidate": arguments.candidate,
        "complete": tally.complete,
        "preview": None if arguments.at is None else arguments.at.isoformat(),
        "approved": [{"person": one.person, "role": one.role} for one in tally.counted],
        "missing": list(tally.missing),
        "rejections": list(tally.rejections),
        "void": list(tally.void),
    }
    lines = [] if arguments.at is None else [f"PREVIEW of {arguments.at:%Y-%m-%d %H:%M %Z}."]
    lines += [f"{one.person} approved as {one.role}." for one in tally.counted]
    lines += [*tally.rejections, *tally.missing, *(f"Not counted: {line}" for line in tally.void)]
    output.result(
        document, "\n".join([*lines, "Nobody is missing." if tally.complete else "It cannot be promoted yet."])
    )
    return ExitCode.YES if tally.complete else ExitCode.DENIED
