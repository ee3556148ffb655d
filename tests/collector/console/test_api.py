"""The API answers whoever shows the token, about one tenant, and changes nothing."""

import asyncio

import msgspec
import pytest

from certs.errors import IdentityReason, IdentityRefused
from certs.identity import TenantId
from collector.console.api import PREFIX, Api
from collector.console.ports import FindingQuery, PageQuery
from collector.errors import LedgerCorrupt, LedgerUnavailable
from runtime.errors import VedetteError
from tests.collector.builders import TENANT
from tests.collector.console.builders import LOGIN, TOKEN, Everything, a_console

QUESTIONS = {
    "findings": "finding",
    "hosts": "host",
    "incidents": "incident",
    "readiness": "framework",
}
OTHER = TenantId(b"\x07" * 16)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_is_answered_for_the_tenant_that_is_named(question: str) -> None:
    everything = Everything()
    everything.known = [TENANT, OTHER]

    async with (
        a_console(everything) as client,
        client.get(f"{PREFIX}/{question}", params={"tenant": str(OTHER)}, headers=LOGIN) as answer,
    ):
        body = await answer.json()

    assert body == {"items": [{"what": QUESTIONS[question], "tenant": str(OTHER)}]}


async def test_the_tenant_may_be_left_out_while_there_is_only_one() -> None:
    everything = Everything()

    async with a_console(everything) as client:
        async with client.get(f"{PREFIX}/hosts", headers=LOGIN) as one:
            single = await one.json()
        everything.known = [TENANT, OTHER]
        async with client.get(f"{PREFIX}/hosts", headers=LOGIN) as two:
            several = two.status

    assert single["items"][0]["tenant"] == str(TENANT)
    assert several == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
    ],
)
@pytest.mark.parametrize("path", ["tenants", *QUESTIONS])
async def test_nobody_is_answered_without_the_token(path: str, headers: dict[str, str]) -> None:
    everything = Everything()

    async with (
        a_console(everything) as client,
        client.get(f"{PREFIX}/{path}", headers=headers) as answer,
    ):
        assert answer.status == 401
        assert "Bearer" in answer.headers["WWW-Authenticate"]

    assert everything.wanted == []


async def test_without_a_token_of_ours_nobody_is_let_in() -> None:
    async with a_console(token=None) as client:
        for headers in ({}, {"Authorization": "Bearer "}, LOGIN):
            async with client.get(f"{PREFIX}/tenants", headers=headers) as answer:
                assert answer.status == 401


async def test_what_is_wanted_is_read_by_type() -> None:
    everything = Everything()
    params = {"severity_min": "high", "kind": "detection", "limit": "7", "since": "5", "rule": "r"}

    async with a_console(everything) as client:
        for path in ("findings", "incidents"):
            values = params if path == "findings" else {}
            async with client.get(f"{PREFIX}/{path}", params=values, headers=LOGIN) as answer:
                assert answer.status == 200

    assert everything.wanted == [
        FindingQuery(severity_min="high", kind="detection", limit=7, since=5, rule="r"),
        PageQuery(limit=100),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=many",
        "severity_min=worst",
        "kind=%27%20OR%201=1",
        "colour=red",
        "since=-1",
        "since=99999999999999999999",
        "limit=1&limit=2",
        "tenant=nobody",
        "rule=" + "x" * 300,
    ],
)
async def test_a_question_that_we_do_not_read_is_refused_and_explained(query: str) -> None:
    everything = Everything()

    async with (
        a_console(everything) as client,
        client.get(f"{PREFIX}/findings?{query}", headers=LOGIN) as answer,
    ):
        body = await answer.json(content_type=None)

    assert answer.status == 400
    assert body["title"]
    assert everything.wanted == []


async def test_a_tenant_that_is_not_there_is_not_found() -> None:
    async with (
        a_console() as client,
        client.get(f"{PREFIX}/hosts?tenant={OTHER}", headers=LOGIN) as answer,
    ):
        assert answer.status == 404


async def test_tenants_are_listed() -> None:
    async with a_console() as client, client.get(f"{PREFIX}/tenants", headers=LOGIN) as answer:
        body = msgspec.json.decode(await answer.read())

    assert body == {"items": [{"tenant": str(TENANT)}]}


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (LedgerUnavailable("not now"), 503),
        (LedgerCorrupt("damaged"), 500),
        (IdentityRefused(IdentityReason.ID, "not an id"), 400),
    ],
)
async def test_a_source_that_fails_is_a_problem_document(
    failure: VedetteError, status: int
) -> None:
    everything = Everything()
    everything.failure = failure

    async with (
        a_console(everything) as client,
        client.get(f"{PREFIX}/hosts", headers=LOGIN) as answer,
    ):
        body = await answer.json(content_type="application/problem+json")

    assert (answer.status, body["title"]) == (status, failure.message)


async def test_too_many_questions_at_once_are_turned_away() -> None:
    everything = Everything()
    everything.delay_s = 0.3
    go = {"queries_at_once_max": 1, "queries_waiting_max": 0}

    async with a_console(everything, settings=go) as client:

        async def ask() -> int:
            async with client.get(f"{PREFIX}/hosts", headers=LOGIN) as answer:
                return answer.status

        statuses = sorted(await asyncio.gather(ask(), ask()))

    assert statuses == [200, 503]


def test_every_route_is_below_the_versioned_prefix() -> None:
    routes = Api(Everything(), None, None).routes()  # type: ignore[arg-type]

    assert {route.method for route in routes} == {"GET"}
    assert all(route.path.startswith("/api/v1/") for route in routes)
