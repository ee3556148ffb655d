"""The console as one application: health, metrics, status page and API behind one guard."""

from collections.abc import Callable, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct

from collector.console.api import Api
from collector.console.desk import Desk
from collector.console.guard import add_headers, guard
from collector.console.metrics import CONTENT_TYPE, exposition
from collector.console.page import STYLE, render
from collector.console.ports import Check, MetricsSource, Queries, Readiness
from collector.console.settings import ConsoleSettings
from runtime.logs import Redacted

_ENCODER = msgspec.json.Encoder()


class Sources(Struct, frozen=True):
    """What the console shows.

    Args:
        version: of the collector.
        readiness: whether it can do its work.
        metrics: every number there is.
        queries: what the API answers from.
        token: for the API; None turns it off.
    """

    version: str
    readiness: Readiness
    metrics: MetricsSource
    queries: Queries
    token: Redacted | None


def build_app(
    sources: Sources, settings: ConsoleSettings, hosts: Callable[[], frozenset[str]]
) -> web.Application:
    """Return the application.

    Args:
        sources: what it shows.
        settings: limits.
        hosts: the Host headers that requests may carry; asked for each request, because the port
            may be chosen only when listening begins.
    """
    desk = Desk(settings.queries_at_once_max, settings.queries_waiting_max)
    pages = _Pages(sources, desk)
    app = web.Application(
        middlewares=[guard(hosts, settings.request_timeout_s)],  # type: ignore[list-item]
        client_max_size=1024,
    )
    app.on_response_prepare.append(add_headers)

    async def close(_: web.Application) -> None:
        desk.close()

    app.on_cleanup.append(close)
    app.add_routes(
        [
            web.get("/livez", pages.livez),
            web.get("/readyz", pages.readyz),
            web.get("/metrics", pages.metrics),
            web.get("/", pages.status),
            web.get("/style.css", pages.style),
            *Api(sources.queries, desk, sources.token).routes(),
        ]
    )
    return app


class _Pages:
    """What is answered without a login: nothing of it is data of a host."""

    def __init__(self, sources: Sources, desk: Desk) -> None:
        self._sources = sources
        self._desk = desk

    async def livez(self, _: web.Request) -> web.Response:
        """Answer that this process runs."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer whether the collector can do its work: 200, or 503 with what does not hold."""
        checks = await self._desk.ask(self._sources.readiness.checks)
        ready = _is_ready(checks)
        body = {"ready": ready, "checks": {check.name: check.ok for check in checks}}
        return web.Response(
            body=_ENCODER.encode(body),
            status=200 if ready else 503,
            content_type="application/json",
        )

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with every number, for Prometheus."""
        text = await self._desk.ask(lambda: exposition(self._sources.metrics.samples()))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def status(self, _: web.Request) -> web.Response:
        """Answer with the status page."""

        def ask() -> str:
            checks = self._sources.readiness.checks()
            return render(self._sources.version, checks, self._sources.metrics.samples())

        return web.Response(text=await self._desk.ask(ask), content_type="text/html")

    async def style(self, _: web.Request) -> web.Response:
        """Answer with the style of the status page."""
        return web.Response(text=STYLE, content_type="text/css")


def _is_ready(checks: Sequence[Check]) -> bool:
    return bool(checks) and all(check.ok for check in checks)
