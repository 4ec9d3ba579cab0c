"""Card files on disk: the forms of a card written beside it, and compared with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.card.html import to_html
from pipeline.card.markdown import to_markdown
from pipeline.card.schema import parse_card
from pipeline.card.sources import CardSources
from pipeline.card.verify import verify_card
from pipeline.files import read_bounded, write_atomic

CARD_LIMIT = 64 * 1024 * 1024  # bytes of a card in any form

FORMS: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "card.md": to_markdown,
    "card.html": to_html,
}
"""File name -> how the canonical card is rendered into it."""


def render_files(card: Path, directory: Path) -> tuple[Path, ...]:
    """Write every form of the canonical card in the file `card` into `directory`, and return their paths.

    Raises:
        RequestError: the card cannot be read.
        FileFormatError: it is no card.
        StorageError: the disk failed; each file is whole or not there.
    """
    value = parse_card(read_bounded(card, limit=CARD_LIMIT), card)
    for name, render in FORMS.items():
        write_atomic(directory / name, render(value))
    return tuple(directory / name for name in FORMS)


def verify_files(card: Path, sources: CardSources) -> list[str]:
    """What is wrong with the card in the file `card` and with its forms in the same folder; nothing for true ones.

    Raises:
        RequestError: the card cannot be read.
        EvidenceError: the evidence itself does not hold together.
    """
    beside = {name: card.with_name(name) for name in FORMS}
    forms = {name: read_bounded(path, limit=CARD_LIMIT) for name, path in beside.items() if path.exists()}
    return verify_card(
        read_bounded(card, limit=CARD_LIMIT), sources, markdown=forms.get("card.md"), html=forms.get("card.html")
    )


def card_in(folder: Path) -> dict[str, Any]:
    """The card in `folder`/card.json.  Raises RequestError or FileFormatError."""
    path = folder / "card.json"
    return parse_card(read_bounded(path, limit=CARD_LIMIT), path)
