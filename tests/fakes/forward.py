"""A TCP port on loopback in front of a unix socket, for clients that speak TCP only."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def forwarded(socket: str) -> Iterator[str]:
    """The URL of a port that passes everything on to the unix socket `socket`, until the block ends."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    port: list[int] = []

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: _connect(socket, reader, writer), "127.0.0.1", 0)
        port.append(int(server.sockets[0].getsockname()[1]))
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, name="forward", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the forwarder did not start")
    try:
        yield f"http://127.0.0.1:{port[0]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _connect(socket: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_reader, far_writer = await asyncio.open_unix_connection(socket)
    await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
