"""What both halves of the agent are told: where files lie, whom to reach, who they run as."""

from typing import Annotated

from msgspec import Meta, Struct

from runtime.logs import Level, Style

ENVIRONMENT_PREFIX = "VEDETTE"


class PathSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Directories; each half owns its own."""

    # Holds sense/ (0700), outbox/ (0750) and ship/ (0700).
    state: str = "/var/lib/vedette"
    # Holds the door, bound by `sense`.
    run: str = "/run/vedette"
    # What is looked at: the host, also from inside a container.
    host_root: str = "/"

    @property
    def sense(self) -> str:
        """Keys, header log, receipts, accepted content; closed to everyone else."""
        return f"{self.state}/sense"

    @property
    def outbox(self) -> str:
        """Segments: written by `sense`, readable by `ship`."""
        return f"{self.state}/outbox"

    @property
    def ship(self) -> str:
        """TLS key and certificate; closed to everyone else."""
        return f"{self.state}/ship"

    @property
    def door(self) -> str:
        """The socket between the halves."""
        return f"{self.run}/door.sock"

    @property
    def dns_door(self) -> str:
        """The socket of the unit that sees DNS packets, in a directory that only it may enter."""
        return f"{self.run}/dns/dns.sock"


class UplinkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the one long-lived connection behaves."""

    # Batches sent and not yet receipted.
    window_batches_max: Annotated[int, Meta(ge=1, le=256)] = 16
    # How far a high-priority batch may go ahead of a backlog, in sequence numbers.
    ahead_batches_max: Annotated[int, Meta(ge=0, le=1024)] = 512
    connect_timeout_s: Annotated[int, Meta(ge=1, le=120)] = 20
    # A batch without a receipt for this long ends the connection.
    receipt_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60
    # Doubled at each failure and spread evenly below: a collector restarts within half a second.
    retry_wait_s_first: Annotated[float, Meta(gt=0, le=60)] = 0.25
    retry_wait_s_max: Annotated[float, Meta(gt=0, le=3600)] = 300.0
    # Must not be below the collector's minimum, or it ends the connection.
    keepalive_s: Annotated[int, Meta(ge=30, le=3600)] = 60


class PrivilegeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which users the halves become when started by root; names or numbers."""

    sense_user: str = "vedette-sense"
    ship_user: str = "vedette-ship"
    # May read the outbox and knock at the door.
    ship_group: str = "vedette-ship"
    # Sees DNS packets, where the profile has that; its group is the one of the same name.
    dns_user: str = "vedette-dns"


class MetricsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The scrape port, served by `ship` on loopback."""

    # 0 turns it off.
    port: Annotated[int, Meta(ge=0, le=65535)] = 6613


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the daemons print on standard error."""

    level: Level = "info"
    style: Style = "json"


class SharedSettings(Struct, frozen=True, kw_only=True):
    """The sections both halves read; ``sense`` is checked where it is used."""

    paths: PathSettings = PathSettings()
    uplink: UplinkSettings = UplinkSettings()
    privileges: PrivilegeSettings = PrivilegeSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
