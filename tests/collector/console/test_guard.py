"""Nothing reaches the console under a foreign name, and every answer carries its headers."""

import asyncio

import pytest
from aiohttp import web

from collector.console.errors import NotThere
from collector.console.guard import HEADERS, add_headers, guard, known_hosts, problem
from runtime.errors import VedetteError
from tests.collector.console.builders import LOGIN, a_console

PATHS = ["/", "/livez", "/readyz", "/metrics", "/api/v1/tenants", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil:80"])
async def test_a_request_under_another_name_is_refused(path: str, host: str) -> None:
    async with (
        a_console() as client,
        client.get(path, headers={"Host": host, **LOGIN}) as answer,
    ):
        body = await answer.json(content_type=None)

    assert answer.status == 421
    assert body["title"] == "this name is not ours"


async def test_a_request_without_a_name_is_refused() -> None:
    async with a_console() as client:
        port = client._base_url.port  # type: ignore[union-attr]  # noqa: SLF001 - the fake's port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
        first = await reader.readline()
        writer.close()

    assert b" 421 " in first


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "[::1]"])
async def test_every_name_of_this_machine_is_ours(host: str) -> None:
    async with a_console() as client:
        port = client._base_url.port  # type: ignore[union-attr]  # noqa: SLF001 - the fake's port
        async with client.get("/livez", headers={"Host": f"{host}:{port}"}) as answer:
            assert answer.status == 200


async def test_a_name_that_was_set_is_ours() -> None:
    names = ("Vedette.Example", "proxy.example:8443")
    async with a_console(settings={"host_names": names}) as client:
        for host in ("vedette.example", "proxy.example:8443"):
            async with client.get("/livez", headers={"Host": host}) as answer:
                assert answer.status == 200


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_carries_the_headers(path: str) -> None:
    async with a_console() as client, client.get(path, headers=LOGIN) as answer:
        shown = {name: answer.headers.get(name) for name in HEADERS}

    assert shown == HEADERS
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "script" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_is_changed_by_a_request(method: str) -> None:
    async with (
        a_console() as client,
        client.request(method, "/api/v1/findings", headers=LOGIN) as answer,
    ):
        assert answer.status == 405


async def test_a_request_with_a_body_is_refused() -> None:
    async with a_console() as client, client.get("/livez", data=b"x" * 100_000) as answer:
        assert answer.status == 400


async def test_an_unknown_path_is_a_problem_document() -> None:
    async with a_console() as client, client.get("/etc/passwd") as answer:
        body = await answer.json(content_type="application/problem+json")

    assert (answer.status, body["status"]) == (404, 404)


def test_ports_are_part_of_our_names() -> None:
    assert known_hosts(6612, ["Siem.Example"]) == {
        *("127.0.0.1:6612", "localhost:6612", "[::1]:6612", "siem.example")
    }


@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (503, "Retry-After")])
def test_a_problem_says_what_to_do(status: int, header: str) -> None:
    answer = problem(status, VedetteError("something", hint="do this"))

    assert answer.headers[header]
    assert b'"detail":"do this"' in (answer.body or b"")  # type: ignore[operator]


async def test_the_guard_stands_alone() -> None:
    async def missing(_: web.Request) -> web.StreamResponse:
        raise NotThere("nothing here")

    app = web.Application(middlewares=[guard(lambda: frozenset({"x"}), 1)])  # type: ignore[list-item]
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", missing)

    assert app.middlewares
