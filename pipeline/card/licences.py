"""Licence names to the identifiers that other formats know."""

from __future__ import annotations

_SPDX = (
    "AGPL-3.0-only",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "GPL-2.0-only",
    "GPL-3.0-only",
    "ISC",
    "LGPL-3.0-only",
    "MIT",
    "MPL-2.0",
    "Unlicense",
)
_HUB_ALONE = frozenset(
    {"bigscience-openrail-m", "creativeml-openrail-m", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3"}
    | {"openrail"}
)
_TO_SPDX = {name.lower().removesuffix("-only"): name for name in _SPDX} | {name.lower(): name for name in _SPDX}


def spdx_id(licence: str) -> str | None:
    """The SPDX identifier of `licence`, however it is capitalised; None for a licence that is not known here."""
    return _TO_SPDX.get(licence.strip().lower())


def hub_id(licence: str) -> str | None:
    """The identifier that model hubs use in front matter; None for a licence that is not known here."""
    known = licence.strip().lower()
    if known in _HUB_ALONE:
        return known
    identifier = spdx_id(known)
    return identifier.lower().removesuffix("-only") if identifier else None
