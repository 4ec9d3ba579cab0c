"""Answers that survive a crash in the middle of a check.

    UNFINISHED/HEX.journal     one file a measurement that was begun and not recorded, named by its cache key

Each answered request is appended to its measurement's journal; the next attempt at the same measurement takes the
answer from there, and the journal goes when the measurement is recorded.  The cache key holds the checkpoint, the check
with its data and settings, the serving configuration, the environment and the seed, so an answer never serves another
question.  Failed requests are not kept: they are asked again.  Equal requests are counted: the second of two is
answered by the second recorded answer or by the server, never by the first again.  Streams, and with them every figure
of speed, are never kept.

Trust boundary: whoever can read the pipeline's private key can sign evidence, and can forge a journal too; nobody else
can.  The folder and the files are the pipeline's user's alone, which is checked, and each line carries an HMAC-SHA256
under a key derived from the pipeline's private key for this one measurement (HKDF, RFC 5869), over its place and its
content.  A line that was edited, moved, copied from another journal or put in between ends the attempt with an error.
A torn last line, as a crash leaves it, is dropped, and lines cut off at the end are asked again.  A journal begun more
than a week ago is begun anew: what a measurement of today rests on is not much older than it says.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import stat
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from checks.contract import Answer, Score
from pipeline.digests import Digest, hex_of, parse_digest
from pipeline.errors import EvidenceError
from pipeline.files import storage_errors
from pipeline.keys import SigningKey

_R = TypeVar("_R")
_PURPOSE = b"airlock journal of answered requests v1"
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_LINE_LIMIT = 1024**2  # bytes; an answer that needs more is asked again
_FILE_LIMIT = 4 * 1024**3  # bytes; what is answered beyond is asked again
_SYNC_SECONDS = 5.0  # between two syncs: what a power cut, unlike a crash, can lose
_LONGEST = timedelta(days=7)  # from the first attempt to the last

_Place = tuple[int, int, int]
"""Where a line starts in the file, its length in bytes, and its number."""


@dataclass(frozen=True)
class Form(Generic[_R]):
    """How a result is kept in a journal, as JSON, and restored from it."""

    kept: Callable[[_R], Any]
    restored: Callable[[Any], _R]


ANSWER: Form[Answer] = Form(asdict, lambda kept: Answer(**kept))
SCORES: Form[tuple[Score, ...]] = Form(
    lambda scores: [asdict(score) for score in scores], lambda kept: tuple(Score(**score) for score in kept)
)


def request_digest(path: str, body: Mapping[str, Any]) -> bytes:
    """What makes two requests equal: the path and the whole body."""
    return hashlib.sha256(_JSON.encode([path, body]).encode()).digest()


class Journal:
    """The answers to the requests of one measurement.

    `begun` is the time of its first attempt, `resumed` the number of requests answered from an earlier one.
    """

    begun: datetime
    resumed = 0

    def __init__(self, descriptor: int, path: Path, secret: bytes, now: datetime) -> None:
        """Read the file that `descriptor` has open.  Raises EvidenceError when it was edited."""
        self._descriptor = descriptor
        self._path = path
        self._keyed = hmac.new(secret, digestmod="sha256")
        self._lines = 0
        self._end = 0
        self._synced = time.monotonic()
        self._broken = False
        self._known: dict[bytes, deque[_Place]] = defaultdict(deque)
        self._load()
        if self._lines == 0 or not timedelta() <= now - self.begun <= _LONGEST:
            self._begin(now)

    def take(self, request: bytes) -> Any:
        """The next recorded answer to `request`, or None when there is none left.

        Raises:
            EvidenceError: the file was edited meanwhile.
        """
        places = self._known.get(request)
        if not places:
            return None
        start, length, number = places.popleft()
        with storage_errors(f"cannot read {self._path}"):
            line = os.pread(self._descriptor, length, start)
        answer = self._entry(line, number)["answer"]
        self.resumed += 1
        return answer

    def add(self, request: bytes, answer: Any) -> None:
        """Keep `answer`, a JSON value other than None, as an answer to `request`.

        A full or failing disk costs the protection against a crash and no more: recording the measurement itself will
        meet the same disk, and says so.
        """
        self._append({"request": request.hex(), "answer": answer})

    def sync(self) -> None:
        """Make what was added survive a power cut too."""
        with contextlib.suppress(OSError):  # as in `add`
            os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def discard(self) -> None:
        """Remove the journal: its measurement is recorded.  Raises StorageError."""
        with storage_errors(f"cannot remove {self._path}"):
            self._path.unlink(missing_ok=True)

    def _load(self) -> None:
        with open(self._descriptor, "rb", closefd=False) as file:
            while (line := file.readline(_LINE_LIMIT + 1)).endswith(b"\n"):
                self._index(self._entry(line, self._lines), len(line))
        if len(line) > _LINE_LIMIT:
            raise _edited(self._path)
        self._cut(self._end)  # a torn last line

    def _begin(self, now: datetime) -> None:
        self.begun = now
        self._known.clear()
        self._lines = self._end = 0
        self._cut(0)
        self._append({"begun": now.isoformat()})

    def _cut(self, length: int) -> None:
        with storage_errors(f"cannot write {self._path}"):
            os.ftruncate(self._descriptor, length)

    def _index(self, entry: dict[str, Any], length: int) -> None:
        if self._lines == 0:
            self.begun = datetime.fromisoformat(entry["begun"])
        else:
            self._known[bytes.fromhex(entry["request"])].append((self._end, length, self._lines))
        self._lines += 1
        self._end += length

    def _append(self, entry: Mapping[str, Any]) -> None:
        text = _JSON.encode(entry).encode()
        line = self._mac(text, self._lines) + b" " + text + b"\n"
        if self._broken or len(line) > _LINE_LIMIT or self._end + len(line) > _FILE_LIMIT:
            return
        try:
            _write_all(self._descriptor, line, self._end)
        except OSError:  # see `add`; the line that was written in part is dropped as torn
            self._broken = True
            return
        self._lines += 1
        self._end += len(line)
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        mac, _, text = line.removesuffix(b"\n").partition(b" ")
        if not hmac.compare_digest(mac, self._mac(text, number)):
            raise _edited(self._path)
        return dict(json.loads(text))

    def _mac(self, text: bytes, number: int) -> bytes:
        mac = self._keyed.copy()
        mac.update(number.to_bytes(8) + text)
        return mac.hexdigest().encode()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Journals:
    """The journals under `root`, a folder for this user alone, authenticated by the pipeline's `key`."""

    root: Path
    key: SigningKey
    clock: Callable[[], datetime] = _now

    @contextlib.contextmanager
    def open(self, measurement: Digest) -> Iterator[Journal | None]:
        """The journal of the measurement with this cache key, made if there is none; None while another run has it.

        Raises:
            EvidenceError: it was edited, or others than this user may write to it.
            StorageError: the disk failed.
        """
        path = self.root / f"{hex_of(parse_digest(measurement))}.journal"
        with storage_errors(f"cannot write {path}"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.is_symlink():
                raise _not_ours(path)
            self._sweep()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        try:
            _require_ours(path, descriptor)
            if not _locked(descriptor):
                yield None
                return
            journal = Journal(descriptor, path, self._secret(measurement), self.clock())
            try:
                yield journal
            finally:
                journal.sync()
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove journals that would be begun anew: their measurements were given up, or recorded by another run."""
        oldest = (self.clock() - _LONGEST).timestamp()
        for path in self.root.glob("*.journal"):
            if path.lstat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def _secret(self, measurement: Digest) -> bytes:
        private = self.key.private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return HKDF(hashes.SHA256(), 32, None, _PURPOSE + measurement.encode()).derive(private)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_ours(path: Path, descriptor: int) -> None:
    """Raises EvidenceError unless the open file, and its folder, are this user's alone."""
    file, folder = os.fstat(descriptor), path.parent.stat()
    alone = all(status.st_uid == os.geteuid() and not status.st_mode & 0o022 for status in (file, folder))
    if not stat.S_ISREG(file.st_mode) or file.st_nlink != 1 or not alone:
        raise _not_ours(path)


def _not_ours(path: Path) -> EvidenceError:
    return EvidenceError(
        f"the journal {path} cannot count",
        why="Others than the pipeline's user can write to it, or it is no regular file with one name.",
        remedy=f"Find out who made it, then remove it and see that {path.parent} is the pipeline's user's alone.",
    )


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _edited(path: Path) -> EvidenceError:
    return EvidenceError(
        f"the journal {path} was edited",
        why="A line in it is not what this pipeline wrote at that place for this measurement.",
        remedy="Find out who changed it, then remove it: the requests in it will be asked again.",
    )
