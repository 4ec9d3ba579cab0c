"""The card as one self-contained HTML page: no script, nothing loaded from anywhere, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.card import view
from pipeline.card.templates import render_html
from pipeline.digests import digest_of


def to_html(card: Mapping[str, Any]) -> bytes:
    """The page of `card` in UTF-8, under a content security policy that allows its own style and nothing else."""
    page = render_html(
        "card.html.j2",
        card=card,
        card_digest=digest_of(card),
        banner=view.banner(card),
        rules=view.rule_rows(card),
        reasons=view.reasons(card),
        conditions=list(view.conditions(card)),
        signer=view.signer_of(card),
        problems=view.problems(card),
        identity=view.identity_label(card),
    )
    return page.encode()
