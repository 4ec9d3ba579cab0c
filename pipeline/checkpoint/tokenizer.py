"""The tokenizer and the chat template, and whether they belong to the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.strict_json import parse_object
from pipeline.checkpoint.tree import Tree
from pipeline.errors import FileFormatError

_TOKENIZER_LIMIT = 64 * 1024 * 1024  # bytes
_FILES = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model")


@dataclass(frozen=True)
class Tokenizer:
    """What is known of the tokenizer: its tokens with their ids, as far as it comes as tokenizer.json."""

    present: bool
    tokens: Mapping[str, int]
    findings: tuple[Finding, ...]


def read_tokenizer(tree: Tree) -> Tokenizer:
    """Find the tokenizer and read its vocabulary.  Raises StorageError when the disk fails."""
    if not any(tree.get(name) for name in _FILES) and not tree.named(".tiktoken"):
        return Tokenizer(False, {}, (finding("checkpoint.tokenizer-missing", None, "There is no tokenizer."),))
    file = tree.get("tokenizer.json")
    if file is None:
        return Tokenizer(True, {}, ())
    try:
        document = parse_object(
            file.head(_TOKENIZER_LIMIT + 1), file.name, size_limit=_TOKENIZER_LIMIT, containers=2_000_000
        )
        return Tokenizer(True, _tokens(document), ())
    except FileFormatError as error:
        return Tokenizer(True, {}, (finding("checkpoint.tokenizer", file.name, f"It cannot be read: {error.why}"),))


def _tokens(document: Mapping[str, Any]) -> dict[str, int]:
    """The vocabulary of the model and the added tokens; a unigram vocabulary is a list of token and score."""
    model = document.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    tokens: dict[str, int] = {}
    if isinstance(vocabulary, dict):
        tokens = {token: number for token, number in vocabulary.items() if type(number) is int}
    elif isinstance(vocabulary, list):
        tokens = {str(piece[0]): place for place, piece in enumerate(vocabulary) if isinstance(piece, list) and piece}
    added = document.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and type(token.get("id")) is int:
            tokens[str(token.get("content"))] = token["id"]
    return tokens


def inspect_tokenizer(tokenizer: Tokenizer, configuration: Configuration, rows: int | None) -> Iterator[Finding]:
    """Whether tokenizer, configuration and an embedding of `rows` belong together."""
    yield from tokenizer.findings
    if not tokenizer.tokens:
        return
    largest = max(tokenizer.tokens.values())
    if rows is not None and largest >= rows:
        message = f"The tokenizer has token number {largest}; the embedding has {rows} rows."
        yield finding("checkpoint.tokenizer-vocabulary", "tokenizer.json", message)
    numbers = frozenset(tokenizer.tokens.values())
    ends = _numbers(configuration.generation.get("eos_token_id")) or _numbers(configuration.text.get("eos_token_id"))
    if not ends:
        message = "Neither generation_config.json nor config.json names an end of sequence: answers might never end."
        yield finding("checkpoint.end-of-sequence", "config.json", message)
    for end in sorted(set(ends) - numbers):
        yield finding("checkpoint.end-of-sequence", "config.json", f"The tokenizer has no token number {end}.")
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = configuration.special_token(name)
        if token is not None and token not in tokenizer.tokens:
            message = f"{name} is {token[:60]!r}, which the tokenizer does not have."
            yield finding("checkpoint.special-token", "tokenizer_config.json", message)


def _numbers(value: object) -> list[int]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if type(item) is int]
