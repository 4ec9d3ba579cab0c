"""The chat templates of a checkpoint: where they are, and what they do besides framing what is said."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence

from pipeline.checkpoint.catalogue import finding
from pipeline.checkpoint.configuration import Configuration
from pipeline.checkpoint.inspected import Finding
from pipeline.checkpoint.template_verdict import judge_template
from pipeline.checkpoint.tree import File, Tree

TEMPLATE_LIMIT = 256 * 1024  # bytes; published templates are below 40 kB
_MOST_TEMPLATES = 8
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def find_templates(tree: Tree, configuration: Configuration) -> Mapping[str, str]:
    """Every chat template by the place it was found in, the one that would be used first.

    A file chat_template.jinja goes before chat_template.json, and both before tokenizer_config.json.
    """
    templates: dict[str, str] = {}
    for file in tree.files:
        if file.name == "chat_template.jinja" or _is_additional(file):
            templates[file.name] = file.head(TEMPLATE_LIMIT + 1).decode("utf-8", "replace")
    for name, value in configuration.templates.items():
        if isinstance(value, str):
            templates[name] = value
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict) and isinstance(item.get("template"), str):
                templates[f"{name}#{item.get('name')}"] = item["template"]
    return templates


def _is_additional(file: File) -> bool:
    return file.name.startswith("additional_chat_templates/") and file.suffix == ".jinja"


def inspect_templates(templates: Mapping[str, str], configuration: Configuration) -> Iterator[Finding]:
    """What the templates do that none should.  Each is parsed and rendered in a child process of its own."""
    tokens = {name: text for name in _TOKENS if (text := configuration.special_token(name)) is not None}
    if len(templates) > _MOST_TEMPLATES:
        message = f"There are {len(templates)} chat templates; at most {_MOST_TEMPLATES} can be examined."
        yield finding("checkpoint.template-unchecked", None, message)
    for name, value in configuration.templates.items():
        if not isinstance(value, str | list):
            yield finding("checkpoint.chat-template", name, "chat_template is neither a text nor a list of templates.")
    if conflict := _conflict(templates):
        yield conflict
    seen: set[str] = set()
    for name, source in list(templates.items())[:_MOST_TEMPLATES]:
        if source in seen:
            continue
        seen.add(source)
        file = name.split("#")[0]
        if len(source.encode("utf-8", "replace")) > TEMPLATE_LIMIT:
            yield finding("checkpoint.template-size", file, f"The chat template is larger than {TEMPLATE_LIMIT} bytes.")
        else:
            yield from judge_template(file, source, tokens)


def _conflict(templates: Mapping[str, str]) -> Finding | None:
    """Two templates for one purpose: which one is used would depend on the loader."""
    plain = {name: source for name, source in templates.items() if "/" not in name and "#" not in name}
    if len(set(plain.values())) < 2:
        return None
    message = f"{' and '.join(sorted(plain))} hold different chat templates."
    return finding("checkpoint.template-conflict", next(iter(plain)), message)


def template_digest(templates: Mapping[str, str]) -> str | None:
    """The digest of the template that would be used, for comparing releases."""
    source = next(iter(templates.values()), None)
    return None if source is None else "sha256:" + hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()


def compare_templates(
    templates: Mapping[str, str], digest: str | None, baseline: Mapping[str, str] | None
) -> tuple[Finding, ...]:
    """A finding when the template is not the baseline's, whose template has this `digest`.

    With the `baseline`'s templates it says what differs, in a form that people can read.
    """
    if template_digest(templates) == digest:
        return ()
    message = "The chat template is not the baseline's."
    if baseline is None:
        message += "  The baseline's files are not in the store any more, so that the difference cannot be shown."
    else:
        message += "\n" + difference(next(iter(baseline.values()), ""), next(iter(templates.values()), ""))
    return (finding("checkpoint.template-changed", next(iter(templates), None), message),)


def difference(old: str, new: str) -> str:
    """A unified difference of two templates, a statement a line, so that one long line can be read as well."""
    lines = difflib.unified_diff(_statements(old), _statements(new), "baseline", "candidate", lineterm="", n=1)
    shown = [line[:300] for line in lines]
    return "\n".join([*shown[:200], *([f"... and {len(shown) - 200} lines more"] if len(shown) > 200 else [])])


def _statements(source: str) -> Sequence[str]:
    for end in ("%}", "}}", "#}"):
        source = source.replace(end, end + "\n")
    return [line for line in source.splitlines() if line.strip()]
