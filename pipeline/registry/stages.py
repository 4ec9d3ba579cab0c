"""SQLite beside the registry: orders stage changes, so that of many concurrent promotions exactly one comes first.

The table is a cache of the audit log and a lock for it.  It also keeps the last head of the log that was seen here, so
that a log that was put back to an earlier state is noticed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.audit import Head
from pipeline.digests import Digest
from pipeline.errors import StorageError
from pipeline.files import storage_errors

_WAIT_SECONDS = 60.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS stage (name TEXT, stage TEXT, revision INTEGER NOT NULL, record TEXT NOT NULL, "
    "manifest TEXT NOT NULL, PRIMARY KEY (name, stage)) STRICT",
    "CREATE TABLE IF NOT EXISTS witness (id INTEGER PRIMARY KEY CHECK (id = 0), entries INTEGER NOT NULL, last TEXT) "
    "STRICT",
)


@dataclass(frozen=True)
class StageRow:
    """What a stage of a model holds: the digests of the signed record and of the model's manifest.

    `revision` counts the changes of this stage from 1.
    """

    name: str
    stage: str
    revision: int
    record: Digest
    manifest: Digest


class StageChange:
    """One change of stages, alone: nobody else changes any until it is over."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def set(self, row: StageRow, head: Head) -> None:
        """Let the stage hold `row`, and remember the log's `head`."""
        self._connection.execute(
            "INSERT INTO stage VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, stage) DO UPDATE SET "
            "revision = excluded.revision, record = excluded.record, manifest = excluded.manifest",
            (row.name, row.stage, row.revision, row.record, row.manifest),
        )
        self.witness(head)

    def clear(self) -> None:
        """Let no stage hold anything."""
        self._connection.execute("DELETE FROM stage")

    def witness(self, head: Head) -> None:
        """Remember the log's `head`."""
        self._connection.execute("INSERT OR REPLACE INTO witness VALUES (0, ?, ?)", (head.entries, head.last))


@dataclass(frozen=True)
class StageTable:
    """The table in the SQLite file `path`, made when first written."""

    path: Path

    @contextlib.contextmanager
    def changing(self) -> Iterator[StageChange]:
        """Change stages alone.  An exception inside undoes every change.

        Raises:
            StorageError: the table cannot be written, or others kept it busy for a minute.
        """
        with storage_errors(f"cannot write {self.path}"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected() as connection:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield StageChange(connection)
                connection.execute("COMMIT")
            except BaseException:  # also Ctrl-C: clean up, then let it go on
                connection.execute("ROLLBACK")
                raise

    def rows(self) -> tuple[StageRow, ...]:
        """What every stage holds, by name and stage.  Raises StorageError."""
        found = self._select("SELECT name, stage, revision, record, manifest FROM stage ORDER BY name, stage")
        return tuple(StageRow(*row) for row in found)

    def witnessed(self) -> Head | None:
        """The last head of the log that was seen, or None.  Raises StorageError."""
        found = self._select("SELECT entries, last FROM witness")
        return Head(*found[0]) if found else None

    def _select(self, query: str) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        with self._connected() as connection:
            known = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
            return connection.execute(query).fetchall() if {"stage", "witness"} <= known else []

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot use the registry's stage table {self.path}",
                why=f"SQLite says: {error}.",
                remedy="Check the disk's free space and that you may write there, then run the same command again.",
            ) from error
