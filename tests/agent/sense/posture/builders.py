"""Hosts and checks that posture tests build on."""

import json
from collections.abc import Mapping

from msgspec import structs

from agent.sense.posture.judge import Reading
from proto.content.checks import CheckSpec, builtin_pack
from tests.fakes.hostfiles import FakeHostFiles

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
postgres:x:110:118::/var/lib/postgresql:/bin/bash
ann:x:1000:1000:Ann:/home/ann:/bin/bash
"""
SECRET = "kQf0Vn3mB1r9sZ8xW7c6u5t4"
SHADOW = f"""root:*:19000:0:99999:7:::
daemon:*:19000:0:99999:7:::
sync:*:19000:0:99999:7:::
postgres:!:19000:0:99999:7:::
ann:$y$j9T${SECRET}$abc:19000:0:365:7:::
"""
GROUP = "root:x:0:\nshadow:x:42:\nann:x:1000:\n"
MOUNTINFO = """27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
25 24 0:23 / /dev/shm rw,nosuid,nodev,noexec - tmpfs tmpfs rw,size=1k
40 27 0:40 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw
"""
UNITS = "/usr/lib/systemd/system"
WANTS = "/etc/systemd/system/multi-user.target.wants"


def status(*packages: str) -> str:
    return "".join(
        f"Package: {name}\nStatus: install ok installed\nVersion: 1\n\n" for name in packages
    )


def a_good_host() -> FakeHostFiles:
    """A host on which every check that we ship applies and passes."""
    host = FakeHostFiles()
    host.add("/etc/passwd", PASSWD).add("/etc/group", GROUP)
    host.add("/etc/shadow", SHADOW, mode=0o640, gid=42)
    host.add("/etc/login.defs", "# comment\nUID_MIN\t1000\n")
    host.add("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n", mode=0o440)
    host.add("/etc/fstab", "# nothing but the root\n/dev/vda / ext4 defaults 0 1\n")
    host.add(
        "/etc/ssh/sshd_config",
        "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin no\nUsePAM yes\n",
    )
    host.add(
        "/etc/ssh/sshd_config.d/10-keys.conf",
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n",
    )
    host.add("/usr/sbin/sshd", b"\x7fELF", mode=0o755)
    host.add("/usr/bin/sudo", b"\x7fELF", mode=0o4755)
    host.add("/etc/sysctl.d/50-local.conf", "kernel.yama.ptrace_scope = 1\n")
    for key, value in {
        "kernel/osrelease": "6.1.0-test",
        "kernel/randomize_va_space": 2,
        "kernel/yama/ptrace_scope": 1,
        "net/ipv4/conf/all/accept_source_route": 0,
        "net/ipv4/tcp_syncookies": 1,
    }.items():
        host.add(f"/proc/sys/{key}", f"{value}\n")
    host.add("/proc/1/mountinfo", MOUNTINFO).add("/proc/1/comm", "systemd\n")
    host.add("/proc/200/comm", "auditd\n").add("/proc/201/comm", "chronyd\n")
    host.add(
        "/var/lib/dpkg/status", status("auditd", "chrony", "nftables", "openssh-server", "sudo")
    )
    for unit in ("auditd.service", "chrony.service", "nftables.service"):
        host.add(f"{UNITS}/{unit}", "[Unit]\n").add(f"{WANTS}/{unit}", "[Unit]\n")
    return host


def a_check(name: str = "linux.file.passwd_unalterable", **changes: object) -> CheckSpec:
    found = next(check for check in builtin_pack().checks if check.id == name)
    return structs.replace(found, **changes)


def a_reading(facts: Mapping[str, object] | None = None, unknown: str = "") -> Reading:
    digest = json.dumps([facts, unknown]).encode()[:32].ljust(32, b"\0")
    return Reading(digest, unknown, facts or {})
