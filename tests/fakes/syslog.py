"""A syslog receiver over TLS on loopback: counted octets, and notice of how a sender ends.

Source of the framing: RFC 5425, section 4.3.
"""

import contextlib
import re
import socket
import ssl
import struct
import threading
from typing import Self

_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")


class BadFraming(Exception):
    """What came is not counted octets."""


def unframe(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole messages at the beginning of ``data``, and what is left."""
    messages = []
    while data:
        found = _LENGTH.match(data)
        if found is None:
            if len(data) > 10:
                raise BadFraming(data[:80])
            break
        end = found.end() + int(found[1])
        if len(data) < end:
            break
        messages.append(data[found.end() : end])
        data = data[end:]
    return messages, data


class SyslogReceiver:
    """Collects messages in ``messages``; serves one connection at a time, in a thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._stopped = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        self.messages: list[bytes] = []
        self.connections = 0
        # How senders ended: "close_notify", "torn", "broken off" or "refused".
        self.ends: list[str] = []
        # Reset the connection, without reading on, when so many messages have come; then behave.
        self.reset_after: int | None = None
        self.reads = threading.Event()
        self.reads.set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.reads.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join(timeout=5)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            plain, _ = self._listener.accept()
            if self._stopped.is_set():
                plain.close()
                return
            self.connections += 1
            plain.settimeout(10)
            try:
                with self._context.wrap_socket(
                    plain, server_side=True, suppress_ragged_eofs=False
                ) as secure:
                    self.ends.append(self._take(secure))
            except OSError:
                self.ends.append("refused")

    def _take(self, secure: ssl.SSLSocket) -> str:
        rest = b""
        while not self._stopped.is_set():
            self.reads.wait(timeout=10)
            try:
                part = secure.recv(65_536)
            except ssl.SSLEOFError:
                return "torn"
            except OSError:
                return "broken off"
            if not part:
                with contextlib.suppress(OSError):
                    secure.unwrap()
                return "close_notify"
            messages, rest = unframe(rest + part)
            self.messages += messages
            if self.reset_after is not None and len(self.messages) >= self.reset_after:
                del self.messages[self.reset_after :]
                self.reset_after = None
                # Whatever the kernel holds unread is thrown away, and the sender gets a reset.
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "broken off"
        return "stopped"
