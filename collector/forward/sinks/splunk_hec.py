"""Splunk's HTTP Event Collector: concatenated JSON objects over HTTPS, gzip, one token.

A 200 means *accepted for parsing*, not written. Only where the indexers are asked (`acknowledge`)
does an event become ``confirmed``; where they do not answer, it stays ``accepted`` and the
destination says that it is degraded.

Source: Splunk, "Format events for HTTP Event Collector", "About HTTP Event Collector Indexer
Acknowledgment".
"""

import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from collector.forward.document import document, plausible_time, seconds
from collector.forward.errors import SinkMisconfigured, SinkUnavailable
from collector.forward.event import Event
from collector.forward.ports import Sent
from collector.forward.settings import HecDestination
from collector.forward.sinks.hec_reply import (
    REPLY_BYTES_MAX,
    Reply,
    judge,
    parse_acks,
    retry_after_s,
)
from collector.forward.states import State
from collector.forward.tls import client_context
from runtime.clock import NS_PER_S, Clock

EVENT_PATH: Final = "/services/collector/event"
ACK_PATH: Final = "/services/collector/ack"
TOKEN_BYTES_MAX: Final = 4096
CONNECT_WAIT_S_MAX: Final = 10
_GZIP: Final = 31
_ACKS_PER_ASK: Final = 1000
# The status of an endpoint that is not there; a failing one may come back.
_NO_SERVICE: Final = 500

_ENCODER = msgspec.json.Encoder()


class _Open(Struct, frozen=True):
    """A payload that was accepted: its id at the receiver, and since when it waits."""

    ack_id: int
    since_ns: int


def encode(event: Event, now: int, destination: HecDestination) -> bytes:
    """Return one event as a JSON object. Pure.

    Args:
        event: what to tell.
        now: when it is forwarded, nanoseconds UTC.
        destination: index and source type.
    """
    origin = event.origin
    plain = document(event, now)
    envelope = {
        "time": seconds(plausible_time(event)),
        "host": origin.host or origin.agent,
        "source": "vedette",
        "sourcetype": f"{destination.source_type}:{event.kind.value}",
        "event": plain,
        # Indexed, for de-duplication and for searches over millions; values must be text.
        "fields": {
            "event_id": event.uid,
            "finding_id": plain.get("finding_id", ""),
            "tenant": origin.tenant,
            "severity": event.severity.value,
        },
    }
    if destination.index:
        envelope["index"] = destination.index
    return _ENCODER.encode(envelope)


class HecSink:
    """Sends to one receiver.

    Args:
        destination: where and how.
        clock: for stamps and for how long acknowledgements may take.
    """

    def __init__(self, destination: HecDestination, clock: Clock) -> None:
        self.in_flight_max = destination.in_flight_max
        self.ask_wait_s = destination.ack_poll_s
        self._no_ack_id = False
        self._no_answer = ""
        self._destination = destination
        self._clock = clock
        self._base = destination.url.rstrip("/").removesuffix(EVENT_PATH)
        self._channel = str(uuid.uuid4())
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._token_mark: tuple[int, int] | None = None
        self._open: dict[int, _Open] = {}
        self._tokens = 0

    @property
    def degraded(self) -> str:
        """Why events stay accepted where acknowledgement is asked for; empty while they do not."""
        if self._no_ack_id:
            return "the receiver gives no acknowledgement ids"
        return self._no_answer

    def encode(self, event: Event, now: int) -> bytes:
        """Return one event as a JSON object."""
        return encode(event, now, self._destination)

    def pack(self, encoded: Sequence[bytes]) -> bytes:
        """Return the objects one after the other, compressed where asked for."""
        payload = b"".join(encoded)
        if not self._destination.gzip:
            return payload
        packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        return packer.compress(payload) + packer.flush()

    async def send(self, payload: bytes) -> Sent:
        """Post one payload.

        Raises:
            SinkUnavailable: no answer, or a receiver that cannot take anything now.
            SinkMisconfigured: it, or a file we need for it, refuses us as we are set up.
            SinkRejected: an event in it will never be taken.
        """
        status, body, wait_s = await self._post(EVENT_PATH, payload, gzip=self._destination.gzip)
        reply = judge(status, body, wait_s)
        if not self._destination.acknowledge:
            return Sent(State.ACCEPTED)
        return self._accepted(reply)

    async def ask(self, tokens: Sequence[int]) -> Mapping[int, State]:
        """Return which payloads the indexers have written, and which are overdue.

        Raises:
            SinkMisconfigured: a file we need cannot be used.
        """
        asked = [token for token in tokens if token in self._open][:_ACKS_PER_ASK]
        answers = await self._written(asked)
        now_ns = self._clock.monotonic_ns()
        wait_ns = int(self._destination.ack_wait_s_max * NS_PER_S)
        for token in tokens:
            if token in answers:
                continue
            open_ = self._open.get(token)
            if open_ is None or now_ns - open_.since_ns >= wait_ns:
                answers[token] = State.QUEUED
        for token in answers:
            self._open.pop(token, None)
        return answers

    async def close(self) -> None:
        """Close the connections; payloads not yet acknowledged never will be."""
        session, self._session = self._session, None
        self._open.clear()
        self._channel = str(uuid.uuid4())
        self._token_mark = None
        if session is not None:
            await session.close()

    def _accepted(self, reply: Reply) -> Sent:
        self._no_ack_id = reply.ack_id is None
        if reply.ack_id is None:
            return Sent(State.ACCEPTED)
        self._tokens += 1
        self._open[self._tokens] = _Open(reply.ack_id, self._clock.monotonic_ns())
        return Sent(State.ACCEPTED, self._tokens)

    async def _written(self, tokens: Sequence[int]) -> dict[int, State]:
        """Ask the indexers; whatever they do not plainly say is not known."""
        if not tokens:
            return {}
        payload = _ENCODER.encode({"acks": [self._open[token].ack_id for token in tokens]})
        try:
            status, body, _ = await self._post(ACK_PATH, payload)
        except SinkUnavailable as error:
            self._no_answer = f"acknowledgements cannot be asked for: {error.message}"
            return {}
        written = parse_acks(body) if status == 200 else None
        if written is None:
            self._no_answer = f"acknowledgements are not answered: status {status}"
            # A failing service may come back; where there is none, nothing more will be known.
            return {} if status >= _NO_SERVICE else dict.fromkeys(tokens, State.ACCEPTED)
        self._no_answer = ""
        return {token: State.CONFIRMED for token in tokens if written.get(self._open[token].ack_id)}

    async def _post(
        self, path: str, payload: bytes, *, gzip: bool = False
    ) -> tuple[int, bytes, float]:
        headers = {
            "Authorization": f"Splunk {self._read_token()}",
            "Content-Type": "application/json",
            "X-Splunk-Request-Channel": self._channel,
        }
        if gzip:
            headers["Content-Encoding"] = "gzip"
        session = self._connected()
        try:
            async with session.post(
                self._base + path, data=payload, headers=headers, allow_redirects=False
            ) as response:
                body = await _read(response.content)
                wait = response.headers.get("Retry-After", "")
        except aiohttp.ClientSSLError as error:
            raise _tls_failure(error) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise SinkUnavailable(f"no answer: {_reason(error)}") from error
        return response.status, body, retry_after_s(wait, self._clock.wall_ns() / NS_PER_S)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            is_tls = self._base.startswith("https:")
            context = client_context(self._destination.ca_file) if is_tls else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=self.in_flight_max + 1),
                # Behind a load balancer only the indexer that took a payload can acknowledge it.
                cookie_jar=aiohttp.CookieJar(unsafe=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WAIT_S_MAX),
                trust_env=False,
                auto_decompress=False,
                headers={"User-Agent": "vedette", "Accept-Encoding": "identity"},
            )
        return self._session

    def _read_token(self) -> str:
        """Return the token; read again when the file has changed."""
        path = Path(self._destination.token_file)
        try:
            found = path.stat()
            mark = (found.st_mtime_ns, found.st_ino)
            if mark != self._token_mark:
                with path.open("rb") as file:
                    self._token = file.read(TOKEN_BYTES_MAX).decode("ascii").strip()
                self._token_mark = mark
        except (OSError, ValueError) as error:
            raise SinkMisconfigured(
                f"cannot read the token in {path}: {error}", hint="put the token alone into it"
            ) from error
        if not self._token or not self._token.isprintable() or " " in self._token:
            raise SinkMisconfigured(f"{path} holds no token", hint="put the token alone into it")
        return self._token


async def _read(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < REPLY_BYTES_MAX and (part := await content.read(REPLY_BYTES_MAX)):
        body += part
    return body


def _tls_failure(error: aiohttp.ClientSSLError) -> SinkMisconfigured | SinkUnavailable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return SinkMisconfigured(
            f"the receiver's certificate is not trusted: {_reason(error)}",
            hint="set ca_file to the authority that signed it, and url to a name it carries",
        )
    return SinkUnavailable(f"no TLS connection: {_reason(error)}")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
