"""The card of a release: candidates side by side, and nothing that their own cards do not say."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.card.build import build_card
from pipeline.card.release import build_release_card, comparisons, release_html, release_markdown
from pipeline.card.sources import CardSources
from pipeline.digests import digest_of
from pipeline.errors import RequestError
from tests.pipeline.card.test_html import Page


@pytest.fixture
def cards(promoted: CardSources, denied: CardSources, stopped: CardSources) -> list[dict[str, Any]]:
    return [build_card(sources) for sources in (stopped, promoted, denied)]


def test_candidates_are_named_with_the_digest_of_their_card(cards: list[dict[str, Any]]) -> None:
    document = build_release_card(cards)
    assert [one["name"] for one in document["candidates"]] == ["135m", "135m-pruned", "135m-tampered"]
    assert {one["card"] for one in document["candidates"]} == {digest_of(card) for card in cards}


def test_a_rule_is_compared_across_candidates(cards: list[dict[str, Any]]) -> None:
    (rule,) = [row for row in comparisons(build_release_card(cards)) if row.id == "capability.arc-easy"]
    assert [cell.outcome if cell else None for cell in rule.cells] == ["pass", "fail", "missing"]
    assert [cell.value.text if cell and cell.value else None for cell in rule.cells] == ["54.0 %", "26.1 %", None]
    assert rule.limit == "at least 45 %"
    assert len(rule.rows) == 2


def test_a_rule_that_a_candidate_was_not_judged_by_is_left_open(cards: list[dict[str, Any]]) -> None:
    document = build_release_card(cards)
    (rule,) = [row for row in comparisons(document) if row.id == "evidence.in-time"]
    assert [cell.outcome if cell else None for cell in rule.cells] == ["pass", "pass", None]
    assert b"not judged" in release_html(document)


def test_the_page_is_self_contained_and_links_to_the_cards(cards: list[dict[str, Any]]) -> None:
    document = build_release_card(cards)
    page = Page(release_html(document, {"135m": "135m/card.html"}))
    assert "135m/card.html" in page.links()
    assert not page.names & {"script", "link", "img"}
    assert {"main", "h1", "footer"} <= page.names


def test_the_markdown_table_has_a_column_a_candidate(cards: list[dict[str, Any]]) -> None:
    text = release_markdown(build_release_card(cards)).decode()
    header = next(line for line in text.splitlines() if line.startswith("| Rule |"))
    assert header == "| Rule | Limit | 135m | 135m-pruned | 135m-tampered |"
    assert "**Promoted to staging**" in text and "**Stopped at the signature**" in text


def test_cards_of_two_releases_make_none(cards: list[dict[str, Any]]) -> None:
    other = {**cards[0], "release": {**cards[0]["release"], "name": "other"}}
    with pytest.raises(RequestError, match="2 releases"):
        build_release_card([*cards, other])
    with pytest.raises(RequestError, match="0 releases"):
        build_release_card([])
