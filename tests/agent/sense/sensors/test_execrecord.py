"""What a source of arguments may leave untold is None, never a guess."""

from agent.sense.sensors.execrecord import ExecRecord


def test_what_a_source_did_not_tell_is_none() -> None:
    record = ExecRecord(pid=7, ppid=None, serial=1, wall_ns=2, argv=("/bin/true",))

    told = (record.exe, record.cwd, record.uid, record.euid, record.auid, record.session)
    assert told == (None,) * 6
    assert record.tty is None
    assert record.success
