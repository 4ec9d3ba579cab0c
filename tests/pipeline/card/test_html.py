"""The HTML card: one file, nothing from outside, every number anchored, hostile text inert."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from pipeline.card.build import build_card
from pipeline.card.html import to_html
from pipeline.card.sources import CardSources
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import Laboratory

_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags with their attributes, ids and links of a page; raises ValueError where tags do not nest."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self._open.pop() != tag:
            raise ValueError(f"</{tag}> does not close the innermost tag")

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]


@pytest.fixture(params=["promoted", "denied", "stopped"])
def page(request: pytest.FixtureRequest) -> Page:
    return Page(to_html(build_card(request.getfixturevalue(request.param))))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    assert not page.names & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    for _, attributes in page.tags:
        assert not {"src", "style", "srcset", "xlink:href"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert all(link.startswith("#") for link in page.links())


def test_each_link_leads_somewhere_on_the_page(page: Page) -> None:
    assert {link[1:] for link in page.links()} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_has_landmarks_and_table_headers(page: Page) -> None:
    assert {"main", "nav", "header", "footer", "h1"} <= page.names
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


def test_the_policy_allows_this_style_alone(promoted: CardSources) -> None:
    text = to_html(build_card(promoted)).decode()
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text.replace("&#39;", "'")
    assert "url(" not in style[1] and "@import" not in style[1]


def test_each_measured_number_links_to_its_evidence(promoted: CardSources) -> None:
    card = build_card(promoted)
    text = to_html(card).decode()
    for check in card["measurements"]:
        anchor = f'href="#e-{check["evidence"][7:23]}"'
        assert text.count(anchor) >= 2 * len(check["metrics"])
    assert 'title="exactly 0.5403508771929825">54.0 %</a>' in text


def test_plots_show_interval_limit_and_distribution(promoted: CardSources) -> None:
    text = to_html(build_card(promoted)).decode()
    assert text.count('class="bar-plot"') >= 7
    assert "acc: 54.0 %, interval 50.5 % to 57.5 %, the policy demands at least 45 %, a guesser gets 25.0 %" in text
    assert text.count('class="histogram"') == 1
    assert "Distribution of 160 values from" in text


def test_a_hostile_answer_stays_text(lab: Laboratory) -> None:
    hostile = "</blockquote><script>alert(1)</script><img src=x onerror=alert(1)>\u202egnp\x00 {{ 7 * 7 }}"
    text = to_html(build_card(candidates.promoted(lab, response=hostile)))
    page = Page(text)
    assert not page.names & {"script", "img"}
    assert "\u202e".encode() not in text
    assert b"\x00" not in text
    assert b"{{ 7 * 7 }}" in text


def test_the_same_card_gives_the_same_bytes(promoted: CardSources) -> None:
    card = build_card(promoted)
    assert to_html(card) == to_html(card)


def test_the_verdict_is_said_in_words(promoted: CardSources, denied: CardSources, stopped: CardSources) -> None:
    said = [to_html(build_card(sources)).decode() for sources in (promoted, denied, stopped)]
    assert "<strong>Promoted to staging</strong>" in said[0]
    assert "<strong>Denied</strong>" in said[1]
    assert "<strong>Stopped at the signature</strong>" in said[2]
    assert "model.safetensors: its digest is not the signed one" in said[2]
