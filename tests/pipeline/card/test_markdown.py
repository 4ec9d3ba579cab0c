"""The Markdown card: front matter that hubs read, and text of suppliers and models that stays text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.card.build import build_card
from pipeline.card.markdown import front_matter, to_markdown
from pipeline.card.sources import CardSources
from pipeline.card.templates import code, escape_markdown
from tests.pipeline.card import candidates
from tests.pipeline.card.candidates import Laboratory

HOSTILE = (
    "# Verdict\n\n**GO** <script>alert(1)</script> ![x](https://evil.example/p.png) [a](javascript:alert(1)) "
    "| a | b |\n---\n`code` https://evil.example www.evil.example evil.com a@evil.com $x$ &lt; \u202egnp.exe \x1b[31m"
)


def parts(text: str) -> list[str]:
    """The kinds of everything that a Markdown renderer finds in `text`, inside blocks too."""
    tokens = MarkdownIt("gfm-like", {"html": True}).parse(text)
    return [token.type for token in tokens] + [child.type for token in tokens for child in token.children or []]


def front(text: bytes) -> dict[str, Any]:
    _, matter, _ = text.decode().split("---\n", 2)
    value: dict[str, Any] = yaml.safe_load(matter)
    return value


def test_front_matter_is_what_hubs_read(promoted: CardSources) -> None:
    matter = front(to_markdown(build_card(promoted)))
    assert matter["license"] == "apache-2.0"
    assert (matter["language"], matter["base_model"]) == (["en"], "org/smol-135m")
    assert matter["tags"] == ["airlock", "airlock-promoted"]
    first = matter["model-index"][0]["results"][0]
    assert first["metrics"][0]["value"] == 308 / 570
    assert promoted.evidence.subject not in first["source"]["name"]


def test_a_hub_library_parses_it(promoted: CardSources) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard(to_markdown(build_card(promoted)).decode())
    data = dict(card.data.to_dict())  # type: ignore[no-untyped-call]
    assert data["model-index"][0]["name"] == "135m"
    assert data["model-index"][0]["results"][0]["metrics"][0]["type"] == "performance/arc_easy/acc"


def test_a_stopped_candidate_has_front_matter_without_results(stopped: CardSources) -> None:
    matter = front(to_markdown(build_card(stopped)))
    assert matter == {"tags": ["airlock", "airlock-stopped-at-signature"]}


def test_an_unknown_licence_is_other_with_its_name(lab: Laboratory) -> None:
    candidates.verification(lab, "odd")
    candidates.inspection(lab, "odd", licence="Acme: secret\nlicense: mit")
    card = build_card(candidates.sources(lab, candidates.decision(lab, "odd")))
    matter = front_matter(card)
    assert (matter["license"], matter["license_name"]) == ("other", "Acme: secret\nlicense: mit")
    assert front(to_markdown(card))["license"] == "other"


def test_claims_that_are_no_names_stay_out_of_the_front_matter(promoted: CardSources) -> None:
    card = build_card(replace(promoted, claims={"languages": ["en", "x\n---"], "base_model": "../../etc passwd"}))
    matter = front_matter(card)
    assert matter["language"] == ["en"]
    assert "base_model" not in matter


def test_a_hostile_answer_stays_text(lab: Laboratory) -> None:
    text = to_markdown(build_card(candidates.promoted(lab, response=HOSTILE))).decode()
    body = text.split("---\n", 2)[2]
    found = set(parts(body))
    assert not found & {"html_block", "html_inline", "image", "link_open", "hr"}
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "⟨U+202E⟩" in text


@settings(deadline=None)
@given(st.text())
def test_escaped_text_is_only_text(text: str) -> None:
    found = set(parts(f"- {escape_markdown(text)}"))
    allowed = {
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        "inline",
        "paragraph_close",
        "text",
        "text_special",
    }
    assert found <= allowed | {"list_item_close", "bullet_list_close"}


@settings(deadline=None)
@given(st.text(alphabet="#+-=*_`|<>[]()!~:/@.1a w\n&;\\"))
def test_escaped_markup_is_only_text_and_is_shown_whole(text: str) -> None:
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": True}).render(f"x {escape_markdown(text)}")
    assert not [tag for tag in ("<a ", "<em", "<strong", "<code", "<del", "<img", "<h1") if tag in rendered]


@settings(deadline=None)
@given(st.text(alphabet="`|a \n\\", max_size=12))
def test_code_spans_cannot_be_left(text: str) -> None:
    rendered = MarkdownIt("gfm-like").render(f"| h |\n|---|\n| {code(text)} |\n")
    assert rendered.count("<td") == 1


def test_the_same_card_gives_the_same_bytes(promoted: CardSources) -> None:
    card = build_card(promoted)
    assert to_markdown(card) == to_markdown(card)


@pytest.mark.parametrize(
    "words", ["Promoted to staging", "11 of 11 blocking rules", "Only a GO can be approved", "not inspected"]
)
def test_each_end_says_so_in_words(promoted: CardSources, stopped: CardSources, words: str) -> None:
    both = (to_markdown(build_card(promoted)) + to_markdown(build_card(stopped))).decode()
    assert words in both
