"""`airlock waivers RUN --candidate C`: which waivers are used, which nobody needs, and which end soon or have ended."""

from __future__ import annotations

import argparse

from pipeline.cli.approve import add_candidate_arguments
from pipeline.cli.output import ExitCode, Output


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Print what became of each waiver by now."""
    from pipeline.run_directory import RunDirectory
    from pipeline.waive import waivers_by_now
    from pipeline.workplace import open_workplace

    account = waivers_by_now(RunDirectory(arguments.run), arguments.candidate, open_workplace(arguments.site))
    found = account.as_lists()
    lines = [f"{word:9} {line}" for word, sentences in found.items() for line in sentences]
    output.result({"candidate": arguments.candidate, "waivers": found}, "\n".join(lines) or "There are no waivers.")
    return ExitCode.YES
