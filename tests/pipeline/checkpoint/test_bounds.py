"""Inspecting a hostile checkpoint takes little memory, and says what a pickle would have done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.checkpoint import inspect_directory
from tests.assets.hostile import HOSTILE

COSTLY = (
    "header-of-empty-lists",
    "header-of-numbers",
    "header-of-17-mebibytes",
    "header-nested-deep",
    "tokenizer-of-empty-lists",
    "tokenizer-of-many-tokens",
    "config-nested-deep",
    "too-many-files",
    "template-size-multiplied-text",
    "template-size-centred-text",
    "template-size-doubling",
    "template-size-endless-output",
)
# The kernel counts the memory of the process that forked in ru_maxrss; VmHWM starts anew with the new program.
_SCRIPT = """
import re, resource, sys
from pathlib import Path
from pipeline.checkpoint import inspect_directory
inspect_directory(Path(sys.argv[1]))
own = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_checkpoint_stays_below_200_megabytes(name: str, tmp_path: Path) -> None:
    directory = HOSTILE[name].make(tmp_path / "model")
    ended = subprocess.run([sys.executable, "-c", _SCRIPT, str(directory)], capture_output=True, text=True, check=True)
    assert int(ended.stdout) * 1024 < 200_000_000


@pytest.mark.parametrize(
    "name", ["pickle-as-pt", "pickle-as-rng-state", "pickle-of-protocol-0", "pickle-as-extra-safetensors"]
)
def test_a_pickle_is_reported_with_what_it_would_do(name: str, tmp_path: Path) -> None:
    inspection = inspect_directory(HOSTILE[name].make(tmp_path / "model"))
    (message,) = {found.message for found in inspection.denied if found.id == "checkpoint.pickle"}
    assert "print (suspicious)" in message
