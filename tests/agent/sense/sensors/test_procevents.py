import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.procevents import (
    IGNORE,
    LISTEN,
    Ack,
    Exec,
    Exit,
    Fork,
    parse_event,
    request,
    socket_filter,
)
from agent.sense.sensors.procfs import ProcError

FORK, EXEC, EXIT, COMM = 0x1, 0x2, 0x80000000, 0x200


def a_message(what: int, *data: int, at: int = 77, idx: int = 1) -> bytes:
    body = struct.pack("=IIQ", what, 0, at) + struct.pack(f"={len(data)}I", *data)
    connector = struct.pack("=IIIIHH", idx, 1, 0, 6, len(body), 0)
    return struct.pack("=IHHII", 36 + len(body), 3, 0, 0, 0) + connector + body


def passes(program: bytes, message: bytes) -> bool:
    """Run a classic packet filter of the few instructions that ours has."""
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = index = at = 0
    while True:
        code, jump_true, jump_false, k = steps[at]
        at += 1
        if code == 0x20:
            word = message[k : k + 4]
            if len(word) < 4:
                return False
            accumulator = int.from_bytes(word, "big")
        elif code == 0x07:
            index = accumulator
        elif code == 0x15:
            at += jump_true if accumulator == k else jump_false
        elif code == 0x1D:
            at += jump_true if accumulator == index else jump_false
        else:
            assert code == 0x06
            return bool(k)


def test_events_are_read() -> None:
    assert parse_event(a_message(EXEC, 812, 812)) == Exec(pid=812, at=77)
    assert parse_event(a_message(FORK, 1, 1, 812, 812)) == Fork(pid=812, ppid=1, at=77)
    assert parse_event(a_message(EXIT, 812, 812, 0, 17)) == Exit(pid=812, at=77)
    assert parse_event(a_message(0, 13)) == Ack(error=13, number=5)


def test_an_exec_by_a_thread_is_one_of_its_process() -> None:
    assert parse_event(a_message(EXEC, 813, 812)) == Exec(pid=812, at=77)


def test_threads_are_no_processes() -> None:
    assert parse_event(a_message(FORK, 812, 812, 813, 812)) is None
    assert parse_event(a_message(EXIT, 813, 812, 0, 17)) is None


def test_events_that_are_not_ours_are_nothing() -> None:
    assert parse_event(a_message(COMM, 812, 812, 0)) is None


@pytest.mark.parametrize(
    "data", [b"", a_message(EXEC, 1, 1)[:50], a_message(EXEC, 1), a_message(EXEC, 1, 1, idx=3)]
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ProcError):
        parse_event(data)


@given(data=st.binary(max_size=120), what=st.sampled_from([0, FORK, EXEC, EXIT, COMM]))
def test_any_bytes_give_an_event_or_our_error(data: bytes, what: int) -> None:
    for message in (data, a_message(what)[:52] + data):
        try:
            parse_event(message)
        except ProcError:
            continue


@pytest.mark.parametrize("exits", [False, True])
def test_the_filter_lets_through_what_is_asked_for(*, exits: bool) -> None:
    program = socket_filter(exits=exits)

    assert passes(program, a_message(EXEC, 813, 812))
    assert passes(program, a_message(FORK, 1, 1, 812, 812))
    assert not passes(program, a_message(FORK, 812, 812, 813, 812))
    assert passes(program, a_message(EXIT, 812, 812, 0, 17)) is exits
    assert not passes(program, a_message(EXIT, 813, 812, 0, 17))
    assert not passes(program, a_message(COMM, 812, 812, 0))
    assert passes(program, a_message(0, 0))
    assert not passes(program, b"")


def test_a_request_names_its_operation() -> None:
    assert len(request(LISTEN)) == 40
    assert request(LISTEN)[-4:] == struct.pack("=I", 1)
    assert request(IGNORE)[-4:] == struct.pack("=I", 2)
    assert request(LISTEN, 7)[28:32] == struct.pack("=I", 7)
