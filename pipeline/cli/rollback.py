"""`airlock rollback NAME --stage S`: put back what a stage held before."""

from __future__ import annotations

import argparse

from pipeline.cli.opened_key import opened_key
from pipeline.cli.output import ExitCode, Output
from pipeline.cli.revoke import add_operator_arguments

HELP = "put back what a stage held before"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", metavar="NAME", help="RELEASE/CANDIDATE")
    parser.add_argument("--stage", required=True, metavar="S", help="the stage")
    parser.add_argument("--to", metavar="DIGEST", help="the checkpoint to go back to; the one before by default")
    add_operator_arguments(parser)


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Roll back, and print what the stage holds now."""
    from pipeline.digests import parse_digest
    from pipeline.moment import present
    from pipeline.registry import open_registry
    from pipeline.registry.operations import Operator, roll_back
    from pipeline.workplace import open_workplace

    place = open_workplace(arguments.site)
    with opened_key(arguments.key) as key:
        record = roll_back(
            arguments.name,
            stage=arguments.stage,
            reason=arguments.reason,
            operator=Operator(key, place.key, place.site),
            registry=open_registry(place.site),
            log=place.log,
            at=present(place.log.entries()),
            to=None if arguments.to is None else parse_digest(arguments.to),
        )
    document = {
        "name": record.name,
        "stage": record.stage,
        "reference": record.reference,
        "checkpoint": record.subject,
        "record": record.digest,
        "revision": record.revision,
        "reason": record.reason,
    }
    output.result(document, f"'{record.stage}' holds {record.reference} again.")
    return ExitCode.YES
