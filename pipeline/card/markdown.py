"""The card as Markdown with the front matter that model hubs read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from pipeline.card import view, words
from pipeline.card.licences import hub_id
from pipeline.card.templates import MarkdownText, render_markdown
from pipeline.digests import digest_of

_LANGUAGE = re.compile(r"[a-z]{2,3}")
_REPOSITORY = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


def to_markdown(card: Mapping[str, Any]) -> bytes:
    """The Markdown of `card` in UTF-8; the same card gives the same bytes.  Supplied text is escaped throughout."""
    text = render_markdown(
        "card.md.j2",
        front_matter=MarkdownText(
            f"---\n{yaml.safe_dump(front_matter(card), sort_keys=False, allow_unicode=False)}---"
        ),
        card=card,
        card_digest=digest_of(card),
        banner=view.banner(card),
        rules=view.rule_rows(card),
        reasons=view.reasons(card),
        conditions=list(view.conditions(card)),
        signer=view.signer_of(card),
        problems=view.problems(card),
        identity=view.identity_label(card),
        ref=_references(card),
    )
    return re.sub(r"\n{3,}", "\n\n", text).encode()


def front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    """Licence, languages, base model, tags and results (`model-index`), as far as they are known."""
    claims = card["claims"]
    languages = [code for code in claims.get("languages", ()) if _LANGUAGE.fullmatch(code)]
    base = claims.get("base_model")
    matter: dict[str, Any] = {**_licence(view.licence_of(card))}
    if languages:
        matter["language"] = languages
    if base and _REPOSITORY.fullmatch(base):
        matter["base_model"] = base
    emergency = ["airlock-emergency"] if card["promotion"] and card["promotion"]["emergency"] else []
    matter["tags"] = ["airlock", f"airlock-{card['outcome']}", *emergency]
    results = list(_results(card))
    if results:
        matter["model-index"] = [{"name": words.visible(card["candidate"]["name"]), "results": results}]
    return matter


def _licence(licence: str | None) -> dict[str, str]:
    if licence is None:
        return {}
    known = hub_id(licence)
    if known is not None:
        return {"license": known}
    return {"license": "other", "license_name": words.visible(licence)[:200]}


def _results(card: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One result a check; a value is the measured one, and its interval stands in the text."""
    for check in card["measurements"]:
        measured = [metric for metric in check["metrics"] if metric["figure"] is not None]
        if not measured:
            continue
        data = check["data"][0]["name"] if check["data"] else check["check"]
        yield {
            "task": {"type": "text-generation"},
            "dataset": {"name": words.visible(data), "type": re.sub(r"[^\w.-]+", "-", data)[:96] or "data"},
            "metrics": [
                {"type": metric["name"], "name": words.visible(metric["name"]), "value": metric["figure"]["value"]}
                for metric in measured
            ],
            "source": {"name": f"evidence {check['evidence']}", "url": f"urn:{check['evidence']}"},
        }


def _references(card: Mapping[str, Any]) -> Callable[[str | None], MarkdownText]:
    """digest -> the number of its row in the evidence table, in brackets."""
    rows = {record["digest"]: number for number, record in enumerate(card["evidence"], 1)}
    return lambda digest: MarkdownText(f"\\[{rows[digest]}\\]" if digest in rows else "")
