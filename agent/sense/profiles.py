"""Profiles: what `sense` may do on a host, as capabilities, and what each sensor then sees. Pure.

    minimal   no capability
    standard  reads what root may read, sees every process, hears audit (the default)
    full      marks whole file systems besides, and may add the audit rule it listens to

A profile is a ceiling: the kernel, the unit and the container decide what is really held, each
source is tried and not guessed, and what is missing is said (`stated`), never fatal.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

from proto.model import Health, HealthState

ProfileName = Literal["minimal", "standard", "full"]
SUBJECT: Final = "profile"


class Profile(Struct, frozen=True):
    """Capabilities, by their names in `agent.privileges.CAPABILITIES`.

    Args:
        name: as in ``[sense] profile``.
        keeps: held as long as the daemon runs.
        start_only: given up for good once the sources are open.
    """

    name: str
    keeps: tuple[str, ...] = ()
    start_only: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Everything it starts with."""
        return (*self.keeps, *self.start_only)


_READS: Final = ("dac_read_search", "sys_ptrace", "audit_read")
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "minimal": Profile("minimal"),
        "standard": Profile("standard", _READS, ("net_admin",)),
        # New mounts need new marks, so sys_admin stays.
        "full": Profile("full", (*_READS, "sys_admin"), ("net_admin", "audit_control")),
    }
)

# What a capability is for here; said where it is missing.
PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dac_read_search": "files and logs that only root may read",
        "sys_ptrace": "executables, environments and sockets of other users' processes",
        "audit_read": "arguments of short-lived processes from audit records",
        "net_admin": "process events on older kernels, and a receive buffer that holds a burst",
        "sys_admin": "file system marks: hashes of what is executed, files without a watch each",
        "audit_control": "a rule for audit where the host has none",
    }
)


class Reach(Struct, frozen=True):
    """What a sensor sees in each profile; empty where the profile leaves it out."""

    minimal: str
    standard: str
    full: str


_SAME: Final = "as in standard"
_JOURNAL: Final = "what its groups may read of the journal"
# A sensor that is not in this table runs in every profile.
REACH: Final[Mapping[str, Reach]] = MappingProxyType(
    {
        "processes": Reach(
            "procconn where anybody may listen, else poll; executables of others unseen",
            "procconn, identity of all users; arguments from audit where the host has an exec rule",
            "as in standard, and the hash of what was executed by fanotify; may add the audit rule",
        ),
        "sockets": Reach("inetdiag; owners of own sockets only", "inetdiag, all owners", _SAME),
        "files": Reach(
            "inotify and sweep of what anybody may read",
            "inotify and sweep of everything",
            "fanotify marks on whole file systems, with who changed it, and the sweep",
        ),
        "authlog": Reach("logs that its groups may read", "all logs", _SAME),
        "logs": Reach("logs that its groups may read", "all logs", _SAME),
        "journal": Reach(_JOURNAL, _JOURNAL, _SAME),
        "packages": Reach("all of it", "all of it", _SAME),
        "host": Reach("all but serial numbers, which root alone may read", "all of it", _SAME),
        "persistence": Reach(
            "what anybody may read: not shadow, sudoers, spools and the homes of others",
            "all of it",
            _SAME,
        ),
        "posture": Reach("checks whose files anybody may read, others unknown", "all", _SAME),
        "dns": Reach("", "", "queries and answers, from a unit of its own with the packet socket"),
    }
)


def runs(profile: str, sensor: str) -> bool:
    """Return whether a profile has a sensor at all."""
    reach = REACH.get(sensor)
    return reach is None or bool(getattr(reach, profile))


def reach_of(profile: str, sensor: str) -> str:
    """Return what a sensor sees in a profile, in words; empty for one that is not in the table."""
    reach = REACH.get(sensor)
    if reach is None:
        return ""
    text: str = getattr(reach, profile)
    return reach.standard if text == _SAME else text


def missing(profile: Profile, held: Collection[str]) -> tuple[str, ...]:
    """Return the capabilities that a profile starts with and the process does not hold."""
    return tuple(name for name in profile.needs if name not in held)


def stated(profile: Profile, held: Collection[str], at: int) -> Health:
    """Return what is sealed at start: the profile, and where the process differs from it.

    Args:
        profile: the one in the settings.
        held: capabilities at start, before any was given up.
        at: nanoseconds UTC.
    """
    lacks = missing(profile, held)
    beyond = sorted(set(held) - set(profile.needs))
    reasons = []
    if lacks:
        told = "; ".join(f"{name} ({PURPOSES[name]})" for name in lacks)
        reasons.append(f"the process lacks {told}")
    if beyond:
        reasons.append(f"the process was given {', '.join(beyond)} and does not use it")
    return Health(
        subject=SUBJECT,
        state=HealthState.DEGRADED if lacks else HealthState.OK,
        reason=". ".join(reasons),
        rung=profile.name,
        at=at,
    )


def how_to_grant(names: Collection[str]) -> str:
    """Return the one thing to do for a process to get these capabilities; empty for none."""
    if not names:
        return ""
    wanted = next(
        (p.name for p in PROFILES.values() if set(names) <= set(p.needs)), PROFILES["full"].name
    )
    if wanted == "full":
        return (
            "install -D -m 644 /usr/lib/vedette/agent/systemd/full.conf"
            " /etc/systemd/system/vedette-sense.service.d/profile.conf"
            " && systemctl daemon-reload && systemctl restart vedette-sense"
        )
    return (
        "run under vedette-sense.service without the minimal drop-in"
        " (rm /etc/systemd/system/vedette-sense.service.d/profile.conf), or as root"
    )


# What lets a sensor see more; of these, `doctor` names the ones the process does not hold.
WIDENS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "processes": ("sys_ptrace", "audit_read", "net_admin", "sys_admin"),
        "sockets": ("sys_ptrace",),
        "files": ("dac_read_search", "sys_admin"),
        "authlog": ("dac_read_search",),
        "persistence": ("dac_read_search",),
        "logs": ("dac_read_search",),
        "host": ("dac_read_search",),
        "posture": ("dac_read_search",),
    }
)
