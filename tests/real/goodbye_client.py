"""A WebSocket client on `websockets` that exchanges a few messages, prints `open`, and then the code it is
closed with.

Usage: goodbye_client.py URL CA
"""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


async def main():
    url = sys.argv[1]
    context = ssl.create_default_context(cafile=sys.argv[2]) if url.startswith("wss") else None
    async with connect(url, ssl=context) as socket:
        for size in [0, 5, 126, 70000]:
            await socket.send(bytes(size))
            assert await socket.recv() == bytes(size)
        print("open", flush=True)
        try:
            await socket.recv()
        except ConnectionClosed:
            print(socket.close_code, flush=True)


asyncio.run(asyncio.wait_for(main(), 30))
