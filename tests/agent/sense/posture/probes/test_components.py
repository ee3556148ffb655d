import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hostroot import HostFileDenied
from agent.sense.posture.probes.components import Facts, Parameters, parse_status, read
from agent.sense.posture.reader import HostReader, Unseen
from proto.content.checks import UnknownReason
from tests.agent.sense.posture.builders import UNITS, WANTS, a_good_host, status
from tests.fakes.clock import FakeClock
from tests.fakes.hostfiles import FakeHostFiles

CHRONY = Parameters(
    packages=("chrony",),
    programs=("/usr/sbin/chronyd",),
    units=("chrony.service",),
    processes=("chronyd",),
)


def facts_of(host: FakeHostFiles, parameters: Parameters = CHRONY) -> Facts:
    return read(parameters, HostReader(host, FakeClock()))


def test_a_component_is_installed_enabled_and_running_each_by_its_own_proof() -> None:
    facts = facts_of(a_good_host())

    assert facts == Facts(
        installed=True,
        packages=("chrony",),
        programs=(),
        enabled=("chrony.service",),
        masked=(),
        running=("chronyd",),
    )


def test_absence_is_proven_by_the_package_database() -> None:
    host = a_good_host().add("/var/lib/dpkg/status", status("bash"))

    assert facts_of(host).installed is False


def test_without_a_package_database_absence_is_not_known() -> None:
    host = a_good_host()
    del host.nodes["/var/lib/dpkg/status"]

    facts = facts_of(host)

    assert (facts.installed, facts.packages) == (None, None)


def test_a_program_is_proof_enough_of_presence() -> None:
    host = a_good_host().add("/usr/sbin/chronyd", b"x", mode=0o755)
    del host.nodes["/var/lib/dpkg/status"]

    assert facts_of(host).installed is True


@pytest.mark.parametrize(
    "text", ["deinstall ok config-files", "install ok half-installed", "purge ok not-installed"]
)
def test_a_package_left_over_is_not_installed(text: str) -> None:
    data = f"Package: chrony\nStatus: {text}\n\n".encode()

    assert parse_status(data) == frozenset()


def test_an_essential_package_is_installed_too() -> None:
    data = b"Package: bash\nEssential: yes\nStatus: install ok installed\nPriority: required\n\n"

    assert parse_status(data) == {"bash"}


def test_a_description_cannot_pretend_to_be_a_package() -> None:
    data = status("bash").encode()[:-1] + b"Description: x\n Package: telnetd\n Status: y\n\n"

    assert parse_status(data) == {"bash"}


@pytest.mark.parametrize("data", [b"", b"Package: a\nStatus: install ok installed\n"])
def test_a_database_that_is_cut_is_not_used(data: bytes) -> None:
    with pytest.raises(Unseen) as seen:
        parse_status(data)

    assert seen.value.reason is UnknownReason.PARSE


@given(st.binary(max_size=200))
def test_any_database_gives_names_or_our_error(data: bytes) -> None:
    try:
        names = parse_status(data + b"\n\n")
    except Unseen:
        return

    assert all(isinstance(name, str) for name in names)


def test_a_unit_is_enabled_only_where_a_wanted_unit_has_a_file() -> None:
    host = a_good_host()
    del host.nodes[f"{UNITS}/chrony.service"]
    del host.nodes[f"{WANTS}/auditd.service"]

    dangling = facts_of(host)
    unwanted = facts_of(host, Parameters(packages=(), units=("auditd.service",)))

    assert dangling.enabled == ()
    assert unwanted.enabled == ()


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFREG])
def test_a_masked_unit_is_not_enabled(kind: int) -> None:
    host = a_good_host().add("/etc/systemd/system/chrony.service", b"", kind=kind)

    facts = facts_of(host)

    assert (facts.enabled, facts.masked) == ((), ("chrony.service",))


def test_a_unit_file_of_the_administrator_is_no_mask() -> None:
    host = a_good_host().add("/etc/systemd/system/chrony.service", "[Unit]\n")

    assert facts_of(host).masked == ()


def test_where_processes_of_others_are_hidden_none_is_said_to_run_or_not() -> None:
    host = a_good_host()
    for name in [name for name in host.nodes if name.startswith("/proc/1")]:
        del host.nodes[name]

    assert facts_of(host).running is None


def test_a_process_that_ended_meanwhile_is_nothing_special() -> None:
    host = a_good_host().add_directory("/proc/999")

    assert facts_of(host).running == ("chronyd",)


def test_a_directory_of_units_that_cannot_be_read_leaves_all_unsaid() -> None:
    host = a_good_host().change(WANTS, refuse=HostFileDenied)

    with pytest.raises(Unseen) as seen:
        facts_of(host)

    assert seen.value.reason is UnknownReason.DENIED


def test_what_was_not_asked_is_not_looked_at() -> None:
    host = a_good_host()

    facts = facts_of(host, Parameters(packages=("chrony",)))

    assert (facts.enabled, facts.running) == ((), None)
    assert not any(path.startswith(("/proc", "/etc/systemd")) for path in host.looks)
