"""Nonces that cost nothing to hand out: each proves by itself that we made it, and when.

A nonce is the time it was made, eight random bytes and a MAC over both under a key of this
process. Only those that come back under a good signature are remembered, until they would have
expired, so that each is good once; asking for nonces fills no memory. A restart voids them all.
"""

import hashlib
import hmac
import struct
from collections import OrderedDict
from typing import NoReturn

from collector.issuer.errors import IssuerBusy, IssuerRefused, Refusal

NONCE_BYTES = 32
RANDOM_BYTES = 8

_CONTEXT = b"vedette.nonce.v1\0"
_MAC_BYTES = 16
_TIME = struct.Struct(">Q")


class Nonces:
    """Makes nonces and takes each back once.

    Args:
        key: 32 secret random bytes, new in each process.
        life_ns: how long a nonce is good.
        used_max: how many used ones are remembered.
    """

    def __init__(self, key: bytes, life_ns: int, used_max: int) -> None:
        self._key = key
        self._life_ns = life_ns
        self._used_max = used_max
        self._used: OrderedDict[bytes, int] = OrderedDict()

    def make(self, now_ns: int, random: bytes) -> bytes:
        """Return a nonce that is good from now on.

        Args:
            now_ns: of a clock that never goes back.
            random: 8 random bytes.
        """
        body = _TIME.pack(now_ns) + random
        return body + self._mac(body)

    def take(self, nonce: bytes, now_ns: int) -> None:
        """Use a nonce up.

        Args:
            nonce: untrusted bytes.
            now_ns: of the same clock.

        Raises:
            IssuerRefused: not ours, expired, or used before.
            IssuerBusy: too many are remembered already.
        """
        self._forget(now_ns)
        body, mac = nonce[:-_MAC_BYTES], nonce[-_MAC_BYTES:]
        if len(nonce) != NONCE_BYTES or not hmac.compare_digest(self._mac(body), mac):
            _refuse()
        (made_ns,) = _TIME.unpack_from(body)
        if not 0 <= now_ns - made_ns < self._life_ns or nonce in self._used:
            _refuse()
        if len(self._used) >= self._used_max:
            raise IssuerBusy("too many enrolments at once", retry_after_s=10)
        self._used[nonce] = now_ns

    def _forget(self, now_ns: int) -> None:
        while self._used:
            oldest = next(iter(self._used))
            if now_ns - self._used[oldest] < self._life_ns:
                return
            del self._used[oldest]

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, _CONTEXT + body, hashlib.sha256)[:_MAC_BYTES]


def _refuse() -> NoReturn:
    raise IssuerRefused(
        Refusal.NONCE, "the nonce is not good any more", hint="begin again: it lasts a minute"
    )
