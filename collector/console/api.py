"""``/api/v1``: questions about one tenant, answered as JSON; nothing can be changed here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from certs.errors import IdentityRefused
from certs.identity import TenantId
from collector.console.access import check_token
from collector.console.desk import Desk
from collector.console.errors import BadRequest, NotThere
from collector.console.ports import FindingQuery, PageQuery, Queries, Row
from runtime.logs import Redacted

Q = TypeVar("Q", bound=Struct)

PREFIX: Final = "/api/v1"
_ENCODER: Final = msgspec.json.Encoder()


class Api:
    """The handlers of the API.

    Args:
        queries: what it answers from.
        desk: where questions are answered.
        token: whoever shows it may ask; None lets nobody in.
    """

    def __init__(self, queries: Queries, desk: Desk, token: Redacted | None) -> None:
        self._queries = queries
        self._desk = desk
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        """Return what is answered where."""
        return [
            web.get(f"{PREFIX}/tenants", self.tenants),
            web.get(f"{PREFIX}/findings", self.findings),
            web.get(f"{PREFIX}/hosts", self.hosts),
            web.get(f"{PREFIX}/incidents", self.incidents),
            web.get(f"{PREFIX}/readiness", self.readiness),
        ]

    async def tenants(self, request: web.Request) -> web.Response:
        """Answer with the tenants there are.

        Raises:
            NotAllowed: no token, or another one.
        """
        self._allow(request)
        tenants = await self._desk.ask(self._queries.tenants)
        return _items([{"tenant": str(tenant)} for tenant in tenants])

    async def findings(self, request: web.Request) -> web.Response:
        """Answer with a tenant's findings, the newest first.

        Raises:
            ConsoleError: the request is not allowed, or none that we read.
        """
        return await self._answer(request, FindingQuery, self._queries.findings)

    async def hosts(self, request: web.Request) -> web.Response:
        """Answer with a tenant's hosts.

        Raises:
            ConsoleError: the request is not allowed, or none that we read.
        """
        return await self._answer(request, PageQuery, self._queries.hosts)

    async def incidents(self, request: web.Request) -> web.Response:
        """Answer with a tenant's incidents, the latest first.

        Raises:
            ConsoleError: the request is not allowed, or none that we read.
        """
        return await self._answer(request, PageQuery, self._queries.incidents)

    async def readiness(self, request: web.Request) -> web.Response:
        """Answer with a tenant's readiness for each framework.

        Raises:
            ConsoleError: the request is not allowed, or none that we read.
        """
        return await self._answer(request, PageQuery, self._queries.readiness)

    def _allow(self, request: web.Request) -> None:
        check_token(request.headers.get("Authorization", ""), self._token)

    async def _answer(
        self,
        request: web.Request,
        shape: type[Q],
        question: Callable[[TenantId, Q], Iterable[Row]],
    ) -> web.Response:
        self._allow(request)
        values = dict(request.query)
        if len(values) != len(request.query):
            raise BadRequest("a parameter stands twice")
        named = values.pop("tenant", None)
        wanted = _decoded(values, shape)

        def ask() -> list[Row]:
            tenant = _meant(self._queries.tenants(), named)
            return list(question(tenant, wanted))

        return _items(await self._desk.ask(ask))


def _meant(tenants: Iterable[TenantId], named: str | None) -> TenantId:
    """Return the tenant a request means; it may be left out while there is only one."""
    known = list(tenants)
    if named is None:
        if len(known) != 1:
            raise BadRequest("name a tenant", hint="tenant=ID; see /api/v1/tenants")
        return known[0]
    try:
        tenant = TenantId.parse(named)
    except IdentityRefused as error:
        raise BadRequest("tenant is not an id", hint=error.hint) from error
    if tenant not in known:
        raise NotThere("there is no such tenant", hint="see /api/v1/tenants")
    return tenant


def _decoded(values: Mapping[str, str], shape: type[Q]) -> Q:
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(shape.__struct_fields__)
        raise BadRequest(str(error), hint=f"parameters: tenant, {known}") from error


def _items(rows: list[Row] | list[dict[str, str]]) -> web.Response:
    return web.Response(body=_ENCODER.encode({"items": rows}), content_type="application/json")
