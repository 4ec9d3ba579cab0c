"""Promotion interrupted at every step: nothing is half done, and a repeat completes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.audit import AuditLog
from pipeline.manifest import FileEntry
from pipeline.registry.consume import resolve
from pipeline.registry.layout import LayoutRegistry
from pipeline.registry.upkeep import collect_garbage, verify_registry
from tests.pipeline.registry.helpers import (
    Case,
    assert_nothing_promoted,
    case,
)


@pytest.fixture
def ready(tmp_path: Path) -> Case:
    return case(tmp_path)


class InterruptedHereError(Exception):
    """The power went out."""


class Failing(LayoutRegistry):
    """A registry that is interrupted at its n-th operation."""

    def __init__(self, root: Path, stages: tuple[str, ...], allowed: int) -> None:
        super().__init__(root, stages)
        self.allowed = allowed

    def _count(self) -> None:
        self.allowed -= 1
        if self.allowed < 0:
            raise InterruptedHereError

    def put_blob(self, data: bytes) -> Any:
        self._count()
        return super().put_blob(data)

    def put_file(self, path: Path, entry: FileEntry) -> None:
        self._count()
        super().put_file(path, entry)

    def publish(self, manifests: Any, tags: Any) -> None:
        self._count()
        super().publish(manifests, tags)


def test_an_interruption_at_any_step_leaves_nothing_half_done_and_a_repeat_completes_it(tmp_path: Path) -> None:
    ready = case(tmp_path)
    for allowed in range(1000):
        failing = Failing(ready.registry.root, ready.registry.stages, allowed)
        try:
            ready.promote(registry=failing)
            break
        except InterruptedHereError:
            committed = bool(ready.log.entries())
            assert bool(ready.registry.table.rows()) == committed
            assert ready.registry.published() == ()
            assert ready.registry.unfinished() == ()
    assert allowed > 20

    assert verify_registry(ready.registry, ready.log).problems == ()
    assert len(ready.log.entries()) == 1


class FailingLog(AuditLog):
    """A log whose disk is full."""

    def append(self, *_arguments: Any, **_named: Any) -> Any:
        raise InterruptedHereError


def test_an_interruption_of_the_log_leaves_the_stage_as_it_was(ready: Case) -> None:
    with pytest.raises(InterruptedHereError):
        ready.promote(log=FailingLog(ready.log.path, ready.log.trusted))
    assert_nothing_promoted(ready)
    assert collect_garbage(ready.registry, ready.log).blobs > 5
    assert list(ready.registry.stored()) == []


def test_a_crash_between_log_and_table_is_completed_by_a_repeat(ready: Case) -> None:
    table = ready.registry.table

    class Crashing(type(table)):  # type: ignore[misc]
        @contextmanager
        def changing(self) -> Iterator[Any]:
            with super().changing() as change:
                yield change
                raise InterruptedHereError

    ready.registry.table = Crashing(table.path)
    with pytest.raises(InterruptedHereError):
        ready.promote()
    ready.registry.table = table

    assert len(ready.log.entries()) == 1
    assert table.rows() == ()
    promotion = ready.promote()
    assert len(ready.log.entries()) == 1
    assert resolve(ready.registry, ready.log, "smollm2", stage="staging") == promotion
    assert verify_registry(ready.registry, ready.log).problems == ()
