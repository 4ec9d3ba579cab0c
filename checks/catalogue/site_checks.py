"""A site's data sets as checks.

A set whose files are missing or are not the pinned ones becomes no check: what a policy demands of it is then `missing`
evidence, which denies.  `survey` says which sets those are, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.catalogue import instructions
from checks.catalogue.asking import Asking, measure
from checks.catalogue.definitions import DEFINITIONS, Definition
from checks.catalogue.reading import read_rows, read_verified
from checks.catalogue.site_files import SetFile, load_set_files
from checks.contract import Check, Model, Progress
from pipeline.errors import AirlockError, DeniedError
from pipeline.measurement import Measurement


@dataclass(frozen=True)
class Surveyed:
    """One set: what the catalogue and the site say of it, and whether its files are there and the pinned ones.

    `status` is `ready`, `missing` (no set file, or something that it needs is not there) or `refused` (a file is
    another one, or malformed); `problem` then says why.  `rows` counts those of all files, where this package reads
    them.
    """

    name: str
    title: str
    version: str
    licence: str
    source: str
    status: str
    files: tuple[tuple[str, str], ...] = ()
    rows: int = 0
    problem: str = ""
    set_file: Path | None = None


def survey(roots: Sequence[Path]) -> tuple[Surveyed, ...]:
    """Every set of the catalogue and of the site, with the digests of its files checked.

    Raises:
        FileFormatError: a set file is malformed, or two have one name.
        RequestError: a data root is no folder.
    """
    described = load_set_files(roots)
    found = tuple(_surveyed(path, one) for path, one in described.items())
    named = {one.benchmark for one in described.values()}
    absent = tuple(
        Surveyed(
            one.name, one.title, "", one.licence, one.source, "missing", problem="No set file of the site describes it."
        )
        for one in DEFINITIONS.values()
        if one.name not in named
    )
    return tuple(sorted((*found, *absent), key=lambda one: one.name))


def site_checks(roots: Sequence[Path]) -> tuple[Check, ...]:
    """A check for each set of the site whose files are there and are the pinned ones, and that a suite can ask.

    Raises:
        FileFormatError: a set file is malformed, or two have one name; or a pinned file is not what its set file says.
        RequestError: a data root is no folder.
    """
    checks: list[Check] = []
    for path, described in load_set_files(roots).items():
        if _surveyed(path, described).status == "ready":
            checks.extend(_checks_of(path, described))
    return tuple(checks)


def _checks_of(path: Path, described: SetFile) -> Iterator[Check]:
    """The set as a check of the suite that knows how to ask it."""
    from checks.bias import site_sets as bias
    from checks.safety import site_sets as safety

    if _is_asked(described):
        yield _check(Asking.of(path, described))
    for suite in (bias, safety):
        check = suite.site_check(path, described)
        if check is not None:
            yield check


def _is_asked(described: SetFile) -> bool:
    """Whether lm-eval can ask the set: its benchmark has a task, or it brings one of its own."""
    return described.benchmark is None or DEFINITIONS[described.benchmark].task is not None


def _surveyed(path: Path, described: SetFile) -> Surveyed:
    definition: Definition | None = DEFINITIONS.get(described.benchmark or "")
    status, problem, rows = "ready", "", 0
    try:
        for file in described.files:
            if file.format != ".zip" and (definition is None or definition.task is not None):
                rows += len(read_rows(path.parent, file))
            else:
                read_verified(path.parent, file)  # the suite that asks it knows its format
        if definition is not None and definition.finer:
            problem = instructions.lacking(described)
            status = "missing" if problem else "ready"
    except DeniedError as error:
        status, problem = "refused", f"{error.what}: {error.why}"
    except AirlockError as error:
        status = "missing" if "There is no such file" in error.why else "refused"
        problem = f"{error.what}: {error.why}"
    return Surveyed(
        described.name,
        definition.title if definition is not None else described.name,
        described.version,
        described.licence,
        described.source,
        status,
        tuple((file.path, f"sha256:{file.sha256}") for file in described.files),
        rows,
        problem,
        path,
    )


def _check(asking: Asking) -> Check:
    def measured(model: Model, seed: int, progress: Progress) -> Measurement:
        return measure(asking, model, seed, progress)

    return Check(
        name=asking.name,
        version=asking.version,
        title=asking.title,
        data=(asking.data,),
        metrics=asking.metrics,
        units=asking.items,
        measure=measured,
        needs=frozenset() if asking.generated else frozenset({"echo", "named-tokens"}),
        settings=asking.settings,
    )
