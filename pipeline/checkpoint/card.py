"""The supplier's model card: the front matter of README.md.  All of it is the supplier's word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.tree import Tree
from pipeline.documents import parse_yaml
from pipeline.errors import FileFormatError

_FRONT_MATTER_LIMIT = 64 * 1024  # bytes
_PROVENANCE = ("base_model", "base_model_relation", "model_creator", "author", "datasets", "language", "pipeline_tag")
_MOST_ITEMS = 20
_LONGEST_TEXT = 200  # characters


@dataclass(frozen=True)
class Card:
    """What the front matter says."""

    metadata: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the supplier says the model comes from; text and lists of text only, within bounds."""
        kept = {name: _text_or_texts(self.metadata.get(name)) for name in _PROVENANCE}
        return {name: value for name, value in kept.items() if value}


def read_card(tree: Tree) -> Card:
    """Read the front matter; a card without one says nothing.  Raises StorageError when the disk fails."""
    file = tree.get("README.md")
    if file is None:
        return Card({})
    head = file.head(_FRONT_MATTER_LIMIT)
    if not re.match(rb"---[ \t]*\r?\n", head):
        return Card({})
    parts = re.match(rb"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", head, re.DOTALL)
    if parts is None:
        message = f"Its front matter does not end within {_FRONT_MATTER_LIMIT} bytes."
        return Card({}, (finding("checkpoint.card", file.name, message),))
    try:
        return Card(parse_yaml(parts.group(1), file.path))
    except FileFormatError as error:
        return Card({}, (finding("checkpoint.card", file.name, f"Its front matter cannot be read: {error.why}"),))


def _text_or_texts(value: object) -> str | list[str] | None:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, list):
        return [item[:_LONGEST_TEXT] for item in value[:_MOST_ITEMS] if isinstance(item, str)]
    return None
