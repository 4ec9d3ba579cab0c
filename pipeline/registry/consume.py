"""What consumers ask of the registry: what is there, which digest a stage holds, and the files themselves.

Every answer rests on the verified log and the signed record; tags and tables are not asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.audit import AuditLog
from pipeline.digests import Digest
from pipeline.errors import RegistryContentError, RequestError
from pipeline.files import storage_errors, sync_directory
from pipeline.manifest import Manifest
from pipeline.moment import present
from pipeline.registry.history import History, Placement
from pipeline.registry.interface import Registry
from pipeline.registry.model import read_model
from pipeline.registry.placing import current_history
from pipeline.registry.records import Promotion, read_promotion


@dataclass(frozen=True)
class Listed:
    """What a stage holds; `revoked` says why it must not be used, if it was revoked."""

    placement: Placement
    revoked: str | None


def listing(registry: Registry, log: AuditLog) -> tuple[Listed, ...]:
    """What every stage holds, by name and stage.  Raises EvidenceError when the log does not verify."""
    history = current_history(registry, log)
    return tuple(
        Listed(placed[-1], None if (gone := history.revocations.get(placed[-1].subject)) is None else gone.reason)
        for _, placed in sorted(history.placements.items())
    )


def resolve(registry: Registry, log: AuditLog, name: str, *, stage: str, at: datetime | None = None) -> Promotion:
    """The signed record of what `stage` holds of the model `name` (RELEASE/CANDIDATE, or RELEASE if it has one there).

    Raises:
        RequestError: the stage holds nothing of that name.
        RegistryContentError: it was revoked, was an emergency promotion that has ended, or the registry holds something
            other than the record says.
        EvidenceError: the log or the record does not verify.
        DeniedError: the clock was set back, by which what has ended would count again.
    """
    history = current_history(registry, log)
    placement = _find(history, name, stage)
    require_usable(history, placement.subject)
    record = checked_record(registry, log, placement)
    require_in_force(record, present(log.entries()) if at is None else at)
    checked_model(registry, record)
    return record


def find_promoted(
    registry: Registry, log: AuditLog, manifest: Digest, *, name: str, at: datetime | None = None
) -> Promotion:
    """The last record by which the model `name` with this manifest digest was put into any stage.

    Raises:
        RequestError: it never was.
        RegistryContentError, EvidenceError, DeniedError: as `resolve`.
    """
    history = current_history(registry, log)
    placed = [one for one in history.everything() if (one.name, one.manifest) == (name, manifest)]
    if not placed:
        raise RequestError(
            f"'{name}@{manifest}' was never promoted",
            why="No entry of the audit log names it, so nothing vouches for it.",
            remedy="Take a digest that 'airlock registry list' shows.",
        )
    latest = max(placed, key=lambda one: one.entry)
    require_usable(history, latest.subject)
    record = checked_record(registry, log, latest)
    require_in_force(record, present(log.entries()) if at is None else at)
    return record


def pull(registry: Registry, promotion: Promotion, destination: Path) -> Manifest:
    """Write the promoted model's files to the new folder `destination`: whole, re-hashed, read-only, or not at all.

    Raises:
        RequestError: `destination` exists.
        RegistryContentError: a file in the registry is missing or was edited.
        StorageError: the disk failed.
    """
    if os.path.lexists(destination):
        raise RequestError(
            f"cannot pull into {destination}",
            why="It exists already, and nothing is ever overwritten.",
            remedy="Name a new folder with --to.",
        )
    with registry.holding():
        manifest = checked_model(registry, promotion)
        with storage_errors(f"cannot write {destination}"):
            destination.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
        try:
            for entry in manifest.files:
                registry.fetch(entry, folder / entry.path)
            with storage_errors(f"cannot write {destination}"):
                for path in folder.rglob("*"):
                    path.chmod(0o755 if path.is_dir() else 0o444)
                folder.chmod(0o755)
                folder.rename(destination)
                sync_directory(destination.parent)
        except BaseException:  # also Ctrl-C: clean up, then let it go on
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return manifest


def checked_record(registry: Registry, log: AuditLog, placement: Placement) -> Promotion:
    """The signed record of `placement`, which must say what the log says.

    Raises:
        EvidenceError: its signature is not the pipeline's.
        RegistryContentError: it is missing, edited, or says something else.
    """
    record = read_promotion(registry.blob(placement.record), log.trusted)
    said = (record.name, record.stage, record.subject, record.manifest, record.revision, record.previous)
    logged = (
        placement.name,
        placement.stage,
        placement.subject,
        placement.manifest,
        placement.revision,
        placement.previous,
    )
    if said != logged:
        raise RegistryContentError(
            f"the record of '{placement.name}' in '{placement.stage}' contradicts the log",
            why=f"The log says {', '.join(map(str, logged))}; the record says {', '.join(map(str, said))}.",
            remedy="Find out what wrote the log entry; do not use this model until it is explained.",
            subject=placement.subject,
        )
    return record


def checked_model(registry: Registry, promotion: Promotion) -> Manifest:
    """The files of the promoted model.  Raises RegistryContentError when they are not those of its checkpoint."""
    manifest = read_model(registry.manifest(promotion.manifest))
    if manifest.digest != promotion.subject:
        raise RegistryContentError(
            f"'{promotion.name}' is not the checkpoint that was promoted",
            why=f"Its manifest lists the files of {manifest.digest}, not of {promotion.subject}.",
            remedy="Find out what wrote the record; do not use this model until it is explained.",
            subject=promotion.subject,
        )
    return manifest


def require_usable(history: History, subject: Digest) -> None:
    """Refuse a revoked checkpoint.  Raises RegistryContentError."""
    revocation = history.revocations.get(subject)
    if revocation is not None:
        raise RegistryContentError(
            f"{subject} was revoked",
            why=f"On {revocation.time:%Y-%m-%d}, because: {revocation.reason}",
            remedy="Use another model, or have the stage's owner roll back with 'airlock rollback'.",
            subject=subject,
        )


def require_in_force(record: Promotion, at: datetime) -> None:
    """Refuse an emergency promotion that has ended.  Raises RegistryContentError."""
    if record.expires is not None and record.expires <= at:
        raise RegistryContentError(
            f"the emergency promotion of '{record.name}' has ended",
            why=f"It was for '{record.stage}' until {record.expires:%Y-%m-%d %H:%M} UTC: {record.emergency}",
            remedy="Have the candidate decided and approved, or roll the stage back with 'airlock rollback'.",
            subject=record.subject,
        )


def _find(history: History, name: str, stage: str) -> Placement:
    exact = history.current(name, stage)
    if exact is not None:
        return exact
    placed = [place for place in sorted(history.placements) if place[1] == stage and place[0].startswith(f"{name}/")]
    if len(placed) == 1:
        return history.placements[placed[0]][-1]
    if placed:
        raise RequestError(
            f"'{name}' is ambiguous in '{stage}'",
            why=f"The stage holds {', '.join(place[0] for place in placed)}.",
            remedy="Name one of them.",
        )
    raise RequestError(
        f"nothing called '{name}' is in '{stage}'",
        why="No promotion of that name into that stage is in the audit log.",
        remedy="See 'airlock registry list' for what there is.",
    )
