"""The audit log: append-only, signed, hash-chained.

    AUDIT/
      log.jsonl     one DSSE envelope a line; each payload names its index and the digest of the line before
      head.json     a DSSE envelope that names the number of entries and the digest of the last
      lock          serialises writers

An edited, reordered, inserted or deleted entry breaks the chain or a signature; a truncated log falls short of its
signed head.  What no log can see from inside is that log and head were both put back to an earlier state; so heads are
also kept elsewhere (the registry's stage table does), and `AuditLog.verify` compares with such a witness.

The line is synced before the head.  A crash between the two leaves one complete entry beyond the head: it is genuine,
counts, and the next append acknowledges it.  Two or more of them mean that an old head was put back.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.digests import Digest, canonical_json, parse_digest, sha256
from pipeline.errors import AirlockError, EvidenceError, FileFormatError, StorageError, SystemFailureError
from pipeline.evidence.envelope import open_envelope, seal
from pipeline.files import read_bounded, storage_errors, storage_failure, sync_directory, write_atomic
from pipeline.keys import SigningKey, VerifyingKey

ENTRY_PAYLOAD = "application/vnd.airlock.log-entry.v1+json"
HEAD_PAYLOAD = "application/vnd.airlock.log-head.v1+json"
_LINE_LIMIT = 1024 * 1024  # bytes
_LOG_LIMIT = 4 * 1024**3  # bytes
_CLOCK_TOLERANCE = timedelta(minutes=5)  # how far a clock may step back between two entries


@dataclass(frozen=True)
class Entry:
    """One event.  `digest` is that of its line, to which the next entry is chained; `signer` that of its key."""

    index: int
    previous: Digest | None
    time: datetime
    event: str
    subject: Digest | None
    details: Mapping[str, Any]
    digest: Digest
    signer: Digest


@dataclass(frozen=True)
class Head:
    """Where the log ends: its number of entries, and the digest of the last (None for an empty log)."""

    entries: int
    last: Digest | None


@dataclass(frozen=True)
class _Tail:
    """What the signed head says: entries, the last entry's digest, and its extent in the file in bytes."""

    entries: int = 0
    last: Digest | None = None
    start: int = 0
    end: int = 0


def _now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """The log in the folder `path`; entries count when one of the `trusted` keys signed them."""

    def __init__(self, path: Path, trusted: Sequence[VerifyingKey], *, clock: Callable[[], datetime] = _now) -> None:
        self.path = path
        self.trusted = tuple(trusted)
        self._clock = clock
        self._file = path / "log.jsonl"
        self._head = path / "head.json"

    def append(self, event: str, subject: Digest | None, details: Mapping[str, Any], key: SigningKey) -> Entry:
        """Add an entry about the checkpoint `subject`, signed by `key`; durable when this returns.

        Raises:
            EvidenceError: the end of the log was edited, or `key` is not trusted here.
            SystemFailureError: the clock stands well before the last entry's time.
            StorageError: the disk failed; the log is as it was.
        """
        with self._locked(exclusive=True):
            tail, before = self._end()
            now = self._clock().astimezone(UTC)
            self._require_forward(before, now)
            line = seal(_payload(tail, now, event, subject, details), ENTRY_PAYLOAD, [key]) + b"\n"
            entry = self._entry(line[:-1], tail.entries, tail.last)
            self._write(tail, line, key)
            return entry

    def entries(self) -> tuple[Entry, ...]:
        """Every entry, oldest first, each with its signature, its place in the chain and the head checked.

        Raises:
            EvidenceError: the log was edited, reordered, cut or extended.
        """
        with self._locked(exclusive=False):
            tail = self._signed_tail()
            lines = self._lines()
            entries = tuple(self._chain(lines))
            self._check_against(tail, entries)
            return entries

    def verify(self, witness: Head | None = None) -> Head:
        """Check the whole log, and that it continues what `witness`, a head kept elsewhere, saw; returns its head.

        Raises:
            EvidenceError: as `entries`, or the log is older than the witness or another log.
        """
        entries = self.entries()
        head = Head(len(entries), entries[-1].digest if entries else None)
        require_witnessed(entries, witness)
        return head

    def latest(self) -> datetime | None:
        """The time of the last entry: no honest clock stands before it.  Raises EvidenceError."""
        entries = self.entries()
        return entries[-1].time if entries else None

    def _write(self, tail: _Tail, line: bytes, key: SigningKey) -> None:
        after = _Tail(tail.entries + 1, sha256(line[:-1]), tail.end, tail.end + len(line))
        what = f"cannot write the audit log {self._file}"
        with storage_errors(what):
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, tail.end)  # a line torn by an earlier crash
            _write_all(descriptor, line, tail.end)
            os.fsync(descriptor)
            if tail.end == 0:
                sync_directory(self.path)
            write_atomic(self._head, seal(_head_payload(after), HEAD_PAYLOAD, [key]))
        except (OSError, StorageError) as error:
            with contextlib.suppress(OSError):  # if this fails too, the entry is whole and counts
                os.ftruncate(descriptor, tail.end)
            if isinstance(error, StorageError):
                raise
            raise storage_failure(what, error) from error
        finally:
            os.close(descriptor)

    def _end(self) -> tuple[_Tail, Entry | None]:
        """The end of the log as it stands, with one entry beyond the head adopted; reads the last lines only."""
        tail = self._signed_tail()
        with storage_errors(f"cannot read the audit log {self._file}"):
            last, rest = _read_from(self._file, tail)
        if tail.entries == 0:
            entry = None
        elif last and last[-1:] == b"\n" and sha256(last[:-1]) == tail.last:
            entry = self._entry(last[:-1], tail.entries - 1, None)
        else:
            raise _tampered("its last entry is missing or not the one that the signed head names")
        lines = _complete(rest)
        if len(lines) > 1:
            raise _old_head(len(lines))
        for line in lines:
            entry = self._entry(line, tail.entries, tail.last)
            tail = _Tail(tail.entries + 1, sha256(line), tail.end, tail.end + len(line) + 1)
        return tail, entry

    def _signed_tail(self) -> _Tail:
        if not self._head.exists():
            return _Tail()
        opened = open_envelope(read_bounded(self._head), HEAD_PAYLOAD, self.trusted)
        try:
            value = json.loads(opened.payload)
            return _Tail(int(value["entries"]), parse_digest(value["last"]), int(value["start"]), int(value["end"]))
        except (ValueError, TypeError, KeyError, FileFormatError) as error:
            raise _tampered("its signed head cannot be read") from error

    def _lines(self) -> list[bytes]:
        if not self._file.exists():
            return []
        size = self._file.lstat().st_size
        return _complete(read_bounded(self._file, limit=min(size + _LINE_LIMIT, _LOG_LIMIT)))

    def _chain(self, lines: Sequence[bytes]) -> Iterator[Entry]:
        previous: Digest | None = None
        for index, line in enumerate(lines):
            entry = self._entry(line, index, previous)
            previous = entry.digest
            yield entry

    def _entry(self, line: bytes, index: int, previous: Digest | None) -> Entry:
        """The entry in `line`, whose index and predecessor are known.  (No predecessor given: it is not compared.)"""
        try:
            opened = open_envelope(line, ENTRY_PAYLOAD, self.trusted)
        except AirlockError as error:
            raise _tampered(f"entry {index} is not signed by a trusted key ({error.why.rstrip('.')})") from error
        entry = _parse_entry(opened.payload, sha256(line), opened.signers[0], index)
        if entry.index != index:
            raise _tampered(f"entry {entry.index} stands at place {index}: entries were removed, added or reordered")
        if previous is not None and entry.previous != previous:
            raise _tampered(f"entry {index} does not continue the entry before it")
        if (entry.previous is None) != (index == 0):
            raise _tampered(f"entry {index} does not continue the entry before it")
        return entry

    def _check_against(self, tail: _Tail, entries: Sequence[Entry]) -> None:
        if len(entries) < tail.entries:
            raise _tampered(f"it has {len(entries)} entries where its signed head counts {tail.entries}: it was cut")
        if tail.entries and entries[tail.entries - 1].digest != tail.last:
            raise _tampered("its last entry is not the one that the signed head names")
        if len(entries) > tail.entries + 1:
            raise _old_head(len(entries) - tail.entries)

    def _require_forward(self, before: Entry | None, now: datetime) -> None:
        if before is not None and now < before.time - _CLOCK_TOLERANCE:
            raise SystemFailureError(
                "the clock was set back",
                why=f"It says {now:%Y-%m-%d %H:%M} UTC; the log's last entry is from {before.time:%Y-%m-%d %H:%M} UTC.",
                remedy="Set the clock right, then run the same command again; nothing was recorded.",
            )

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the log's lock.  A reader of a copy that it may not write to goes without: nobody writes there."""
        try:
            if exclusive:
                self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if exclusive:
                raise storage_failure(f"cannot write the audit log in {self.path}", error) from error
            yield
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)


def require_witnessed(entries: Sequence[Entry], witness: Head | None) -> None:
    """Check that the log with `entries` continues the one that `witness` saw.

    Raises:
        EvidenceError: it is older, or another log.
    """
    if witness is None or witness.entries == 0:
        return
    if len(entries) < witness.entries:
        raise _tampered(f"it has {len(entries)} entries, and {witness.entries} were seen: it was put back")
    if entries[witness.entries - 1].digest != witness.last:
        raise _tampered(f"its entry {witness.entries - 1} is not the one that was seen: it is another log")


def _payload(tail: _Tail, now: datetime, event: str, subject: Digest | None, details: Mapping[str, Any]) -> bytes:
    return canonical_json(
        {
            "index": tail.entries,
            "previous": tail.last,
            "time": now.isoformat(timespec="microseconds"),
            "event": event,
            "subject": subject,
            "details": dict(details),
        }
    )


def _head_payload(tail: _Tail) -> bytes:
    return canonical_json({"entries": tail.entries, "last": tail.last, "start": tail.start, "end": tail.end})


def _parse_entry(payload: bytes, digest: Digest, signer: Digest, place: int) -> Entry:
    try:
        value = json.loads(payload)
        return Entry(
            index=int(value["index"]),
            previous=None if value["previous"] is None else parse_digest(value["previous"]),
            time=datetime.fromisoformat(value["time"]),
            event=str(value["event"]),
            subject=None if value["subject"] is None else parse_digest(value["subject"]),
            details=dict(value["details"]),
            digest=digest,
            signer=signer,
        )
    except (ValueError, TypeError, KeyError, RecursionError, FileFormatError) as error:
        raise _tampered(f"entry {place} cannot be read") from error


def _read_from(path: Path, tail: _Tail) -> tuple[bytes, bytes]:
    """The last acknowledged line and what follows it."""
    if not path.exists():
        return b"", b""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(tail.start)
        return file.read(tail.end - tail.start), file.read(4 * _LINE_LIMIT)


def _complete(data: bytes) -> list[bytes]:
    """The complete lines of `data`; a torn last line was never acknowledged and does not count."""
    return data.split(b"\n")[:-1]


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _old_head(extra: int) -> EvidenceError:
    return _tampered(f"{extra} entries follow its signed head, where a crash leaves one: an old head was put back")


def _tampered(problem: str) -> EvidenceError:
    return EvidenceError(
        "the audit log does not verify",
        why=f"As it stands, {problem}.",
        remedy="Restore the log from its backup, and find out who could write to it; nothing was recorded.",
    )
