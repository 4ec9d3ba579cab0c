"""The chat templates of a checkpoint: where they are."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.tree import Tree

TEMPLATE_LIMIT = 1024 * 1024  # bytes


def find_templates(tree: Tree, configuration: Configuration) -> Mapping[str, str]:
    """Every chat template by the place it was found in: files first, then tokenizer_config.json."""
    templates: dict[str, str] = {}
    for file in tree.files:
        if file.name == "chat_template.jinja" or file.name.startswith("additional_chat_templates/"):
            templates[file.name] = file.head(TEMPLATE_LIMIT).decode("utf-8", "replace")
    inside = configuration.tokenizer.get("chat_template")
    if isinstance(inside, str):
        templates["tokenizer_config.json"] = inside
    for item in inside if isinstance(inside, list) else ():
        if isinstance(item, dict) and isinstance(item.get("template"), str):
            templates[f"tokenizer_config.json#{item.get('name')}"] = item["template"]
    return templates
