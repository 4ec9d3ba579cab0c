"""`airlock plan RELEASE`: say how each candidate would be served on what the site has."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.planning import ServingPlan

HELP = "say how each candidate would be served"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("release", type=Path, metavar="RELEASE", help="the release file")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Plan every candidate from its headers and configuration.  Nothing is verified, loaded or started."""
    from checks import known_checks
    from pipeline.checkpoint import inspect_directory
    from pipeline.planning import plan
    from pipeline.release import load_release
    from pipeline.site import load_site

    release, site = load_release(arguments.release), load_site(arguments.site)
    plans: dict[str, ServingPlan] = {}
    denied: dict[str, tuple[str, ...]] = {}
    for candidate in release.candidates:
        inspection = inspect_directory(candidate.checkpoint)
        plans[candidate.name] = plan(inspection, candidate.serving, site.accelerators)
        denied[candidate.name] = tuple(sorted({found.id for found in inspection.denied}))
    requests = {check.name: check.units for check in known_checks(site.data.roots)}
    lines = [*(_text(name, plans[name], denied[name]) for name in plans), _to_measure(requests)]
    output.result({**_document(plans, denied), "at_most_requests": requests}, "\n\n".join(lines))
    if any(denied.values()):
        return ExitCode.DENIED
    return ExitCode.SYSTEM_FAILURE if any(made.obstacles for made in plans.values()) else ExitCode.YES


def _to_measure(requests: dict[str, int]) -> str:
    total = f"{sum(requests.values()):,} requests in {len(requests)} checks"
    return (
        f"to measure        at most {total} for each candidate: less what is measured already,\n"
        "                  and less what a policy with 'stopping: sequential' does not need"
    )


def _document(plans: dict[str, ServingPlan], denied: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"candidates": [{"name": name, **asdict(made), "denied": denied[name]} for name, made in plans.items()]}


def _text(name: str, made: ServingPlan, denied: tuple[str, ...]) -> str:
    where = f"{made.tensor_parallel} x {made.accelerator} on {made.nodes} node(s)" if made.accelerator else "CPU"
    lines = [
        f"{name}",
        f"  on              {where}",
        f"  tensor parallel {made.tensor_parallel}",
        f"  context         {made.max_model_len} tokens in {made.dtype}",
    ]
    if made.weight_bytes is not None:
        lines.append(f"  weights         {made.weight_bytes / 1e9:.3f} GB")
    if made.cache_bytes_per_token is not None:
        lines.append(f"  KV cache        {made.cache_bytes_per_token:,} bytes a token")
    if made.cache_tokens is not None:
        lines.append(f"  room for        {made.cache_tokens:,} tokens at once")
    lines += [f"  cannot work:    {obstacle}" for obstacle in made.obstacles]
    lines += [f"  inspection denies it: {identifier}" for identifier in denied]
    return "\n".join(lines)
