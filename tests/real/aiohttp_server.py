"""A WebSocket application on aiohttp: echoes, and answers its health check with a 204.

Prints the port it listens on. PYTHONPATH may name a folder with aiohttp 3.5.4, which was written for Python
3.7: it then gets back the four names of asyncio that it uses and that later versions took away.
"""

import asyncio
import types


class Protocol(asyncio.Protocol):
    """With a `__dict__`, as before Python 3.8."""


if not hasattr(asyncio, "coroutine"):
    asyncio.coroutine = types.coroutine
    asyncio.coroutines.coroutine = types.coroutine
    asyncio.coroutines._DEBUG = False
    asyncio.Protocol = Protocol

from aiohttp import WSMsgType, __version__, web


async def echo(request):
    socket = web.WebSocketResponse(max_msg_size=64 << 20)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def healthz(request):
    response = web.StreamResponse(status=204)
    await response.prepare(request)
    return response


async def cookies(request):
    response = web.Response(text="eaten")
    for number in range(120):
        response.set_cookie(f"cookie{number}", "x" * 300)
    return response


async def version(request):
    return web.Response(text=__version__)


async def main():
    app = web.Application()
    app.router.add_get("/chat", echo)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/version", version)
    app.router.add_get("/cookies", cookies)
    runner = web.AppRunner(app)
    await runner.setup()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(runner.server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
