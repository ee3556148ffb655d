import json
import socket
import subprocess
import sys

import pytest

from agent.dnsframes import FRAME_BYTES_MAX, DnsHello, decode_dns
from agent.inspect import dns
from agent.inspect.dns import CALLS, DnsUnit
from runtime.frames import FrameDecoder

# What the process could try once somebody else tells it what to do.
ATTEMPTS = """
import json, os, socket, sys
from agent.inspect.dns import CALLS
from agent.seccomp import install

here, there = socket.socketpair()
datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
except PermissionError:
    packets = datagram
address = ("lo", 0x0800) if packets is not datagram else ("127.0.0.1", 9)
attempts = {
    "send": lambda: datagram.sendto(b"x", ("127.0.0.1", 9)),
    "sendmsg": lambda: datagram.sendmsg([b"x"], [], 0, ("127.0.0.1", 9)),
    "packet": lambda: packets.sendto(b"x" * 40, address),
    "unbound": lambda: os.write(packets.fileno(), b"x" * 40),
    "bind": lambda: packets.bind(address),
    "connect": lambda: datagram.connect(("127.0.0.1", 9)),
    "socket": lambda: socket.socket(),
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "remove": lambda: os.unlink("/nonexistent"),
    "run": lambda: os.execv("/bin/true", ["true"]),
    "fork": os.fork,
    "kill": lambda: os.kill(os.getppid(), 0),
    "ioctl": lambda: os.get_terminal_size(0),
}
install(CALLS)
found = {}
for name, attempt in attempts.items():
    try:
        attempt()
        found[name] = "done"
    except OSError as error:
        found[name] = error.errno
os.write(here.fileno(), b"frame")
found["read"] = there.recv(10).decode()
os.write(1, json.dumps(found).encode())
"""
EPERM, ENXIO, ENOTCONN, EDESTADDRREQ = 1, 6, 107, 89


@pytest.mark.root
def test_after_the_start_nothing_can_be_sent_opened_or_started() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("read") == "frame"
    # Writing to a socket that is bound to nothing is left, and leads nowhere.
    assert found.pop("unbound") in {ENXIO, ENOTCONN, EDESTADDRREQ}
    assert found == dict.fromkeys(found, EPERM)
    assert "sendto" not in CALLS


def test_the_unit_says_hello_and_ends_with_its_door() -> None:
    # No packet ever comes from this one: only the door matters.
    capture, _peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    door, sense = socket.socketpair()
    for end in (capture, door):
        end.setblocking(False)
    unit = DnsUnit(capture, door)

    unit.turn()
    [hello] = FrameDecoder(FRAME_BYTES_MAX).feed(sense.recv(100))
    sense.close()
    unit.turn()

    assert decode_dns(hello) == DnsHello()
    assert unit.is_over
    for end in (capture, _peer, door):
        end.close()


def test_it_imports_next_to_nothing() -> None:
    script = "import sys, agent.inspect.dns; print(' '.join(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    loaded = set(done.stdout.split())
    assert not loaded & {"msgspec", "json", "logging", "argparse", "subprocess", "asyncio", "ssl"}
    assert not {name for name in loaded if name.startswith(("agent.sense", "agent.ship", "proto"))}
    assert dns.PENDING_BYTES_MAX <= 1 << 20
