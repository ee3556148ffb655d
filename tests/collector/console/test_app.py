"""Health, metrics and the status page, as those who ask see them."""

import json
from collections.abc import Iterable

import pytest

from collector.console.app import Sources
from collector.console.metrics import CONTENT_TYPE
from collector.console.ports import Sample
from collector.errors import LedgerUnavailable
from tests.collector.console.builders import Everything, a_console


async def test_a_living_process_says_so_whatever_else_is_wrong() -> None:
    everything = Everything()
    everything.failure = LedgerUnavailable("the disk is full")

    async with a_console(everything) as client, client.get("/livez") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
async def test_ready_means_that_every_check_holds(is_ready: bool, status: int) -> None:
    everything = Everything()
    everything.is_ready = is_ready

    async with a_console(everything) as client, client.get("/readyz") as answer:
        body = await answer.json()

    assert (answer.status, body) == (status, {"ready": is_ready, "checks": {"ledger": is_ready}})


async def test_a_collector_without_checks_is_not_ready() -> None:
    class Empty(Everything):
        def checks(self) -> list[object]:  # type: ignore[override]
            return []

    async with a_console(Empty()) as client, client.get("/readyz") as answer:
        assert answer.status == 503


async def test_metrics_are_text_for_prometheus() -> None:
    async with a_console() as client, client.get("/metrics") as answer:
        text = await answer.text()

    assert answer.headers["Content-Type"] == CONTENT_TYPE
    assert 'vedette_ready{check="ledger"} 1.0' in text
    assert "vedette_forward_lag_batches{" in text


async def test_numbers_that_cannot_be_read_now_are_said_to_be_missing() -> None:
    everything = Everything()
    everything.failure = LedgerUnavailable("the disk is failing")

    async with a_console(everything) as client, client.get("/metrics") as answer:
        body = json.loads(await answer.read())

    assert answer.status == 503
    assert body["title"] == "the disk is failing"
    assert answer.headers["Retry-After"]
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_the_status_page_shows_health_lag_and_counts() -> None:
    async with a_console() as client:
        async with client.get("/") as answer:
            page = await answer.text()
        async with client.get("/style.css") as style:
            sheet = await style.text()

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ready" in page
    assert "splunk" in page
    assert "<script" not in page
    assert "font" in sheet


async def test_a_slow_source_costs_its_own_request_only() -> None:
    class Slow(Everything):
        def samples(self) -> Iterable[Sample]:
            self.delay_s = 1.0
            return super().samples()

    async with a_console(Slow(), settings={"request_timeout_s": 0.2}) as client:
        async with client.get("/metrics") as slow:
            body = await slow.json(content_type=None)
        async with client.get("/livez") as quick:
            alive = quick.status

    assert (slow.status, alive) == (503, 200)
    assert "no answer within" in body["title"]


def test_the_sources_show_no_token() -> None:
    everything = Everything()

    shown = repr(Sources("1", everything, everything, everything, None))

    assert "token=None" in shown
