"""What a chat template's source asks for, read from its syntax tree; nothing is rendered here.

Runs in the child process of `template_child`, because parsing hostile source can itself take long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import Environment, TemplateSyntaxError, nodes

from pipeline.checkpoint.template_conditions import read_conditions, reads_parts

_MOST_CONSTANTS = 150  # a published template has fewer than 100
_LONGEST_CONSTANT = 200  # characters; a trigger is a word or a phrase
_FUNCTIONS = frozenset("range dict namespace joiner cycler raise_exception strftime_now caller super loop self".split())  # noqa: SIM905  # reads as the list it is
_DUNDER = re.compile(r"__\w+__")
# Attributes by which Python objects lead to their frames, code and modules.
_INNER = frozenset(
    {
        "mro",
        "gi_frame",
        "gi_code",
        "cr_frame",
        "cr_code",
        "ag_frame",
        "f_globals",
        "f_builtins",
        "tb_frame",
        "func_globals",
    }
)
# Characters that a reader does not see: zero widths, direction marks, tags (which spell ASCII invisibly).
HIDDEN = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]")


@dataclass(frozen=True)
class Syntax:
    """What the source says: its text constants, and problems as (kind, line, detail); `error` if it is no template.

    `parts` says that it reads messages in parts (text, images) as well as in one piece.
    """

    constants: tuple[str, ...]
    problems: tuple[tuple[str, int, str], ...]
    error: str | None = None
    parts: bool = False


def read_syntax(environment: Environment, source: str) -> Syntax:
    """Parse `source` and look for what no chat template needs."""
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        return Syntax((), (), f"line {error.lineno}: {error.message}")
    except RecursionError:
        return Syntax((), (), "it is nested too deeply")
    problems = [problem for check in (_escapes, _files, _calls) for problem in check(tree)]
    hidden = HIDDEN.search(source)
    if hidden is not None:
        line = source.count("\n", 0, hidden.start()) + 1
        problems.append(("hidden-text", line, f"the invisible character U+{ord(hidden.group()):04X}"))
    problems.extend(("condition", line, nature) for line, nature in read_conditions(tree))
    return Syntax(tuple(_constants(tree)), tuple(problems), parts=reads_parts(tree))


def _escapes(tree: nodes.Template) -> Iterator[tuple[str, int, str]]:
    """Access to the inside of Python objects."""
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Const)):
        name = _accessed(node)
        if name is None:
            continue
        if name.startswith("_") or name in _INNER or _DUNDER.search(name):
            yield "escape", node.lineno, f"access to {name[:60]!r}"
    for node in tree.find_all(nodes.Filter):
        if node.name == "attr" and not (node.args and isinstance(node.args[0], nodes.Const)):
            yield "escape", node.lineno, "access to an attribute whose name is computed"


def _accessed(node: nodes.Node) -> str | None:
    """The name of an attribute that `node` reads, or a constant that holds a name of Python's inside."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem):
        node = node.arg
    elif isinstance(node, nodes.Filter):
        if node.name != "attr" or not node.args:
            return None
        node = node.args[0]
    elif isinstance(node, nodes.Const) and isinstance(node.value, str) and not _DUNDER.search(node.value):
        return None
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None


def _files(tree: nodes.Template) -> Iterator[tuple[str, int, str]]:
    """Statements that read other templates, which are files."""
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        yield "file", node.lineno, f"the statement '{type(node).__name__.lower()}'"


def _calls(tree: nodes.Template) -> Iterator[tuple[str, int, str]]:
    """Calls of functions that a chat template is not given."""
    defined = {node.name for node in tree.find_all(nodes.Macro)}
    defined |= {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    for node in tree.find_all(nodes.Call):
        if isinstance(node.node, nodes.Name) and node.node.name not in defined | _FUNCTIONS:
            yield "call", node.lineno, f"a call of '{node.node.name[:60]}'"


def _constants(tree: nodes.Template) -> list[str]:
    """The texts in the template's expressions, joined ones included: whatever a condition could compare with."""
    found: dict[str, None] = {}
    for node in tree.find_all(nodes.Expr):
        if isinstance(node, nodes.TemplateData):
            continue
        try:
            value = node.as_const()
        except nodes.Impossible:
            continue
        for text in value if isinstance(value, list | tuple | dict) else [value]:
            if isinstance(text, str) and len(text.strip()) >= 2 and len(text) <= _LONGEST_CONSTANT:
                found[text.strip()] = None
    return list(found)[:_MOST_CONSTANTS]
