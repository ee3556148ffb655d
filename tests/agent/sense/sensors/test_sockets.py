import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.hostroot import HostRoot
from agent.sense.ports import Sighting
from agent.sense.sensors import sockets
from agent.sense.sensors.sockends import Ended, EndsLost, EndsRefused, SocketEnds
from agent.sense.sensors.sockets import SocketSensor, SocketSettings, snapshot
from proto.model import (
    DropReason,
    Endpoint,
    HealthState,
    Observation,
    ObservationKind,
    Precision,
    Process,
    Role,
)
from runtime.clock import NS_PER_S, SystemClock
from tests.agent.sense.sensors.driving import drain, drops_of
from tests.agent.sense.sensors.hosts import a_golden_host, come_and_go
from tests.fakes.clock import FakeClock

Ends = tuple[ObservationKind, Endpoint, Process | None]


class RealTime(FakeClock):
    """A clock that begins now and is moved by hand, so that a look need not be waited for."""

    def __init__(self) -> None:
        super().__init__()
        real = SystemClock()
        self.wall, self.monotonic, self.boot = (
            real.wall_ns(),
            real.monotonic_ns(),
            real.boot_ns(),
        )


def seen(told: list[Sighting], port: int | None = None) -> list[Ends]:
    return [
        (fact.kind, fact.subject.value, fact.process)
        for fact in told
        if isinstance(fact, Observation)
        and isinstance(fact.subject.value, Endpoint)
        and port in {None, fact.subject.value.local_port, fact.subject.value.remote_port}
    ]


@pytest.fixture
def clock() -> RealTime:
    return RealTime()


@pytest.fixture
def sensor(clock: RealTime) -> Iterator[SocketSensor]:
    """A sensor of the real host, past its first look."""
    made = SocketSensor(SocketSettings(), HostRoot(), clock)
    made.start(b"")
    drain(made, clock)
    yield made
    made.stop()


def refusing(_bytes: int) -> SocketEnds:
    raise EndsRefused("ended sockets: Operation not permitted")


def look(sensor: SocketSensor, clock: FakeClock) -> list[Sighting]:
    clock.forward(10)
    return drain(sensor, clock)


def looked_until(
    sensor: SocketSensor, clock: FakeClock, is_done: Callable[[list[Sighting]], bool]
) -> list[Sighting]:
    """Look again and again: the kernel tells of what has ended a little later."""
    told: list[Sighting] = []
    for _ in range(100):
        if is_done(told):
            return told
        time.sleep(0.1)
        told += look(sensor, clock)
    raise AssertionError("it was never told")


def opened(told: list[Sighting], port: int) -> list[Ends]:
    return [ends for ends in seen(told, port) if ends[0] is ObservationKind.SOCKET_OPEN]


def test_a_new_listener_is_told_with_the_process_that_holds_it(
    sensor: SocketSensor, clock: RealTime
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = look(sensor, clock)
        again = look(sensor, clock)
        port = listener.getsockname()[1]

    [(kind, endpoint, process)] = seen(told, port)
    assert kind is ObservationKind.SOCKET_LISTEN
    assert (endpoint.local_address, endpoint.remote_address) == ("127.0.0.1", None)
    assert process is not None
    assert process.pid == os.getpid()
    assert seen(again, port) == []


def test_a_connection_is_told_from_both_its_ends(sensor: SocketSensor, clock: RealTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        look(sensor, clock)
        with socket.create_connection(("127.0.0.1", port)) as caller:
            accepted, _ = listener.accept()
            told = look(sensor, clock)
            accepted.close()
            caller_port = caller.getsockname()[1]

    found = seen(told, port)
    assert {kind for kind, _, _ in found} == {ObservationKind.SOCKET_OPEN}
    assert {(end.local_port, end.remote_port) for _, end, _ in found} == {
        (port, caller_port),
        (caller_port, port),
    }
    assert {process.pid if process else None for _, _, process in found} == {os.getpid()}


def test_a_connection_that_is_over_before_the_first_look_is_seen_lingering(
    clock: RealTime,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        caller = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        ends = caller.getsockname()[1], port
        caller.close()
        accepted.close()
        time.sleep(0.3)  # the kernel tells of the end a little later: to nobody yet
        made = SocketSensor(SocketSettings(), HostRoot(), clock)
        made.start(b"")
        told = drain(made, clock)
        made.stop()

    # Not what lingers of an earlier listener on this port.
    [(kind, endpoint, process)] = [
        one for one in seen(told, port) if (one[1].local_port, one[1].remote_port) == ends
    ]
    assert (kind, endpoint.state) == (ObservationKind.SOCKET_OPEN, "time_wait")
    assert (process, endpoint.inode) == (None, None)


def test_a_connection_between_two_looks_is_told_once_and_without_a_process(
    sensor: SocketSensor, clock: RealTime
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        look(sensor, clock)
        caller = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        caller_port = caller.getsockname()[1]
        caller.close()
        accepted.close()
        told = looked_until(sensor, clock, lambda told: len(opened(told, port)) >= 2)
        told += look(sensor, clock)

    both = [(port, caller_port), (caller_port, port)]
    found = [one for one in opened(told, port) if (one[1].local_port, one[1].remote_port) in both]
    assert sorted((end.local_port, end.remote_port) for _, end, _ in found) == sorted(both)
    assert {(end.state, process) for _, end, process in found} == {("close", None)}


def test_who_began_a_connection_shows_in_the_part_the_other_side_plays(
    sensor: SocketSensor, clock: RealTime
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            told = look(sensor, clock)
            accepted.close()

    roles = {
        fact.subject.value.remote_port == port: fact.subject.role
        for fact in told
        if isinstance(fact, Observation)
        and isinstance(fact.subject.value, Endpoint)
        and fact.kind is ObservationKind.SOCKET_OPEN
        and port in {fact.subject.value.local_port, fact.subject.value.remote_port}
    }
    assert roles == {True: Role.TARGET, False: Role.ACTOR}


@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "looked-at"])
def test_the_end_of_a_listener_is_told_with_the_process_that_held_it(
    clock: RealTime, monkeypatch: pytest.MonkeyPatch, *, is_heard: bool
) -> None:
    if not is_heard:
        monkeypatch.setattr(sockets, "SocketEnds", refusing)
    sensor = SocketSensor(SocketSettings(), HostRoot(), clock)
    sensor.start(b"")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        drain(sensor, clock)

    told = look(sensor, clock)
    again = look(sensor, clock)

    sensor.stop()
    [(kind, endpoint, process)] = seen(told, port)
    assert (kind, endpoint.local_port) == (ObservationKind.SOCKET_CLOSE, port)
    assert process is not None
    assert process.pid == os.getpid()
    assert seen(again, port) == []


def test_more_ended_sockets_than_the_kernel_keeps_are_a_gap_and_a_full_look_at_once(
    clock: RealTime,
) -> None:
    sensor = SocketSensor(SocketSettings(ended_buffer_bytes=65_536), HostRoot(), clock)
    sensor.start(b"")
    drain(sensor, clock)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def again(told: list[Sighting]) -> bool:
            for _ in range(0 if drops_of(told) else 300):
                come_and_go(listener)
            return bool(drops_of(told))

        drops = drops_of(looked_until(sensor, clock, again))
        health = sensor.health()

    sensor.stop()
    assert {drop.reason for drop in drops} == {DropReason.SOURCE_GAP}
    assert drops[0].count is None
    assert health.dropped == len(drops)


class Breaking(SocketEnds):
    """An ear that breaks when it is first listened to."""

    def receive(self, events_max: int) -> list[Ended | EndsLost]:
        del events_max
        self.close()
        return [EndsLost()]


def test_an_ear_that_breaks_is_a_gap_and_looking_goes_on(
    clock: RealTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SocketEnds", Breaking)
    sensor = SocketSensor(SocketSettings(), HostRoot(), clock)
    sensor.start(b"")

    drops = drops_of(drain(sensor, clock))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = look(sensor, clock)
        port = listener.getsockname()[1]
    health = sensor.health()

    sensor.stop()
    assert [drop.reason for drop in drops] == [DropReason.SOURCE_GAP]
    assert len(seen(told, port)) == 1
    assert (health.rung, sensor.descriptors()) == ("inetdiag", ())


def test_a_connection_that_was_told_is_not_told_again_when_it_ends(
    sensor: SocketSensor, clock: RealTime
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        caller = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        look(sensor, clock)
        caller.close()
        accepted.close()
        told = look(sensor, clock)

    assert seen(told, port) == []


def test_the_first_look_tells_what_stands(clock: RealTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sensor = SocketSensor(SocketSettings(), HostRoot(), clock)
        sensor.start(b"")
        told = drain(sensor, clock)
        sensor.stop()

        assert len(seen(told, listener.getsockname()[1])) == 1
    assert all(
        fact.event_precision is Precision.POLL for fact in told if isinstance(fact, Observation)
    )


def test_looks_fall_on_a_shared_tick(sensor: SocketSensor, clock: RealTime) -> None:
    due = sensor.due()

    assert due is not None
    assert due % (10 * NS_PER_S) == 0
    assert 0 < due - clock.boot_ns() <= 10 * NS_PER_S
    assert len(sensor.descriptors()) == 1


def test_health_says_what_is_not_seen(sensor: SocketSensor) -> None:
    health = sensor.health()

    privileged = os.geteuid() == 0
    assert health.rung == "inetdiag+destroy-events"
    assert health.state is (HealthState.OK if privileged else HealthState.DEGRADED)
    assert ("other users" in health.reason) is not privileged


def test_a_golden_host_is_told_in_full(tmp_path: Path) -> None:
    clock = FakeClock()
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()  # so that the network is not ours
    sensor = SocketSensor(SocketSettings(), HostRoot(root), clock)
    sensor.start(b"")

    told = drain(sensor, clock)

    kinds = [kind for kind, _, _ in seen(told)]
    assert kinds.count(ObservationKind.SOCKET_LISTEN) == 3
    assert kinds.count(ObservationKind.SOCKET_OPEN) == 5
    assert not drops_of(told)
    health = sensor.health()
    assert (health.rung, health.state) == ("procnet", HealthState.DEGRADED)
    assert "read through process 1" in health.reason


def test_more_new_sockets_than_one_look_tells_follow_at_once(
    tmp_path: Path, clock: RealTime
) -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
    ports = {listener.getsockname()[1] for listener in listeners}
    sensor = SocketSensor(SocketSettings(new_sockets_max=16), HostRoot(), clock)
    sensor.start(b"")

    told = drain(sensor, clock)

    sensor.stop()
    for listener in listeners:
        listener.close()
    assert ports <= {endpoint.local_port for _, endpoint, _ in seen(told)}


def test_all_that_lingers_at_the_first_look_is_told_however_much_it_is(clock: RealTime) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        callers = set()
        for _ in range(200):
            caller = socket.create_connection(("127.0.0.1", port))
            accepted, _ = listener.accept()
            callers.add(caller.getsockname()[1])
            caller.close()
            accepted.close()
        time.sleep(0.3)  # the kernel tells of the end a little later: to nobody yet
        sensor = SocketSensor(SocketSettings(new_sockets_max=64), HostRoot(), clock)
        sensor.start(b"")
        told = drain(sensor, clock)
        sensor.stop()

    lingering = {end.local_port for _, end, _ in opened(told, port) if end.state == "time_wait"}
    assert callers <= lingering


def test_sockets_beyond_the_limit_are_declared(tmp_path: Path) -> None:
    clock = FakeClock()
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    line = "   {0}: 00000000:{0:04X} 00000000:0000 0A 0:0 0:0 0 0 0 {0} 1\n"
    (root / "proc/1/net/tcp").write_text("head\n" + "".join(map(line.format, range(1, 1001))))
    (root / "proc/1/net/dev").touch()
    sensor = SocketSensor(SocketSettings(sockets_max=256), HostRoot(root), clock)
    sensor.start(b"")

    [drop] = drops_of(drain(sensor, clock))

    assert drop.count is not None
    assert drop.count > 700
    assert sensor.health().dropped == drop.count


def test_a_look_with_no_time_left_goes_on_at_the_next_poll(tmp_path: Path) -> None:
    clock = FakeClock()
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()
    sensor = SocketSensor(SocketSettings(), HostRoot(root), clock)
    sensor.start(b"")

    told = drain(sensor, clock, slice_ns=0)

    sensor.stop()
    assert len(seen(told)) == 8


def test_a_host_without_proc_is_blind_and_says_so(tmp_path: Path) -> None:
    sensor = SocketSensor(SocketSettings(), HostRoot(tmp_path), FakeClock())

    sensor.start(b"")

    assert sensor.health().state is HealthState.BLIND
    assert "/proc" in sensor.health().reason
    assert (sensor.due(), sensor.poll(0)) == (None, [])


def test_stopping_twice_or_unstarted_is_harmless() -> None:
    clock = SystemClock()
    sensor = SocketSensor(SocketSettings(), HostRoot(), clock)
    sensor.stop()
    before = len(list(Path("/proc/self/fd").iterdir()))

    sensor.start(b"")
    sensor.poll(clock.boot_ns())
    sensor.stop()
    sensor.stop()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert sensor.cursor() == b""


def test_where_looks_are_dear_only_listeners_are_looked_at_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = RealTime()
    # As if there were a great many of them.
    monkeypatch.setattr(sockets, "LOOK_NS_A_SOCKET", NS_PER_S)
    sensor = SocketSensor(SocketSettings(), HostRoot(), clock)
    sensor.start(b"")
    drain(sensor, clock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            soon, later = [], []
            soon += look(sensor, clock)
            for _ in range(6):
                later += look(sensor, clock)

    sensor.stop()
    assert [kind for kind, _, _ in seen(soon, port)] == [ObservationKind.SOCKET_LISTEN]
    assert ObservationKind.SOCKET_OPEN in [kind for kind, _, _ in seen(later, port)]


@pytest.mark.root
def test_in_a_private_network_nothing_is_told_of_its_own_ends_and_the_limit_is_said() -> None:
    script = (
        "from agent.hostroot import HostRoot\n"
        "from agent.sense.sensors.sockets import SocketSensor, SocketSettings\n"
        "from runtime.clock import SystemClock\n"
        "clock = SystemClock()\n"
        "sensor = SocketSensor(SocketSettings(), HostRoot(), clock)\n"
        "sensor.start(b'')\n"
        "while sensor.due() <= clock.boot_ns():\n"
        "    sensor.poll(clock.boot_ns() + 10**9)\n"
        "health = sensor.health()\n"
        "print(health.state.value, health.rung, sensor.descriptors(), health.reason, sep='|')\n"
    )

    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )

    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    state, rung, descriptors, reason = done.stdout.strip().split("|")
    assert (state, rung, descriptors) == ("degraded", "procnet", "()")
    assert "private network namespace" in reason


HOLDERS = (
    "import sys\n"
    "from agent.hostroot import HostRoot\n"
    "from agent.sense.sensors.sockets import snapshot\n"
    "from runtime.clock import SystemClock\n"
    "port = int(sys.argv[1])\n"
    "for end, listens, process in snapshot(HostRoot(), SystemClock()):\n"
    "    if end.local_port == port:\n"
    "        print(process.pid if process else None)\n"
)


@pytest.mark.root
@pytest.mark.parametrize(
    ("apart", "is_named"),
    [(("--net",), True), (("--pid", "--fork", "--mount-proc"), False)],
    ids=["network", "processes"],
)
def test_apart_from_the_host_its_sockets_are_seen_and_nobody_else_is_named(
    apart: tuple[str, ...], *, is_named: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])

        done = subprocess.run(
            ["unshare", *apart, sys.executable, "-c", HOLDERS, port],
            capture_output=True,
            text=True,
            check=False,
        )

    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    # The number of another namespace would be that of some other process here.
    assert done.stdout == (f"{os.getpid()}\n" if is_named else "None\n")


def test_a_snapshot_lists_what_is_there(tmp_path: Path) -> None:
    root = a_golden_host("debian12", tmp_path)
    (root / "proc/1/net/dev").unlink()
    (root / "proc/1/net/dev").touch()

    listed = list(snapshot(HostRoot(root), FakeClock()))

    listening = {end.local_port: process for end, listens, process in listed if listens}
    assert set(listening) == {22, 68}
    assert listening[22] is not None
    assert listening[22].name == "sshd"
    assert len(listed) == 8
