import gzip
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from vedette.demo.hec import HecReceiver

PATH = "/services/collector/event"


@pytest.fixture
def hec() -> Iterator[HecReceiver]:
    receiver = HecReceiver("secret")
    yield receiver
    receiver.close()


def post(
    hec: HecReceiver, body: bytes, token: str = "secret", path: str = PATH, **headers: str
) -> int:
    request = urllib.request.Request(  # noqa: S310  (loopback)
        hec.url + path,
        data=body,
        headers={"Authorization": f"Splunk {token}", **headers},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310  (loopback)
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def an_event(uid: str) -> bytes:
    return json.dumps({"event": {}, "fields": {"event_id": uid}}).encode()


def test_events_stand_one_behind_the_other_and_may_be_packed(hec: HecReceiver) -> None:
    assert post(hec, an_event("a") + an_event("b") + b"\n" + an_event("c")) == 200
    assert post(hec, gzip.compress(an_event("d")), **{"Content-Encoding": "gzip"}) == 200

    assert hec.received.events == 4
    assert hec.received.duplicates == 0


def test_the_same_id_again_is_a_duplicate(hec: HecReceiver) -> None:
    post(hec, an_event("a"))
    post(hec, an_event("a"))

    assert hec.received.events == 2
    assert hec.received.duplicates == 1
    assert hec.received.ids() == {"a": 2}


def test_only_the_token_and_the_endpoint_are_let_in(hec: HecReceiver) -> None:
    assert post(hec, an_event("a"), token="other") == 403
    assert post(hec, an_event("a"), path="/else") == 404
    assert post(hec, b"not json") == 400
    assert post(hec, b"[1]") == 400
    assert post(hec, b"\x1f\x8bjunk", **{"Content-Encoding": "gzip"}) == 400

    assert hec.received.events == 0
