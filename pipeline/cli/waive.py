"""`airlock waive RUN --candidate C --rule ID ...`: grant that one rule may fail for a time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipeline.cli.approve import add_candidate_arguments, add_signature_arguments, drafted, moment, required
from pipeline.cli.opened_key import opened_key
from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.policy.decision import Waiver


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    for name, (metavar, text) in _WORDS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    parser.add_argument("--expires", type=moment, metavar="TIME", help="its end: 2027-01-31T12:00Z")
    add_signature_arguments(parser)


_WORDS = {
    "rule": ("ID", "the rule that may fail"),
    "reason": ("TEXT", "why the risk is accepted"),
    "control": ("TEXT", "what is done in the rule's place"),
    "ticket": ("ID", "where it is tracked"),
    "requester": ("PERSON", "who asks for it: not you"),
    "requester-role": ("R", "in which role they ask: not yours"),
    "role": ("R", "the role in which you grant it"),
}


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Sign the waiver, and say what comes next."""
    from pipeline.approvals.waivers import Grant
    from pipeline.files import read_bounded
    from pipeline.run_directory import RunDirectory
    from pipeline.waive import draft_waiver, grant_waiver, keep_waiver
    from pipeline.workplace import open_workplace

    about = (RunDirectory(arguments.run), arguments.candidate, open_workplace(arguments.site))
    if arguments.bundle is not None:
        return _granted(keep_waiver(*about, read_bounded(arguments.bundle)), arguments, output)
    required(arguments, "expires")
    words = {name.replace("-", "_"): required(arguments, name) for name in _WORDS}
    grant = Grant(**words, expires=arguments.expires)
    if arguments.unsigned is not None:
        return drafted(draft_waiver(*about, grant), arguments, output)
    with opened_key(arguments.key) as key:
        return _granted(grant_waiver(*about, grant, key), arguments, output)


def _granted(waiver: Waiver, arguments: argparse.Namespace, output: Output) -> ExitCode:
    document = {"candidate": arguments.candidate, "rule": waiver.rule, "waiver": waiver.digest}
    text = f"'{waiver.rule}' is waived for {arguments.candidate} until {waiver.until:%Y-%m-%d %H:%M %Z}.\n"
    output.result(document, text + "Have the gate decide anew with 'airlock gate'; earlier approvals are void then.")
    return ExitCode.YES
