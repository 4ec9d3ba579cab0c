"""Conditions in a chat template on what is said, or on the date, that trying words cannot exhaust.

A word that a condition looks for is in the source, so `template_cases` can say it.  A condition on single characters,
on a length, on a position or on a computed value has no such word: it is reported from the source alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

_KIND_TESTS = frozenset(
    {"string", "none", "defined", "undefined", "mapping", "iterable", "sequence", "true", "false", "boolean", "number"}
)
_WORD_METHODS = frozenset({"startswith", "endswith"})
_KEEPING_METHODS = frozenset({"strip", "lstrip", "rstrip", "lower", "upper", "title", "casefold", "split", "rsplit"})
_KEEPING_FILTERS = frozenset(
    {"trim", "lower", "upper", "string", "safe", "e", "escape", "default", "d", "first", "last"}
)
# Keys by which a message's parts (text, image, ...) tell what they are.
_STRUCTURE = frozenset(
    {"type", "role", "name", "image", "image_url", "video", "video_url", "audio", "audio_url", "text"}
)
_FLATTENING = frozenset({"tojson", "string", "map", "join", "items", "values", "dictsort", "pprint"})


def read_conditions(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """The line and the nature of every condition that cannot be tried out."""
    tainted = _tainted_names(tree)
    for test in _tests(tree):
        for node in _parts(test):
            nature = _nature(node, tainted)
            if nature is not None:
                yield node.lineno, nature


def reads_parts(tree: nodes.Template) -> bool:
    """Whether the template goes through the parts of a message, so that a server would give it messages in parts."""
    tainted = _tainted_names(tree)
    return any(_is_tainted(loop.iter, tainted) for loop in tree.find_all(nodes.For))


def _tests(tree: nodes.Template) -> Iterator[nodes.Node]:
    for branch in tree.find_all(nodes.If):
        yield branch.test
    for choice in tree.find_all(nodes.CondExpr):
        yield choice.test
    for loop in tree.find_all(nodes.For):
        if loop.test is not None:
            yield loop.test
    # What a condition computes can be stored first and asked for later.
    for assignment in tree.find_all(nodes.Assign):
        if isinstance(assignment.node, nodes.Compare | nodes.Test | nodes.And | nodes.Or | nodes.Not):
            yield assignment.node


def _parts(test: nodes.Node) -> Iterator[nodes.Node]:
    """The conditions that `test` joins with and, or, not."""
    if isinstance(test, nodes.And | nodes.Or):
        yield from _parts(test.left)
        yield from _parts(test.right)
    elif isinstance(test, nodes.Not):
        yield from _parts(test.node)
    else:
        yield test


def _nature(node: nodes.Node, tainted: frozenset[str]) -> str | None:
    """Why `node` cannot be tried out; None where it can, or where it does not ask about what is said."""
    if _asks_date(node, tainted) and not isinstance(node, nodes.Test):
        return "the date"
    if not _is_tainted(node, tainted):
        return None
    if isinstance(node, nodes.Test):
        return None if node.name in _KIND_TESTS else f"'{node.name}' of what is said"
    if isinstance(node, nodes.Compare):
        return _nature_of_comparison(node, tainted)
    return _nature_of_call(node, tainted)


def _nature_of_call(node: nodes.Node, tainted: frozenset[str]) -> str | None:
    if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Getattr):
        return None  # whether there is anything at all
    words = all(isinstance(argument, nodes.Const) for argument in node.args)
    if node.node.attr in _WORD_METHODS and words and _is_whole(node.node.node, tainted):
        return None
    return f"'{node.node.attr}' of what is said"


def _nature_of_comparison(node: nodes.Compare, tainted: frozenset[str]) -> str | None:
    sides = [node.expr, *(operand.expr for operand in node.ops)]
    constants = [side.value for side in sides if isinstance(side, nodes.Const)]
    if constants and all(constant in (0, 1) for constant in constants):
        return None  # whether there is anything at all
    if any(isinstance(constant, int | float) for constant in constants):
        return "a length or a number in what is said"
    if constants and all(constant in _STRUCTURE for constant in constants) and node.ops[0].op in ("in", "notin"):
        return None
    partial = any(_is_tainted(side, tainted) and not _is_whole(side, tainted) for side in sides)
    return "a part of what is said" if partial else None


def _is_whole(node: nodes.Node | None, tainted: frozenset[str]) -> bool:
    """Whether `node` is what is said, in whole, or a part of it that was cut at a word of the source."""
    if isinstance(node, nodes.Getattr):
        return node.attr in ("content", "text") or (
            _name_of(node) in tainted and f"part of {_name_of(node)}" not in tainted
        )
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return True
        return isinstance(node.node, nodes.Call) and _is_whole(node.node, tainted)  # what split() gave
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        return node.node.attr in _KEEPING_METHODS and _is_whole(node.node.node, tainted)
    if isinstance(node, nodes.Filter):
        return node.name in _KEEPING_FILTERS and _is_whole(node.node, tainted)
    return isinstance(node, nodes.Name) and f"part of {node.name}" not in tainted


def _is_tainted(node: nodes.Node, tainted: frozenset[str]) -> bool:
    """Whether `node` holds, or is computed from, what somebody says."""
    if _key(node) in ("type", "role", "name"):
        return False
    if isinstance(node, nodes.Getattr) and _name_of(node) in tainted:
        return True
    if _key(node) == "content":
        return True
    if isinstance(node, nodes.Name) and node.name in tainted:
        return True
    if _flattens_messages(node):
        return True
    return any(_is_tainted(child, tainted) for child in node.iter_child_nodes())


def _key(node: nodes.Node) -> object:
    """The attribute or the constant key that `node` reads; None where it reads none."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) else None


def _flattens_messages(node: nodes.Node) -> bool:
    """Whether `node` turns the messages, or one of them, into text or into a list of what is in them."""
    name: object = None
    if isinstance(node, nodes.Filter):
        name, inner = node.name, node.node
    elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        name, inner = node.node.attr, node.node.node
    if name not in _FLATTENING:
        return False
    if isinstance(inner, nodes.Getitem):
        inner = inner.node
    return isinstance(inner, nodes.Name) and inner.name in ("messages", "message", "msg", "m", "loop_messages")


def _asks_date(node: nodes.Node, tainted: frozenset[str]) -> bool:
    """Whether `node` is computed from the date."""
    names = {name.name for name in node.find_all(nodes.Name)} | ({node.name} if isinstance(node, nodes.Name) else set())
    return "strftime_now" in names or any(f"date of {name}" in tainted for name in names)


def _tainted_names(tree: nodes.Template) -> frozenset[str]:
    """The variables that hold what is said, or (as "date of NAME") the date; followed until nothing more is found."""
    tainted: frozenset[str] = frozenset()
    while True:
        grown = tainted | frozenset(_assigned(tree, tainted))
        if grown == tainted:
            return tainted
        tainted = grown


def _assigned(tree: nodes.Template, tainted: frozenset[str]) -> Iterator[str]:
    for assignment in tree.find_all(nodes.Assign):
        yield from _targets(assignment.target, assignment.node, tainted)
    for block in tree.find_all(nodes.AssignBlock):
        if any(_is_tainted(node, tainted) for node in block.body):
            yield from _names(block.target)
    for loop in tree.find_all(nodes.For):
        yield from _targets(loop.target, loop.iter, tainted)
        if _is_tainted(loop.iter, tainted):  # the parts of a message, or the characters of a text
            yield from (f"part of {name}" for name in _names(loop.target))
    macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
    for call in tree.find_all(nodes.Call):
        macro = macros.get(call.node.name) if isinstance(call.node, nodes.Name) else None
        for parameter, argument in zip(macro.args if macro else [], call.args, strict=False):
            yield from _targets(parameter, argument, tainted)


def _targets(target: nodes.Node, value: nodes.Node, tainted: frozenset[str]) -> Iterator[str]:
    if _is_tainted(value, tainted):
        yield from _names(target)
        if not _is_whole(value, tainted) and not isinstance(value, nodes.CondExpr):
            yield from (f"part of {name}" for name in _names(target))
    if not isinstance(value, nodes.Compare) and _asks_date(value, tainted):
        yield from (f"date of {name}" for name in _names(target))


def _names(target: nodes.Node) -> Iterator[str]:
    if isinstance(target, nodes.NSRef):
        yield f"{target.name}.{target.attr}"
    elif isinstance(target, nodes.Name):
        yield target.name
    else:
        for inner in target.find_all(nodes.Name):
            yield inner.name


def _name_of(node: nodes.Getattr) -> str | None:
    """`namespace.attribute` as text."""
    return f"{node.node.name}.{node.attr}" if isinstance(node.node, nodes.Name) else None
