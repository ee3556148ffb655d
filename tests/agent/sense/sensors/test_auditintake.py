import struct

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.auditintake import AuditIntake
from agent.sense.sensors.auditserials import LATE_NS_MAX
from tests.agent.sense.sensors.auditwire import SYSCALL, a_datagram, a_syscall, an_exec

CONFIG_CHANGE = 1305
USER_AUTH = 1100


def test_datagrams_become_execs_as_many_at_a_time_as_are_asked_for() -> None:
    intake = AuditIntake(4096)
    for serial in range(1, 6):
        for data in an_exec(serial, [b"ls", b"%d" % serial]):
            intake.take(data, 0)

    assert intake.is_full(5)
    assert [record.serial for record in intake.ready(3, 0)] == [1, 2, 3]
    assert [record.serial for record in intake.ready(3, 0)] == [4, 5]
    assert intake.losses == 0


def test_an_event_that_never_came_is_counted() -> None:
    intake = AuditIntake(4096)
    for serial in (1, 2, 6):
        for data in an_exec(serial, [b"ls"]):
            intake.take(data, 0)

    intake.ready(9, LATE_NS_MAX)

    assert (intake.losses, intake.events_lost) == (1, 3)


def test_events_of_other_kinds_have_numbers_too() -> None:
    intake = AuditIntake(4096)

    for serial in (1, 2, 3):
        intake.take(a_datagram(USER_AUTH, serial, b"pid=1 msg='op=x res=success'"), 0)

    assert intake.ready(9, LATE_NS_MAX) == []
    assert intake.losses == 0


def test_an_overrun_is_one_loss_of_unknown_size() -> None:
    intake = AuditIntake(4096)
    intake.take(a_datagram(USER_AUTH, 1), 0)

    intake.overrun()
    intake.take(a_datagram(USER_AUTH, 90), 0)
    intake.ready(9, LATE_NS_MAX)

    assert (intake.losses, intake.events_lost) == (1, 0)


def test_auditd_says_when_it_comes_and_goes() -> None:
    intake = AuditIntake(4096)
    told = []

    for serial, text in enumerate((b"op=set audit_pid=77 old=0", b"op=set audit_enabled=1 old=0",
                                   b"op=set audit_pid=0 old=77", b"op=set audit_enabled=1 old=1",
                                   b"op=set audit_pid=78 old=0")):  # fmt: skip
        intake.take(a_datagram(CONFIG_CHANGE, serial, text + b" auid=0 ses=1 res=1"), 0)
        told.append(intake.auditd_left)

    assert told == [False, False, True, True, False]


def test_the_length_in_the_header_is_not_relied_on() -> None:
    intake = AuditIntake(4096)
    (first, *rest) = an_exec(1, [b"ls"])

    intake.take(struct.pack("=I", 1) + first[4:], 0)
    for data in rest:
        intake.take(data, 0)

    assert len(intake.ready(9, 0)) == 1


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_any_datagrams_are_execs_or_nothing(found: list[bytes]) -> None:
    intake = AuditIntake(4096)

    for data in found:
        intake.take(data, 0)
        intake.take(a_datagram(SYSCALL, 1, a_syscall() + data), 0)
    intake.ready(9, LATE_NS_MAX)

    assert len(intake.ready(9, 2 * LATE_NS_MAX)) == 0
