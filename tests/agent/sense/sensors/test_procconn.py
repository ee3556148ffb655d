import subprocess
import sys
import threading

import pytest

from agent.sense.sensors.procconn import Connector, ConnectorRefused
from agent.sense.sensors.procevents import Ack, Event, Exec, Exit, Fork, Lost
from runtime.clock import SystemClock

TRUE = "/bin/true"


def a_connector(*, receive_buffer_bytes: int = 1 << 20, exits: bool = False) -> Connector:
    try:
        return Connector(SystemClock(), receive_buffer_bytes, exits=exits)
    except ConnectorRefused as error:
        pytest.skip(f"this kernel gives us no process events: {error}")


def drained(connector: Connector) -> list[Event]:
    events: list[Event] = []
    while more := connector.receive(64):
        events += more
    return events


@pytest.mark.parametrize("exits", [False, True])
def test_a_process_is_born_runs_and_ends(*, exits: bool) -> None:
    connector = a_connector(exits=exits)
    before = SystemClock().monotonic_ns()

    child = subprocess.Popen([TRUE])
    child.wait()
    events = [event for event in drained(connector) if getattr(event, "pid", 0) == child.pid]

    connector.close()
    assert [type(event) for event in events] == [Fork, Exec, Exit][: 3 if exits else 2]
    times = [event.at for event in events if not isinstance(event, Ack)]
    assert times == sorted(times)
    assert before <= times[0] <= SystemClock().monotonic_ns()


def test_threads_do_not_wake_us() -> None:
    connector = a_connector(exits=True)
    drained(connector)

    threads = [threading.Thread(target=int) for _ in range(20)]
    for thread in threads:
        thread.start()
        thread.join()
    own = {thread.native_id for thread in threads}

    assert not [event for event in drained(connector) if getattr(event, "pid", 0) in own]
    connector.close()


def test_what_found_no_room_is_said() -> None:
    connector = a_connector(receive_buffer_bytes=2304)

    for _ in range(60):
        subprocess.run([TRUE], check=True)
    events = drained(connector)

    connector.close()
    assert any(isinstance(event, Lost) for event in events)
    assert len(events) < 120


def test_nothing_waiting_is_nothing_and_no_wait() -> None:
    connector = a_connector()
    drained(connector)

    assert connector.receive(0) == []
    connector.close()


def test_it_is_known_whether_all_was_taken() -> None:
    connector = a_connector()
    drained(connector)
    subprocess.run([TRUE], check=True)

    connector.receive(1)
    after_one = connector.is_drained
    while connector.receive(64):
        pass

    assert not after_one
    assert connector.is_drained
    connector.close()


def test_closing_twice_is_harmless() -> None:
    connector = a_connector()

    connector.close()
    connector.close()

    assert connector.fileno() == -1


def test_the_receive_buffer_is_what_the_kernel_gave() -> None:
    connector = a_connector(receive_buffer_bytes=65_536)

    assert connector.receive_buffer_bytes == 65_536
    connector.close()


def refusal_in(*namespaces: str) -> str:
    """What a connector says that is opened in namespaces of its own."""
    script = (
        "from agent.sense.sensors.procconn import Connector, ConnectorRefused\n"
        "from runtime.clock import SystemClock\n"
        "try:\n    Connector(SystemClock(), 65536, exits=False)\n"
        "except ConnectorRefused as error:\n    print(error)\n"
    )
    done = subprocess.run(
        ["unshare", *namespaces, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"needs the right to make namespaces: {done.stderr.strip()}")
    return done.stdout.strip()


@pytest.mark.root
def test_a_private_network_refuses_and_says_so() -> None:
    assert refusal_in("--net") == "process events: Connection refused"


@pytest.mark.root
def test_events_that_another_listener_asked_for_are_no_yes() -> None:
    listener = a_connector(exits=True)

    refusal = refusal_in("--pid", "--fork")

    listener.close()
    assert refusal == "process events: the kernel does not answer"
