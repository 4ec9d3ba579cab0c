"""What the measuring commands share: a laboratory from their arguments."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.cli.output import Output
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from checks.contract import Check
    from pipeline.evaluation import Laboratory
    from pipeline.site import Site
    from pipeline.workplace import Workplace


def as_calibrated(checks: Sequence[Check], site: Site) -> tuple[Check, ...]:
    """The checks with the site's own record of their grader, where it has one.

    Raises:
        RequestError: the site's calibration cannot be read, or is of another grader.
        FileFormatError: it is malformed.
    """
    path = site.graders.refusal
    if path is None:
        return tuple(checks)
    from checks.grading.calibration import calibrated, read_calibration, require_of
    from checks.grading.refusal import identity

    calibration = read_calibration(path)
    require_of(calibration, identity(), path)
    return tuple(calibrated(check, calibration) for check in checks)


def open_laboratory(workplace: Workplace, arguments: argparse.Namespace, output: Output) -> Laboratory:
    """The laboratory that `--endpoint` and `--seed` describe, with every check that is known, reporting on stderr.

    Raises:
        RequestError: `--also` names no optional check.
    """
    from checks import known_checks, optional_checks
    from pipeline.evaluation import Laboratory
    from pipeline.progress import Progress

    optional = {check.name: check for check in optional_checks()}
    if unknown := [name for name in arguments.also if name not in optional]:
        raise RequestError(
            f"there is no optional check '{unknown[0]}'",
            why=f"The optional checks are {', '.join(sorted(optional))}.",
            remedy="Name one of them with --also; every other check is run anyway.",
        )
    known = (*known_checks(workplace.site.data.roots), *(optional[name] for name in dict.fromkeys(arguments.also)))
    checks = as_calibrated(known, workplace.site)
    return Laboratory(workplace, checks, Progress(output.stderr), endpoint=arguments.endpoint, seed=arguments.seed)
