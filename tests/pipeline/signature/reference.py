"""The reference implementation of OpenSSF Model Signing, run as its command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    """What the command said, and its exit code."""

    code: int
    text: str


def model_signing(*arguments: str | Path) -> Ran:
    """Run the `model_signing` command in this process, which has imported it once (seconds) for all tests."""
    from click.testing import CliRunner
    from model_signing._cli import main

    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return Ran(result.exit_code, result.output)


def model_signing_apart(*arguments: str | Path) -> Ran:
    """Run the `model_signing` command in a process of its own."""
    command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ran(result.returncode, result.stdout + result.stderr)
