import pytest
from msgspec import UNSET, json

from agent.hostroot import HostFileDenied
from agent.sense.posture.probes.accounts import (
    Facts,
    Parameters,
    Passwords,
    View,
    algorithm,
    read,
)
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import PASSWD, SECRET, SHADOW, a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles


def facts_of(host: FakeHostFiles, view: View = View.PASSWORDS) -> Facts:
    return read(Parameters(view=view), HostReader(host, FakeClock()))


def passwords_of(host: FakeHostFiles) -> Passwords:
    passwords = facts_of(host).passwords
    assert isinstance(passwords, Passwords)
    return passwords


def with_user(passwd: str, shadow: str = "") -> FakeHostFiles:
    host = a_good_host().add("/etc/passwd", PASSWD + passwd)
    return host.add("/etc/shadow", SHADOW + shadow, mode=0o640, gid=42)


def test_a_usual_host_has_one_superuser_and_shadowed_passwords() -> None:
    facts = facts_of(a_good_host())

    assert (facts.accounts, facts.uid0, facts.uid0_count) == (5, ("root",), 1)
    assert (facts.unshadowed, facts.shared_uids) == ((), 0)
    assert facts.passwords == Passwords((), ("yescrypt",), (), 1, 0, 365)


def test_every_account_of_id_0_is_named() -> None:
    facts = facts_of(with_user("toor:x:0:0::/:/bin/sh\n"))

    assert (facts.uid0, facts.uid0_count, facts.shared_uids) == (("root", "toor"), 2, 1)


def test_the_view_of_accounts_does_not_need_the_shadow_file() -> None:
    host = a_good_host().change("/etc/shadow", refuse=HostFileDenied)

    facts = facts_of(host, View.ACCOUNTS)

    assert facts.uid0 == ("root",)
    assert facts.passwords is UNSET
    with pytest.raises(Unseen) as seen:
        facts_of(host)
    assert seen.value.reason is UnknownReason.DENIED


def test_an_empty_password_is_found_in_either_file() -> None:
    host = with_user(
        "a:x:1001:1001::/:/bin/sh\nb::1002:1002::/:/bin/sh\n", "a::19000:0:99999:7:::\n"
    )

    facts = facts_of(host)

    assert passwords_of(host).empty == ("a", "b")
    assert facts.unshadowed == ("b",)


def test_a_hash_in_the_public_file_is_found() -> None:
    facts = facts_of(with_user("a:$6$x$y:1001:1001::/:/bin/sh\n"))

    assert facts.unshadowed == ("a",)


def test_a_service_that_can_log_in_is_found_by_shell_and_password() -> None:
    shadow = "one:$6$x$y:19000:0:99999:7:::\ntwo:$6$x$y:19000:0:99999:7:::\n"
    host = with_user("one:x:200:200::/:/bin/bash\ntwo:x:201:201::/:/usr/sbin/nologin\n", shadow)

    assert passwords_of(host).system_login == ("one",)


def test_the_border_of_system_accounts_is_that_of_the_host() -> None:
    host = a_good_host().add("/etc/login.defs", "UID_MIN 1001\n")

    assert passwords_of(host).system_login == ("ann",)


def test_an_account_without_an_entry_cannot_log_in() -> None:
    host = with_user("ghost:x:1005:1005::/:/bin/bash\n")

    assert passwords_of(host).usable == 1


def test_a_locked_hash_counts_as_locked_and_not_as_used() -> None:
    host = with_user("a:x:1001:1::/:/bin/sh\n", "a:!$1$old$hash:19000:0:99999:7:::\n")

    passwords = passwords_of(host)

    assert (passwords.locked, passwords.algorithms) == (1, ("yescrypt",))


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("$y$j9T$a$b", "yescrypt"),
        ("$6$a$b", "sha512crypt"),
        ("$5$a$b", "sha256crypt"),
        ("$2b$12$a", "bcrypt"),
        ("$2x$12$a", "bcrypt_flawed"),
        ("$1$a$b", "md5crypt"),
        ("$gy$a", "gost_yescrypt"),
        ("$7$a", "scrypt"),
        ("_J9..K0Ay", "bsdi_des"),
        ("ab01FAX.bQRSU", "des"),
        ("plain", "other"),
        ("$9$new$x", "other"),
        ("!", None),
        ("!!", None),
        ("*", None),
        ("", None),
        ("!$6$a$b", None),
    ],
)
def test_an_algorithm_is_told_by_its_prefix(field: str, name: str | None) -> None:
    assert algorithm(field) == name


def test_no_hash_and_no_part_of_one_is_ever_a_fact() -> None:
    facts = json.encode(facts_of(a_good_host())).decode()

    assert SECRET[:6] not in facts
    assert "$" not in facts


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow"])
@pytest.mark.parametrize(
    "cut",
    [lambda data: b"", lambda data: data[:-9], lambda data: data[:3] + b"\n"],
    ids=["to nothing", "in the last line", "in the first line"],
)
def test_a_file_that_is_cut_is_not_used(path: str, cut: object) -> None:
    host = a_good_host()
    data = host.nodes[path].data
    host.change(path, data=cut(data))  # type: ignore[operator]

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.PARSE


def test_a_missing_file_is_missing() -> None:
    host = a_good_host()
    del host.nodes["/etc/shadow"]

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.MISSING


def test_a_host_of_thousands_of_accounts_names_a_few_and_counts_all() -> None:
    host = with_user("".join(f"u{number}:x:0:0::/:/bin/sh\n" for number in range(500)))

    facts = facts_of(host)

    assert facts.uid0_count == 501
    assert len(facts.uid0) == 64


@pytest.mark.parametrize(
    "text",
    ["# nobody\n", "a:x:minus:0::/:/bin/sh\n", ":x:1:1::/:/bin/sh\n", "a:x:\u00b2:1::/:/bin/sh\n"],
)
def test_a_list_of_nobody_or_of_nonsense_is_not_used(text: str) -> None:
    with pytest.raises(Unseen) as seen:
        facts_of(a_good_host().add("/etc/passwd", text))

    assert seen.value.reason is UnknownReason.PARSE


@pytest.mark.parametrize("text", ["UMASK 022\n", "UID_MIN many\n", "#UID_MIN 5\n"])
def test_where_the_host_names_no_border_the_usual_one_holds(text: str) -> None:
    assert passwords_of(a_good_host().add("/etc/login.defs", text)).system_login == ()


def test_a_password_that_never_ends_is_the_longest() -> None:
    host = with_user("a:x:1001:1::/:/bin/sh\n", "a:$6$x$y:19000:0::7:::\n")

    assert passwords_of(host).longest_days == 99_999
