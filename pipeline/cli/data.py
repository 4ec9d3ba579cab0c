"""`airlock data list` and `airlock data verify`: the data sets that are known, and whether they are the pinned ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.cli.output import ExitCode, Output

if TYPE_CHECKING:
    from checks.catalogue.site_checks import Surveyed
    from pipeline.site import Site

HELP = "list the data sets, or verify that they are the pinned ones"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="every set that is known, with its licence, source and whether it is ready")
    verify = actions.add_parser("verify", help="check the digest of every file, and say which sets are not ready")
    verify.add_argument("names", nargs="*", metavar="NAME", help="the sets that must be ready (all that are there)")


def run(arguments: argparse.Namespace, output: Output) -> ExitCode:
    """Check every set that the site has and those built in.  Denied when one is not the pinned one, or a named one is
    not ready."""
    from pipeline.site import load_site

    sets = (*_built_in(), *_of_site(load_site(arguments.site)))
    if arguments.action == "list":
        output.result({"sets": [_document(one) for one in sets]}, "\n".join(_line(one) for one in sets))
        return ExitCode.YES
    named = _named(sets, arguments.names)
    wanted = named or [one for one in sets if one.status != "missing"]
    bad = [one for one in wanted if one.status != "ready"]
    output.result(
        {"verified": not bad, "sets": [_document(one) for one in wanted]}, "\n".join(_line(one) for one in wanted)
    )
    return ExitCode.DENIED if bad else ExitCode.YES


def _built_in() -> list[Surveyed]:
    """The built-in sets, each once.  Their digests are pinned in the code that uses them."""
    from checks import built_in_checks
    from checks.catalogue.site_checks import Surveyed
    from checks.datasets import load_builtin
    from pipeline.errors import AirlockError

    pinned = {data.name: data for check in built_in_checks() for data in check.data}
    surveyed: list[Surveyed] = []
    for name, data in sorted(pinned.items()):
        status, problem = "ready", ""
        try:
            load_builtin(name, data.digest)
        except AirlockError as error:
            status, problem = "refused", f"{error.what}: {error.why}"
        files = ((f"{name}.jsonl", str(data.digest)),)
        surveyed.append(
            Surveyed(name, name, data.version, data.licence, "built in", status, files, data.items, problem)
        )
    return surveyed


def _of_site(site: Site) -> tuple[Surveyed, ...]:
    from checks.catalogue.site_checks import survey

    return survey(site.data.roots)


def _named(sets: Sequence[Surveyed], names: Sequence[str]) -> list[Surveyed]:
    from pipeline.errors import RequestError

    known = {one.name: one for one in sets}
    for name in names:
        if name not in known:
            raise RequestError(
                f"there is no data set '{name}'",
                why="Neither the catalogue nor a set file of the site has it.",
                remedy="Run 'airlock data list' for the names.",
            )
    return [known[name] for name in names]


def _document(one: Surveyed) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "version": one.version,
        "licence": one.licence,
        "source": one.source,
        "status": one.status,
        "problem": one.problem,
        "rows": one.rows,
        "columns": list(one.columns),
        "expects": one.expects,
        "files": _files(one),
        "set_file": None if one.set_file is None else str(one.set_file),
    }


def _files(one: Surveyed) -> list[dict[str, str]]:
    """Each file with its digest, and for a site's set with its split and part."""
    splits = one.splits or (("", ""),) * len(one.files)
    return [
        {"path": path, "digest": digest, "split": split, "part": part}
        for (path, digest), (split, part) in zip(one.files, splits, strict=True)
    ]


def _line(one: Surveyed) -> str:
    rows = f"{one.rows} rows" if one.status == "ready" else one.problem
    return f"{one.status:8} {one.name:28} {one.licence:16} {rows}"
