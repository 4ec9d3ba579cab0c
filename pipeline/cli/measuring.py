"""What the measuring commands share: a laboratory from their arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipeline.cli.output import Output
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from pipeline.evaluation import Laboratory
    from pipeline.workplace import Workplace


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
    checks = (*known_checks(workplace.site.data.roots), *(optional[name] for name in dict.fromkeys(arguments.also)))
    return Laboratory(workplace, checks, Progress(output.stderr), endpoint=arguments.endpoint, seed=arguments.seed)
