import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certs.identity import TenantId
from collector.errors import IssuerUnavailable
from collector.issuer.errors import IssuerRefused, IssuerUnready, Refusal
from collector.issuer.messages import Begin, Begun, Done, encode, failure
from collector.issuer.syncclient import ask
from runtime.frames import encode_frame

ASK = Begin(tenant=TenantId(bytes(16)))
ANSWER = Begun(nonce=bytes(32), trust=b"")


@contextmanager
def answering(path: Path, data: bytes) -> Iterator[None]:
    """A peer that reads one request, sends these bytes and closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(10)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)


def test_a_question_is_answered(tmp_path: Path) -> None:
    with answering(tmp_path / "s", encode_frame(encode(ANSWER))):
        assert ask(tmp_path / "s", ASK, Begun) == ANSWER


def test_a_refusal_is_raised_as_what_it_was(tmp_path: Path) -> None:
    failed = failure(IssuerRefused(Refusal.LIMIT, "too many", hint="wait"))

    data = encode_frame(encode(failed))
    with answering(tmp_path / "s", data), pytest.raises(IssuerRefused) as caught:
        ask(tmp_path / "s", ASK, Begun)

    assert (caught.value.reason, caught.value.hint) == (Refusal.LIMIT, "wait")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (encode_frame(encode(Done())), IssuerUnavailable),
        (encode_frame(b"hello"), IssuerUnready),
        (b"\0\0\0\0", IssuerUnavailable),
        (b"\0\0\0\5he", IssuerUnavailable),
        (b"", IssuerUnavailable),
    ],
    ids=["another kind", "no reply", "empty frame", "cut short", "nothing"],
)
def test_what_is_no_answer_is_said_so(tmp_path: Path, data: bytes, error: type[Exception]) -> None:
    with answering(tmp_path / "s", data), pytest.raises(error):
        ask(tmp_path / "s", ASK, Begun)


def test_an_issuer_that_is_not_there_is_unavailable_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        ask(tmp_path / "missing", ASK, Begun)

    assert "vedette-collector run" in caught.value.hint


def test_an_issuer_that_says_nothing_is_unavailable_at_the_deadline(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)

        with pytest.raises(IssuerUnavailable):
            ask(tmp_path / "s", ASK, Begun, deadline_s=0.1)
