"""`airlock revoke DIGEST`: let nobody use a checkpoint any more."""

from __future__ import annotations

import argparse

from pipeline.cli.opened_key import KEY_HELP, opened_key
from pipeline.cli.output import ExitCode, Output

HELP = "let nobody resolve, pull or promote a checkpoint any more"


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("checkpoint", metavar="DIGEST", help="the checkpoint's digest, as in its card")
    add_operator_arguments(parser)


def add_operator_arguments(parser: argparse.ArgumentParser) -> None:
    """Who acts on the registry, and why."""
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; kept in the log for good")
    parser.add_argument("--key", required=True, metavar="K", help=KEY_HELP)


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Revoke, and print when and why."""
    from datetime import UTC, datetime

    from pipeline.digests import parse_digest
    from pipeline.registry import open_registry
    from pipeline.registry.operations import Operator, revoke
    from pipeline.workplace import open_workplace

    place = open_workplace(arguments.site)
    with opened_key(arguments.key) as key:
        revocation = revoke(
            parse_digest(arguments.checkpoint),
            reason=arguments.reason,
            operator=Operator(key, place.key, place.site),
            registry=open_registry(place.site),
            log=place.log,
            at=datetime.now(UTC),
        )
    document = {
        "checkpoint": revocation.subject,
        "reason": revocation.reason,
        "record": revocation.record,
        "revoked": revocation.time.isoformat(),
    }
    output.result(document, f"{revocation.subject} is revoked since {revocation.time:%Y-%m-%d}: {revocation.reason}")
    return ExitCode.YES
