"""What a HEC receiver's answer means: every code in its class. Pure; the answer is untrusted.

Source: Splunk, "Troubleshoot HTTP Event Collector" (possible error codes) and "About HTTP Event
Collector Indexer Acknowledgment". Codes from 18 on differ between versions: there the status
decides.
"""

import email.utils
from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from collector.forward.errors import (
    ForwardError,
    SinkMisconfigured,
    SinkRejected,
    SinkUnavailable,
)

REPLY_BYTES_MAX = 65_536
_SHOWN_CHARS_MAX = 200

_MISCONFIGURED: Mapping[int, str] = {
    1: "enable the token, or use another",
    2: "see that the token reaches the receiver: a proxy may drop it",
    3: "see that the token reaches the receiver: a proxy may change it",
    4: "put a valid token into token_file",
    7: "allow the index for this token, or set another index",
    10: "use a token that needs no channel",
    11: "use a token that takes any channel",
    14: "turn acknowledgement on for the token, or off in our settings",
    16: "use a token in the header, which we send",
    21: "put a valid token into token_file",
    22: "enable the token, or use another",
}
# No data, invalid format, event required, event blank, error in indexed fields.
_DATA = frozenset({5, 6, 12, 13, 15})
_BUSY = frozenset({8, 9})
_BUSY_STATUS = frozenset({408, 425, 429})
_TOO_LARGE = 413


class Reply(Struct, frozen=True):
    """The JSON object in an answer; whatever else stands in it is of no interest."""

    code: int | None = None
    text: str = ""
    ack_id: int | None = field(name="ackId", default=None)
    invalid_event_number: int | None = field(name="invalid-event-number", default=None)


class _Acks(Struct, frozen=True):
    acks: dict[str, bool]


_DECODER = msgspec.json.Decoder(Reply)
_ACKS_DECODER = msgspec.json.Decoder(_Acks)


def parse_reply(body: bytes) -> Reply | None:
    """Return what an answer says; None where it is no answer of a HEC receiver.

    Args:
        body: untrusted bytes of any length.
    """
    try:
        reply = _DECODER.decode(body[:REPLY_BYTES_MAX])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return reply if reply.code is not None else None


def parse_acks(body: bytes) -> Mapping[int, bool] | None:
    """Return which payloads the indexers have written; None where it is no such answer."""
    try:
        acks = _ACKS_DECODER.decode(body).acks
        return {int(key): written for key, written in acks.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def judge(status: int, body: bytes, retry_after_s: float = 0) -> Reply:
    """Return the reply of a receiver that took the payload.

    Args:
        status: of HTTP.
        body: untrusted bytes.
        retry_after_s: how long the receiver asked us to wait.

    Raises:
        SinkUnavailable: busy, or failing.
        SinkMisconfigured: it will not take anything as we are set up, or it is no HEC receiver.
        SinkRejected: an event in it will never be taken.
    """
    reply = parse_reply(body)
    if status == 200 and reply is not None and reply.code == 0:
        return reply
    error = _failure(status, reply, body, retry_after_s)
    raise error


def retry_after_s(header: str, now_s: float) -> float:
    """Return the seconds in a Retry-After header: a number, or a date; 0 for anything else.

    Source: RFC 9110, section 10.2.3.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0


def _failure(status: int, reply: Reply | None, body: bytes, wait_s: float) -> ForwardError:
    said = _shown(reply.text) if reply else _shown(body[:_SHOWN_CHARS_MAX].decode(errors="replace"))
    code = -1 if reply is None or reply.code is None else reply.code
    what = f"status {status}, code {code}: {said}" if reply else f"status {status}: {said}"
    if code in _MISCONFIGURED:
        return SinkMisconfigured(what, hint=_MISCONFIGURED[code])
    if code in _DATA:
        return SinkRejected(what, index=reply.invalid_event_number if reply else None)
    if status == _TOO_LARGE:
        return SinkRejected(what)
    if code in _BUSY or status in _BUSY_STATUS or status >= 500:
        return SinkUnavailable(what, retry_after_s=wait_s)
    return SinkMisconfigured(what, hint="see that url leads to an HTTP event collector")


def _shown(text: str) -> str:
    """Return untrusted text fit for a message."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean[:_SHOWN_CHARS_MAX].strip() or "(nothing said)"
