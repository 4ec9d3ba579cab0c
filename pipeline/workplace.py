"""What every command opens first: the site, its keys and its stores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.evidence.store import EvidenceStore
from pipeline.keys import SigningKey, load_signing_key, load_verifying_key
from pipeline.site import Site, load_site


@dataclass(frozen=True)
class Workplace:
    """A site with its pipeline key and its evidence store open."""

    site: Site
    key: SigningKey
    store: EvidenceStore


def open_workplace(path: Path) -> Workplace:
    """Open the site in the file `path`.

    Raises:
        RequestError: the site file or the pipeline's key is missing or malformed.
    """
    site = load_site(path)
    key = load_signing_key(site.pipeline.key)
    earlier = [load_verifying_key(path) for path in site.pipeline.public_keys]
    return Workplace(site, key, EvidenceStore(site.store.path / "evidence", [key.verifying_key, *earlier]))
