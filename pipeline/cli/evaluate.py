"""`airlock evaluate RELEASE`: verify, inspect, serve and evaluate, without a verdict."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.output import ExitCode, Output
from pipeline.cli.run import add_measuring_arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("release", type=Path, metavar="RELEASE", help="release.yaml: what is proposed")
    text = "measure only until this policy is settled, where it says 'stopping: sequential'; else whole samples"
    parser.add_argument("--policy", type=Path, metavar="P", help=text)
    add_measuring_arguments(parser)


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Measure the release; YES when every candidate could be measured, DENIED when one was stopped before."""
    from pipeline.cli.measuring import open_laboratory
    from pipeline.flow import Until, measure_release
    from pipeline.moment import present
    from pipeline.policy.authority import authorised_policy
    from pipeline.release import load_release
    from pipeline.workplace import open_workplace

    workplace = open_workplace(arguments.site)
    until = None
    if arguments.policy is not None:
        until = Until(authorised_policy(arguments.policy, workplace.site), present(workplace.log.entries()))
    laboratory = open_laboratory(workplace, arguments, output)
    measured = measure_release(load_release(arguments.release), laboratory, until=until)
    document = {
        "candidates": [
            {
                "candidate": item.admission.candidate.name,
                "checkpoint": item.admission.subject,
                "stopped": item.admission.denial.what if item.admission.denial else None,
                "statements": list(item.statements),
            }
            for item in measured
        ]
    }
    lines = [
        f"{item.admission.candidate.name}: stopped: {item.admission.denial.what}"
        if item.admission.denial
        else f"{item.admission.candidate.name}: {len(item.statements)} signed statements about {item.admission.subject}"
        for item in measured
    ]
    output.result(document, "\n".join(lines))
    return ExitCode.DENIED if any(item.admission.denial for item in measured) else ExitCode.YES
