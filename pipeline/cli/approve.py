"""`airlock approve RUN --candidate C --role R --key K`: sign a decision as a person in a role.

Who signs keyless does it in two steps: `--unsigned FILE` writes the statement, their own Sigstore client signs it, and
`--bundle FILE` takes in what came of it.
"""

from __future__ import annotations

import argparse
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.opened_key import KEY_HELP, opened_key
from pipeline.cli.output import ExitCode, Output
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from pipeline.approvals.voice import Says
    from pipeline.sign_off import Signed


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_candidate_arguments(parser)
    parser.add_argument("--role", metavar="R", help="the role in which you sign")
    add_signature_arguments(parser)
    parser.add_argument("--comment", default="", metavar="TEXT", help="what you want to be remembered")
    parser.add_argument("--stage", metavar="S", help="approve for this stage only")
    parser.add_argument("--expires", type=moment, metavar="TIME", help="void from then on, such as 2027-01-31T12:00Z")
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--reject", action="store_true", help="sign that you object")
    words.add_argument("--withdraw", action="store_true", help="take back what you signed before")
    words.add_argument("--break-glass", action="store_true", help="sign for an emergency, against the gate, for hours")


def add_signature_arguments(parser: argparse.ArgumentParser) -> None:
    """How somebody signs: with a key, or in two steps with another tool."""
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--key", metavar="K", help=KEY_HELP)
    how.add_argument("--unsigned", type=Path, metavar="FILE", help="write the statement, to be signed keyless")
    how.add_argument("--bundle", type=Path, metavar="FILE", help="take in that statement's Sigstore bundle")


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


def coming(text: str) -> datetime:
    """A day, or a time with its zone; a day without a time begins at midnight in UTC.  Raises ValueError otherwise."""
    if len(text) == len("2027-01-31"):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    return moment(text)


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Sign, and print who is still missing."""
    from pipeline.files import read_bounded
    from pipeline.run_directory import RunDirectory
    from pipeline.sign_off import approve_candidate, draft_statement, keep_statement
    from pipeline.workplace import open_workplace

    about = (RunDirectory(arguments.run), arguments.candidate, open_workplace(arguments.site))
    if arguments.bundle is not None:
        return _said(keep_statement(*about, read_bounded(arguments.bundle)), arguments, output)
    words = {
        "role": required(arguments, "role"),
        "comment": arguments.comment,
        "stage": arguments.stage,
        "expires": arguments.expires,
        "says": _says(arguments),
    }
    if arguments.unsigned is not None:
        return drafted(draft_statement(*about, **words), arguments, output)
    with opened_key(arguments.key) as key:
        return _said(approve_candidate(*about, **words, key=key), arguments, output)


def required(arguments: argparse.Namespace, name: str) -> str:
    """The option `name`, which may only be left out with --bundle: what that says is signed.  Raises RequestError."""
    value: str | None = getattr(arguments, name.replace("-", "_"))
    if value is None:
        raise RequestError(
            f"--{name} is missing", why="It is part of what is signed.", remedy=f"Give --{name}; see --help."
        )
    return value


def drafted(statement: bytes, arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Write a statement that somebody will sign elsewhere, and say how to go on."""
    from pipeline.digests import sha256
    from pipeline.files import write_atomic

    write_atomic(arguments.unsigned, statement)
    document = {"candidate": arguments.candidate, "statement": str(arguments.unsigned), "digest": sha256(statement)}
    output.result(
        document,
        f"wrote {arguments.unsigned}; nothing is signed yet.\n"
        "Sign it as it is, as an in-toto statement in a DSSE envelope, with a client of the site's Sigstore instance; "
        "then run this command with --bundle.",
    )
    return ExitCode.YES


def _says(arguments: argparse.Namespace) -> Says:
    chosen: dict[Says, bool] = {
        "reject": arguments.reject,
        "withdraw": arguments.withdraw,
        "break-glass": arguments.break_glass,
    }
    return next((word for word, given in chosen.items() if given), "approve")


def _said(signed: Signed, arguments: argparse.Namespace, output: Output) -> ExitCode:
    document = {
        "candidate": arguments.candidate,
        "decision": signed.decision,
        "person": signed.person,
        "says": signed.says,
        "missing": list(signed.missing),
    }
    rest = "\n".join(signed.missing) or "Nobody is missing; it can be promoted."
    output.result(document, f"{signed.person} signed '{signed.says}' for {arguments.candidate}.\n{rest}")
    return ExitCode.YES
