"""From packets to frames: reads messages, counts what it cannot read, and keeps within a rate.

What the kernel drops while we hold back is counted by the kernel. Losses are told now and then and
not each for itself, so that a flood of rubbish is no flood of frames.
"""

from typing import Final

from agent.dnsframes import DnsLost, DnsSeen
from agent.inspect.dnscapture import Packet
from agent.inspect.dnspacket import PORT, NoMessage, Segment, parse_packet
from agent.inspect.dnswire import BadMessage, Message, parse_message

NS_PER_S: Final = 1_000_000_000
PACKETS_PER_S_MAX: Final = 500
BURST_PACKETS_MAX: Final = 1000
LOST_EVERY_NS: Final = 10 * NS_PER_S


class Pace:
    """How many packets may be read now; a bucket that fills by the second."""

    def __init__(self) -> None:
        self._left = float(BURST_PACKETS_MAX)
        self._at = 0

    def take(self, wanted: int, now: int) -> int:
        """Return how many of the wanted packets may be read.

        Args:
            wanted: at most so many.
            now: nanoseconds of a clock that never goes back.
        """
        gained = (now - self._at) * PACKETS_PER_S_MAX / NS_PER_S
        self._left = min(self._left + gained, BURST_PACKETS_MAX)
        self._at = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted

    def give_back(self, count: int) -> None:
        """Return what was granted and not used."""
        self._left += count


class DnsTeller:
    """Turns packets into frames and counts the rest."""

    def __init__(self) -> None:
        self._lost = [0, 0, 0]
        self._told_at = -LOST_EVERY_NS

    @property
    def has_lost(self) -> bool:
        """Whether there are losses that were not told yet."""
        return any(self._lost)

    def seen(self, packet: Packet) -> DnsSeen | None:
        """Return what a packet tells; None for one without a message that we read."""
        try:
            segment = parse_packet(packet.data)
            if not segment.message:
                return None
            return _seen(packet, segment, parse_message(segment.message))
        except (NoMessage, BadMessage):
            self._lost[1] += 1
            return None

    def dropped(self, count: int) -> None:
        """Note packets that the kernel had no room for."""
        self._lost[0] += count

    def omitted(self, count: int) -> None:
        """Note messages that there was no room to tell."""
        self._lost[2] += count

    def take_lost(self, now: int) -> DnsLost | None:
        """Return what was lost, if there is something and it is time to tell.

        Args:
            now: nanoseconds of a clock that never goes back.
        """
        if not self.has_lost or now - self._told_at < LOST_EVERY_NS:
            return None
        lost, self._lost, self._told_at = DnsLost(*self._lost), [0, 0, 0], now
        return lost


def _seen(packet: Packet, segment: Segment, message: Message) -> DnsSeen:
    """Put a message together with who asks and who answers.

    Raises:
        BadMessage: it goes the wrong way: a query to no server, an answer from none.
    """
    source = segment.source, segment.source_port
    target = segment.target, segment.target_port
    client, server = (target, source) if message.is_answer else (source, target)
    if server[1] != PORT:
        raise BadMessage("it goes the wrong way")
    return DnsSeen(
        is_answer=message.is_answer,
        is_tcp=segment.is_tcp,
        is_loopback=packet.is_loopback,
        is_outgoing=packet.is_outgoing,
        is_cut=message.is_cut,
        code=message.code,
        id=message.id,
        qtype=message.qtype,
        client=client[0],
        client_port=client[1],
        server=server[0],
        server_port=server[1],
        name=message.name,
        answers=message.answers,
    )
