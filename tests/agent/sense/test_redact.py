import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.redact import PROCESSES_MAX, RedactionSettings, Redactor
from proto import codec
from proto.model import (
    TEXT_BYTES_MAX,
    Argument,
    Change,
    Entity,
    InventoryItem,
    Login,
    LogLine,
    Persistence,
    Role,
    Source,
    User,
)
from tests.proto.builders import a_finding, a_process, an_observation

REDACTOR = Redactor(b"key of this host", RedactionSettings())


@pytest.mark.parametrize(
    "argv",
    [
        ("mysql", "-u", "root", "-phunter2secret"),
        ("curl", "-H", "Authorization: Bearer hunter2secret"),
        ("curl", "https://bob:hunter2secret@example.org/x"),
        ("app", "--password", "hunter2secret"),
        ("app", "--db-password=hunter2secret"),
        ("env", "API_KEY=hunter2secret", "run"),
        ("app", "--token:hunter2secret"),
        ("curl", "https://example.org/?a=1&access_token=hunter2secret&b=2"),
        ("sshpass", "-p", "hunter2secret", "ssh", "host"),
        ("app", '{"client_secret": "hunter2secret"}'),
        ("app", '{"client_secret": "two words, hunter2secret"}'),
        ("curl", "-u", "bob:hunter2secret", "https://example.org/"),
        ("sudo", "/usr/bin/curl", "--proxy-user=bob:hunter2secret", "https://example.org/"),
        ("curl", "-H", "Authorization: token hunter2secret"),
        ("curl", "-H", "Cookie: a=1; sid=hunter2secret"),
        ("curl", "https://example.org/?a=1&key=hunter2secret"),
        ("git", "clone", "https://hunter2secret@example.org/x.git"),
        ("curl", "ftp://bob:p@ss@hunter2secret@example.org/"),
        ("sh", "-c", "mysqldump -u root -phunter2secret shop | gzip"),
        ("bash", "-c", "curl -u 'bob:hunter2secret' https://example.org/"),
        ("env", "HOME=/", "redis-cli", "-a", "hunter2secret"),
        ("app", "--password=two words, hunter2secret"),
        ("docker", "login", "-u", "bob", "-p", "hunter2secret"),
        ("usermod", "-p", "$6$salt$hunter2secret", "bob"),
        ("sh", "-c", "echo 'bob:$y$j9T$salt$hunter2secret' | chpasswd -e"),
        ("sh", "-c", "echo '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4\n\nhunter2secret'"),
    ],
)
def test_no_secret_of_a_known_shape_is_sealed(argv: tuple[str, ...]) -> None:
    finding = a_finding(process=a_process(argv=argv))

    sealed = REDACTOR.finding(finding)

    assert "hunter2secret" not in str(sealed)
    assert "<redacted:" in str(sealed)


def test_well_known_tokens_are_found_without_a_name_beside_them() -> None:
    text = REDACTOR.text("push with ghp_" + "a1B2" * 10 + " and AKIAIOSFODNN7EXAMPLE now")

    assert "ghp_" not in text
    assert "AKIA" not in text
    assert text.startswith("push with <redacted:")
    assert text.endswith(" now")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ls -la /tmp",
        "https://example.org/a?b=1",
        "mount -o ro /dev/sda1",
        "-p 22",
        "NOPASSWD: ALL",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert REDACTOR.text(text) == text
    assert REDACTOR.argv(("ssh", "-p", "22")) == ("ssh", "-p", "22")


@pytest.mark.parametrize(
    "line",
    [
        "5 * * * * root curl -u bob:hunter2secret https://example.org/",
        "ExecStart=/usr/bin/app --password 'two words, hunter2secret' --port 80",
        "bob : TTY=pts/0 ; USER=root ; COMMAND=/usr/bin/mysql -phunter2secret",
    ],
)
def test_no_secret_is_left_in_a_line_that_runs_something(line: str) -> None:
    entry = Persistence("cron_job", "1", "/etc/crontab", line)
    logged = LogLine("/var/log/auth.log", "sudo", line, 0)

    sealed = [
        REDACTOR.observation(an_observation(subject=thing)).subject for thing in (entry, logged)
    ]

    assert "hunter2secret" not in str(sealed)
    assert "<redacted:" in str(sealed[0])
    assert "<redacted:" in str(sealed[1])


def test_a_secret_that_was_given_as_a_user_name_is_not_sealed() -> None:
    login = Login(user=User(name="--password=hunter2secret"), service="sshd")

    sealed = REDACTOR.observation(an_observation(subject=login))

    assert "hunter2" not in str(sealed)


@pytest.mark.parametrize(
    "word",
    [
        "-",
        "-a_",
        "a.",
        "pass",
        "_pass",
        "pass=",
        "eyJ",
        "a://",
        "http://:",
        "ghp_",
        "$6$",
        "'",
        "curl ",
    ],
)
def test_no_arguments_take_long_to_redact(word: str) -> None:
    words = TEXT_BYTES_MAX // (len(word) + 1)

    began = time.process_time()
    REDACTOR.argv(("x", word * words))
    REDACTOR.argv(("x", f"{word} " * words))

    assert time.process_time() - began < 0.4


@pytest.mark.parametrize("word", ["pass=x ", "pass=x\0", "?key=x", "-p\0x\0"])
def test_what_is_full_of_secrets_is_sealed_all_the_same(word: str) -> None:
    argv = ("login", *(word * (32_768 // len(word))).split("\0"))[:512]
    process = a_process(argv=argv)
    parents = (a_process(argv=(argv[0], argv[1][:2048])),) * 8
    finding = a_finding(process=process, ancestry=parents, entities=(Entity(Role.ACTOR, process),))

    sealed = REDACTOR.finding(finding)

    assert codec.decode_record(codec.encode_record(sealed)) == (sealed, False)


def test_one_secret_has_one_placeholder_on_a_host_and_another_elsewhere() -> None:
    other = Redactor(b"another host", RedactionSettings())

    assert REDACTOR.placeholder("x") == REDACTOR.placeholder("x")
    assert REDACTOR.placeholder("x") != REDACTOR.placeholder("y")
    assert REDACTOR.placeholder("x") != other.placeholder("x")


def test_everything_that_holds_host_text_is_covered() -> None:
    secret = "password=hunter2secret"
    finding = a_finding(
        process=a_process(argv=(secret,)),
        ancestry=(a_process(argv=(secret,)),),
        arguments=(Argument("line", secret),),
        entities=(
            Entity(Role.RELATED, LogLine("/var/log/auth.log", "su", secret, 0)),
            Entity(Role.ACTOR, a_process(argv=(secret,))),
        ),
    )
    observation = an_observation(a_process(argv=(secret,)), process=a_process(argv=(secret,)))

    assert "hunter2secret" not in str(REDACTOR.finding(finding))
    assert "hunter2secret" not in str(REDACTOR.observation(observation))


def test_users_get_pseudonyms_where_asked() -> None:
    hiding = Redactor(b"k", RedactionSettings(pseudonymise_users=True))
    finding = a_finding(
        login=Login(user=User(uid=1, name="alice")),
        entities=(Entity(Role.TARGET, User(uid=1, name="alice")),),
    )

    assert "alice" not in str(hiding.finding(finding))
    assert "alice" in str(REDACTOR.finding(finding))


@given(st.lists(st.text(max_size=40), max_size=6).map(tuple))
def test_any_arguments_can_be_redacted_and_again_to_the_same_effect(argv: tuple[str, ...]) -> None:
    once = REDACTOR.argv(argv)

    assert len(once) == len(argv)
    assert REDACTOR.argv(argv) == once


def test_a_long_hostile_line_is_redacted_in_linear_time() -> None:
    text = "password" * 8_000

    assert len(REDACTOR.text(text)) >= len(text)


@pytest.mark.parametrize(
    "line",
    [
        "mysqldump -u root -phunter2secret db > /x",
        "cd /x && sshpass -p hunter2secret ssh host",
        "ExecStart=/bin/app --password hunter2secret; ExecStop=/bin/x",
        "curl -H 'Authorization: Bearer hunter2secret' https://example.org",
        "API_TOKEN=hunter2secret run",
        "wget https://bob:hunter2secret@example.org/x",
    ],
)
def test_what_is_run_again_and_again_is_told_without_its_secrets(line: str) -> None:
    entity = Entity(Role.TARGET, Persistence("cron_job", "@daily", "/etc/crontab", line))
    item = InventoryItem(Change.ADDED, entity, 1, Source("persistence", "stat", ""))

    for sealed in (
        REDACTOR.item(item),
        REDACTOR.observation(an_observation(subject=entity.value)),
        REDACTOR.finding(a_finding(entities=(entity,))),
    ):
        assert "hunter2secret" not in str(sealed)
        assert "<redacted:" in str(sealed)


@pytest.mark.parametrize("line", ["", "run  -p 22\t--all", "test -e /x || /bin/y -A -r"])
def test_an_ordinary_command_line_stays_as_it_is(line: str) -> None:
    assert REDACTOR.command(line) == line


def test_an_account_is_hidden_in_its_entry_too_where_users_are() -> None:
    hiding = Redactor(b"key", RedactionSettings(pseudonymise_users=True))
    entry = Persistence("user", "alice", "/etc/passwd", "uid=5", User(uid=5, name="alice"))
    group = Persistence("group", "sudo", "/etc/group", "gid=27")
    source = Source("persistence", "stat", "")

    named, other = (
        hiding.item(InventoryItem(Change.ADDED, Entity(Role.TARGET, thing), 1, source))
        for thing in (entry, group)
    )

    assert "alice" not in str(named)
    assert other.item.value == group


@given(line=st.text(max_size=120))
def test_any_command_line_is_told_with_its_white_space(line: str) -> None:
    told = REDACTOR.command(line)

    assert told.split(" ", 1)[0] or not line.strip() or line[0] == " "


def test_what_hides_nothing_is_the_very_same_and_parents_stay_shared() -> None:
    redactor = Redactor(b"key", RedactionSettings())
    plain, secret = a_process(pid=1), a_process(pid=2, argv=("mysql", "--password=hunter2hunter2"))
    clean = an_observation(a_process(pid=3), ancestry=(plain,))
    dirty = [an_observation(a_process(pid=n), ancestry=(secret, plain)) for n in (4, 5)]

    first, second = (redactor.observation(observation) for observation in dirty)

    assert redactor.observation(clean) is clean
    assert first.ancestry[1] is plain
    assert first.ancestry[0] is second.ancestry[0]
    assert "hunter2" not in repr((first, second))


def test_a_number_that_another_process_has_now_is_not_taken_for_the_one_before() -> None:
    redactor = Redactor(b"key", RedactionSettings())
    for number in range(3 * PROCESSES_MAX):
        secret = f"secret{number:08}"
        process = a_process(pid=number % 7, start=1, argv=("x", f"--password={secret}"))

        told = redactor.observation(an_observation(process))

        assert secret not in repr(told)
        assert told.subject.value != process
