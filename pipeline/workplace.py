"""What every command opens first: the site, its keys, its evidence store and its audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.audit import AuditLog
from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey, load_signing_key
from pipeline.site import Site, load_site


@dataclass(frozen=True)
class Workplace:
    """A site with its pipeline key, its evidence store and its audit log open."""

    site: Site
    key: SigningKey
    store: EvidenceStore
    log: AuditLog


def open_workplace(path: Path) -> Workplace:
    """Open the site in the file `path`.

    Raises:
        RequestError: the site file or the pipeline's key is missing or malformed.
    """
    site = load_site(path)
    trusted = site.pipeline_keys()
    store = EvidenceStore(site.store.path / "evidence", trusted)
    return Workplace(site, load_signing_key(site.pipeline.key), store, AuditLog(site.store.path / "audit", trusted))
