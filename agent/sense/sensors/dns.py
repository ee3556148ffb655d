"""DNS: which names this host asks for, what comes back, and who asked.

Source: a unit of its own (`agent.inspect.dns`) that sees packets of port 53 and sends the parsed
messages to a socket of ours. Privilege: CAP_NET_RAW for that unit and none for us. Cost: 0.1 ms of
CPU for a message that is new, 1 ms to name the process of a query.
Misses: DNS over TLS, HTTPS or QUIC; messages over TCP in more than one segment; fragments; ports
other than 53; other network namespaces; the process of most queries that the kernel has no socket
for any more.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agent.dnsframes import FRAME_BYTES_MAX, DnsHello, DnsLost, DnsSeen, decode_dns
from agent.hostroot import HostFileError, HostRoot
from agent.sense.door import Door, Tongue
from agent.sense.ports import POLL_SIGHTINGS_MAX, SensorHealth, SensorSpec, Sighting
from agent.sense.sensors.bucket import Bucket
from agent.sense.sensors.dnsasker import Askers
from agent.sense.sensors.dnsendpoint import message_of
from agent.sense.sensors.dnsrepeats import Questions, Repeats
from agent.sense.sensors.dnssettings import DnsSettings
from agent.sense.sensors.identity import ProcessReader
from agent.sense.sensors.losses import KINDS_MAX, Losses
from agent.sense.sensors.namespaces import sees_host_network, sees_host_processes
from proto.model import (
    Entity,
    HealthState,
    Observation,
    ObservationKind,
    Precision,
    Process,
    Role,
    Source,
)
from runtime.clock import Clock

NAME: Final = "dns"
TOLD_MAX: Final = POLL_SIGHTINGS_MAX - KINDS_MAX
WAITING_MAX: Final = 4096
BURST_S: Final = 2
# What a unit may have left unsent while we were busy comes all at once.
FRAMES_PER_S_MAX: Final = 8000
ARGV_BYTES_MAX: Final = 4096

SPEC: Final = SensorSpec(
    name=NAME,
    source="packets of port 53, seen and parsed by vedette-dns",
    coverage="queries and answers over UDP, and over TCP in one segment; repeats once a minute",
    misses=(
        "DNS over TLS, HTTPS or QUIC; messages over TCP in more than one segment; fragments; other"
        " ports; other network namespaces; the process, where its socket is gone before we look"
    ),
    privilege="none here; vedette-dns needs CAP_NET_RAW at its start",
    cost="0.1 ms of CPU for a new message, 1 ms to name the process of a query",
)

_RUNG: Final = "packets"
_NOBODY: Final = (
    "no unit that sees DNS packets is connected: systemctl enable --now vedette-dns, with the"
    " profile full"
)
_NO_USER: Final = (
    "there is no user for the unit that sees DNS packets: install the sysusers file, or name one in"
    " privileges.dns_user"
)
_DROPPED: Final = "packets the kernel had no room for"
_UNREADABLE: Final = "packets of port 53 without a message that could be read"
_OMITTED: Final = "DNS messages beyond the rate"


class DnsSensor:
    """See the module.

    Args:
        settings: its section.
        host: where /proc is.
        clock: the source of time.
        peer: where the unit knocks, and the user id that it must have; None for there is none.
    """

    spec = SPEC

    def __init__(
        self,
        settings: DnsSettings,
        host: HostRoot,
        clock: Clock,
        peer: tuple[Path | None, int | None],
    ) -> None:
        self._settings = settings
        self._host = host
        self._clock = clock
        self._path, self._peer_uid = peer
        self._losses = Losses(NAME, clock)
        self._leave = Bucket(settings.messages_per_s_max, settings.messages_per_s_max * BURST_S)
        self._repeats = Repeats(settings.repeat_s, settings.names_max)
        self._questions = Questions()
        self._waiting: deque[tuple[DnsSeen, Process | None]] = deque()
        self._source = Source(NAME, _RUNG, SPEC.coverage)
        self._door: Door | None = None
        self._reader: ProcessReader | None = None
        self._askers: Askers | None = None
        self._problem = "not started"
        self._last_success = 0

    def start(self, cursor: bytes) -> None:  # noqa: ARG002  (packets cannot be read again)
        """Open the door that the unit knocks at."""
        if self._path is None or self._peer_uid is None:
            self._problem = _NO_USER
            return
        door = Door(
            self._path,
            self._peer_uid,
            self._clock,
            self._take,
            Tongue(decode_dns, FRAME_BYTES_MAX, FRAMES_PER_S_MAX),
        )
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            door.open()
        except OSError as error:
            self._problem = f"{self._path}: {error.strerror or error}"
            return
        self._door = door
        self._askers = self._opened()

    def descriptors(self) -> Sequence[int]:
        """Return those of the door and of the unit behind it."""
        return self._door.readable() if self._door else ()

    def due(self) -> int | None:
        """Return now while there is something to tell; else only the unit gives a reason."""
        return self._clock.boot_ns() if self._waiting else None

    def poll(self, deadline: int) -> Sequence[Sighting]:
        """Return the messages that are new."""
        if self._door is None:
            return []
        if not self._waiting:
            for descriptor in self._door.readable():
                self._door.serve(descriptor)
        told: list[Sighting] = []
        while self._waiting and len(told) < TOLD_MAX:
            if (observation := self._observation(*self._waiting.popleft())) is not None:
                told.append(observation)
            if self._clock.boot_ns() >= deadline:
                break
        return [*self._losses.take(), *told]

    def cursor(self) -> bytes:
        """Return nothing: packets cannot be read again."""
        return b""

    def health(self) -> SensorHealth:
        """Return whether the unit is there."""
        is_there = self._door is not None and self._door.has_visitor
        reason = self._problem if self._door is None else _NOBODY
        return SensorHealth(
            state=HealthState.OK if is_there else HealthState.BLIND,
            rung=_RUNG if is_there else "none",
            reason="" if is_there else reason,
            last_success=self._last_success,
            dropped=self._losses.total,
        )

    def stop(self) -> None:
        """Close everything; harmless when repeated or never started."""
        self._waiting.clear()
        if self._door is not None:
            self._door.close()
            self._door = None
        if self._reader is not None:
            self._reader.close()
            self._reader = self._askers = None

    def _opened(self) -> Askers | None:
        """Return who finds processes; None where a number would mean another process."""
        try:
            reader = ProcessReader(self._host, self._clock, argv_bytes_max=ARGV_BYTES_MAX)
        except HostFileError:
            return None
        if not sees_host_network(self._host) or not sees_host_processes(self._host, reader.proc):
            reader.close()
            return None
        self._reader = reader
        return Askers(reader, self._settings.lookups_per_s_max)

    def _take(self, frame: DnsHello | DnsLost | DnsSeen) -> None:
        self._last_success = self._clock.wall_ns()
        if isinstance(frame, DnsSeen):
            now = self._clock.boot_ns()
            if len(self._waiting) >= WAITING_MAX or not self._leave.take(now):
                self._losses.overflow(_OMITTED, 1)
                return
            # Now or never: the socket of a query is gone in a moment.
            self._waiting.append((frame, self._asker(frame)))
        elif isinstance(frame, DnsLost):
            self._losses.overflow(_DROPPED, frame.dropped)
            self._losses.overflow(_UNREADABLE, frame.unreadable)
            self._losses.overflow(_OMITTED, frame.omitted)
            self._losses.nothing_lost_until_now()
        else:
            self._losses.nothing_lost_until_now()

    def _asker(self, seen: DnsSeen) -> Process | None:
        now = self._clock.boot_ns()
        if seen.is_answer:
            return self._questions.asker(seen, now)
        process = self._askers.find(seen, now) if self._askers else None
        if process is not None:
            self._questions.asked(seen, process, now)
        return process

    def _observation(self, seen: DnsSeen, process: Process | None) -> Observation | None:
        message = message_of(seen)
        who = (process.pid, process.start) if process else seen.client
        server = seen.server, seen.server_port
        said = message.code, tuple(sorted(seen.answers))
        key = seen.is_answer, message.name, message.qtype, said, who, server
        if not self._repeats.is_new(key, self._clock.boot_ns()):
            return None
        now = self._clock.wall_ns()
        return Observation(
            kind=ObservationKind.DNS_ANSWER if seen.is_answer else ObservationKind.DNS_QUERY,
            source=self._source,
            event_time=now,
            event_precision=Precision.SECOND,
            observed_at=now,
            subject=Entity(Role.TARGET, message),
            process=process,
        )
