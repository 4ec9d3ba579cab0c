"""Airlock's verification against `model_signing`, on the same signed files in a warm cache.

    .venv/bin/python ci/benchmarks/verify.py [--gigabytes 3] [--repeats 3] [--directory DIR] [--json FILE]

Two comparisons, each with the bytes in 3 and in 8 files.  *verify*: our stricter check of a checkpoint that the store
has already, against `model_signing`'s.  *whole*: our first verification, which ends with a read-only copy and the
digest of every file, against `model_signing`, SHA-256 of every file and a copy, done one after the other.  Each
measurement is a process of its own; imports are not counted; the best of the repeats counts, and the peak of resident
memory.  The ratio of processor seconds stands beside the ratio of rates: it holds on a busy machine too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

GOALS = {"verify": 0.95, "whole": 2.5}  # how many times as fast as the other way
MEMORY_GOAL = 200  # MB
FILE_COUNTS = (3, 8)
_BLOCK = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class Compared:
    """Rates in GB/s of both ways, their ratio, and our peak of resident memory in MB."""

    work: str
    files: int
    airlock_rate: float
    other_rate: float
    ratio: float
    processor_ratio: float
    goal: float
    peak_mb: float


@dataclass(frozen=True)
class Measured:
    """One run: seconds by the clock, seconds of all processors together, and the peak of resident memory in MB."""

    seconds: float
    processor_seconds: float
    peak_mb: float


def make_checkpoint(place: Path, size: int, count: int) -> None:
    """A signed checkpoint of `count` equal files, `size` bytes in all, with keys beside it."""
    from pipeline.keys import generate_key, write_key_pair
    from pipeline.signature import sign_checkpoint

    directory = place / "checkpoint"
    directory.mkdir(parents=True)
    block = os.urandom(_BLOCK)
    for number in range(count):
        with (directory / f"model-{number:05}-of-{count:05}.safetensors").open("wb") as file:
            for left in range(size // count, 0, -_BLOCK):
                file.write(block[: min(left, _BLOCK)])
            os.fsync(file.fileno())  # so that no measurement pays for these writes
    key = generate_key()
    write_key_pair(key, place / "publisher.pem")
    sign_checkpoint(directory, key, place / "checkpoint.sig")


def prepare_airlock(place: Path) -> Callable[[], object]:
    """Our verification; the store decides whether it copies."""
    from pipeline.release import Candidate, SignatureReference
    from pipeline.signature import verify_candidate
    from pipeline.site import KeySigner, PipelineSettings, Site, StoreSettings

    signer = KeySigner(method="key", public_key=place / "publisher.pub")
    site = Site(
        path=place / "airlock.toml",
        store=StoreSettings(path=place / "store"),
        signers={"publisher": signer},
        pipeline=PipelineSettings(key=place / "pipeline.pem"),
    )
    reference = SignatureReference(bundle=place / "checkpoint.sig", signer="publisher")
    candidate = Candidate(name="bench", checkpoint=place / "checkpoint", signature=reference)
    return lambda: verify_candidate(candidate, site)


def prepare_model_signing(place: Path) -> Callable[[], object]:
    """Verification by the reference implementation."""
    from model_signing.verifying import Config

    config = Config()  # type: ignore[no-untyped-call]
    verifier = config.use_elliptic_key_verifier(public_key=place / "publisher.pub")
    return lambda: verifier.verify(place / "checkpoint", place / "checkpoint.sig")


def prepare_three_steps(place: Path) -> Callable[[], object]:
    """What the reference implementation leaves to do: digests for the bill of materials, and a copy."""
    verify = prepare_model_signing(place)

    def run() -> None:
        verify()
        for path in sorted((place / "checkpoint").iterdir()):
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
        shutil.copytree(place / "checkpoint", place / "copy")

    return run


PREPARATIONS = {"airlock": prepare_airlock, "model_signing": prepare_model_signing, "three": prepare_three_steps}


def measure_here(way: str, place: Path) -> Measured:
    """Do it once in this process."""
    work = PREPARATIONS[way](place)
    start, processor_start = time.perf_counter(), time.process_time()
    work()
    seconds, processor_seconds = time.perf_counter() - start, time.process_time() - processor_start
    return Measured(seconds, processor_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(ways: Mapping[str, str | None], place: Path, repeats: int) -> list[Measured]:
    """The best of several processes for each of `ways`, and the highest peak.

    The ways take turns, so that what else the machine does meets all of them.  What a way leaves behind, the directory
    given with it, is removed before each turn.
    """
    results: dict[str, list[Measured]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, leftovers in ways.items():
            if leftovers is not None and (place / leftovers).exists():
                remove(place / leftovers)
            command = [sys.executable, __file__, "--one", way, "--directory", str(place)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            results[way].append(Measured(**json.loads(done.stdout)))
    return [
        Measured(
            min(one.seconds for one in taken),
            min(one.processor_seconds for one in taken),
            max(one.peak_mb for one in taken),
        )
        for taken in results.values()
    ]


def remove(directory: Path) -> None:
    """Remove a directory, its read-only parts included."""
    from pipeline.signature.store import remove_tree

    remove_tree(directory)


def compare(size: int, count: int, repeats: int, directory: Path) -> list[Compared]:
    """Both comparisons on one checkpoint of `count` files."""
    place = Path(tempfile.mkdtemp(prefix="airlock-bench-", dir=directory))
    try:
        make_checkpoint(place, size, count)
        whole, three = measure({"airlock": "store", "three": "copy"}, place, repeats)
        remove(place / "copy")
        ours, theirs = measure({"airlock": None, "model_signing": None}, place, repeats)
    finally:
        remove(place)
    works = {"verify": (ours, theirs), "whole": (whole, three)}
    return [
        Compared(
            work=work,
            files=count,
            airlock_rate=size / airlock.seconds / 1e9,
            other_rate=size / other.seconds / 1e9,
            ratio=other.seconds / airlock.seconds,
            processor_ratio=other.processor_seconds / airlock.processor_seconds,
            goal=GOALS[work],
            peak_mb=airlock.peak_mb,
        )
        for work, (airlock, other) in works.items()
    ]


def table(results: Sequence[Compared]) -> str:
    """The results as text."""
    head = f"{'work':8}{'files':>6}{'airlock GB/s':>14}{'other GB/s':>12}{'ratio':>8}{'(processor)':>13}"
    head += f"{'goal':>7}{'peak MB':>9}"
    lines = [
        f"{one.work:8}{one.files:>6}{one.airlock_rate:>14.2f}{one.other_rate:>12.2f}{one.ratio:>8.2f}"
        f"{one.processor_ratio:>13.2f}{one.goal:>7.2f}{one.peak_mb:>9.0f}"
        for one in results
    ]
    return "\n".join([head, *lines])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="ci/bench verify", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="where the files are made")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--one", choices=sorted(PREPARATIONS), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one is not None:
        sys.stdout.write(json.dumps(asdict(measure_here(given.one, given.directory))))
        return 0
    size = int(given.gigabytes * 1e9)
    results = [one for count in FILE_COUNTS for one in compare(size, count, given.repeats, given.directory)]
    sys.stdout.write(table(results) + "\n")
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in results], indent=2) + "\n", encoding="utf-8")
    return 0 if all(one.ratio >= one.goal and one.peak_mb < MEMORY_GOAL for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
