import os
from functools import partial
from pathlib import Path

import pytest

from agent.hostroot import (
    HostFileDenied,
    HostFileError,
    HostFileNotRegular,
    HostFileTooLarge,
    HostRoot,
)
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import a_good_host
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles


def a_reader(host: FakeHostFiles | None = None) -> HostReader:
    return HostReader(host or a_good_host(), FakeClock())


def a_real_reader(root: Path) -> HostReader:
    for name in ("etc", "usr"):
        (root / name).mkdir(exist_ok=True)
    return HostReader(HostRoot(root), FakeClock())


def test_a_file_is_absent_only_where_there_is_a_tree_to_be_absent_from() -> None:
    assert a_reader().read("/etc/nothing") is None
    with pytest.raises(Unseen) as seen:
        a_reader(FakeHostFiles().add_directory("/etc")).read("/etc/nothing")

    assert seen.value.reason is UnknownReason.MISSING


def test_a_kernel_file_is_absent_only_where_the_kernel_shows_its_files() -> None:
    assert a_reader().read("/proc/sys/kernel/nothing") is None
    host = FakeHostFiles().add_directory("/etc").add_directory("/usr")
    with pytest.raises(Unseen) as seen:
        a_reader(host).read("/proc/sys/kernel/nothing")

    assert seen.value.reason is UnknownReason.OFFLINE


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HostFileDenied, UnknownReason.DENIED),
        (HostFileTooLarge, UnknownReason.OVERSIZE),
        (HostFileNotRegular, UnknownReason.PARSE),
        (HostFileError, UnknownReason.PARSE),
    ],
)
def test_every_way_of_not_reading_has_its_word(
    error: type[HostFileError], reason: UnknownReason
) -> None:
    host = a_good_host().change("/etc/shadow", refuse=error)

    with pytest.raises(Unseen) as seen:
        a_reader(host).read("/etc/shadow")

    assert seen.value.reason is reason


def test_a_denied_tree_proves_no_absence() -> None:
    host = a_good_host().change("/usr", refuse=HostFileDenied)

    with pytest.raises(Unseen) as seen:
        a_reader(host).read("/etc/nothing")

    assert seen.value.reason is UnknownReason.DENIED


@pytest.mark.parametrize("data", [b"", b"a\0b"])
def test_text_is_neither_empty_nor_binary(data: bytes) -> None:
    host = a_good_host().add("/etc/odd", data)

    with pytest.raises(Unseen) as seen:
        a_reader(host).text("/etc/odd")

    assert seen.value.reason is UnknownReason.PARSE


def test_text_that_is_not_utf_8_stays_readable() -> None:
    host = a_good_host().add("/etc/odd", b"k=\xff\xc3\xa9")

    text = a_reader(host).text("/etc/odd")

    assert text == "k=\\xffé"


def test_a_probe_out_of_time_is_a_timeout_and_not_an_answer() -> None:
    clock = FakeClock()
    host = a_good_host()
    host.on_look = lambda path: clock.forward(1.5)
    reader = HostReader(host, clock)

    reader.restart()
    assert reader.read("/etc/passwd") is not None
    with pytest.raises(Unseen) as seen:
        reader.read("/etc/group")

    assert seen.value.reason is UnknownReason.TIMEOUT


def test_a_timeout_is_not_kept_but_a_refusal_and_an_answer_are() -> None:
    reader = a_reader()
    calls = []

    def refuse(reason: UnknownReason) -> None:
        calls.append(reason)
        raise Unseen(reason, "no")

    for reason in (UnknownReason.TIMEOUT, UnknownReason.DENIED):
        for _ in range(2):
            with pytest.raises(Unseen):
                reader.once(reason.value, partial(refuse, reason))
    kept = [reader.once("answer", lambda: len(calls)) for _ in range(2)]
    reader.forget()

    assert calls == [UnknownReason.TIMEOUT, UnknownReason.TIMEOUT, UnknownReason.DENIED]
    assert kept == [3, 3]
    assert reader.once("answer", lambda: 4) == 4


def test_names_are_sorted_and_an_absent_directory_has_none() -> None:
    host = a_good_host().add("/etc/d/b").add("/etc/d/a").add("/etc/d/c/deep")

    assert a_reader(host).names("/etc/d") == ("a", "b", "c")
    assert a_reader(host).names("/etc/nothing") is None


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    reader = a_real_reader(tmp_path)
    os.mkfifo(tmp_path / "etc/pipe")

    with pytest.raises(Unseen) as seen:
        reader.read("/etc/pipe")

    assert seen.value.reason is UnknownReason.PARSE


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    reader = a_real_reader(tmp_path)
    with (tmp_path / "etc/huge").open("wb") as file:
        file.truncate(1 << 30)

    with pytest.raises(Unseen) as seen:
        reader.text("/etc/huge")

    assert seen.value.reason is UnknownReason.OVERSIZE


def test_a_loop_of_links_is_not_taken_for_absence(tmp_path: Path) -> None:
    reader = a_real_reader(tmp_path)
    (tmp_path / "etc/loop").symlink_to("loop")

    with pytest.raises(Unseen) as seen:
        reader.stat("/etc/loop")

    assert seen.value.reason is UnknownReason.PARSE


def test_a_link_out_of_the_root_stays_in_it(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    reader = a_real_reader(tmp_path / "host")
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "host/etc/link").symlink_to("../../secret")

    assert reader.read("/etc/link") is None


def test_a_folder_of_too_many_names_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.sense.posture.reader.NAMES_MAX", 3)
    host = a_good_host()
    for number in range(4):
        host.add(f"/etc/many/{number}")

    with pytest.raises(Unseen) as seen:
        a_reader(host).names("/etc/many")

    assert seen.value.reason is UnknownReason.OVERSIZE
