"""Cards on disk: a candidate's card in every form, a release's card, and the comparison with the evidence.

FOLDER/card.json         the canonical card; everything else is rendered from it
FOLDER/card.md           Markdown with the front matter that model hubs read
FOLDER/card.html         one page for people
FOLDER/card.cdx.json     CycloneDX 1.6
FOLDER/card.spdx.json    SPDX 3.0.1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.card.forms import FORMS
from pipeline.card.release import build_release_card, release_html, release_markdown
from pipeline.card.schema import parse_card
from pipeline.card.sources import CardSources
from pipeline.card.verify import verify_card
from pipeline.digests import canonical_json
from pipeline.files import read_bounded, write_atomic

CARD_LIMIT = 64 * 1024 * 1024  # bytes of a card in any form


def read_card(path: Path) -> dict[str, Any]:
    """The canonical card in the file `path`.

    Raises:
        RequestError: it cannot be read.
        FileFormatError: it is no card.
    """
    return parse_card(read_bounded(path, limit=CARD_LIMIT), path)


def write_card_files(card: Mapping[str, Any], directory: Path) -> tuple[Path, ...]:
    """Write `card` and every form of it into `directory`; the canonical card comes first in the result.

    Raises:
        StorageError: the disk failed; each file is whole or as it was.
    """
    write_atomic(directory / "card.json", canonical_json(card))
    for name, render in FORMS.items():
        write_atomic(directory / name, render(card))
    return (directory / "card.json", *(directory / name for name in FORMS))


def verify_card_files(card: Path, sources: CardSources) -> list[str]:
    """What is wrong with the card in the file `card` and with its forms in the same folder; nothing for true ones.

    Raises:
        RequestError: the card cannot be read.
        EvidenceError: the evidence itself does not hold together.
    """
    beside = {name: card.with_name(name) for name in FORMS}
    forms = {name: read_bounded(path, limit=CARD_LIMIT) for name, path in beside.items() if path.exists()}
    return verify_card(read_bounded(card, limit=CARD_LIMIT), sources, forms)


def write_release_files(cards: Sequence[Mapping[str, Any]], directory: Path) -> tuple[Path, ...]:
    """Write the release card of `cards` into `directory` (release.json, release.md, release.html).

    Its page links to CANDIDATE/card.html, where that is.

    Raises:
        RequestError: there are no cards, or they are of several releases.
        StorageError: the disk failed; each file is whole or as it was.
    """
    document = build_release_card(cards)
    names = [str(candidate["name"]) for candidate in document["candidates"]]
    pages = {name: f"{name}/card.html" for name in names if (directory / name / "card.html").is_file()}
    forms = {
        "release.json": canonical_json(document),
        "release.md": release_markdown(document),
        "release.html": release_html(document, pages),
    }
    for name, data in forms.items():
        write_atomic(directory / name, data)
    return tuple(directory / name for name in forms)
