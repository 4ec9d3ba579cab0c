"""One pass over the bytes of a checkpoint: each file is hashed and, where wanted, copied from the same read.

Large files go first and two workers run a core, so that a few large files, the last one too, keep all cores at work
(with one worker a core, three equal files on two cores would take a third longer).  Where there are fewer large files
than cores, each is read and written by a second thread while its worker hashes.  Memory is four buffers a worker.
Where the file system can share blocks (reflink), the copy is cloned first and the clone, which the submitter cannot
write, is what is hashed.  Who wants to see the bytes as well, such as the deep scan of tensors, watches them go by.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from mmap import mmap
from queue import SimpleQueue
from typing import Protocol

from pipeline.digests import Digest
from pipeline.files import storage_errors
from pipeline.manifest import FileEntry
from pipeline.signature.tree import ListedFile, open_beneath, reading_problem

_BUFFER = 1 << 20  # bytes; small enough for a core's own cache, where the hash finds what was just read
_BUFFERS = 4  # a worker
_WORKERS_A_CORE = 2
_LARGE = 1 << 26  # bytes; a file that takes long enough to be worth two threads
_FICLONE = 0x40049409  # ioctl of linux/fs.h: share the blocks of another file
_FILE_MODE = 0o444


class Watcher(Protocol):
    """Sees the bytes of one file, in order.  A chunk is only lent: it holds other bytes once `update` has returned."""

    def update(self, chunk: memoryview) -> None:
        """The next bytes of the file."""


Watch = Callable[[str, int], Watcher | None]
"""From a file's path and size to who wants to see its bytes, or None; called by several threads at a time."""


@dataclass(frozen=True)
class Observed:
    """What one pass saw: an entry for each file that could be read whole, one line for each that could not."""

    files: tuple[FileEntry, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """An open file: its path, and its size when it was opened, past which it is not read."""

    path: str
    descriptor: int
    limit: int


class _StoppedError(Exception):
    """Another worker failed, so that this one's result is of no use."""


@dataclass
class Pass:
    """One pass over files below the open directory `source`.

    `destination`, if given, is an open, empty directory that receives a copy.  Copying (not hashing) stops as soon as a
    file differs from `expected`, because the copy will never be used then.  `progress` is told how many more bytes were
    read, by one thread at a time.  `watch` says who sees the bytes that are hashed.
    """

    source: int
    destination: int | None = None
    expected: Mapping[str, Digest] = field(default_factory=dict)
    progress: Callable[[int], None] | None = None
    watch: Watch | None = None
    _spoiled: threading.Event = field(default_factory=threading.Event)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, files: Sequence[ListedFile]) -> Observed:
        """Read every file once.

        Raises:
            StorageError: the copy could not be written.
        """
        if self.destination is not None:
            _make_directories(self.destination, files)
        largest_first = sorted(files, key=lambda file: -file.size)
        cores = len(os.sched_getaffinity(0))
        few = sum(file.size >= _LARGE for file in files) < cores
        with ThreadPoolExecutor(cores) as movers, ThreadPoolExecutor(_WORKERS_A_CORE * cores) as workers:
            assigned = [(file, movers if few and file.size >= _LARGE else None) for file in largest_first]
            futures = [workers.submit(self._read, file, mover) for file, mover in assigned]
            try:
                results = [future.result() for future in futures]
            except BaseException:  # also Ctrl-C: clean up, then let it go on
                self._stopped.set()
                raise
        return Observed(
            files=tuple(sorted(result for result in results if isinstance(result, FileEntry))),
            problems=tuple(sorted(result for result in results if isinstance(result, str))),
        )

    def _read(self, file: ListedFile, movers: ThreadPoolExecutor | None) -> FileEntry | str:
        try:
            with _closing(open_beneath(self.source, file.path, os.O_RDONLY | os.O_NONBLOCK)) as source:
                return self._read_open(file.path, source, movers)
        except OSError as error:
            self._spoiled.set()
            return reading_problem(file.path, error)

    def _read_open(self, path: str, source: int, movers: ThreadPoolExecutor | None) -> FileEntry | str:
        before = os.fstat(source)
        if not stat.S_ISREG(before.st_mode):
            self._spoiled.set()
            return f"{path}: is no regular file any more"
        size, digest = self._hash(_Source(path, source, before.st_size), movers)
        if size != before.st_size or _state(os.fstat(source)) != _state(before):
            self._spoiled.set()
            return f"{path}: changed while it was read"
        if self.expected.get(path, digest) != digest:
            self._spoiled.set()
        return FileEntry(path, size, digest)

    def _hash(self, source: _Source, movers: ThreadPoolExecutor | None) -> tuple[int, Digest]:
        if self.destination is None or self._spoiled.is_set():
            return self._scan(source)
        with storage_errors(f"cannot store {source.path}"):
            copy = open_beneath(self.destination, source.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        with _closing(copy):
            if _cloned(source.descriptor, copy):
                result = self._scan(replace(source, descriptor=copy))
            elif movers is None:
                result = self._scan(source, copy)
            else:
                result = self._stream(source, copy, movers)
            with storage_errors(f"cannot store {source.path}"):
                os.fchmod(copy, _FILE_MODE)
        return result

    def _scan(self, source: _Source, copy: int | None = None) -> tuple[int, Digest]:
        """Hash what `source` holds and write it to `copy`."""
        buffer = memoryview(_buffer(source))
        state, size, watcher = hashlib.sha256(), 0, self._watcher(source)
        while size <= source.limit and (count := os.readv(source.descriptor, [buffer])):
            state.update(buffer[:count])
            if watcher is not None:
                watcher.update(buffer[:count])
            if copy is not None:
                self._write(source.path, copy, buffer[:count])
            size += count
            self._report(count)
        return size, Digest("sha256:" + state.hexdigest())

    def _stream(self, source: _Source, copy: int, movers: ThreadPoolExecutor) -> tuple[int, Digest]:
        """Hash what `source` holds here, while a mover reads it and writes it to `copy`."""
        free: SimpleQueue[mmap] = SimpleQueue()
        filled: SimpleQueue[tuple[mmap, int] | None] = SimpleQueue()
        for _ in range(_BUFFERS):
            free.put(_buffer(source))
        moving = movers.submit(self._move, source, copy, free, filled)
        state, size, watcher = hashlib.sha256(), 0, self._watcher(source)
        while (chunk := filled.get()) is not None:
            buffer, count = chunk
            state.update(memoryview(buffer)[:count])
            if watcher is not None:
                watcher.update(memoryview(buffer)[:count])
            size += count
            free.put(buffer)
        moving.result()
        return size, Digest("sha256:" + state.hexdigest())

    def _move(
        self,
        source: _Source,
        copy: int,
        free: SimpleQueue[mmap],
        filled: SimpleQueue[tuple[mmap, int] | None],
    ) -> None:
        """Read `source` through the `free` buffers, at most just past its limit; None in `filled` says it is over."""
        size = 0
        try:
            while size <= source.limit and (count := os.readv(source.descriptor, [buffer := free.get()])):
                self._write(source.path, copy, memoryview(buffer)[:count])
                size += count
                filled.put((buffer, count))
                self._report(count)
        finally:
            filled.put(None)

    def _watcher(self, source: _Source) -> Watcher | None:
        return None if self.watch is None else self.watch(source.path, source.limit)

    def _write(self, path: str, copy: int, chunk: memoryview) -> None:
        if self._spoiled.is_set():
            return
        with storage_errors(f"cannot store {path}"):
            while chunk:
                chunk = chunk[os.write(copy, chunk) :]

    def _report(self, count: int) -> None:
        """Tell the caller of progress; stop, if another worker's failure or an interrupt has made this work useless."""
        if self._stopped.is_set():
            raise _StoppedError
        if self.progress is not None:
            with self._lock:
                self.progress(count)


def _buffer(source: _Source) -> mmap:
    """Memory for a part of `source`, or all of it and a byte more, so that a file that grows is noticed.

    It begins where a page does: reading into a bytearray, which does not, took a tenth longer.
    """
    return mmap(-1, min(_BUFFER, source.limit + 1))


def _make_directories(root: int, files: Sequence[ListedFile]) -> None:
    parents = {path[:end] for path in (file.path for file in files) for end, part in enumerate(path) if part == "/"}
    for parent in sorted(parents):
        with storage_errors(f"cannot store {parent}"):
            os.mkdir(parent, 0o755, dir_fd=root)


def _cloned(source: int, copy: int) -> bool:
    """Make `copy` share the blocks of `source`, if both lie on one file system that can; nothing is read."""
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError:  # another file system, or one without this ability: the bytes are copied instead
        return False
    return True


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
