"""A zip archive from outside, read within bounds: nothing is written, and a bomb is refused before it is unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator

from pipeline.imported.reading import unusable

MEMBER_LIMIT = 64 * 1024**2  # bytes of one unpacked file
TOTAL_LIMIT = 1024**3  # bytes of all unpacked files
_MEMBERS = 200_000
_ZSTANDARD = 93  # the method's number in the zip format; this Python's own reader does not know it
_LOCAL_HEADER = 30  # bytes, before a member's name
_ENCRYPTED = 0x1


def read_archive(data: bytes, name: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """The members of the zip archive `data` whose names are `wanted`, one at a time.

    Raises:
        FileFormatError: it is no zip archive, cut off or damaged, encrypted, has a name twice, or would unpack to more
            than TOTAL_LIMIT bytes, or a member of it to more than MEMBER_LIMIT.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if wanted(member.filename)]
            _require_bounds(archive.infolist(), members, name)
            for member in members:
                yield member.filename, _content(archive, member, data, name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError) as error:
        raise unusable(name, f"It is no zip archive that can be read: {error}"[:300]) from error


def _require_bounds(every: list[zipfile.ZipInfo], members: list[zipfile.ZipInfo], name: str) -> None:
    if len(every) > _MEMBERS:
        raise unusable(name, f"It holds {len(every):,} files; at most {_MEMBERS:,} are read")
    if len({member.filename for member in every}) != len(every):
        raise unusable(name, "It holds two files of the same name")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise unusable(name, "It is encrypted")
    largest, total = max((m.file_size for m in members), default=0), sum(m.file_size for m in members)
    if largest > MEMBER_LIMIT or total > TOTAL_LIMIT:
        raise unusable(name, f"It would unpack to {total:,} bytes, {largest:,} of them in one file, which is too much")


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, data: bytes, name: str) -> bytes:
    """A member's bytes: no more than it declares, whatever its compressed bytes hold."""
    if member.compress_type == _ZSTANDARD:
        content = _zstandard(data, member)
    else:
        with archive.open(member) as file:
            content = file.read(member.file_size + 1)
    if len(content) != member.file_size or zlib.crc32(content) != member.CRC:
        raise unusable(name, f"'{member.filename:.100}' is not the file that was packed")
    return content


def _zstandard(data: bytes, member: zipfile.ZipInfo) -> bytes:
    """A member that is compressed with Zstandard, as the central directory says where it lies."""
    import pyarrow

    start = member.header_offset + _LOCAL_HEADER
    lengths = data[start - 4 : start]
    start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    packed = pyarrow.BufferReader(data[start : start + member.compress_size])
    with pyarrow.CompressedInputStream(packed, "zstd") as stream:
        content: bytes = stream.read(member.file_size + 1)
    return content
