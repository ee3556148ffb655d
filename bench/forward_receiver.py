"""A receiver that takes whatever it is sent, as a process of its own, for the bench of forwarding.

Started as ``python -m bench.forward_receiver``; prints its port, ends when its input does. It reads
each request to the end and answers as an HTTP Event Collector that took it; it parses nothing, so
that it never is what is slow.
"""

import asyncio
import sys

from aiohttp import web

ANSWER = b'{"text":"Success","code":0}'


async def answer(request: web.Request) -> web.Response:
    """Read the request to its end and take it."""
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def serve() -> None:
    """Listen on loopback until standard input ends."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/services/collector/event", answer)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
