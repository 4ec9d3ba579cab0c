"""Files that people write (YAML, TOML) to validated values, with errors that name the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import FileFormatError
from pipeline.files import read_bounded


class Document(BaseModel):
    """Base of every value read from a file: frozen, strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


DocumentT = TypeVar("DocumentT", bound=BaseModel)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases (they can expand without bound) and without repeated keys (the last would win)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(None, None, f"key '{key}' is not text", key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(None, None, f"key '{key}' appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(data: bytes, path: Path) -> dict[str, Any]:
    """The mapping in the YAML `data`; `path` is for the messages.

    Raises:
        FileFormatError: no UTF-8, malformed, repeated keys, aliases, or something other than a mapping.
    """
    try:
        value = yaml.load(data.decode("utf-8"), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FileFormatError(
            f"cannot read {path}", why=f"It is not valid YAML: {_one_line(error)}.", remedy="Correct the named line."
        ) from error
    if not isinstance(value, dict):
        raise FileFormatError(
            f"cannot read {path}",
            why="It holds no mapping of keys to values.",
            remedy="Start it with 'apiVersion: airlock/v1' and 'kind: ...'.",
        )
    return value


def parse_toml(data: bytes, path: Path) -> dict[str, Any]:
    """The table in the TOML `data`; `path` is for the messages.  Raises FileFormatError."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(
            f"cannot read {path}", why=f"It is not valid TOML: {_one_line(error)}.", remedy="Correct the named line."
        ) from error


def validate(model: type[DocumentT], value: object, path: Path) -> DocumentT:
    """`value` as a `model`; `path` is for the messages.

    Raises:
        FileFormatError: a key is unknown, missing or of the wrong kind; every problem is listed.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(_problem(item) for item in error.errors(include_url=False, include_context=False))
        raise FileFormatError(
            f"{path} is not acceptable", why=f"{problems}.", remedy="Correct the keys named above."
        ) from error


def load_yaml(model: type[DocumentT], path: Path) -> DocumentT:
    """Read, parse and validate the YAML file `path`.  Raises RequestError or its FileFormatError."""
    return validate(model, parse_yaml(read_bounded(path), path), path)


def load_toml(model: type[DocumentT], path: Path) -> DocumentT:
    """Read, parse and validate the TOML file `path`.  Raises RequestError or its FileFormatError."""
    return validate(model, parse_toml(read_bounded(path), path), path)


def _problem(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        return f"'{place}' is not a known key"
    if item["type"] == "missing":
        return f"'{place}' is missing"
    return f"'{place}': {item['msg']}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
