"""The licence that a checkpoint comes under, as its files and its card say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from pipeline.checkpoint.card import Card
from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.tree import Tree

_LICENCE_LIMIT = 256 * 1024  # bytes

# The identifiers that model cards use, in lower case, to SPDX; those of a publisher's own get a LicenseRef.
SPDX: Mapping[str, str] = MappingProxyType(
    {
        "apache-2.0": "Apache-2.0",
        "mit": "MIT",
        "bsd": "BSD-3-Clause",
        "bsd-2-clause": "BSD-2-Clause",
        "bsd-3-clause": "BSD-3-Clause",
        "bsd-3-clause-clear": "BSD-3-Clause-Clear",
        "cc0-1.0": "CC0-1.0",
        "cc-by-4.0": "CC-BY-4.0",
        "cc-by-sa-4.0": "CC-BY-SA-4.0",
        "cc-by-nc-4.0": "CC-BY-NC-4.0",
        "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
        "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0",
        "gpl-2.0": "GPL-2.0-only",
        "gpl-3.0": "GPL-3.0-only",
        "lgpl-3.0": "LGPL-3.0-only",
        "agpl-3.0": "AGPL-3.0-only",
        "mpl-2.0": "MPL-2.0",
        "unlicense": "Unlicense",
        "wtfpl": "WTFPL",
        "isc": "ISC",
        "artistic-2.0": "Artistic-2.0",
        "eupl-1.2": "EUPL-1.2",
        "openmdw-1.0": "LicenseRef-OpenMDW-1.0",
        "openmdw-1.1": "LicenseRef-OpenMDW-1.1",
        **{name: f"LicenseRef-{name}" for name in ("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4")},
        **{name: f"LicenseRef-{name}" for name in ("gemma", "deepseek", "grok2-community", "openrail", "openrail++")},
        **{
            name: f"LicenseRef-{name}"
            for name in ("bigscience-openrail-m", "bigscience-bloom-rail-1.0", "bigcode-openrail-m")
        },
        **{
            name: f"LicenseRef-{name}"
            for name in ("creativeml-openrail-m", "apple-amlr", "apple-ascl", "intel-research")
        },
    }
)
# Phrases that occur in one licence's own text, the most telling first.
_PHRASES: tuple[tuple[str, str], ...] = (
    (r"apache license\s+version 2\.0", "Apache-2.0"),
    (r"gnu affero general public license\s+version 3", "AGPL-3.0-only"),
    (r"gnu lesser general public license\s+version 3", "LGPL-3.0-only"),
    (r"gnu general public license\s+version 3", "GPL-3.0-only"),
    (r"gnu general public license\s+version 2", "GPL-2.0-only"),
    (r"mozilla public license,? version 2\.0", "MPL-2.0"),
    (r"llama 3\.3 community license", "LicenseRef-llama3.3"),
    (r"llama 3\.2 community license", "LicenseRef-llama3.2"),
    (r"llama 3\.1 community license", "LicenseRef-llama3.1"),
    (r"llama 4 community license", "LicenseRef-llama4"),
    (r"meta llama 3 community license", "LicenseRef-llama3"),
    (r"llama 2 community license", "LicenseRef-llama2"),
    (r"gemma terms of use", "LicenseRef-gemma"),
    (r"tongyi qianwen|qwen (research )?license agreement", "LicenseRef-qwen"),
    (r"deepseek license agreement", "LicenseRef-deepseek"),
    (r"creative commons attribution-noncommercial 4\.0", "CC-BY-NC-4.0"),
    (r"creative commons attribution-sharealike 4\.0", "CC-BY-SA-4.0"),
    (r"creative commons attribution 4\.0", "CC-BY-4.0"),
    (r"neither the name of .{0,120} nor the names of its contributors", "BSD-3-Clause"),
    (r"redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"),
)


def inspect_licence(tree: Tree, card: Card) -> tuple[str | None, tuple[Finding, ...]]:
    """The SPDX identifier of the licence, and what is doubtful about it.

    The card's front matter and the licence file each name one; where only one does, that one counts.
    """
    named, written = licence_of_card(card), licence_of_files(tree)
    findings: list[Finding] = []
    if named is None and written is None:
        findings.append(finding("checkpoint.licence-missing", None, "Neither the card nor a file names a licence."))
    if named is not None and written is not None and named != written:
        message = f"The card names {named}; the licence file reads as {written}."
        findings.append(finding("checkpoint.licence-conflict", "README.md", message))
    licence = named or written
    if licence is not None and licence.startswith("LicenseRef-"):
        message = f"{licence} is no licence of the SPDX list: its terms are the publisher's own."
        findings.append(finding("checkpoint.licence-unknown", None, message))
    return licence, tuple(findings)


def licence_of_card(card: Card) -> str | None:
    """The SPDX identifier of the licence that the front matter names; 'other' comes with a name of its own."""
    named = card.metadata.get("license")
    if isinstance(named, list):
        named = named[0] if len(named) == 1 else None
    if isinstance(named, str) and named.strip().lower() == "other":
        named = card.metadata.get("license_name")
    return spdx_of(named) if isinstance(named, str) and named.strip() else None


def spdx_of(name: str) -> str:
    """`name` as an SPDX identifier; a name that SPDX does not know becomes a LicenseRef."""
    if name.startswith("LicenseRef-"):
        return name
    known = SPDX.get(name.strip().lower())
    return known or "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name.strip())[:60].strip("-")


def licence_of_files(tree: Tree) -> str | None:
    """The licence whose own words are in a LICENSE file at the top level."""
    for file in tree.files:
        stem = file.name.lower().split(".")[0]
        if "/" in file.name or not stem.startswith(("license", "licence", "copying")):
            continue
        text = " ".join(file.head(_LICENCE_LIMIT).decode("utf-8", "replace").lower().split())
        for phrase, identifier in _PHRASES:
            if re.search(phrase, text):
                return identifier
    return None
