"""The JSON files beside the weights: what they ask a loader to do, and what they say of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.settings import inspect_settings
from pipeline.checkpoint.strict_json import SIZE_LIMIT, parse_json
from pipeline.checkpoint.tree import File, Tree
from pipeline.errors import FileFormatError

_DATA_FILES = frozenset({"tokenizer.json", "tekken.json", "vocab.json", "merges.json"})  # read in `tokenizer`

_TEMPLATE_FILES = ("chat_template.json", "processor_config.json", "tokenizer_config.json")  # the first one is used


@dataclass(frozen=True)
class Configuration:
    """config.json and its neighbours.  `model` is config.json, `text` the part about the language model in it.

    `templates` holds the value of `chat_template` in each file that has one.
    """

    model: Mapping[str, Any]
    generation: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    findings: tuple[Finding, ...]
    templates: Mapping[str, Any] = field(default_factory=dict)

    def special_token(self, name: str) -> str | None:
        """The text of the special token `name`: written as text, or as an object with its text in `content`."""
        value = self.tokenizer.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        return value if isinstance(value, str) else None

    @property
    def text(self) -> Mapping[str, Any]:
        """The language model's settings: `text_config` in a model of several modalities, else all of config.json."""
        for key in ("text_config", "llm_config", "language_config", "thinker_config"):
            inner = self.model.get(key)
            if isinstance(inner, dict):
                return inner
        return self.model

    def number(self, *names: str) -> int | None:
        """The first of `names` that the language model's settings hold as a positive integer."""
        values = (self.text.get(name, self.model.get(name)) for name in names)
        return next((value for value in values if type(value) is int and value > 0), None)


def read_configuration(tree: Tree) -> Configuration:
    """Read every JSON file but the tokenizer's data and the indexes.  Raises StorageError when the disk fails."""
    documents: dict[str, Any] = {}
    findings: list[Finding] = []
    for file in tree.named(".json"):
        if file.path.name in _DATA_FILES or file.name.endswith(".safetensors.index.json"):
            continue
        try:
            documents[file.name] = _load(file)
        except FileFormatError as error:
            findings.append(finding("checkpoint.json", file.name, f"It is not acceptable JSON: {error.why}"))
            continue
        findings.extend(inspect_settings(file.name, documents[file.name]))
    if tree.get("config.json") is None:
        findings.append(finding("checkpoint.config-missing", None, "There is no config.json."))
    elif not isinstance(documents.get("config.json", {}), dict):
        findings.append(finding("checkpoint.config", "config.json", "It holds no JSON object."))
    read = Configuration(
        model=_object(documents, "config.json"),
        generation=_object(documents, "generation_config.json"),
        tokenizer=_object(documents, "tokenizer_config.json"),
        findings=tuple(findings),
        templates={name: template for name in _TEMPLATE_FILES if (template := _template(documents.get(name)))},
    )
    return replace(read, findings=(*findings, *_check_numbers(read)))


def _template(document: Any) -> Any:
    return document.get("chat_template") if isinstance(document, dict) else None


def _load(file: File) -> Any:
    return parse_json(file.head(SIZE_LIMIT + 1), file.name)


def _object(documents: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = documents.get(name)
    return value if isinstance(value, dict) else {}


_COUNTS_TEXT = """
    vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
    max_position_embeddings num_experts num_local_experts n_routed_experts num_experts_per_tok sliding_window n_layer
    n_head n_embd
"""
_COUNTS = frozenset(_COUNTS_TEXT.split())


def _check_numbers(configuration: Configuration) -> Iterator[Finding]:
    """Counts that a loader computes with must be whole numbers of a credible size."""
    for name in sorted(_COUNTS):
        value = configuration.text.get(name)
        if value is not None and not (type(value) is int and 0 <= value < 2**31):
            yield finding("checkpoint.config", "config.json", f"'{name}' is {str(value)[:80]!r}, not a credible count.")
    names = configuration.model.get("architectures")
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        yield finding("checkpoint.architecture", "config.json", "'architectures' names no model class.")
