"""Syslog over TLS: RFC 5424 messages, counted octets, our certificate where the receiver asks.

The protocol has no answer, and a write that succeeded is not delivery: what the receiver had not
read when the connection ended is gone without an error. So everything written stays in a *tail*
until the peer's TCP has acknowledged it and it is older, or further back, than the tail is long;
only then is it `unconfirmable` and the cursor passes. Whatever is in the tail when the connection
ends, or when this process dies, is sent again with the same event ids.

In TLS 1.3 a server may refuse our certificate after the handshake seemed to succeed. So a new
connection is watched for a moment before anything is written to it: once data is under way, the
reset that follows may hide the reason.

Source: RFC 5425; RFC 8446, section 4.4.2.4.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from collector.forward.errors import ForwardError, SinkMisconfigured, SinkUnavailable
from collector.forward.event import Event
from collector.forward.ports import Sent
from collector.forward.settings import SyslogDestination, split_address
from collector.forward.sinks.rfc5424 import encode, frame
from collector.forward.states import State
from collector.forward.tls import client_context
from runtime.clock import NS_PER_S, Clock

CONNECT_WAIT_S_MAX: Final = 10.0
CLOSE_WAIT_S_MAX: Final = 5.0
# How long a new connection is watched for a refusal.
WATCH_S: Final = 0.25
# A peer that does not acknowledge at all is given up after this long.
_UNACKNOWLEDGED_MS_MAX: Final = 30_000
# Alerts that say what is wrong with us: certificate missing, unknown, bad, expired, not allowed.
_REFUSED: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")


class _Written(Struct, frozen=True):
    """A payload in the tail: where it ends in what was written, and since when it is there."""

    end: int
    since_ns: int


class SyslogSink:
    """Writes to one receiver over one connection.

    Args:
        destination: where and how.
        clock: for stamps and the age of the tail.
    """

    in_flight_max = 1
    degraded = ""

    def __init__(self, destination: SyslogDestination, clock: Clock) -> None:
        self.ask_wait_s = min(0.5, destination.tail_s / 2)
        self._destination = destination
        self._clock = clock
        self._wire: _Wire | None = None
        self._tail: dict[int, _Written] = {}
        self._tokens = 0
        self._failure: ForwardError | None = None

    def encode(self, event: Event, now: int) -> bytes:
        """Return one event as a message with its length before it."""
        return frame(encode(event, now, self._destination))

    def pack(self, encoded: Sequence[bytes]) -> bytes:
        """Return the messages one after the other."""
        return b"".join(encoded)

    async def send(self, payload: bytes) -> Sent:
        """Write one payload, connecting first where there is no connection.

        Raises:
            SinkUnavailable: no connection, or the last one ended with something in its tail.
            SinkMisconfigured: the receiver refuses us, or we it, for a certificate.
        """
        self._notice_loss()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        wire = self._wire = self._wire or await self._connect()
        try:
            await wire.write(payload)
        except BaseException:
            # Cut off in the middle, it may be in any state: the next payload gets a new connection.
            wire.abort()
            self._wire = None
            self._tail.clear()
            raise
        self._tokens += 1
        self._tail[self._tokens] = _Written(wire.written, self._clock.monotonic_ns())
        return Sent(State.SENT, self._tokens)

    async def ask(self, tokens: Sequence[int]) -> Mapping[int, State]:
        """Return which payloads left the tail, and which were lost with their connection."""
        self._notice_loss()
        lost = {token: State.QUEUED for token in tokens if token not in self._tail}
        wire = self._wire
        if wire is None:
            return lost
        settled = [token for token in tokens if token not in lost and self._is_past(wire, token)]
        for token in settled:
            del self._tail[token]
        return lost | dict.fromkeys(settled, State.UNCONFIRMABLE)

    async def close(self) -> None:
        """Say close_notify, so that the receiver reads to the end, and wait for its own."""
        wire, self._wire = self._wire, None
        self._tail.clear()
        self._failure = None
        if wire is not None:
            await wire.close()

    def _is_past(self, wire: "_Wire", token: int) -> bool:
        """Whether a payload is out of the tail."""
        written = self._tail[token]
        age_ns = self._clock.monotonic_ns() - written.since_ns
        is_old = age_ns >= int(self._destination.tail_s * NS_PER_S)
        is_far = wire.written - written.end >= self._destination.tail_bytes_max
        return (is_old or is_far) and written.end <= wire.acknowledged()

    def _notice_loss(self) -> None:
        if self._wire is None or not self._wire.has_ended:
            return
        reason, self._wire = self._wire.reason, None
        if self._tail:
            self._tail.clear()
            self._failure = _lost(reason)

    async def _connect(self) -> "_Wire":
        address = self._destination.address
        try:
            async with asyncio.timeout(CONNECT_WAIT_S_MAX):
                return await self._secured()
        except ssl.SSLCertVerificationError as error:
            raise SinkMisconfigured(
                f"the receiver's certificate is not trusted: {error.verify_message}",
                hint="set ca_file to the authority that signed it, and server_name to its name",
            ) from error
        except ssl.SSLError as error:
            problem = _lost(error)
            raise problem from error
        except TimeoutError as error:
            raise SinkUnavailable(f"no connection to {address} in time") from error
        except OSError as error:
            raise SinkUnavailable(f"no connection to {address}: {error}") from error

    async def _secured(self) -> "_Wire":
        settings = self._destination
        host, port = split_address(settings.address)
        context = client_context(settings.ca_file, settings.cert_file, settings.key_file)
        loop = asyncio.get_running_loop()
        # In two steps, so that the plain transport's buffer can be seen, too.
        plain, wire = await loop.create_connection(_Wire, host, port)
        secured = await loop.start_tls(
            plain,
            wire,
            context,
            server_hostname=settings.server_name or host,
            ssl_shutdown_timeout=CLOSE_WAIT_S_MAX,
        )
        if secured is None:
            raise SinkUnavailable(f"the connection to {settings.address} ended at once")
        wire.secured(secured)
        await wire.watch(WATCH_S)
        return wire


class _Wire(asyncio.Protocol):
    """One TLS connection, written to in order and watched for its end."""

    def __init__(self) -> None:
        self.written = 0
        self.has_ended = False
        self.reason: BaseException | None = None
        self._transports: list[asyncio.Transport] = []
        self._has_room = asyncio.Event()
        self._end = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Prepare the plain connection: find out soon when nobody is there any more."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream transport is needed")
        self._transports = [transport]
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS_MAX)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def secured(self, transport: asyncio.Transport) -> None:
        """Write through TLS from now on; a write is over when the kernel has it."""
        self._transports.append(transport)
        for one in self._transports:
            one.set_write_buffer_limits(high=1, low=0)
        self._has_room.set()

    async def watch(self, seconds: float) -> None:
        """Return when the connection has lasted so long.

        Raises:
            SinkUnavailable: it has ended.
            SinkMisconfigured: it has, because the receiver refuses our certificate.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end.wait()
        if self.has_ended:
            problem = _lost(self.reason)
            raise problem

    def data_received(self, data: bytes) -> None:
        """Drop what a receiver says: the protocol has no answers."""

    def eof_received(self) -> bool:
        """End the connection when the receiver does."""
        self.has_ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end and its reason."""
        self.has_ended = True
        self.reason = exc
        self._has_room.set()
        self._end.set()

    def pause_writing(self) -> None:
        """Stop while the kernel takes no more."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """Go on."""
        self._has_room.set()

    async def write(self, data: bytes) -> None:
        """Write and wait until the kernel has it.

        Raises:
            SinkUnavailable: the connection has ended.
            SinkMisconfigured: it has, because the receiver refuses our certificate.
        """
        if not self.has_ended:
            self._transports[-1].write(data)
            await self._has_room.wait()
        if self.has_ended:
            problem = _lost(self.reason)
            raise problem
        self.written += len(data)

    def acknowledged(self) -> int:
        """Return how much of what was written the peer's TCP has surely acknowledged.

        What is under way is counted in bytes of TLS, which are more: this errs on the safe side.

        Source: tcp(7), SIOCOUTQ.
        """
        plain = self._transports[0].get_extra_info("socket")
        try:
            raw = fcntl.ioctl(plain.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return 0
        (in_kernel,) = struct.unpack("i", raw)
        buffered = sum(transport.get_write_buffer_size() for transport in self._transports)
        return self.written - int(in_kernel) - buffered

    def abort(self) -> None:
        """End the connection at once."""
        self.has_ended = True
        self._transports[0].abort()

    async def close(self) -> None:
        """Say close_notify, and wait for the end."""
        self._transports[-1].close()
        try:
            async with asyncio.timeout(CLOSE_WAIT_S_MAX):
                await self._end.wait()
        except TimeoutError:
            self.abort()


def _lost(reason: BaseException | None) -> ForwardError:
    """Return what the end of a connection means."""
    if isinstance(reason, ssl.SSLError):
        name = reason.reason or str(reason)
        if any(word in name.upper() for word in _REFUSED):
            return SinkMisconfigured(
                f"the receiver refuses our certificate: {name.lower()}",
                hint="set cert_file and key_file to a certificate that it trusts",
            )
    return SinkUnavailable(f"the connection was lost: {reason or 'closed by the receiver'}")
