"""A WebSocket client on `websockets`: every length class, fragments, pings, a clean close.

Usage: websockets_client.py URL
"""

import asyncio
import os
import sys

from websockets.asyncio.client import connect


async def main():
    async with connect(sys.argv[1], max_size=64 << 20) as socket:
        for size in [0, 1, 125, 126, 65535, 65536, 3 << 20]:
            data = os.urandom(size)
            await socket.send(data)
            assert await socket.recv() == data, size
        await socket.send(["in ", "three ", "pieces"])
        assert await socket.recv() == "in three pieces"
        for number in range(500):
            await socket.send(f"message {number}")
        for number in range(500):
            assert await socket.recv() == f"message {number}"
        await asyncio.wait_for(await socket.ping(), 10)
    assert socket.close_code == 1000, socket.close_code


asyncio.run(asyncio.wait_for(main(), 30))
