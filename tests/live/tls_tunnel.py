"""What stunnel does for a program that speaks no TLS: takes its plain connections to a TLS port."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tls_tunnel(port: int, trusted: Path) -> Iterator[int]:
    """A plain port of this machine whose connections go to `port` by TLS, with the certificate verified.

    One thread serves them all, for two may not use one TLS connection: OpenSSL loses what one of them writes while the
    other reads the session tickets that follow a handshake.
    """
    context = ssl.create_default_context(cafile=str(trusted))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            inside_reader, inside_writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            await asyncio.gather(_carry(reader, inside_writer), _carry(inside_reader, writer))
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
