import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from agent.hosttext import CUT, host_text
from agent.sense.sensors.auditfields import AuditError, Part, parse_part
from agent.sense.sensors.auditjoin import KINDS, JoinBounds, Joiner
from agent.sense.sensors.auditserials import LATE_NS_MAX
from agent.sense.sensors.execrecord import ExecRecord
from tests.agent.sense.sensors.auditwire import (
    CWD,
    EOE,
    EXECVE,
    PATH,
    PROCTITLE,
    SYSCALL,
    WALL_MS,
    WALL_S,
    a_syscall,
    a_value,
    an_exec,
)

ARGV = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"")), max_size=6)


def part(kind: int, text: bytes = b"", serial: int = 7) -> Part:
    return Part(kind, serial, WALL_S * 10**9, text)


def parts(datagrams: list[bytes]) -> list[Part]:
    return [parse_part(int.from_bytes(data[4:6], "little"), data[16:]) for data in datagrams]


def joined(found: list[Part], joiner: Joiner | None = None) -> list[ExecRecord]:
    joiner = Joiner(JoinBounds()) if joiner is None else joiner
    return [record for one in found for record in joiner.take(one, 0)]


def test_the_records_of_an_exec_become_one() -> None:
    (record,) = joined(parts(an_exec(9, [b"ls", b"-l", b"a b"])))

    assert record == ExecRecord(
        pid=4242,
        ppid=41,
        serial=9,
        wall_ns=WALL_S * 10**9 + WALL_MS * 10**6,
        argv=("ls", "-l", "a b"),
        exe="/bin/ls",
        cwd="/home/some one",
        uid=1001,
        euid=0,
        auid=1000,
        session=3,
        tty="pts/0",
        success=True,
    )


@given(st.lists(ARGV, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_events_that_arrive_mixed_are_told_apart(
    commands: list[list[bytes]], order: random.Random
) -> None:
    streams = [parts(an_exec(100 + at, argv, pid=500 + at)) for at, argv in enumerate(commands)]
    for stream in streams:
        body = stream[:-1]
        order.shuffle(body)
        stream[:-1] = body
    mixed: list[Part] = []
    while alive := [stream for stream in streams if stream]:
        mixed.append(order.choice(alive).pop(0))
    joiner = Joiner(JoinBounds())

    told = {record.pid: record.argv for record in joined(mixed, joiner)}

    assert told == {
        500 + at: tuple(host_text(argument, 32_768) for argument in argv)
        for at, argv in enumerate(commands)
    }
    assert (len(joiner), joiner.lost) == (0, 0)


def test_an_exec_whose_arguments_were_lost_says_so() -> None:
    joiner = Joiner(JoinBounds())
    title = part(PROCTITLE, b"proctitle=" + a_value(b"ls\0-l"))

    told = joined([part(SYSCALL, a_syscall()), title, part(EOE)], joiner)
    bare = joined([part(SYSCALL, a_syscall()), part(EOE)], joiner)

    assert [record.argv for record in told + bare] == [("ls", "-l", CUT), (CUT,)]
    assert joiner.lost == 2


def test_arguments_without_their_call_are_a_loss_and_no_exec() -> None:
    joiner = Joiner(JoinBounds())

    assert joined([part(EXECVE, b'argc=1 a0="x"'), part(EOE)], joiner) == []
    assert joiner.lost == 1


def test_a_failed_exec_names_the_file_that_could_not_be_run() -> None:
    (record,) = joined(
        [
            part(SYSCALL, a_syscall(success=False, tty=b"(none)")),
            part(CWD, b'cwd="/srv/app"'),
            part(PATH, b'item=0 name="../bin/gone" nametype=UNKNOWN'),
            part(EOE),
        ]
    )

    assert (record.success, record.exe, record.argv) == (False, "/srv/bin/gone", ())
    assert record.tty is None


def test_other_calls_are_no_execs_whatever_their_parts() -> None:
    joiner = Joiner(JoinBounds())
    events = [part(SYSCALL, a_syscall(call=2)), part(CWD, b'cwd="/"'), part(PATH), part(EOE)]

    assert joined(events, joiner) == []
    assert (len(joiner), joiner.lost) == (0, 0)


def test_programs_of_the_older_architecture_and_of_unknown_ones_are_execs() -> None:
    old = [part(SYSCALL, a_syscall(arch=b"40000003", call=11)), part(EXECVE, b'argc=1 a0="x"')]
    new = [part(SYSCALL, a_syscall(arch=b"c00000f3", call=221)), part(EXECVE, b'argc=1 a0="y"')]
    other = [part(SYSCALL, a_syscall(arch=b"c00000f3", call=4))]

    told = joined([*old, part(EOE), *new, part(EOE), *other, part(EOE)])

    assert [record.argv for record in told] == [("x",), ("y",)]


def test_an_event_that_does_not_end_is_taken_after_a_while() -> None:
    joiner = Joiner(JoinBounds())
    joined([part(SYSCALL, a_syscall()), part(EXECVE, b'argc=1 a0="x"')], joiner)

    early = joiner.overdue(LATE_NS_MAX - 1)
    late = joiner.overdue(LATE_NS_MAX)

    assert early == []
    assert [record.argv for record in late] == [("x",)]
    assert (len(joiner), joiner.lost) == (0, 1)


def test_what_waits_is_bounded_in_number_and_in_size() -> None:
    few = Joiner(JoinBounds(events_max=4))
    small = Joiner(JoinBounds(size_bytes_max=20_000))

    told = [
        record for serial in range(50) for record in few.take(part(SYSCALL, a_syscall(), serial), 0)
    ]
    for serial in range(50):
        small.take(part(SYSCALL, a_syscall(), serial), 0)
        small.take(part(EXECVE, b'argc=1 a0="%s"' % (b"x" * 7000), serial), 0)

    assert [record.serial for record in told] == list(range(46))
    assert len(few) == 4
    assert len(small) <= 2


@given(st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.binary(max_size=80)), max_size=20))
def test_any_bytes_are_joined_or_lost(found: list[tuple[int, bytes]]) -> None:
    joiner = Joiner(JoinBounds())

    for kind, text in found:
        with contextlib.suppress(AuditError):
            joiner.take(part(kind, text, serial=len(text) % 3), 0)
    joiner.overdue(LATE_NS_MAX)

    assert len(joiner) == 0
