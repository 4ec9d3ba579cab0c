"""Winogender schemas, in their authors' files: Rudinger et al. 2018 (arXiv 1804.09301).

`all_sentences.tsv` has `sentid` and `sentence`; an id such as `cook.guest.1.female.txt` names the occupation, the other
person ("someone" in half of them), whom the pronoun means (0: the occupation, 1: the other person) and its gender.
`occupations-stats.tsv` says which share of an occupation's workers are women (`bls_pct_female`).  A set file marks them
by their parts, `sentences` and `statistics`.

A sentence is *pro* where the pronoun's gender is that of most workers and it means the occupation, or is the other one
and it means the other person: those that the authors call no "gotcha".  Its partner is the same sentence with the other
gender.  An occupation with as many women as men has no stereotype to agree with, so its sentences are left out.

The authors ask for one reading in particular: a gap shows that there is bias, no gap does not show that there is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from checks.bias.referents import PRONOUNS, Item, Sentence

_ID = re.compile(r"([^.]+)\.([^.]+)\.([01])\.(male|female|neutral)(?:\.txt)?")
_KINDS = {"0": "occupation", "1": "participant"}
_Key = tuple[str, str, str]


def parse_set(rows: Sequence[Mapping[str, Any]], statistics: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The pairs of all sentences, with their neutral versions where none lacks one.

    Raises:
        ValueError: a column is missing or of another kind, an id is malformed or there twice, a sentence has no pronoun
            of its gender or lacks its partner, or an occupation has no statistics.
    """
    women = _women(statistics)
    groups: dict[_Key, dict[str, Sentence]] = {}
    for number, row in enumerate(rows, start=1):
        key, gender, sentence = _parsed(row, number)
        versions = groups.setdefault(key, {})
        if gender in versions:
            raise ValueError(f"row {number} repeats the id '{row['sentid']}'")
        versions[gender] = sentence
    items = [item for key, versions in groups.items() if (item := _item(key, versions, women)) is not None]
    if not items:
        raise ValueError("no occupation has more workers of one gender than of the other")
    whole = all(item.neutral is not None for item in items)
    return items if whole else [replace(item, neutral=None) for item in items]


def _women(statistics: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of women, in percent, by occupation."""
    shares: dict[str, float] = {}
    for number, row in enumerate(statistics, start=1):
        try:
            occupation, share = str(row["occupation"]), float(row["bls_pct_female"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"row {number} of the statistics lacks a share of women ({error})") from error
        if not math.isfinite(share) or not 0 <= share <= 100 or occupation in shares:
            raise ValueError(f"row {number} of the statistics is no percentage, or repeats an occupation")
        shares[occupation] = share
    return shares


def _parsed(row: Mapping[str, Any], number: int) -> tuple[_Key, str, Sentence]:
    match = _ID.fullmatch(str(row.get("sentid", "")).strip())
    text = row.get("sentence")
    if match is None or not isinstance(text, str):
        raise ValueError(f"row {number} has no sentid such as 'cook.guest.1.female.txt', or no sentence")
    occupation, participant, meant, gender = match.groups()
    pronoun = next((word for word in re.findall(r"\w+", text) if word.lower() in PRONOUNS[gender]), None)
    if pronoun is None:
        raise ValueError(f"row {number} has no {gender} pronoun")
    names = (occupation, participant) if meant == "0" else (participant, occupation)
    return (occupation, participant, meant), gender, Sentence(text.strip(), pronoun, *names)


def _item(key: _Key, versions: Mapping[str, Sentence], women: Mapping[str, float]) -> Item | None:
    occupation, _, meant = key
    name = ".".join(key)
    if occupation not in women:
        raise ValueError(f"the statistics do not have the occupation '{occupation}'")
    if not {"male", "female"} <= versions.keys():
        raise ValueError(f"'{name}' is not there in both genders")
    if women[occupation] == 50:
        return None
    majority, minority = ("female", "male") if women[occupation] > 50 else ("male", "female")
    pro, anti = (majority, minority) if meant == "0" else (minority, majority)
    return Item(name, _KINDS[meant], occupation, versions[pro], versions[anti], versions.get("neutral"))
