import ctypes
import socket
import struct

import pytest

from agent.inspect.dnsfilter import dns_filter
from tests.agent.inspect.dnsbytes import a_query, ipv4, ipv6, tagged, tcp, udp

QUERY = a_query()
SO_ATTACH_FILTER = 26


def passes(packet: bytes) -> bool:
    """Let the kernel run the filter over a packet, behind a socket that is not of the network."""
    program = dns_filter()
    held = ctypes.create_string_buffer(program, len(program))
    there, here = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with there, here:
        option = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
        here.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        here.setblocking(False)
        try:
            there.send(packet)
            return here.recv(65_536) == packet
        except (BlockingIOError, PermissionError):
            return False


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(udp(QUERY)),
        ipv4(udp(QUERY, (53, 40_000))),
        ipv4(udp(QUERY), options=bytes(12)),
        ipv4(tcp(QUERY), 6),
        ipv6(udp(QUERY)),
        ipv6(udp(QUERY, (53, 40_000))),
        ipv6(tcp(QUERY), 6),
        ipv4(udp(QUERY), fragment=0x2000),
    ],
)
def test_packets_of_port_53_pass(packet: bytes) -> None:
    assert passes(packet)


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(udp(QUERY, (40_000, 54))),
        ipv4(udp(QUERY), protocol=47),
        ipv4(udp(QUERY), fragment=0x0001),
        ipv6(udp(QUERY, (40_000, 5353))),
        ipv6(udp(QUERY), protocol=58),
        ipv4(udp(QUERY))[:20],
        ipv6(udp(QUERY))[:41],
        b"\x45",
        b"\x00" * 80,
    ],
)
def test_everything_else_is_left_out(packet: bytes) -> None:
    assert not passes(packet)


def runs(packet: bytes, *, protocol: int = 0x0800, kind: int = 0, hardware: int = 1) -> bool:
    """Run the filter as the kernel's manual describes it, with what the kernel knows besides."""
    about = {0xFFFFF000: protocol, 0xFFFFF004: kind, 0xFFFFF01C: hardware}
    program = list(struct.iter_unpack("=HBBI", dns_filter()))
    accumulator = index = at = 0
    while True:
        code, if_so, if_not, value = program[at]
        at += 1
        if code == 0x06:
            return bool(value)
        if code in {0x15, 0x45}:
            is_so = accumulator == value if code == 0x15 else bool(accumulator & value)
            at += if_so if is_so else if_not
        elif code == 0x54:
            accumulator &= value
        elif code == 0x20:
            accumulator = about[value]
        else:
            size, place = (2 if code in {0x28, 0x48} else 1), value + index * (code == 0x48)
            if place + size > len(packet):
                return False
            number = int.from_bytes(packet[place : place + size], "big")
            accumulator, index = (
                (accumulator, 4 * (number & 15)) if code == 0xB1 else (number, index)
            )


OTHER_HOST, OUTGOING, LOOPBACK = 3, 4, 772


def test_a_tag_that_was_left_is_stepped_over_and_only_then() -> None:
    for packet in (ipv4(udp(QUERY)), ipv6(udp(QUERY))):
        assert runs(tagged(packet), protocol=0x8100)
        assert runs(tagged(packet), protocol=0x88A8)
        assert runs(packet, protocol=0x8100)  # the kernel took the tag off and not its number
        assert not runs(tagged(packet))
    assert not runs(tagged(ipv4(udp(QUERY, (40_000, 54)))), protocol=0x8100)


def test_packets_for_others_and_one_of_two_sights_on_loopback_are_left_out() -> None:
    packet = ipv4(udp(QUERY))

    assert runs(packet, kind=OUTGOING)
    assert not runs(packet, kind=OTHER_HOST)
    assert not runs(packet, kind=OUTGOING, hardware=LOOPBACK)
    assert runs(packet, hardware=LOOPBACK)


def test_the_program_is_whole_and_short() -> None:
    program = dns_filter()

    assert len(program) % 8 == 0
    assert len(program) // 8 < 64
