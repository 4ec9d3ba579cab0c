"""`airlock card render|verify`: write the model cards of a run, and compare them with the signed evidence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import Workplace


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    render = actions.add_parser("render", help="write every form of the cards of a run, or of one card file")
    where = render.add_mutually_exclusive_group(required=True)
    where.add_argument("run", type=Path, nargs="?", metavar="RUN", help="the folder that 'airlock run' wrote")
    where.add_argument("--card", type=Path, metavar="FILE", help="a card.json; needs no site and no evidence")
    render.add_argument("--candidate", metavar="C", help="this candidate only")
    render.add_argument("--to", type=Path, metavar="DIR", help="with --card: where the files go; beside it by default")
    verify = actions.add_parser("verify", help="recompute every number of the cards of a run from signed evidence")
    verify.add_argument("run", type=Path, metavar="RUN", help="the folder that 'airlock run' wrote")
    verify.add_argument("--candidate", metavar="C", help="this candidate only")
    verify.add_argument("--card", type=Path, metavar="FILE", help="a copy of its card.json; needs --candidate")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Do what was asked for."""
    if arguments.action == "verify":
        return _verify(arguments, output)
    return _render_file(arguments, output) if arguments.card else _render_run(arguments, output)


def _render_file(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.card.files import read_card, write_card_files

    written = write_card_files(read_card(arguments.card), arguments.to or arguments.card.parent)
    return _print_paths(written, output)


def _render_run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.card.build import build_card
    from pipeline.card.files import read_card, write_card_files, write_release_files
    from pipeline.run_cards import card_sources

    run, workplace = _open(arguments)
    written: list[Path] = []
    for name in _chosen(arguments, run):
        written += write_card_files(build_card(card_sources(run, name, workplace)), run.folder(name))
    paths = [run.folder(name) / "card.json" for name in run.candidates()]
    written += write_release_files([read_card(path) for path in paths if path.exists()], run.root)
    return _print_paths(written, output)


def _verify(arguments: argparse.Namespace, output: Output) -> ExitCode:
    from pipeline.card.files import verify_card_files
    from pipeline.errors import RequestError
    from pipeline.run_cards import card_sources

    if arguments.card and not arguments.candidate:
        raise RequestError(
            "--card needs --candidate",
            why="A card file by itself does not say which candidate's evidence it must agree with.",
            remedy="Name the candidate with --candidate.",
        )
    run, workplace = _open(arguments)
    checked = []
    for name in _chosen(arguments, run):
        path = arguments.card or run.folder(name) / "card.json"
        checked.append((name, path, verify_card_files(path, card_sources(run, name, workplace))))
    verified = not any(problems for _, _, problems in checked)
    cards = [
        {"candidate": name, "card": str(path), "verified": not problems, "problems": problems}
        for name, path, problems in checked
    ]
    output.result({"verified": verified, "cards": cards}, "\n".join(_said(name, found) for name, _, found in checked))
    return ExitCode.YES if verified else ExitCode.DENIED


def _said(name: str, problems: Sequence[str]) -> str:
    if not problems:
        return f"{name}: every value on the card is what the signed evidence gives."
    return "\n".join([f"{name}: the card is NOT what the signed evidence gives.", *(f"  {line}" for line in problems)])


def _open(arguments: argparse.Namespace) -> tuple[RunDirectory, Workplace]:
    from pipeline.run_directory import RunDirectory
    from pipeline.workplace import open_workplace

    run = RunDirectory(arguments.run)
    run.run()
    return run, open_workplace(arguments.site)


def _chosen(arguments: argparse.Namespace, run: RunDirectory) -> tuple[str, ...]:
    """The candidates that were asked for; at least one.  Raises RequestError when the run has none."""
    from pipeline.errors import RequestError

    names = (arguments.candidate,) if arguments.candidate else run.candidates()
    if not names:
        raise RequestError(
            f"{run.root} has no candidate with a card",
            why="No candidate of this run has come far enough.",
            remedy="Run 'airlock run' with this folder first.",
        )
    return names


def _print_paths(paths: Sequence[Path], output: Output) -> ExitCode:
    output.result({"written": [str(path) for path in paths]}, "\n".join(str(path) for path in paths))
    return ExitCode.YES
