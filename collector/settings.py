"""Every section of ``/etc/vedette/collector.toml``."""

import ipaddress
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from certs.errors import IdentityRefused
from certs.identity import parse_domain
from collector.comply.projection import ComplySettings
from collector.console.settings import ConsoleSettings
from collector.feeds.settings import FeedSettings, FeedsSettings, SigningSettings
from collector.forward.settings import AnyDestination, check_distinct
from collector.gateway.settings import GatewaySettings
from collector.issuer.settings import IssuerSettings
from collector.ledger.admitter import AdmitSettings
from collector.ledger.commit import CommitSettings
from collector.ledger.watch import WatchSettings
from runtime.logs import Level, Style
from runtime.settings import load

DEFAULT_PATH = "/etc/vedette/collector.toml"
ENVIRONMENT_PREFIX = "VEDETTE"
PORT_MAX = 65_535


def _check_domain(key: str, name: str) -> None:
    try:
        parse_domain(name)
    except IdentityRefused as error:
        raise ValueError(f"`{key}` has lower-case DNS names, not `{name}`") from error


def _check_address(key: str, address: str) -> None:
    host, _, port = address.rpartition(":")
    is_bracketed = host[:1] + host[-1:] == "[]"
    is_host = _is_ip(host[1:-1]) if is_bracketed else bool(host) and not set(host) & set("[]:")
    if not is_host or not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise ValueError(f"`{key}` needs the form `host:port`, not `{address}`")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class PathSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the collector keeps its files."""

    # Ledgers, projections, keys; each process has a directory of its own below it.
    state: str = "/var/lib/vedette-collector"

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise ValueError("`state` must be an absolute path")

    @property
    def root(self) -> Path:
        """The state directory."""
        return Path(self.state)

    @property
    def issuer(self) -> Path:
        """Tenant authorities and the token table; the issuer alone."""
        return self.root / "issuer"

    @property
    def issuer_socket(self) -> Path:
        """Where the issuer is asked."""
        return self.root / "issuer.sock"

    @property
    def root_certificate(self) -> Path:
        """The root above every tenant; public."""
        return self.root / "gate" / "root.pem"

    @property
    def receipt_key(self) -> Path:
        """Signs receipts; the gateway's."""
        return self.root / "gate" / "receipt.pem"

    @property
    def own_key(self) -> Path:
        """Signs the collector's own batches and refusals; the worker's."""
        return self.root / "work" / "own.pem"

    @property
    def log_key(self) -> Path:
        """Signs checkpoints; the worker's."""
        return self.root / "work" / "log.pem"

    @property
    def api_token(self) -> Path:
        """Lets its bearer read the API."""
        return self.root / "api-token"

    @property
    def feeds(self) -> Path:
        """Lists, online keys and published content."""
        return self.root / "feeds"


class TrustSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Names, written by ``init`` and fixed from then on."""

    # The trust domain of all certificates; a DNS name of yours that need not resolve.
    domain: str = "vedette.internal"
    # DNS names and addresses under which agents reach this collector.
    server_names: Annotated[tuple[str, ...], Meta(min_length=1)] = ("localhost", "127.0.0.1")

    def __post_init__(self) -> None:
        _check_domain("domain", self.domain)
        for name in self.server_names:
            if not _is_ip(name):
                _check_domain("server_names", name)


class ListenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The listeners of the gateway."""

    intake_address: str = "0.0.0.0:6610"
    enrollment_address: str = "0.0.0.0:6611"
    limits: GatewaySettings = GatewaySettings()

    def __post_init__(self) -> None:
        _check_address("intake_address", self.intake_address)
        _check_address("enrollment_address", self.enrollment_address)


class ScheduledFeeds(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Threat intel in, content out; paths are below the state directory."""

    # How often lists are read again; signatures are kept fresh in between.
    interval_s: Annotated[int, Meta(ge=10, le=86_400)] = 3600
    # MISP warninglists, <name>/list.json below this; empty for none.
    warninglists: str = ""
    # Where list files lie; empty for feeds/lists below the state directory.
    lists: str = ""
    file_size_bytes_max: Annotated[int, Meta(ge=1024, le=4 * 1024**3)] = 512 * 1024**2
    signing: SigningSettings = SigningSettings()
    sources: Annotated[tuple[FeedSettings, ...], Meta(max_length=256)] = ()

    def __post_init__(self) -> None:
        # Names stand in reports and in findings: two of one name could not be told apart.
        names = [feed.name for feed in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("two `sources` have the same name")


class RetentionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How long rows of the index are kept; the ledger keeps everything."""

    interval_s: Annotated[int, Meta(ge=60, le=86_400)] = 3600
    # Findings and events stay in the index this long; 0 for ever.
    index_days_max: Annotated[int, Meta(ge=0, le=36_500)] = 400


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the processes print on standard error."""

    level: Level = "info"
    style: Style = "json"


class CollectorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    paths: PathSettings = PathSettings()
    trust: TrustSettings = TrustSettings()
    gateway: ListenSettings = ListenSettings()
    console: ConsoleSettings = ConsoleSettings()
    commit: CommitSettings = CommitSettings()
    admit: AdmitSettings = AdmitSettings()
    watch: WatchSettings = WatchSettings()
    comply: ComplySettings = ComplySettings()
    feeds: ScheduledFeeds = ScheduledFeeds()
    forward: Annotated[tuple[AnyDestination, ...], Meta(max_length=64)] = ()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()

    @property
    def issuer(self) -> IssuerSettings:
        """What the issuer is told."""
        return IssuerSettings(
            home=self.paths.issuer,
            socket=self.paths.issuer_socket,
            domain=self.trust.domain,
            server_names=self.trust.server_names,
        )

    @property
    def publishing(self) -> FeedsSettings:
        """What the feeds job is told."""
        feeds = self.feeds
        return FeedsSettings(
            lists=feeds.lists or str(self.paths.feeds / "lists"),
            warninglists=feeds.warninglists,
            state=str(self.paths.feeds),
            file_size_bytes_max=feeds.file_size_bytes_max,
            signing=feeds.signing,
            sources=feeds.sources,
        )


def read_settings(path: Path, env: dict[str, str], *, missing_ok: bool) -> CollectorSettings:
    """Return the effective settings.

    Raises:
        BadSettings: a key or value is not allowed; names file, key and rule (exit 4).
    """
    settings = load(CollectorSettings, path, env, prefix=ENVIRONMENT_PREFIX, missing_ok=missing_ok)
    check_distinct(settings.forward, str(path))
    return settings
