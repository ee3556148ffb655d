"""The laws of the binding: a key that wakes up on another machine is not used."""

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from agent.binding import FILE, Binding, bind, binding_of, check
from agent.errors import IdentityMoved
from runtime.errors import Fault

AGENT = "0198c0de-0000-8000-8000-000000000001"


class Host:
    """A machine that may become another one."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.state = folder / "state"
        self.state.mkdir()
        self.name(machine_id="one", board="b1", serial="s1")

    def name(self, **names: str) -> None:
        places = {
            "machine_id": "etc/machine-id",
            "board": "sys/class/dmi/id/product_uuid",
            "serial": "sys/class/dmi/id/product_serial",
        }
        for name, value in names.items():
            path = self.root / places[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")

    def check(self, **how: bool) -> str:
        return check(self.state, AGENT, str(self.root), **how)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    assert host.check() == ""
    return host


def test_the_machine_it_was_made_on_is_taken_every_time(host: Host) -> None:
    assert [host.check() for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("others", [{}, {"board": "b2"}])
def test_another_machine_id_is_another_machine(host: Host, others: dict[str, str]) -> None:
    host.name(machine_id="two", **others)

    with pytest.raises(IdentityMoved) as caught:
        host.check()

    error = caught.value
    assert (error.exit_code, error.fault, error.retryable) == (6, Fault.OPERATOR, False)
    assert ("so is the hardware" in error.message) == bool(others)
    assert "--reset" in error.hint
    assert "--rebind" in error.hint
    # A refusal teaches nothing: the next start is refused, too.
    with pytest.raises(IdentityMoved):
        host.check()


def test_other_hardware_alone_is_said_once_and_works(host: Host) -> None:
    host.name(board="b2", serial="s2")

    assert "that was moved" in host.check(learns=False)
    assert "that was moved" in host.check()
    assert host.check() == ""


def test_a_machine_id_that_is_gone_is_said_and_not_forgotten(host: Host) -> None:
    (host.root / "etc/machine-id").unlink()
    assert "cannot be read" in host.check()
    host.name(machine_id="two")

    with pytest.raises(IdentityMoved):
        host.check()


@pytest.mark.parametrize("nothing", ["", "uninitialized", "None", "To be filled by O.E.M."])
def test_a_name_that_says_nothing_names_nobody(tmp_path: Path, nothing: str) -> None:
    host = Host(tmp_path)
    host.name(machine_id=nothing, board=nothing, serial=nothing)

    assert binding_of(AGENT, str(host.root)) == Binding()


def test_what_was_not_known_is_learned_and_what_is_not_readable_now_is_kept(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path)
    for name in ("product_uuid", "product_serial"):
        (host.root / "sys/class/dmi/id" / name).unlink()
    host.check()
    host.name(board="b1")
    host.check()
    (host.root / "sys/class/dmi/id/product_uuid").unlink()
    host.check()
    host.name(board="b2")

    assert "that was moved" in host.check()


def test_only_salted_digests_are_kept_and_for_our_eyes_alone(host: Host) -> None:
    mine = binding_of(AGENT, str(host.root))
    other = binding_of(AGENT.replace("1", "2"), str(host.root))
    path = host.state / FILE

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"one" not in path.read_bytes()
    assert not set(structs.asdict(mine).values()) & set(structs.asdict(other).values())
    assert len(set(structs.asdict(mine).values())) == 3


def test_a_disk_that_cannot_be_written_stops_no_start(tmp_path: Path) -> None:
    host = Host(tmp_path)

    assert check(tmp_path / "nowhere", AGENT, str(host.root)) == ""
    with pytest.raises(OSError, match="No such file"):
        bind(tmp_path / "nowhere", Binding())


def test_no_host_is_no_binding(tmp_path: Path) -> None:
    assert binding_of(AGENT, str(tmp_path / "nowhere")) == Binding()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=300))
def test_any_bytes_in_the_file_are_a_binding_or_none(host: Host, data: bytes) -> None:
    (host.state / FILE).write_bytes(data)

    assert host.check() == ""
