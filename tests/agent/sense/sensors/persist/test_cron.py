"""Whatever runs at a time is told: for whom, when, and what."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.cron import at_job, jobs, read
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_content, a_look, found_by, put, said

AT_JOB = b"""#!/bin/sh
# atrun uid=1000 gid=1000
# mail alice 0
umask 22
SECRET=hunter2; export SECRET
cd /home/alice || {
\t echo 'Execution directory inaccessible' >&2
\t exit 1
}
/tmp/evil --now
"""


def test_jobs_of_every_table_are_told(tmp_path: Path) -> None:
    put(
        tmp_path,
        "/etc/crontab",
        'SHELL=/bin/sh\nPATH = /bin\n# c\n17 *\t* * *\troot  cd / && run%input\n"A B"=c\nbad\n',
    )
    put(tmp_path, "/etc/cron.d/x", "@reboot www-data /tmp/x\n*/5 0-7,9 1 JAN sun a\tb \\% c\n")
    put(tmp_path, "/var/spool/cron/crontabs/alice", "@daily /home/alice/run\n")
    put(tmp_path, "/var/spool/cron/bob", "0 1 * * * run it\n")
    put(tmp_path, "/etc/anacrontab", "SHELL=/bin/sh\n1 5 cron.daily run-parts /etc/cron.daily\n")

    items = found_by(read, tmp_path)

    assert said(items) == [
        ("cron_job", "17 * * * *", "cd / && run"),
        ("cron_job", "@reboot", "/tmp/x"),
        ("cron_job", "*/5 0-7,9 1 JAN sun", "b \\% c"),
        ("cron_job", "1 5 cron.daily", "run-parts /etc/cron.daily"),
        ("cron_job", "@daily", "/home/alice/run"),
        ("cron_job", "0 1 * * *", "run it"),
    ]
    assert [item.user for item in items if isinstance(item.user, User)] == [
        User(name="root"),
        User(name="www-data"),
        User(name="a"),
        User(uid=0),
        User(name="alice"),
        User(name="bob"),
    ]


def test_scripts_of_crons_directories_are_told_with_their_digest(tmp_path: Path) -> None:
    put(tmp_path, "/etc/cron.daily/run", "#!/bin/sh\n", 0o755)
    put(tmp_path, "/etc/cron.daily/.placeholder", "x")

    (item,) = found_by(read, tmp_path)

    assert (item.mechanism, item.name, item.value) == ("cron_script", "run", "daily")
    assert isinstance(item.sha256, bytes)


def test_a_job_of_at_is_what_it_runs_and_not_its_environment() -> None:
    item = at_job(a_content(AT_JOB, "/var/spool/cron/atjobs/a0001")).item

    assert (item.name, item.value, item.user) == ("a0001", "/tmp/evil --now", User(uid=1000))
    assert "hunter2" not in str(item)


def test_a_job_of_at_of_another_form_is_told_without_what_it_runs() -> None:
    item = at_job(a_content(b"SECRET=hunter2\nrun", "/var/spool/at/x")).item

    assert "hunter2" not in str(item)


def test_a_job_that_moves_to_another_line_is_the_same(tmp_path: Path) -> None:
    put(tmp_path, "/etc/crontab", "@daily root a\n@hourly root b\n")
    before = [one for one in read(a_look(tmp_path)) if one is not None]
    put(tmp_path, "/etc/crontab", "@hourly root b\n\n@daily root a\n")
    after = [one for one in read(a_look(tmp_path)) if one is not None]

    assert {one.identity for one in before} == {one.identity for one in after}


def test_odd_things_in_the_spool_stop_nothing(tmp_path: Path) -> None:
    put(tmp_path, "/etc/cron.d/good", "@daily root a\n")
    put(tmp_path, "/etc/cron.d/new\nline", b"@daily root \xff\0\x01\n" + b"x" * 100_000)
    os.mkfifo(tmp_path / "etc/cron.d/fifo")
    (tmp_path / "etc/cron.d/loop").symlink_to("loop")
    look = a_look(tmp_path)

    assert len(found_by(read, tmp_path, look)) == 2
    assert set(look.unread) == {"/etc/cron.d/fifo"}


@given(
    data=st.binary(max_size=300) | st.from_regex(rb"((@a|\*( \*){4}) ?[a-z]{0,3} ?.{0,5}\n){0,4}")
)
def test_any_bytes_are_jobs_or_none(data: bytes) -> None:
    for owner in (None, User(name="a")):
        for found in jobs(a_content(data), owner):
            assert found.item.value
            assert found.item.name
    at_job(a_content(data))
