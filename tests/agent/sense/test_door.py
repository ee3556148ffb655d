import os
import selectors
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import doorframes as frames
from agent.errors import DoorError
from agent.sense.door import CLOSED_S, FRAMES_PER_S_MAX, PENDING_BYTES_MAX, Door
from runtime.frames import FrameDecoder, encode_frame
from tests.fakes.clock import FakeClock


class Behind:
    """What stands behind a door, and the means to knock."""

    def __init__(self, path: Path, uid: int | None = None) -> None:
        self.clock = FakeClock()
        self.taken: list[frames.FromShip] = []
        self.visitors: list[socket.socket] = []
        self.path = path / "door.sock"
        uid = os.getuid() if uid is None else uid
        self.door = Door(self.path, uid, self.clock, self.taken.append)
        self.door.open()

    def knock(self) -> socket.socket:
        visitor = socket.socket(socket.AF_UNIX)
        visitor.connect(str(self.path))
        visitor.settimeout(2)
        self.visitors.append(visitor)
        return visitor

    def close(self) -> None:
        for visitor in self.visitors:
            visitor.close()
        self.door.close()

    def serve(self) -> None:
        for _ in range(6):
            selector = selectors.DefaultSelector()
            for fd in self.door.readable():
                selector.register(fd, selectors.EVENT_READ)
            ready = selector.select(0.02)
            for key, _events in ready:
                self.door.serve(key.fd)
            selector.close()


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    behind = Behind(tmp_path)
    yield behind
    behind.close()


def is_dismissed(visitor: socket.socket) -> bool:
    try:
        return visitor.recv(10) == b""
    except ConnectionError:
        return True


def test_frames_pass_in_both_directions(behind: Behind) -> None:
    visitor = behind.knock()
    visitor.sendall(encode_frame(frames.encode(frames.Uplink(is_online=True))))
    behind.serve()

    behind.door.send(frames.KnownCheckpoint(3))
    (raw,) = FrameDecoder(1000).feed(visitor.recv(1000))

    assert behind.taken == [frames.Uplink(is_online=True)]
    assert frames.decode_from_sense(raw) == frames.KnownCheckpoint(3)


def test_another_user_is_not_let_in(tmp_path: Path) -> None:
    behind = Behind(tmp_path, uid=os.getuid() + 1)
    visitor = behind.knock()
    behind.serve()

    assert is_dismissed(visitor)
    assert behind.door.refused == 1
    behind.close()


@pytest.mark.parametrize(
    "bad",
    [b"\xff\xff\xff\xff", b"\0\0\0\0", encode_frame(b"junk"), encode_frame(b"\x91\x63")],
)
def test_a_bad_frame_closes_the_door_for_a_while_and_no_longer(behind: Behind, bad: bytes) -> None:
    visitor = behind.knock()
    visitor.sendall(bad)
    behind.serve()

    assert is_dismissed(visitor)
    again = behind.knock()
    behind.serve()
    assert is_dismissed(again)
    behind.clock.forward(CLOSED_S + 1)
    behind.knock()
    behind.serve()
    assert behind.door.has_visitor


def test_what_the_loop_finds_dishonest_closes_the_door_too(tmp_path: Path) -> None:
    def refuse(_frame: frames.FromShip) -> None:
        raise DoorError("no")

    door = Door(tmp_path / "d", os.getuid(), FakeClock(), refuse)
    door.open()
    visitor = socket.socket(socket.AF_UNIX)
    visitor.connect(str(tmp_path / "d"))
    visitor.sendall(encode_frame(frames.encode(frames.MetricsWanted())))
    door.serve(door.readable()[0])

    door.serve(door.readable()[1])

    assert not door.has_visitor
    visitor.close()
    door.close()


def test_a_flood_of_good_frames_closes_the_door(behind: Behind) -> None:
    visitor = behind.knock()
    visitor.setblocking(False)
    one = encode_frame(frames.encode(frames.MetricsWanted()))
    visitor.send(one * (FRAMES_PER_S_MAX + 10))
    behind.serve()

    assert len(behind.taken) <= FRAMES_PER_S_MAX
    assert not behind.door.has_visitor


def test_a_visitor_that_does_not_read_is_let_go(behind: Behind) -> None:
    behind.knock()
    behind.serve()
    big = frames.Signed(1, bytes(60_000), b"")

    for _ in range(2 * PENDING_BYTES_MAX // 60_000):
        behind.door.send(big)

    assert not behind.door.has_visitor


def test_a_second_visit_of_the_right_user_replaces_the_first(behind: Behind) -> None:
    first = behind.knock()
    behind.serve()
    second = behind.knock()
    behind.serve()

    behind.door.send(frames.KnownCheckpoint(1))

    assert second.recv(100)
    assert is_dismissed(first)
