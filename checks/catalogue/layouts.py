"""The shapes in which the same benchmark is published, each turned into the columns that lm-eval's task expects.

A layout is recognised by its columns, never guessed from a file's name.  Converting keeps every text as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from checks.datasets import Row

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class LayoutError(ValueError):
    """A row that is not of its layout; the text is one sentence."""


@dataclass(frozen=True)
class Layout:
    """A published shape: its name, the columns that it is known by, and how a row becomes the expected one."""

    name: str
    columns: frozenset[str]
    convert: Callable[[Row], Row]


def layout_for(columns: Sequence[str], layouts: Sequence[Layout]) -> Layout | None:
    """The first layout whose columns are all there."""
    return next((layout for layout in layouts if layout.columns <= set(columns)), None)


def _as_it_is(row: Row) -> Row:
    return row


def hub(*columns: str) -> Layout:
    """The Hugging Face layout: already what lm-eval expects."""
    return Layout("hugging-face", frozenset(columns), _as_it_is)


def _options(texts: Sequence[str]) -> dict[str, list[str]]:
    return {"text": [str(text) for text in texts], "label": list(LETTERS[: len(texts)])}


def _letter(place: object, count: int) -> str:
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
        _wrong(f"the right answer {place!r} is none of {count}")
    return LETTERS[place]


def _arc_gauntlet(row: Row) -> Row:
    choices = _texts(row["choices"])
    question = str(row["query"]).removeprefix("Question: ")
    return {"question": question, "choices": _options(choices), "answerKey": _letter(row["gold"], len(choices))}


def _gauntlet(row: Row) -> Row:
    choices = _texts(row["choices"])
    _letter(row["gold"], len(choices))
    return {"query": str(row["query"]), "choices": choices, "gold": row["gold"]}


def _nested_question(name: str) -> Callable[[Row], Row]:
    """AI2's own layout: a question object with a stem and a list of labelled choices."""

    def convert(row: Row) -> Row:
        question = _mapping(row["question"])
        choices = [_mapping(choice) for choice in _list(question.get("choices"))]
        labels = [str(choice.get("label")) for choice in choices]
        if str(row["answerKey"]) not in labels:
            _wrong(f"the right answer {row['answerKey']!r} is none of its options")
        options = {"text": [str(choice.get("text")) for choice in choices], "label": labels}
        return {name: str(question.get("stem")), "choices": options, "answerKey": str(row["answerKey"])}

    return convert


def _winogrande_gauntlet(row: Row) -> Row:
    one, other = _texts(row["context_options"])[:2]
    start = _common_words(one, other)
    answer = str(LETTERS.index(_letter(row["gold"], 2)) + 1)
    return {
        "sentence": f"{one[:start]}_ {row['continuation']}",
        "option1": one[start:],
        "option2": other[start:],
        "answer": answer,
    }


def _common_words(one: str, other: str) -> int:
    """The length of the longest common beginning that ends after a space, or 0."""
    length = 0
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            break
        if left == " ":
            length = place + 1
    return length


def _boolq_official(row: Row) -> Row:
    if not isinstance(row["answer"], bool):
        _wrong("the answer is neither true nor false")
    return {"passage": row["passage"], "question": row["question"], "label": int(row["answer"])}


def _mmlu_hub(row: Row) -> Row:
    choices = _texts(row["choices"])
    if len(choices) != 4:
        _wrong(f"an item has {len(choices)} options; four are needed")
    _letter(row["answer"], 4)
    return {**row, "question": str(row["question"]), "choices": choices}


def _mmlu_official(row: Row) -> Row:
    if str(row["answer"]) not in ("A", "B", "C", "D"):
        _wrong(f"the right answer {row['answer']!r} is no letter from A to D")
    return {
        "question": str(row["question"]),
        "choices": [str(row[letter]) for letter in "ABCD"],
        "answer": "ABCD".index(str(row["answer"])),
    }


def _mgsm_official(row: Row) -> Row:
    text = str(row["answer"]).replace(",", "")
    try:
        number = int(text)
    except ValueError:
        _wrong(f"the answer {row['answer']!r} is no whole number")
    # The hub's copy has worked answers for its examples only; lm-eval's template reads the column in every row.
    return {"question": str(row["question"]), "answer": None, "answer_number": number}


def _truthfulqa_official(row: Row) -> Row:
    return {
        "question": str(row["question"]),
        "mc1_targets": _targets(row["mc1_targets"]),
        "mc2_targets": _targets(row["mc2_targets"]),
    }


def _ifeval(row: Row) -> Row:
    demands, kwargs = _list(row["instruction_id_list"]), _list(row["kwargs"])
    if not demands or len(demands) != len(kwargs) or not all(isinstance(one, str) for one in demands):
        _wrong("it does not have one set of kwargs for each of its instructions")
    return {
        "key": str(row["key"]),
        "prompt": str(row["prompt"]),
        "instruction_id_list": list(demands),
        "kwargs": [dict(_mapping(one)) for one in kwargs],
    }


def _targets(value: object) -> dict[str, list[Any]]:
    targets = _mapping(value)
    if not all(label in (0, 1) for label in targets.values()):
        _wrong("a target is neither 0 nor 1")
    return {"choices": [str(text) for text in targets], "labels": list(targets.values())}


def _texts(value: object) -> list[str]:
    texts = _list(value)
    if len(texts) < 2 or not all(isinstance(text, str) and text for text in texts):
        _wrong("an item has fewer than two options, or one that is no text or empty")
    return [str(text) for text in texts]


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        _wrong("a list was expected")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _wrong("a mapping was expected")
    return value


def _wrong(what: str) -> NoReturn:
    raise LayoutError(what)


ARC = (
    Layout("gauntlet", frozenset({"query", "choices", "gold"}), _arc_gauntlet),
    hub("question", "choices", "answerKey"),
    Layout("official", frozenset({"question", "answerKey"}), _nested_question("question")),
)
OPENBOOKQA = (
    hub("question_stem", "choices", "answerKey"),
    Layout("official", frozenset({"question", "answerKey"}), _nested_question("question_stem")),
)
HELLASWAG = (hub("activity_label", "ctx_a", "ctx_b", "endings", "label"),)
WINOGRANDE = (
    hub("sentence", "option1", "option2", "answer"),
    Layout("gauntlet", frozenset({"context_options", "continuation", "gold"}), _winogrande_gauntlet),
)
PIQA = (hub("goal", "sol1", "sol2", "label"),)
BOOLQ = (
    hub("passage", "question", "label"),
    Layout("official", frozenset({"passage", "question", "answer"}), _boolq_official),
)
MMLU = (
    Layout("hugging-face", frozenset({"question", "choices", "answer"}), _mmlu_hub),
    Layout("official", frozenset({"question", "A", "B", "C", "D", "answer"}), _mmlu_official),
)
CMMLU = (hub("Question", "A", "B", "C", "D", "Answer"),)
GSM8K = (hub("question", "answer"),)
MGSM = (
    hub("question", "answer", "answer_number"),
    Layout("official", frozenset({"question", "answer"}), _mgsm_official),
)
TRUTHFULQA = (Layout("official", frozenset({"question", "mc1_targets", "mc2_targets"}), _truthfulqa_official),)
IFEVAL = (Layout("official", frozenset({"key", "prompt", "instruction_id_list", "kwargs"}), _ifeval),)
ENTERPRISE_PII = (Layout("gauntlet", frozenset({"query", "choices", "gold"}), _gauntlet),)
