"""A small HTTP Event Collector on loopback that judges requests by the published rules.

It parses what it is sent, refuses what a real one refuses, and answers as one does; a test can make
it busy, slow, broken or wrong. What it took stands in ``events``, in order.

Source of the rules: Splunk, "Format events for HTTP Event Collector", "Troubleshoot HTTP Event
Collector", "About HTTP Event Collector Indexer Acknowledgment".
"""

import asyncio
import json
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

Event = dict[str, Any]
TOKEN = "0b5f2a0c-7a51-4d5e-9f3a-2f0b1c9d8e7f"


class Refused(Exception):
    """What the receiver answers instead of success."""

    def __init__(self, status: int, code: int, text: str, number: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.body: dict[str, object] = {"text": text, "code": code}
        if number is not None:
            self.body["invalid-event-number"] = number


class HecReceiver:
    """A receiver to be used as an asynchronous context manager."""

    def __init__(self, *, acknowledges: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.token = TOKEN
        self.token_is_enabled = True
        self.indexes: set[str] | None = None
        self.acknowledges = acknowledges
        self.gives_ack_ids = acknowledges
        # Whether an accepted payload counts as indexed when it is asked about.
        self.is_indexed = True
        self.ack_answer: tuple[int, str] | None = None
        self.tells_number = True
        # Answers to give before behaving: (status, body, headers), or "hang", "drop" or "cut".
        self.script: deque[tuple[int, str, dict[str, str]] | str] = deque()
        self.refuses: Callable[[Event], bool] = lambda _: False
        self.size_bytes_max = 1_000_000
        self.wait_s = 0.0
        self.events: list[Event] = []
        self.requests = 0
        self.channels: list[str] = []
        self.acks_asked = 0
        self._acks: dict[str, set[int]] = {}
        self._ack_ids = 0
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        return [event["fields"]["event_id"] for event in self.events]

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/services/collector/event", self._event)
        app.router.add_post("/services/collector/ack", self._ack)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, auto_decompress=False
        )
        await self._runner.setup()
        await self.listen()
        return self

    async def listen(self) -> None:
        assert self._runner is not None
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True
        )
        await site.start()
        self.port = self._runner.addresses[-1][1]

    async def deafen(self) -> None:
        """Stop listening, as a receiver that is down."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _event(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        raw = await request.read()
        if self.script:
            return await self._scripted(request, self.script.popleft())
        await asyncio.sleep(self.wait_s)
        try:
            self._authorise(request)
            events = self._parse(raw, request.headers.get("Content-Encoding", ""))
            channel = self._channel(request)
        except Refused as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        self.events += events
        reply: dict[str, object] = {"text": "Success", "code": 0}
        if self.gives_ack_ids:
            self._acks.setdefault(channel, set()).add(self._ack_ids)
            reply["ackId"] = self._ack_ids
            self._ack_ids += 1
        return web.json_response(reply)

    async def _scripted(
        self, request: web.Request, step: tuple[int, str, dict[str, str]] | str
    ) -> web.StreamResponse:
        if isinstance(step, tuple):
            status, body, headers = step
            return web.Response(status=status, text=body, headers=headers)
        if step == "hang":
            await asyncio.sleep(60)
        elif step == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"text":"Succ')
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    def _authorise(self, request: web.Request) -> None:
        header = request.headers.get("Authorization", "")
        if not header:
            raise Refused(401, 2, "Token is required")
        scheme, _, token = header.partition(" ")
        if scheme != "Splunk":
            raise Refused(401, 3, "Invalid authorization")
        if token != self.token:
            raise Refused(403, 4, "Invalid token")
        if not self.token_is_enabled:
            raise Refused(403, 1, "Token disabled")

    def _channel(self, request: web.Request) -> str:
        channel = request.headers.get("X-Splunk-Request-Channel", "")
        if self.acknowledges and not channel:
            raise Refused(400, 10, "Data channel is missing")
        self.channels.append(channel)
        return channel

    def _parse(self, raw: bytes, encoding: str) -> list[Event]:
        if encoding == "gzip":
            raw = zlib.decompress(raw, 31)
        if len(raw) > self.size_bytes_max:
            raise Refused(413, 27, "Request entity too large")
        text = raw.decode().strip()
        if not text:
            raise Refused(400, 5, "No data")
        events: list[Event] = []
        decoder = json.JSONDecoder()
        at = 0
        while at < len(text):
            number = len(events)
            try:
                event, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                raise self._bad(6, "Invalid data format", number) from error
            self._check(event, number)
            events.append(event)
        return events

    def _check(self, event: Event, number: int) -> None:
        if "event" not in event:
            raise self._bad(12, "Event field is required", number)
        if event["event"] in ("", None, {}, []):
            raise self._bad(13, "Event field cannot be blank", number)
        fields = event.get("fields", {})
        flat = all(isinstance(value, str) for value in fields.values())
        time = event.get("time", 0)
        if not flat or not isinstance(time, int | float) or "e" in json.dumps(time):
            raise self._bad(15, "Error in handling indexed fields", number)
        if self.indexes is not None and event.get("index", "main") not in self.indexes:
            # A real one reports this code one too high.
            raise self._bad(7, "Incorrect index", number + 1)
        if self.refuses(event):
            raise self._bad(6, "Invalid data format", number)

    def _bad(self, code: int, text: str, number: int) -> Refused:
        return Refused(400, code, text, number if self.tells_number else None)

    async def _ack(self, request: web.Request) -> web.Response:
        self.acks_asked += 1
        if self.ack_answer is not None:
            status, body = self.ack_answer
            return web.Response(status=status, text=body)
        try:
            self._authorise(request)
        except Refused as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        if not self.acknowledges:
            return web.json_response({"text": "ACK is disabled", "code": 14}, status=400)
        given = self._acks.setdefault(request.headers["X-Splunk-Request-Channel"], set())
        asked = (await request.json())["acks"]
        answer = {}
        for ack in asked:
            answer[str(ack)] = self.is_indexed and ack in given
            if answer[str(ack)]:
                given.remove(ack)  # it is told once
        return web.json_response({"acks": answer})
