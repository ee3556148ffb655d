import socket
import struct

import pytest

from agent.inspect.dnscapture import NoCapture, open_capture, receive, take_dropped
from agent.inspect.dnsfilter import dns_filter
from tests.agent.inspect.dnsbytes import a_query

pytestmark = pytest.mark.root

SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER = 26, 27, 44


@pytest.fixture
def capture() -> socket.socket:
    try:
        return open_capture()
    except NoCapture as error:
        pytest.skip(f"needs CAP_NET_RAW: {error}")


def names_seen(capture: socket.socket, name: bytes) -> int:
    buffer, found = bytearray(65_536), 0
    while (packet := receive(capture, buffer)) is not None:
        found += name in packet.data
        assert packet.data[0] >> 4 in {4, 6}
    return found


def test_a_query_on_loopback_is_seen_once(capture: socket.socket) -> None:
    with capture, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", 53))
        client.send(a_query("capture-test.invalid"))
        # Delivered before the call returns, as everything on loopback.
        assert names_seen(capture, b"capture-test") == 1


def test_the_filter_is_there_for_good(capture: socket.socket) -> None:
    with capture:
        assert capture.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER) == 1
        with pytest.raises(PermissionError):
            capture.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
        with pytest.raises(OSError, match="Operation not permitted"):
            capture.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 1, 0))


def test_the_socket_is_bound_to_no_interface_and_keeps_nothing_from_before(
    capture: socket.socket,
) -> None:
    with capture:
        assert capture.getsockname()[0] == ""
        assert names_seen(capture, b"") == 0
        assert take_dropped(capture) == 0
        assert len(dns_filter()) > 0


def test_what_the_kernel_had_no_room_for_is_counted_once(capture: socket.socket) -> None:
    with capture, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(200):
            client.sendto(a_query("capture-flood.invalid"), ("127.0.0.1", 53))

        dropped, again = take_dropped(capture), take_dropped(capture)

    assert dropped > 100
    assert again == 0
