"""`airlock doctor`: can this machine and this site do the work?"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.doctor import Diagnosis

HELP = "say whether this machine can do the work"

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: none but the common ones."""


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Run the command.  Exit code 4 means that something must be mended first; drawbacks alone do not."""
    from pipeline.doctor import diagnose

    diagnoses = diagnose(arguments.site)
    ready = not any(diagnosis.status == "fail" for diagnosis in diagnoses)
    output.result({"ready": ready, "checks": [asdict(diagnosis) for diagnosis in diagnoses]}, _text(diagnoses, ready))
    return ExitCode.YES if ready else ExitCode.SYSTEM_FAILURE


def _text(diagnoses: tuple[Diagnosis, ...], ready: bool) -> str:
    width = max(len(diagnosis.id) for diagnosis in diagnoses)
    lines = []
    for diagnosis in diagnoses:
        lines.append(f"{_MARKS[diagnosis.status]}  {diagnosis.id:<{width}}  {diagnosis.found}")
        if diagnosis.remedy:
            lines.append(f"      {'':<{width}}  -> {diagnosis.remedy}")
    lines.append("Ready." if ready else "Not ready: mend what failed.")
    return "\n".join(lines)
