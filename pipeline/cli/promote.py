"""`airlock promote RUN --candidate C --stage S`: bring an approved candidate into the registry."""

from __future__ import annotations

import argparse

from pipeline.cli.approve import add_candidate_arguments
from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    parser.add_argument("--stage", required=True, metavar="S", help="a stage of the site's registry")
    parser.add_argument("--break-glass", action="store_true", help="in an emergency that two people have signed for")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Promote, and print the reference by which consumers pull the model."""
    from pipeline.run_directory import RunDirectory
    from pipeline.sign_off import promote_candidate
    from pipeline.workplace import open_workplace

    promotion = promote_candidate(
        RunDirectory(arguments.run),
        arguments.candidate,
        open_workplace(arguments.site),
        stage=arguments.stage,
        break_glass=arguments.break_glass,
    )
    document = {
        "candidate": arguments.candidate,
        "stage": arguments.stage,
        "checkpoint": promotion.subject,
        "reference": promotion.reference,
        "record": promotion.digest,
    }
    output.result(document, f"{arguments.candidate} is promoted to '{arguments.stage}' as {promotion.reference}.")
    return ExitCode.YES
