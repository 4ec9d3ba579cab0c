"""Settings that make a loader run code, or read what is not in the checkpoint, at any depth of any JSON file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding

_MOST_FINDINGS = 50  # a file

_RUNS_CODE: Mapping[str, str] = {
    "auto_map": "names Python classes that a loader would import from the checkpoint or from a hub",
    "trust_remote_code": "asks the loader to run code that comes with the checkpoint",
    "custom_pipelines": "names Python classes that a loader would import as pipelines",
    "custom_generate": "names Python code that a loader would run to generate",
    "remote_code": "asks the loader to run code that comes with the checkpoint",
}
_HOOKS: Mapping[str, str] = {
    "_attn_implementation_internal": "sets an internal switch of the loader that chooses code to run",
    "_experts_implementation_internal": "sets an internal switch of the loader that chooses code to run",
    "use_kernels": "asks the loader to fetch compiled kernels from a hub",
}
_CHOSEN_IMPLEMENTATIONS = frozenset({"_attn_implementation", "attn_implementation", "_experts_implementation"})
_LOADED_NAMES = frozenset({"base_model_name_or_path", "draft_model", "assistant_model", "tokenizer_name_or_path"})
_PROSE_TEXT = """
    chat_template added_tokens_decoder added_tokens additional_special_tokens extra_special_tokens special_tokens
    id2label label2id license license_link licence weight_map suppress_tokens bad_words_ids task_specific_params
"""
_PROSE = frozenset(_PROSE_TEXT.split())
_OUTSIDE = re.compile(r"(/[^/\s]|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\|\.\.(/|\\|$)|file:)|.*[/\\]\.\.([/\\]|$)", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
# `repository--module.Class`: the form in which a hub's code is named.
_HUB_CLASS = re.compile(r"[\w.-]+/[\w.-]+--[\w.]+")


@dataclass(frozen=True)
class _Place:
    """A value in a document: its key, where it lies, and whether what is around it is prose."""

    key: str
    outer: _Place | None
    prose: bool

    @property
    def path(self) -> str:
        """The keys down to here, as far as a reader wants them."""
        keys: list[str] = []
        place: _Place | None = self
        while place is not None and place.outer is not None:
            keys.append(place.key[:60])
            place = place.outer
        return ".".join(reversed(keys))


def inspect_settings(name: str, document: Any) -> Iterator[Finding]:
    """What the settings in the file `name` would make a loader do that nothing here may do."""
    yield from itertools.islice(_found(name, document), _MOST_FINDINGS)


def _found(name: str, document: Any) -> Iterator[Finding]:
    for place, value in _walk(document):
        found = _code(name, place, value)
        if found is None and not place.prose:
            found = _outside(name, place, value)
        if found is not None:
            yield found


def _walk(document: Any) -> Iterator[tuple[_Place, Any]]:
    """Every value with its place.  A value in a list goes by the key of the list."""
    pending: list[tuple[_Place, Any]] = [(_Place("", None, False), document)]
    while pending:
        place, value = pending.pop()
        yield place, value
        if isinstance(value, dict):
            for key, inner in value.items():
                prose = place.prose or key in _PROSE or key.endswith("_token")
                pending.append((_Place(key, place, prose), inner))
        elif isinstance(value, list):
            pending.extend((place, inner) for inner in value)


def _code(name: str, place: _Place, value: Any) -> Finding | None:
    """The finding for a setting that makes a loader run code."""
    key = place.key
    if key in _RUNS_CODE and value not in (None, False, {}, [], ""):
        return finding("checkpoint.remote-code", name, f"'{place.path}' {_RUNS_CODE[key]}.")
    if key in _HOOKS and value not in (None, False):
        return finding("checkpoint.code-hook", name, f"'{place.path}' {_HOOKS[key]}.")
    if key in _CHOSEN_IMPLEMENTATIONS and isinstance(value, str) and not value.isidentifier():
        return finding("checkpoint.code-hook", name, f"'{place.path}' names code to be fetched: {value[:100]!r}.")
    if isinstance(value, str) and _HUB_CLASS.fullmatch(value):
        return finding("checkpoint.remote-code", name, f"'{place.path}' names a class on a hub: {value[:100]!r}.")
    return None


def _outside(name: str, place: _Place, value: Any) -> Finding | None:
    """The finding for a setting that makes a loader read what is not in the checkpoint."""
    if not isinstance(value, str):
        return None
    path = place.path
    speculator = place.key == "name_or_path" and path.startswith("speculators_config.")  # vLLM serves what it names
    if (place.key in _LOADED_NAMES or speculator) and value:
        message = f"'{path}' makes a loader fetch another model: {value[:100]!r}."
        return finding("checkpoint.remote-reference", name, message)
    if _ADDRESS.match(value):
        return finding("checkpoint.remote-reference", name, f"'{path}' holds an address: {value[:100]!r}.")
    if _OUTSIDE.match(value):
        return finding("checkpoint.external-path", name, f"'{path}' names a place outside: {value[:100]!r}.")
    return None
