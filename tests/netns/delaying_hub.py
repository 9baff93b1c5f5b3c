"""A TCP forwarder that holds everything back for a while: python delaying_hub.py PORT SECONDS.

Connections are redirected to it by the firewall; where they were going is asked of the kernel
(`SO_ORIGINAL_DST`). Each direction is delayed alone: what is written arrives so much later, at
whatever rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys

SO_ORIGINAL_DST = 80
CHUNK_BYTES = 1 << 16
MAX_CHUNKS = 256


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Hand on what is read, and its end, `seconds` later."""
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS)
    clock = asyncio.get_running_loop().time

    async def read() -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
            await under_way.put((clock() + seconds, data))

    reading = asyncio.create_task(read())
    with contextlib.suppress(OSError):
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(due - clock())
            if not data:
                break
            writer.write(data)
            await writer.drain()
    reading.cancel()
    writer.close()


async def main(port: int, seconds: float) -> None:
    carriers: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        to_port, packed = struct.unpack("!2xH4s8x", raw)
        await asyncio.sleep(seconds)
        try:
            far = await asyncio.open_connection(socket.inet_ntoa(packed), to_port)
        except OSError:
            writer.close()
            return
        for one in (carry(reader, far[1], seconds), carry(far[0], writer, seconds)):
            task = asyncio.create_task(one)
            carriers.add(task)
            task.add_done_callback(carriers.discard)

    server = await asyncio.start_server(accept, "0.0.0.0", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
