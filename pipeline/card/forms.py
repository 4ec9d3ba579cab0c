"""The forms of a card: each is rendered from the canonical JSON alone, and the same card gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.card.cyclonedx import to_cyclonedx
from pipeline.card.html import to_html
from pipeline.card.markdown import to_markdown
from pipeline.card.spdx import to_spdx

FORMS: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "card.md": to_markdown,
    "card.html": to_html,
    "card.cdx.json": to_cyclonedx,
    "card.spdx.json": to_spdx,
}
"""File name -> how the card is rendered into it."""
