"""`airlock keys generate PATH`: a new key pair; `airlock keys public KEY PATH`: the public half of a key."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.opened_key import KEY_HELP, opened_key
from pipeline.cli.output import ExitCode, Output

HELP = "make key pairs, or write the public half of a key"


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

    public = actions.add_parser(
        "public",
        help="write the public half of a key",
        description="Write the public half of a key in a file or on a token, for the site file to name.",
    )
    public.add_argument("key", metavar="KEY", help=KEY_HELP)
    public.add_argument("path", type=Path, metavar="PATH", help="the public key's file, such as trust/ana.pub")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command."""
    return _generate(arguments, output) if arguments.action == "generate" else _public(arguments, output)


def _public(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.keys import write_public_key

    with opened_key(arguments.key) as key:
        write_public_key(key.verifying_key, arguments.path)
        digest = key.verifying_key.digest
    output.result(
        {"public_key": str(arguments.path), "digest": digest}, f"public key:  {arguments.path}\ndigest:      {digest}"
    )
    return ExitCode.YES


def _generate(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.keys import generate_key, write_key_pair

    key = generate_key()
    public = write_key_pair(key, arguments.path)
    digest = key.verifying_key.digest
    output.result(
        {"private_key": str(arguments.path), "public_key": str(public), "digest": digest},
        f"private key: {arguments.path} (keep it secret)\npublic key:  {public}\ndigest:      {digest}",
    )
    return ExitCode.YES
