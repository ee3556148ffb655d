"""The laws of the loop, over a socket pair; the process around it is tested with its command."""

import contextlib
import gzip
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import FailReason
from agent.inspect.worker import serve
from agent.inspectframes import (
    MESSAGE_BYTES_MAX,
    Answer,
    Data,
    Done,
    Failed,
    Gunzip,
    Ready,
    decode_answer,
    encode,
)


class Asker:
    """The other end of a worker that runs in this process."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        line.settimeout(20)

    def ask(self, message: bytes, *fds: int) -> None:
        socket.send_fds(self.line, [message], list(fds))

    def hear(self) -> Answer:
        return decode_answer(self.line.recv(MESSAGE_BYTES_MAX))

    def last_word(self) -> tuple[bytes, Answer]:
        held = bytearray()
        while isinstance(answer := self.hear(), Data):
            held += answer.data
        return bytes(held), answer


@pytest.fixture
def asker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asker]:
    # A timer is the process's; the loop here is only a thread of the test's.
    monkeypatch.setattr(signal, "setitimer", lambda *_: (0.0, 0.0))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def work() -> None:
        with contextlib.suppress(OSError), theirs:
            serve(theirs)

    thread = threading.Thread(target=work)
    thread.start()
    yield Asker(ours)
    ours.close()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "log.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    fd = os.open(tmp_path / "log.gz", os.O_RDONLY)
    yield fd
    os.close(fd)


def test_it_says_when_it_is_ready_and_answers_one_request_after_another(
    asker: Asker, log: int
) -> None:
    first = asker.hear()
    asker.ask(encode(Gunzip()), log)
    whole = asker.last_word()
    asker.ask(encode(Gunzip(offset=4)), log)
    rest = asker.last_word()

    assert first == Ready(1)
    assert whole == (b"one\ntwo\n", Done(is_end=True))
    assert rest == (b"two\n", Done(is_end=True))


def test_what_cannot_be_inspected_is_said_and_the_next_request_answered(
    asker: Asker, log: int, tmp_path: Path
) -> None:
    (tmp_path / "plain").write_text("plain")
    plain = os.open(tmp_path / "plain", os.O_RDONLY)
    asker.hear()

    asker.ask(encode(Gunzip()), plain)
    failed = asker.hear()
    asker.ask(encode(Gunzip()), log)
    whole = asker.last_word()

    os.close(plain)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.CORRUPT
    assert whole == (b"one\ntwo\n", Done(is_end=True))


@pytest.mark.parametrize("count", [0, 2])
def test_a_request_without_its_one_file_is_refused(asker: Asker, log: int, count: int) -> None:
    asker.hear()

    asker.ask(encode(Gunzip()), *[log] * count)
    failed = asker.hear()

    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.REFUSED


def test_what_is_no_regular_file_is_refused(asker: Asker) -> None:
    reading, writing = os.pipe()
    asker.hear()

    asker.ask(encode(Gunzip()), reading)
    failed = asker.hear()

    os.close(reading)
    os.close(writing)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.REFUSED


def test_what_is_no_request_is_refused(asker: Asker, log: int) -> None:
    asker.hear()

    asker.ask(b"\xc1 not a request", log)
    failed = asker.hear()

    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.GARBAGE


def test_a_file_that_cannot_be_read_is_said(asker: Asker, tmp_path: Path) -> None:
    writing = os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)
    asker.hear()

    asker.ask(encode(Gunzip()), writing)
    failed = asker.hear()

    os.close(writing)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.UNREADABLE


def test_descriptors_are_closed_whatever_came_of_them(asker: Asker, log: int) -> None:
    asker.hear()
    asker.ask(encode(Gunzip()), log)
    asker.last_word()
    before = len(list(Path("/proc/self/fd").iterdir()))

    for message, count in ((encode(Gunzip()), 1), (b"x", 3), (encode(Gunzip()), 2)) * 10:
        asker.ask(message, *[log] * count)
        asker.last_word()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
