"""What every request passes before it is answered, and what every answer carries.

A browser is the likely way for somebody else's page to reach a port on loopback. Requests must
come under a name that we know (a name made to point to 127.0.0.1 does not), there are no
cross-origin answers, nothing is changed by a request, and no page of ours runs scripts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from aiohttp import web

from collector.console.errors import BadRequest, ConsoleError, Misdirected
from runtime.errors import Fault, VedetteError
from runtime.logs import logger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

METHODS: Final = frozenset({"GET", "HEAD"})
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "vedette",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ENCODER: Final = msgspec.json.Encoder()
_RETRY_AFTER_S: Final = "5"


def known_hosts(port: int, names: Iterable[str]) -> frozenset[str]:
    """Return the Host headers that requests may carry.

    Args:
        port: the one we listen on.
        names: more, as set: host or host:port.
    """
    ours = ("127.0.0.1", "localhost", "[::1]")
    return frozenset({f"{name}:{port}" for name in ours} | {name.lower() for name in names})


def guard(hosts: Callable[[], frozenset[str]], timeout_s: float) -> Handler:
    """Return the middleware that refuses what is not for us and answers every failure.

    Args:
        hosts: the Host headers that requests may carry.
        timeout_s: how long one answer may take.
    """
    log = logger(__name__)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check(request, hosts())
            async with asyncio.timeout(timeout_s):
                return await handler(request)
        except ConsoleError as error:
            return problem(error.status, error)
        except VedetteError as error:
            log.warning("request failed", path=request.path, error=error)
            return problem(_status(error), error)
        except TimeoutError:
            return problem(503, VedetteError(f"no answer within {timeout_s:g} s"))
        except web.HTTPException as error:
            return problem(error.status, VedetteError(error.reason.lower()))

    return middleware  # type: ignore[return-value]  # aiohttp's own type of a middleware


def problem(status: int, error: VedetteError) -> web.Response:
    """Return a failure as a problem document.

    Source: RFC 9457.
    """
    body = {"title": error.message, "status": status, "detail": error.hint}
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="vedette"'
    if status == 503:
        headers["Retry-After"] = _RETRY_AFTER_S
    return web.Response(
        body=_ENCODER.encode(body),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on an answer that every answer carries."""
    response.headers.update(HEADERS)


def _status(error: VedetteError) -> int:
    """Return the status of a failure in another room."""
    if error.retryable:
        return 503
    return 400 if error.fault is Fault.PEER else 500


def _check(request: web.Request, hosts: frozenset[str]) -> None:
    if request.headers.get("Host", "").lower() not in hosts:
        raise Misdirected(
            "this name is not ours", hint="use 127.0.0.1 or localhost, or set console.host_names"
        )
    if request.method not in METHODS:
        raise web.HTTPMethodNotAllowed(request.method, METHODS)
    if request.body_exists:
        raise BadRequest("a request has no body here")
