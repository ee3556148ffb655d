"""Listens for the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from collector.console.app import Sources, build_app
from collector.console.guard import known_hosts
from collector.console.settings import ConsoleSettings
from runtime.logs import logger

STOP_WAIT_S = 2.0


@asynccontextmanager
async def listening(sources: Sources, settings: ConsoleSettings) -> AsyncIterator[int]:
    """Serve the console while the context lasts; gives the port.

    Args:
        sources: what it shows.
        settings: where it listens, and its limits.

    Raises:
        OSError: the address cannot be listened on.
    """
    hosts: frozenset[str] = frozenset()
    app = build_app(sources, settings, lambda: hosts)
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=settings.keepalive_s,
        shutdown_timeout=STOP_WAIT_S,
    )
    await runner.setup()
    host, port = settings.split()
    try:
        await web.TCPSite(runner, host, port).start()
        chosen: int = runner.addresses[0][1]
        hosts = known_hosts(chosen, settings.host_names)
        logger(__name__).info("console listens", host=host, port=chosen)
        yield chosen
    finally:
        await runner.cleanup()
