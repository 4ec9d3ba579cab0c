"""The licence that a checkpoint comes under, as its files and its card say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipeline.checkpoint.tree import Tree
from pipeline.documents import parse_yaml
from pipeline.errors import FileFormatError

_CARD_LIMIT = 1024 * 1024  # bytes
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
        "openmdw-1.0": "OpenMDW-1.0",
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


def detect_licence(tree: Tree) -> str | None:
    """The SPDX identifier that the card's front matter names, or else that the licence file's text is known by."""
    named = card_metadata(tree).get("license")
    if isinstance(named, list):
        named = named[0] if len(named) == 1 else None
    if isinstance(named, str) and named.lower() != "other":
        return spdx_of(named)
    return licence_of_files(tree)


def spdx_of(name: str) -> str:
    """`name` as an SPDX identifier; a name that SPDX does not know becomes a LicenseRef."""
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


def card_metadata(tree: Tree) -> Mapping[str, Any]:
    """The front matter of README.md, where suppliers describe a model.  Empty where there is none, or a broken one."""
    card = tree.get("README.md")
    if card is None:
        return {}
    parts = re.match(rb"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", card.head(_CARD_LIMIT), re.DOTALL)
    if parts is None:
        return {}
    try:
        return parse_yaml(parts.group(1), card.path)
    except FileFormatError:
        return {}
