"""What the measuring commands share: a laboratory from their arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.evaluation import Laboratory
    from pipeline.workplace import Workplace


def open_laboratory(workplace: Workplace, arguments: argparse.Namespace, output: Output) -> Laboratory:
    """The laboratory that `--endpoint` and `--seed` describe, with every check that is known, reporting on stderr."""
    from checks import known_checks
    from pipeline.evaluation import Laboratory
    from pipeline.progress import Progress

    checks = known_checks(workplace.site.data.roots)
    return Laboratory(workplace, checks, Progress(output.stderr), endpoint=arguments.endpoint, seed=arguments.seed)
