"""Which architectures the installed vLLM serves, read from its source without importing it (which takes seconds)."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.inspected import Finding
from pipeline.errors import RequestError
from pipeline.files import read_bounded

_GENERATING = ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS")


@functools.cache  # what is installed does not change while a command runs
def served_architectures() -> frozenset[str] | None:
    """The architectures that generate text under the installed vLLM; None where vLLM, or its list, is not to be had."""
    specification = importlib.util.find_spec("vllm")
    if specification is None or not specification.submodule_search_locations:
        return None
    registry = Path(specification.submodule_search_locations[0]) / "model_executor" / "models" / "registry.py"
    try:
        tree = ast.parse(read_bounded(registry))
    except (RequestError, SyntaxError):
        return None
    tables = _tables(tree)
    names = frozenset(name for table in _GENERATING for name in tables.get(table, ()))
    return names or None


def _tables(tree: ast.Module) -> Mapping[str, tuple[str, ...]]:
    """The text keys of each dictionary that the module assigns at its top level."""
    found: dict[str, tuple[str, ...]] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        texts = (key.value for key in node.value.keys if isinstance(key, ast.Constant))
        keys = tuple(text for text in texts if isinstance(text, str))
        found.update({target.id: keys for target in targets if isinstance(target, ast.Name)})
    return found


def inspect_architecture(name: str | None, served: frozenset[str] | None) -> tuple[Finding, ...]:
    """Whether the architecture `name` can be served; `served` is what `served_architectures` gave."""
    if name is None:
        return ()
    if served is None:
        message = "vLLM is not installed here, so it is not known whether it serves this architecture."
        return (finding("checkpoint.architecture-unchecked", "config.json", message),)
    if name not in served:
        message = f"The installed vLLM has no model {name[:100]!r}; it would refuse it, or fall back to slower code."
        return (finding("checkpoint.architecture-unknown", "config.json", message),)
    return ()
