"""The registry on a disk that fills up, and stages that many processes want."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from pipeline.audit import Head
from pipeline.digests import sha256
from pipeline.errors import RequestError, StorageError
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.stages import StageRow, StageTable
from pipeline.registry.upkeep import verify_registry
from tests.pipeline.registry.helpers import FILES, Case, case

FORK = multiprocessing.get_context("fork")
PROCESSES = 40


def _promote_with_little_room(ready: Case, limit: int, answer: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        ready.promote()
        answer.write_text("promoted")
    except StorageError as error:
        answer.write_text(error.what)


@pytest.mark.parametrize("limit", [1, 500, 1500, 9000, 100_000])
def test_a_full_disk_at_any_point_leaves_nothing_half_written(tmp_path: Path, limit: int) -> None:
    ready = case(tmp_path)
    answer = tmp_path / "answer"
    process = FORK.Process(target=_promote_with_little_room, args=(ready, limit, answer))
    process.start()
    process.join()

    assert answer.exists()
    assert ready.log.entries() == ()
    assert ready.registry.table.rows() == ()
    assert ready.registry.published() == ()
    assert ready.registry.unfinished() == ()
    assert all(sha256(path.read_bytes()) == digest for digest, path in ready.registry.stored())
    ready.promote()
    assert verify_registry(ready.registry, ready.log).problems == ()


def _claim(path: Path, number: int, start: Barrier, won: Path) -> None:
    table = StageTable(path)
    start.wait()
    with table.changing() as change:
        if not table.rows():
            digest = sha256(b"%d" % number)
            change.set(StageRow("m", "production", 1, digest, digest), Head(1, digest))
            (won / str(number)).touch()


def test_of_forty_processes_exactly_one_moves_the_stage(tmp_path: Path) -> None:
    start = FORK.Barrier(PROCESSES)
    (tmp_path / "won").mkdir()
    arguments = [(tmp_path / "stages.sqlite", number, start, tmp_path / "won") for number in range(PROCESSES)]
    processes = [FORK.Process(target=_claim, args=one) for one in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    (winner,) = (tmp_path / "won").iterdir()
    (row,) = StageTable(tmp_path / "stages.sqlite").rows()
    assert row.record == sha256(winner.name.encode())
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def _attach(registry: LayoutRegistry, number: int, start: Barrier) -> None:
    from pipeline.registry.interface import Descriptor
    from pipeline.registry.model import IMAGE_MANIFEST

    start.wait()
    digest = registry.put_blob(b"%d" % number)
    registry.publish([Descriptor(IMAGE_MANIFEST, digest, 2)], {f"m:{number}": Descriptor(IMAGE_MANIFEST, digest, 2)})


def test_of_forty_concurrent_announcements_none_is_lost(tmp_path: Path) -> None:
    start = FORK.Barrier(PROCESSES)
    registry = LayoutRegistry(tmp_path / "registry", ("staging",))
    processes = [FORK.Process(target=_attach, args=(registry, number, start)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert len(registry.tags()) == PROCESSES
    assert len(registry.published()) == 2 * PROCESSES


def test_a_table_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "stages.sqlite").write_bytes(b"not a database at all" * 100)
    table = StageTable(tmp_path / "stages.sqlite")

    with pytest.raises(StorageError, match="stage table"):
        table.rows()
    with pytest.raises(StorageError, match="stage table"), table.changing():
        pass


def test_a_folder_of_other_files_is_not_taken_for_a_registry(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "thesis.pdf").touch()

    with pytest.raises(RequestError, match="is no registry"):
        LayoutRegistry(tmp_path / "registry", ("staging",)).put_blob(b"x")
    assert (tmp_path / "registry" / "thesis.pdf").exists()
    assert not (tmp_path / "registry" / "blobs").exists()


def test_an_empty_registry_is_empty(tmp_path: Path) -> None:
    registry = LayoutRegistry(tmp_path / "registry", ("staging",))

    assert (registry.published(), dict(registry.tags()), list(registry.stored())) == ((), {}, [])
    assert registry.referrers(sha256(b"x")) == ()
    assert registry.check(sha256(b"x"), 1) is not None
    assert FILES
