"""A small Splunk HEC receiver on loopback, to see what a SIEM would get."""

import gzip
import json
import threading
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

BODY_BYTES_MAX = 16 * 1024 * 1024
_EVENT_PATH = "/services/collector/event"


class Received:
    """Events by id, safe to read from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: Counter[str] = Counter()
        self._events: list[dict[str, object]] = []

    def add(self, event: dict[str, object]) -> None:
        """Count one event."""
        with self._lock:
            self._ids[_id_of(event)] += 1
            self._events.append(event)

    @property
    def events(self) -> int:
        """How many events came, repeats included."""
        with self._lock:
            return len(self._events)

    def ids(self) -> Counter[str]:
        """Return how often each event came, by its id."""
        with self._lock:
            return self._ids.copy()

    @property
    def duplicates(self) -> int:
        """How many events repeat the id of another."""
        with self._lock:
            return sum(count - 1 for count in self._ids.values())


def _id_of(event: dict[str, object]) -> str:
    fields = event.get("fields")
    named = fields.get("event_id") if isinstance(fields, dict) else None
    return str(named or json.dumps(event, sort_keys=True))


class HecReceiver:
    """Listens on a loopback port of its own until closed."""

    def __init__(self, token: str) -> None:
        self.received = Received()
        handler = type("Handler", (_Handler,), {"received": self.received, "token": token})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    received: ClassVar[Received]
    token: ClassVar[str]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 <= length <= BODY_BYTES_MAX:
            self._answer(413, {"text": "Too large", "code": 6})
            return
        body = self.rfile.read(length)
        if self.headers.get("Authorization") != f"Splunk {self.token}":
            self._answer(403, {"text": "Invalid token", "code": 4})
        elif self.path.split("?")[0] != _EVENT_PATH:
            self._answer(404, {"text": "Not found", "code": 404})
        else:
            self._take(body)

    def _take(self, body: bytes) -> None:
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for event in _documents(body.decode()):
                self.received.add(event)
        except (ValueError, TypeError, OSError, EOFError, zlib.error):
            self._answer(400, {"text": "Invalid data format", "code": 6})
            return
        self._answer(200, {"text": "Success", "code": 0})

    def _answer(self, status: int, reply: dict[str, object]) -> None:
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing: the demo counts."""


def _documents(text: str) -> list[dict[str, object]]:
    """Return the JSON objects that stand one behind the other in a request."""
    decoder = json.JSONDecoder()
    found, at = [], 0
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        if not isinstance(value, dict):
            raise TypeError("not an event")
        found.append(value)
        at = end
        while at < len(text) and text[at].isspace():
            at += 1
    return found
