"""`airlock evidence list|show`: what is known of a checkpoint, and what one signed statement says."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from pipeline.evidence.statement import Statement
    from pipeline.evidence.store import EvidenceStore
    from pipeline.measurement import Sample

_REDACTED = "(redacted; --reveal shows it)"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list every statement about a checkpoint")
    listed.add_argument("digest", metavar="CHECKPOINT", help="the checkpoint's digest, sha256:...")
    show = actions.add_parser("show", help="print one statement, its signature checked")
    show.add_argument("digest", metavar="STATEMENT", help="the statement's digest, sha256:...")
    show.add_argument("--samples", type=int, default=0, metavar="N", help="of a measurement: its first N samples too")
    show.add_argument("--reveal", action="store_true", help="print samples that are marked as sensitive")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Do what `action` says."""
    from pipeline.digests import parse_digest
    from pipeline.evidence.store import EvidenceStore
    from pipeline.site import load_site

    site = load_site(arguments.site)
    store = EvidenceStore(site.store.path / "evidence", site.pipeline_keys())
    digest = parse_digest(arguments.digest)
    if arguments.action == "list":
        _list(store.statements(digest), output)
    else:
        _show(store, store.statement(digest), arguments, output)
    return ExitCode.YES


def _list(statements: Iterable[Statement], output: Output) -> None:
    rows = [(one.digest, one.predicate_type, str(one.predicate.get("check", ""))) for one in statements]
    document = {"statements": [{"digest": row[0], "type": row[1], "check": row[2] or None} for row in rows]}
    output.result(
        document, "\n".join("  ".join(row).rstrip() for row in rows) or "Nothing is known of this checkpoint."
    )


def _show(store: EvidenceStore, statement: Statement, arguments: argparse.Namespace, output: Output) -> None:
    from pipeline.evidence.statement import MEASUREMENT_TYPE

    document: dict[str, Any] = {
        "digest": statement.digest,
        "type": statement.predicate_type,
        "subject": statement.subject,
        "name": statement.subject_name,
        "signed_by": statement.signed_by,
        "predicate": dict(statement.predicate),
    }
    lines = [f"{key:10} {document[key]}" for key in ("digest", "type", "subject", "name", "signed_by")]
    if statement.predicate_type == MEASUREMENT_TYPE:
        measurement = store.measurement(statement.digest)
        lines += [f"{'check':10} {measurement.check} version {measurement.version}, seed {measurement.seed}"]
        lines += [f"{'measured':10} {measurement.started:%Y-%m-%d %H:%M:%S} to {measurement.finished:%H:%M:%S} UTC"]
        lines += [
            f"{'metric':10} {metric.name}: {metric.kind} on {len(metric.values)} items, {metric.invalid} invalid"
            for metric in measurement.metrics
        ]
        samples = [
            _sample(sample, reveal=arguments.reveal)
            for sample in islice(store.samples(measurement.samples), arguments.samples)
        ]
        document["samples"] = samples
        lines += [f"{'sample':10} {one['id']}: {one['outcome']}: {one['response']}" for one in samples]
    else:
        lines += [f"{key:10} {value}" for key, value in statement.predicate.items()]
    output.result(document, "\n".join(lines))


def _sample(sample: Sample, *, reveal: bool) -> dict[str, Any]:
    hidden = sample.sensitive and not reveal
    return {
        "id": sample.id,
        "prompt": _REDACTED if hidden else sample.prompt,
        "response": _REDACTED if hidden else sample.response,
        "outcome": sample.outcome,
        "valid": sample.valid,
    }
