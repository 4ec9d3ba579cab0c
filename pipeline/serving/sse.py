"""Server-sent events (WHATWG HTML, section 9.2): bytes in pieces of any size -> the data of each event.

Only the `data` field is read; OpenAI's protocol uses no other.
"""

from __future__ import annotations

import re

EVENT_LIMIT = 4 * 1024 * 1024  # bytes; far more than any chunk of an answer, and an end to a hostile stream

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventTooLargeError(ValueError):
    """An event never ends."""


class EventParser:
    """Feed it bytes as they come; it returns the data of the events that they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that ends within `piece`.

        Raises:
            EventTooLargeError: more than `EVENT_LIMIT` bytes came without the end of an event.
        """
        buffer = self._rest + piece
        # A carriage return at the very end may be half of a line end: it waits for the next piece.
        held = buffer[-1:] if buffer.endswith(b"\r") else b""
        *lines, last = _LINE_END.split(buffer[: len(buffer) - len(held)])
        self._rest = last + held
        events = [data for line in lines if (data := self._line(line)) is not None]
        if self._size + len(self._rest) > EVENT_LIMIT:
            raise EventTooLargeError(f"an event of more than {EVENT_LIMIT} bytes")
        return events

    def _line(self, line: bytes) -> bytes | None:
        """Take one line; the event's data if it was the empty line that ends an event."""
        if line == b"":
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None
