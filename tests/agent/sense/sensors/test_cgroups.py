import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.cgroups import NAME_CHARS_MAX, parse_cgroup
from agent.sense.sensors.procfs import ProcError

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "container", "unit"),
    [
        ("/", None, None),
        ("/system.slice/ssh.service", None, "ssh.service"),
        ("/user.slice/user-1000.slice/session-3.scope", None, "session-3.scope"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service",
            None,
            "user@1000.service",
        ),
        (
            f"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{ID}.scope",
            f"{ID}@1000",
            "user@1000.service",
        ),
        (f"/system.slice/docker-{ID}.scope", ID, f"docker-{ID}.scope"),
        (f"/docker/{ID}", ID, None),
        (f"/machine.slice/libpod-{ID}.scope/container", ID, f"libpod-{ID}.scope"),
        (
            f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope",
            ID,
            f"cri-containerd-{ID}.scope",
        ),
        (f"/kubepods/besteffort/pod-1/{ID}", ID, None),
        ("/lxc.payload.web/system.slice/nginx.service", "web", "nginx.service"),
        ("/lxc/web/init.scope", "web", "init.scope"),
        ("/machine.slice/machine-deb.scope/payload", "deb", "machine-deb.scope"),
        ("/system.slice/_cgroup.service", None, "cgroup.service"),
        (f"/system.slice/docker-{ID[:-1]}.scope", None, f"docker-{ID[:-1]}.scope"),
    ],
)
def test_the_path_names_container_and_unit(
    path: str, container: str | None, unit: str | None
) -> None:
    found = parse_cgroup(f"0::{path}\n".encode())

    assert (found.container, found.unit) == (container, unit)


def test_version_1_names_the_unit_in_the_hierarchy_of_systemd_alone() -> None:
    lines = (
        f"12:memory:/docker/{ID}\n11:cpu,cpuacct:/wrong.service\n"
        "1:name=systemd:/system.slice/cron.service\n0::/\n"
    )

    found = parse_cgroup(lines.encode())

    assert (found.container, found.unit) == (ID, "cron.service")


def test_a_colon_in_a_path_belongs_to_it() -> None:
    assert parse_cgroup(b"0::/a:b.service\n").unit == "a:b.service"


def test_a_kernel_without_groups_puts_processes_nowhere() -> None:
    found = parse_cgroup(b"")

    assert (found.container, found.unit) == (None, None)


@pytest.mark.parametrize("data", [b"0::relative\n", b"nonsense\n", b"0:/x\n"])
def test_what_is_no_cgroup_is_refused(data: bytes) -> None:
    with pytest.raises(ProcError):
        parse_cgroup(data)


@given(data=st.binary(max_size=300) | st.from_regex(rb"\A0::/([a-z./-]{0,40}\.scope/?){0,9}\n\Z"))
def test_any_bytes_give_a_belonging_or_our_error(data: bytes) -> None:
    try:
        found = parse_cgroup(data)
    except ProcError:
        return

    assert len(found.unit or "") <= NAME_CHARS_MAX
    assert len(found.container or "") <= NAME_CHARS_MAX
