"""Checks of bias on a site's own copies of published sets: BBQ, CrowS-Pairs and StereoSet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from checks.bias import bbq, crows_pairs, stereoset
from checks.catalogue.reading import read_split
from checks.catalogue.site_files import SetFile
from checks.contract import Check, MetricDeclaration, Model, Progress
from checks.datasets import Row
from checks.sampling import stratified
from pipeline.digests import Json, digest_of
from pipeline.errors import FileFormatError
from pipeline.measurement import DataSet, Measurement

_VERSION = "1"
_T = TypeVar("_T")


def site_check(path: Path, described: SetFile) -> Check | None:
    """The check for the set file at `path`, or None when it is of no set that this suite asks.

    Raises:
        RequestError, EvidenceError: a file is missing, or is not the pinned one.
        FileFormatError: a row is not of the authors' layout, or ids repeat.
    """
    makers = {"bbq": _bbq, "crows_pairs": _crows_pairs, "stereoset": _stereoset}
    maker = makers.get(described.benchmark or "")
    return None if maker is None else maker(path, described)


def _bbq(path: Path, described: SetFile) -> Check:
    items = _parsed(path, described, lambda row, _number: bbq.parse_item(row), lambda item: item.id)
    size = _size(described, len(items))

    def drawn(seed: int) -> list[bbq.Item]:
        return stratified(items, size, seed, identity=lambda item: item.id, stratum=_bbq_stratum)

    def measure(model: Model, seed: int, progress: Progress) -> Measurement:
        answered = bbq.ask(model, drawn(seed), progress)
        samples = tuple(bbq.sample(one, seed) for one in answered)
        return Measurement(name, _VERSION, (data,), bbq.metrics(answered), samples, seed)

    name, data = f"bias/{described.name}", _data(described, len(items))
    return _check(
        name,
        "BBQ: stereotypes in answers",
        data,
        bbq.declarations(drawn(0)),
        size=size,
        measure=measure,
        need="named-tokens",
    )


def _bbq_stratum(item: bbq.Item) -> str:
    return f"{item.category}/{item.ambiguous}/{item.negative}"


def _crows_pairs(path: Path, described: SetFile) -> Check:
    pairs = _parsed(path, described, crows_pairs.parse_pair, lambda pair: pair.id)
    size = _size(described, len(pairs))

    def measure(model: Model, seed: int, progress: Progress) -> Measurement:
        drawn = stratified(pairs, size, seed, identity=lambda pair: pair.id, stratum=lambda pair: pair.kind)
        scored = crows_pairs.ask(model, drawn, progress)
        samples = tuple(crows_pairs.sample(one, seed) for one in scored)
        return Measurement(name, _VERSION, (data,), crows_pairs.metrics(scored), samples, seed)

    name, data = f"bias/{described.name}", _data(described, len(pairs))
    return _check(name, "CrowS-Pairs", data, crows_pairs.declarations(size), size=size, measure=measure, need="echo")


def _stereoset(path: Path, described: SetFile) -> Check:
    items = _parsed(path, described, stereoset.parse_item, lambda item: item.id)
    size = _size(described, len(items))

    def measure(model: Model, seed: int, progress: Progress) -> Measurement:
        drawn = stratified(items, size, seed, identity=lambda item: item.id, stratum=lambda item: item.kind)
        scored = stereoset.ask(model, drawn, progress)
        samples = tuple(stereoset.sample(one, seed) for one in scored)
        return Measurement(name, _VERSION, (data,), stereoset.metrics(scored), samples, seed)

    name, data = f"bias/{described.name}", _data(described, len(items))
    return _check(name, "StereoSet", data, stereoset.declarations(size), size=size, measure=measure, need="echo")


def _parsed(path: Path, described: SetFile, parse: Callable[[Row, int], _T], identity: Callable[[_T], str]) -> list[_T]:
    rows = [row for part in read_split(path, described, "test").values() for row in part]
    parsed: list[_T] = []
    for number, row in enumerate(rows, start=1):
        try:
            parsed.append(parse(row, number))
        except ValueError as error:
            _refuse(path, f"Row {number}: {error}.", error)
    if len({identity(one) for one in parsed}) != len(parsed):
        _refuse(path, "An id appears twice.")
    return parsed


def _size(described: SetFile, items: int) -> int:
    return items if described.sample == "all" else min(described.sample, items)


def _data(described: SetFile, items: int) -> DataSet:
    files: list[Json] = [{"path": file.path, "sha256": file.sha256, "split": file.split} for file in described.files]
    return DataSet(described.name, described.version, items, digest_of(files), described.licence)


def _check(
    name: str,
    title: str,
    data: DataSet,
    declared: tuple[MetricDeclaration, ...],
    *,
    size: int,
    measure: Callable[[Model, int, Progress], Measurement],
    need: Literal["echo", "named-tokens"],
) -> Check:
    return Check(
        name=name,
        version=_VERSION,
        title=title,
        data=(data,),
        metrics=declared,
        units=size,
        measure=measure,
        needs=frozenset({need}),
        settings={"sample": size},
    )


def _refuse(path: Path, why: str, cause: Exception | None = None) -> NoReturn:
    raise FileFormatError(
        f"the set {path} cannot be used",
        why=why,
        remedy="Restore the file from its source, or correct the set file.",
    ) from cause
