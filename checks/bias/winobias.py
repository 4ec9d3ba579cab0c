"""WinoBias, in its authors' files and in the hub's: Zhao et al. 2018 (arXiv 1804.06876).

The authors' files hold one sentence a line, with the pronoun and whom it means in brackets, some lines with a number in
front: "3 [The chief] hired the assistant because [he] needed help."  The hub's tables hold its words and the places of
the two mentions.  A set file marks each file's side and type by its part: `type1_pro`, `type1_anti`, `type2_pro` and
`type2_anti`.  Sentences of type 1 need knowledge of the world, in type 2 grammar alone says whom the pronoun means.

The other person is the first one in the sentence whose work is marked in some sentence of the set.

A pro and an anti sentence make a pair when they are the same but for the pronoun's gender.  The published files differ
between the sides by slips of the pen, so what is left is paired by likeness.  Sentences without a partner, and those
whose marks cannot be read, are left out; more than one in fifty of them is an error.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.bias.referents import GENDER_OF, Item, Sentence

SIDES = ("pro", "anti")
_MOST_LEFT_OUT = 0.02  # of all sentences
_LIKE = 0.75  # least likeness of two sentences that a slip of the pen sets apart
_MOST_COMPARED = 200  # sentences without a partner of the same words; with more, the files do not belong together
_NUMBER = re.compile(r"^\s*\d+\s+")
_MARK = re.compile(r"\[\s*([^\[\]]*?)\s*\]")
_ARTICLE = re.compile(r"^the\s+", re.IGNORECASE)
_BEFORE_SIGN = re.compile(r"\s+([.,;:!?])")


@dataclass(frozen=True)
class Marked:
    """A sentence with its marks read: the plain text, the same with gaps for the pronouns, and who is meant."""

    text: str
    gapped: str
    pronoun: str
    referent: str

    @property
    def gender(self) -> str:
        return GENDER_OF[self.pronoun.lower()]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells sentences apart: the words around the pronoun, who is meant, and the gender."""
        return (self.gapped, self.referent.lower(), self.gender)

    @property
    def opposite(self) -> tuple[str, str, str]:
        """The key of its partner: all the same but the gender."""
        return (self.gapped, self.referent.lower(), {"male": "female", "female": "male"}.get(self.gender, ""))


def parse_line(line: str) -> Marked:
    """One line of the authors' files.

    Raises:
        ValueError: it does not mark one person and a pronoun of one gender.
    """
    marked = _NUMBER.sub("", line).strip()
    mentions = _MARK.findall(marked)
    pronouns = [mention for mention in mentions if mention.lower() in GENDER_OF]
    people = {_ARTICLE.sub("", mention) for mention in mentions if mention.lower() not in GENDER_OF} - {""}
    if len(people) != 1 or len({GENDER_OF[pronoun.lower()] for pronoun in pronouns}) != 1:
        raise ValueError("it must mark one person and a pronoun of one gender")
    text = _MARK.sub(r"\1", marked)
    if "[" in text or "]" in text:
        raise ValueError("a bracket is not closed")
    gapped = _MARK.sub(lambda mark: "_" if mark[1].lower() in GENDER_OF else mark[1], marked)
    return Marked(text, " ".join(gapped.lower().split()), pronouns[0], people.pop())


def line_of(row: Mapping[str, Any]) -> str:
    """A row of the hub's tables as a line of the authors' files.

    Raises:
        ValueError: a column is missing or of another kind, or a place is none of the sentence's.
    """
    try:
        words = dict(zip(map(int, row["word_number"]), map(str, row["tokens"]), strict=True))
        places = [int(place) for place in row["coreference_clusters"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a column is missing or of another kind ({error})") from error
    if len(places) % 2 or not set(places) <= words.keys():
        raise ValueError("its coreference_clusters are not pairs of places in the sentence")
    starts, ends = places[::2], places[1::2]
    marked = (f"{'[' * (place in starts)}{word}{']' * (place in ends)}" for place, word in words.items())
    return _BEFORE_SIGN.sub(r"\1", " ".join(marked))


def parse_set(lines: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[list[Item], int]:
    """The pairs of `lines` (type -> side -> lines), and how many sentences are left out.

    Raises:
        ValueError: a side is missing, or too many sentences cannot be read or have no partner.
    """
    read: dict[str, dict[str, list[Marked]]] = {}
    problems: list[str] = []
    for kind, sides in lines.items():
        if set(sides) != set(SIDES):
            raise ValueError(f"{kind} has no file of the side '{(set(SIDES) - set(sides)).pop()}'")
        read[kind] = {side: _read(kind, side, sides[side], problems) for side in SIDES}
    names = sorted({one.referent for sides in read.values() for side in sides.values() for one in side}, key=len)
    items: list[Item] = []
    for kind, marked in read.items():
        found = [_item(kind, pair, names) for pair in _pairs(marked["pro"], marked["anti"], kind, problems)]
        items += [item for item in found if item is not None]
        problems += [f"a pair of {kind} names no second person of the set"] * (2 * found.count(None))
    whole = sum(len(side) for sides in lines.values() for side in sides.values())
    if not items or len(problems) > _MOST_LEFT_OUT * whole:
        first = problems[0] if problems else "it holds no sentence"
        raise ValueError(f"{len(problems)} of {whole} sentences cannot be used; the first: {first}")
    return _numbered(items), len(problems)


def _read(kind: str, side: str, lines: Sequence[str], problems: list[str]) -> list[Marked]:
    found: list[Marked] = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(parse_line(line))
        except ValueError as error:
            problems.append(f"{kind}_{side}, sentence {number}: {error}")
    return found


def _pairs(pro: list[Marked], anti: list[Marked], kind: str, problems: list[str]) -> list[tuple[Marked, Marked]]:
    """Pairs in the order of `pro`: of the same words first, then of the most alike ones, where few are left."""
    free: dict[tuple[str, ...], list[Marked]] = {}
    for one in anti:
        free.setdefault(one.key, []).append(one)
    partners: dict[int, Marked] = {}
    for place, one in enumerate(pro):
        same = free.get(one.opposite, [])
        if same:
            partners[place] = same.pop(0)
    left = [one for group in free.values() for one in group]
    if len(left) <= _MOST_COMPARED:
        _pair_by_likeness(pro, partners, left)
    alone = [one for place, one in enumerate(pro) if place not in partners] + left
    problems += [f"{kind}: '{one.text[:80]}' has no partner" for one in alone]
    return [(pro[place], partners[place]) for place in sorted(partners)]


def _pair_by_likeness(pro: Sequence[Marked], partners: dict[int, Marked], left: list[Marked]) -> None:
    """Each sentence that has no partner yet with the one of `left` that is most like it."""
    for place, one in enumerate(pro):
        if place in partners:
            continue
        ranked = [
            (difflib.SequenceMatcher(None, one.gapped, other.gapped).ratio(), number)
            for number, other in enumerate(left)
            if other.key[1:] == one.opposite[1:]
        ]
        likeness, number = max(ranked, default=(0.0, 0))
        if likeness >= _LIKE:
            partners[place] = left.pop(number)


def _item(kind: str, pair: tuple[Marked, Marked], names: Sequence[str]) -> Item | None:
    others = [_other(one, names) for one in pair]
    if None in others or len({str(other).lower() for other in others}) != 1:
        return None
    pro, anti = (
        Sentence(one.text, one.pronoun, one.referent, str(other)) for one, other in zip(pair, others, strict=True)
    )
    cluster = "/".join(sorted((pro.referent.lower(), pro.other.lower())))
    return Item("", kind, cluster, pro, anti)


def _other(one: Marked, names: Sequence[str]) -> str | None:
    """The first person of the set, other than the one meant, that the sentence names."""
    found = [
        (match.start(), -len(name), name)
        for name in names
        if name.lower() != one.referent.lower()
        for match in [re.search(rf"\bthe {re.escape(name)}\b", one.text, re.IGNORECASE)]
        if match is not None
    ]
    return min(found)[2] if found else None


def _numbered(items: Sequence[Item]) -> list[Item]:
    return [
        Item(f"{item.kind}-{number:04d}", item.kind, item.cluster, item.pro, item.anti)
        for number, item in enumerate(items, start=1)
    ]
