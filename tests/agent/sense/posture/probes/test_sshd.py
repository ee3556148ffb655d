import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileDenied, HostRoot
from agent.sense.posture.probes.sshd import Facts, Parameters, Setting, parse, read
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

MAIN = "/etc/ssh/sshd_config"


def a_host(main: str, **drop_ins: str) -> FakeHostFiles:
    host = FakeHostFiles().add_directory("/etc").add_directory("/usr")
    host.add(MAIN, main)
    for name, text in drop_ins.items():
        host.add(f"/etc/ssh/sshd_config.d/{name}.conf", text)
    return host


def facts_of(host: FakeHostFiles) -> Facts:
    return read(Parameters(), HostReader(host, FakeClock()))


def root_login(host: FakeHostFiles) -> Setting:
    setting = facts_of(host).permit_root_login
    assert setting is not None
    return setting


def test_what_is_not_configured_has_the_servers_default() -> None:
    facts = facts_of(a_host("# nothing\nPort 22\n"))

    assert facts.permit_root_login == Setting("prohibit-password", "default", ())
    assert facts.password_authentication == Setting("yes", "default", ())
    assert facts.permit_empty_passwords == Setting("no", "default", ())


def test_the_first_value_wins() -> None:
    setting = root_login(a_host("PermitRootLogin no\nPermitRootLogin yes\n"))

    assert setting == Setting("no", MAIN, ())


def test_an_include_counts_where_it_stands() -> None:
    include = "Include /etc/ssh/sshd_config.d/*.conf\n"

    before = root_login(a_host(include + "PermitRootLogin no\n", a="PermitRootLogin yes\n"))
    after = root_login(a_host("PermitRootLogin no\n" + include, a="PermitRootLogin yes\n"))

    assert (before.value, after.value) == ("yes", "no")
    assert before.origin == "/etc/ssh/sshd_config.d/a.conf"


def test_included_files_are_read_in_the_order_of_their_names() -> None:
    host = a_host(
        "Include sshd_config.d/*.conf\n", b="PermitRootLogin yes\n", a="PermitRootLogin no\n"
    )

    assert root_login(host).value == "no"


def test_hidden_files_and_other_names_are_not_included() -> None:
    host = a_host("Include sshd_config.d/*.conf\n")
    host.add("/etc/ssh/sshd_config.d/.hidden.conf", "PermitRootLogin yes\n")
    host.add("/etc/ssh/sshd_config.d/a.conf.bak", "PermitRootLogin yes\n")

    assert root_login(host).origin == "default"


def test_an_include_of_nothing_is_nothing() -> None:
    host = a_host("Include /etc/ssh/none.d/*.conf /etc/ssh/none.conf\nPermitRootLogin no\n")

    assert root_login(host).value == "no"


def test_what_stands_under_a_match_is_noted_and_is_not_the_value() -> None:
    host = a_host("PermitRootLogin no\nMatch User ann\n  PermitRootLogin yes\nMatch all\n")

    facts = facts_of(host)

    assert facts.permit_root_login == Setting("no", MAIN, ("yes",))
    assert facts.matches == 2


def test_a_match_in_an_included_file_ends_with_that_file() -> None:
    host = a_host(
        "Include sshd_config.d/*.conf\nPermitRootLogin no\n",
        a="Match Address 10.0.0.0/8\nPermitRootLogin yes\n",
    )

    assert root_login(host) == Setting("no", MAIN, ("yes",))


def test_a_file_included_under_a_match_is_under_it() -> None:
    host = a_host(
        "PermitRootLogin no\nMatch User x\nInclude sshd_config.d/*.conf\n",
        a="PermitRootLogin yes\n",
    )

    assert root_login(host) == Setting("no", MAIN, ("yes",))


@pytest.mark.parametrize(
    "line",
    [
        "PermitRootLogin no",
        "permitrootlogin NO",
        "\tPermitRootLogin\t no  ",
        "PermitRootLogin=no",
        "PermitRootLogin = no",
        'PermitRootLogin "no"',
        "PermitRootLogin no # not for root",
        "PermitRootLogin no\r",
    ],
)
def test_a_line_may_be_written_in_many_ways(line: str) -> None:
    assert root_login(a_host(f"{line}\n")).value == "no"


def test_an_old_word_means_what_it_means_now() -> None:
    host = a_host("PermitRootLogin without-password\nChallengeResponseAuthentication no\n")

    facts = facts_of(host)

    assert facts.permit_root_login is not None
    assert facts.permit_root_login.value == "prohibit-password"
    assert facts.kbd_interactive_authentication == Setting("no", MAIN, ())


def test_a_commented_line_is_no_setting() -> None:
    assert root_login(a_host("#PermitRootLogin no\n")).origin == "default"


def test_a_quoted_argument_keeps_its_spaces_and_its_hash() -> None:
    (line,) = parse("Banner \"/etc/a b#c\" 'd'")

    assert line.arguments == ("/etc/a b#c", "d")


@pytest.mark.parametrize("text", ["PermitRootLogin\n", 'Banner "open\n', "PermitRootLogin # no\n"])
def test_a_configuration_the_server_refuses_is_not_judged(text: str) -> None:
    with pytest.raises(Unseen) as seen:
        facts_of(a_host(text))

    assert seen.value.reason is UnknownReason.PARSE


def test_without_a_configuration_there_are_no_values() -> None:
    host = FakeHostFiles().add_directory("/etc").add_directory("/usr")

    assert facts_of(host) == Facts(configured=False, files=0, matches=0)


def test_an_empty_configuration_is_not_taken_for_the_defaults() -> None:
    with pytest.raises(Unseen):
        facts_of(a_host(""))


def test_an_included_file_that_cannot_be_read_leaves_all_unsaid() -> None:
    host = a_host("Include sshd_config.d/*.conf\nPermitRootLogin no\n", a="Port 22\n")
    host.change("/etc/ssh/sshd_config.d/a.conf", refuse=HostFileDenied)

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.DENIED


def test_files_that_include_each_other_end() -> None:
    host = a_host("Include sshd_config.d/*.conf\n", a=f"Include {MAIN}\n")

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.OVERSIZE


def test_a_thousand_included_files_end() -> None:
    names = {f"n{number}": "Port 22\n" for number in range(1000)}

    with pytest.raises(Unseen) as seen:
        facts_of(a_host("Include sshd_config.d/*.conf\n", **names))

    assert seen.value.reason is UnknownReason.OVERSIZE


@pytest.mark.parametrize("odd", ["fifo", "huge", "loop"])
def test_odd_files_in_the_folder_neither_hang_nor_pass(odd: str, tmp_path: Path) -> None:
    folder = tmp_path / "etc/ssh/sshd_config.d"
    folder.mkdir(parents=True)
    (tmp_path / "usr").mkdir()
    (tmp_path / "etc/ssh/sshd_config").write_text("Include sshd_config.d/*\nPermitRootLogin no\n")
    if odd == "fifo":
        os.mkfifo(folder / "a.conf")
    elif odd == "loop":
        (folder / "a.conf").symlink_to("a.conf")
    else:
        with (folder / "a.conf").open("wb") as file:
            file.truncate(1 << 30)

    with pytest.raises(Unseen):
        read(Parameters(), HostReader(HostRoot(tmp_path), FakeClock()))


def test_a_configuration_reached_by_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr/real").write_text("PermitRootLogin no\n")
    (tmp_path / "etc/ssh/sshd_config").symlink_to("/usr/real")

    facts = read(Parameters(), HostReader(HostRoot(tmp_path), FakeClock()))

    assert facts.permit_root_login is not None
    assert facts.permit_root_login.value == "no"


def test_a_usual_host_reads_its_drop_ins() -> None:
    facts = facts_of(a_good_host())

    assert facts.files == 2
    assert facts.password_authentication is not None
    assert facts.password_authentication.value == "no"


@given(st.text(alphabet=st.sampled_from("ab \t\"'#=\\\n"), max_size=60))
def test_any_text_gives_lines_or_our_error(text: str) -> None:
    with suppress(Unseen):
        assert all(line.arguments for line in parse(text))


def test_a_value_under_two_matches_is_noted_once() -> None:
    host = a_host("Match User a\nPermitRootLogin yes\nMatch User b\nPermitRootLogin yes\n")

    assert root_login(host).under_match == ("yes",)


def test_a_pattern_may_stand_for_folders_too() -> None:
    host = a_host("Include /etc/ssh/*.d/a.conf\n", a="PermitRootLogin yes\n")

    assert root_login(host).value == "yes"
