"""What stunnel does for a program that speaks no TLS: takes its plain connections to a TLS port."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tls_tunnel(port: int, trusted: Path) -> Iterator[int]:
    """A plain port of this machine whose connections go to `port` by TLS, with the certificate verified.

    One thread serves them all, for two may not use one TLS connection: OpenSSL loses what one of them writes while the
    other reads the session tickets that follow a handshake. It is not this thread, where Playwright may have a loop.
    """
    context = ssl.create_default_context(cafile=str(trusted))
    listening = socket.create_server(("127.0.0.1", 0))
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(listening, port, context, over),))
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _serve(listening: socket.socket, port: int, context: ssl.SSLContext, over: asyncio.Event) -> None:
    """Serve until it is over."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            inside_reader, inside_writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
            await asyncio.gather(_carry(reader, inside_writer), _carry(inside_reader, writer))
        writer.close()

    server = await asyncio.start_server(serve, sock=listening)
    await over.wait()
    server.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
