from agent.sense.sensors.sockrow import SocketRow, row_of
from agent.sense.sensors.socktell import SocketTeller
from proto.model import ObservationKind, Precision, Process, Role, Source
from tests.fakes.clock import FakeClock

HERE, THERE = b"\x0a\0\0\1", b"\x0a\0\0\2"
NGINX = Process(boot_id=bytes(16), pid=1200, start=5, name="nginx", argv=("nginx", "-g"))


def a_teller(*listening: tuple[str, int]) -> SocketTeller:
    teller = SocketTeller(FakeClock(), Source("sockets", "inetdiag", "all"))
    teller.listening = frozenset(listening)
    return teller


def a_connection(protocol: str = "tcp", port: int = 80) -> SocketRow:
    ends = (HERE, THERE) if not protocol.endswith("6") else (HERE * 4, THERE * 4)
    return row_of(protocol, 1, (ends[0], port), (ends[1], 40_000), (0, 9))


def a_listener() -> SocketRow:
    return row_of("tcp", 10, (HERE, 80), (bytes(4), 0), (0, 7))


def test_a_connection_to_a_port_that_listens_was_begun_by_the_other_side() -> None:
    teller = a_teller(("tcp", 80))

    assert teller.seen(a_connection(), NGINX).subject.role is Role.ACTOR
    assert teller.seen(a_connection("tcp6"), NGINX).subject.role is Role.ACTOR
    assert teller.seen(a_connection(port=81), NGINX).subject.role is Role.TARGET
    assert teller.seen(a_connection("udp"), NGINX).subject.role is Role.TARGET
    assert teller.unheld(a_connection()).subject.role is Role.ACTOR


def test_a_listener_is_what_it_is() -> None:
    told = a_teller(("tcp", 80)).seen(a_listener(), NGINX)

    assert (told.kind, told.subject.role) == (ObservationKind.SOCKET_LISTEN, Role.TARGET)
    assert told.process is NGINX


def test_a_listener_that_is_gone_names_who_held_it_once() -> None:
    teller = a_teller()
    teller.seen(a_listener(), NGINX)

    gone = teller.gone(a_listener(), Precision.SECOND)
    again = teller.gone(a_listener(), Precision.POLL)

    assert (gone.kind, gone.event_precision) == (ObservationKind.SOCKET_CLOSE, Precision.SECOND)
    assert gone.process is not None
    assert (gone.process.pid, gone.process.name, gone.process.argv) == (1200, "nginx", ())
    assert again.process is None


def test_nobody_is_said_to_have_held_a_connection_that_is_over() -> None:
    told = a_teller().unheld(a_connection())

    assert (told.kind, told.process) == (ObservationKind.SOCKET_OPEN, None)
    assert told.event_precision is Precision.SECOND
