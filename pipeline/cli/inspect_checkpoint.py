"""`airlock inspect DIR`: look for what is unsafe or wrong in a checkpoint, without loading it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.checkpoint.inspected import Finding, Inspection

HELP = "look for what is unsafe or wrong in a checkpoint, without loading it"

_ORDER = ("deny", "block", "warn", "info")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, metavar="DIR", help="the directory with config.json and the weights")
    parser.add_argument("--baseline", type=Path, metavar="DIR", help="a checkpoint whose chat template to compare with")
    parser.add_argument("--deep", action="store_true", help="read the values of the tensors as well")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Inspect, print, and say DENIED when a finding makes the checkpoint unsafe to load."""
    from pipeline.checkpoint import inspect_directory, predecessor_in

    predecessor = None if arguments.baseline is None else predecessor_in(arguments.baseline)
    inspection = inspect_directory(arguments.checkpoint, deep=arguments.deep, predecessor=predecessor)
    output.result(as_document(inspection), as_text(inspection))
    return ExitCode.DENIED if inspection.denied else ExitCode.YES


def as_document(inspection: Inspection) -> dict[str, Any]:
    """The inspection as JSON: the facts under `checkpoint`, then the findings, the gravest first."""
    from dataclasses import asdict

    facts = asdict(inspection)
    findings = [asdict(found) for found in _sorted(inspection)]
    facts.pop("findings")
    return {"checkpoint": facts, "findings": findings}


def as_text(inspection: Inspection) -> str:
    """The inspection for people."""
    lines = [f"{name:<15} {value}" for name, value in _facts(inspection)]
    for found in _sorted(inspection):
        lines += ["", f"{found.severity}: {found.id} in {found.file or 'the checkpoint'}"]
        lines += [f"  {found.message}", f"  remedy: {found.remedy}"]
    denied = len(inspection.denied)
    lines += [
        "",
        f"DENIED: {denied} finding(s) make it unsafe to load." if denied else "Nothing makes it unsafe to load.",
    ]
    return "\n".join(lines)


def _facts(inspection: Inspection) -> list[tuple[str, object]]:
    parameters = inspection.parameters
    facts: list[tuple[str, object]] = [
        ("architecture", inspection.architecture or "unknown"),
        ("licence", inspection.licence or "not stated"),
        ("layers", inspection.layers or "unknown"),
        ("context", f"{inspection.context_length} tokens" if inspection.context_length else "unknown"),
        ("vocabulary", inspection.vocabulary or "unknown"),
        ("chat template", "present" if inspection.chat_template else "none"),
    ]
    if parameters is not None:
        kinds = ", ".join(f"{count:,} {dtype}" for dtype, count in sorted(parameters.by_dtype.items()))
        facts.append(("parameters", f"{parameters.total:,} ({kinds})"))
        facts.append(("active", f"{parameters.active:,} a token, {parameters.embedding:,} of them in embeddings"))
    return facts


def _sorted(inspection: Inspection) -> list[Finding]:
    return sorted(inspection.findings, key=lambda found: _ORDER.index(found.severity))
