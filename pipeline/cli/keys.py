"""`airlock keys generate PATH`: a new key pair."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.output import ExitCode, Output

HELP = "make key pairs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    generate = actions.add_parser(
        "generate",
        help="make a key pair",
        description="Make an EC P-256 key pair: PATH for the private key (mode 0600, unencrypted) and PATH with the "
        "suffix .pub for the public one. Existing files are never overwritten.",
    )
    generate.add_argument("path", type=Path, metavar="PATH", help="the private key's file, such as keys/release.pem")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command."""
    from pipeline.keys import generate_key, write_key_pair

    key = generate_key()
    public = write_key_pair(key, arguments.path)
    digest = key.verifying_key.digest
    output.result(
        {"private_key": str(arguments.path), "public_key": str(public), "digest": digest},
        f"private key: {arguments.path} (keep it secret)\npublic key:  {public}\ndigest:      {digest}",
    )
    return ExitCode.YES
