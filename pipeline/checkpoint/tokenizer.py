"""The tokenizer and the chat template, and whether they belong to the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.json_members import members
from pipeline.checkpoint.strict_json import malformed, parse_json
from pipeline.checkpoint.tree import File, Tree
from pipeline.errors import FileFormatError

_TOKENIZER_LIMIT = 48 * 1024 * 1024  # bytes; the largest published, of 262,144 tokens, has 33 million
_VOCABULARY_LIMIT = 20 * 1024 * 1024  # bytes of the vocabulary alone
_MOST_CONTAINERS = 2_000_000  # the largest published has a third of them, for its merges
_MOST_TOKENS = 520_000  # values; 262,144 tokens as a mapping, or as a list of token and score
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
        return Tokenizer(True, _tokens(file), ())
    except FileFormatError as error:
        return Tokenizer(True, {}, (finding("checkpoint.tokenizer", file.name, f"It cannot be read: {error.why}"),))


def _tokens(file: File) -> dict[str, int]:
    """The vocabulary of the model and the added tokens; all else in the file is passed over without being kept."""
    if file.size > _TOKENIZER_LIMIT:
        raise malformed(file.name, f"It is larger than {_TOKENIZER_LIMIT} bytes.")
    data = file.head(_TOKENIZER_LIMIT)
    if data.count(b"[") + data.count(b"{") > _MOST_CONTAINERS:
        raise malformed(file.name, f"It has more than {_MOST_CONTAINERS} objects and arrays.")
    tokens: dict[str, int] = {}
    document = members(data, file.name)
    if "model" in document:
        start, end = document["model"]
        model = members(data, file.name, start, end)
        if "vocab" in model:
            tokens.update(_vocabulary(_value(data, model["vocab"], file.name)))
    for token in _list(_value(data, document["added_tokens"], file.name)) if "added_tokens" in document else ():
        if isinstance(token, dict) and type(token.get("id")) is int:
            tokens[str(token.get("content"))] = token["id"]
    return tokens


def _value(data: bytes, span: tuple[int, int], name: str) -> Any:
    return parse_json(data[slice(*span)], name, size_limit=_VOCABULARY_LIMIT, values=_MOST_TOKENS)


def _vocabulary(value: Any) -> dict[str, int]:
    """Tokens and their numbers; the vocabulary of a unigram model is a list of token and score."""
    if isinstance(value, dict):
        return {token: number for token, number in value.items() if type(number) is int}
    return {str(piece[0]): place for place, piece in enumerate(_list(value)) if isinstance(piece, list) and piece}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


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
    for end in sorted(set(ends) - numbers)[:3]:
        yield finding("checkpoint.end-of-sequence", "config.json", f"The tokenizer has no token number {end}.")
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        token = configuration.special_token(name)
        if token is not None and token not in tokenizer.tokens:
            message = f"{name} is {token[:60]!r}, which the tokenizer does not have."
            yield finding("checkpoint.special-token", "tokenizer_config.json", message)


def _numbers(value: object) -> list[int]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if type(item) is int]
