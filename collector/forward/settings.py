"""What a destination is told: where, how, and which events.

No secret stands here: tokens and keys are named by file and read when they are needed, so a
rotated one is used without a restart.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from certs.errors import IdentityRefused
from certs.identity import TenantId
from collector.forward.states import State
from runtime.settings import BadSettings

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
KindName = Literal["finding", "incident", "health", "drop", "checkpoint"]

_HOST = re.compile(r"(?:\[(?P<ip6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]{1,253}))")
_SD_NAME = re.compile(r"[!#-<>-\\^-~]{1,32}")


class Filter(Struct, frozen=True, forbid_unknown_fields=True):
    """Which events a destination gets. Shadow findings are never forwarded."""

    # Findings and incidents below this stay behind, but none of unknown severity; other kinds have
    # no severity of their own.
    severity_min: Literal["informational", "low", "medium", "high", "critical"] = "informational"
    kinds: tuple[KindName, ...] = ("finding", "incident", "health", "drop", "checkpoint")
    # Findings whose disposition is `signal`: sealed and correlated, but no alert by themselves.
    signals: bool = False


class BatchLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """When a payload is closed: whichever comes first."""

    events_max: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    # Before compression. HEC receivers take about 1 MB everywhere.
    size_bytes_max: Annotated[int, Meta(ge=4096, le=16_000_000)] = 1_000_000
    # How long the first event of a payload waits for company.
    wait_s_max: Annotated[float, Meta(ge=0, le=60)] = 0.2
    # Events read but not settled, encoded; bounds memory for each tenant.
    window_bytes_max: Annotated[int, Meta(ge=65_536, le=1_000_000_000)] = 16_000_000


class Patience(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for what. Retries have no end: the ledger keeps everything meanwhile."""

    # Connecting included.
    send_timeout_s: Annotated[float, Meta(ge=0.5, le=600)] = 30
    retry_wait_s_first: Seconds = 1
    retry_wait_s_max: Seconds = 60
    # How often a parked destination is tried again.
    probe_wait_s: Seconds = 60
    # How often to look for new batches when nobody says there are any.
    poll_wait_s: Seconds = 1


class Destination(
    Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag=False
):
    """What every kind of destination has."""

    # Names the cursor: a destination renamed begins anew.
    name: Name
    # Ids of the tenants it serves; empty for every tenant.
    tenants: tuple[str, ...] = ()
    # Where a new destination begins: with what is kept, or with what comes.
    start: Literal["beginning", "end"] = "beginning"
    filter: Filter = Filter()
    batch: BatchLimits = BatchLimits()
    patience: Patience = Patience()
    # Events set aside; when they are this many the destination is parked.
    letters_max: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    # How often the log's signed checkpoint goes along, at most.
    checkpoint_wait_s: Seconds = 60

    def __post_init__(self) -> None:
        for tenant in self.tenants:
            try:
                TenantId.parse(tenant)
            except IdentityRefused as error:
                raise ValueError(
                    f"`tenants` has ids as lower-case UUIDs, not `{tenant}`"
                ) from error

    def serves(self, tenant: TenantId) -> bool:
        """Whether events of this tenant go there."""
        return not self.tenants or str(tenant) in self.tenants

    @property
    def top(self) -> State:
        """The best state that an event can reach there."""
        raise NotImplementedError


class HecDestination(Destination, frozen=True, kw_only=True, tag="splunk_hec"):
    """Splunk's HTTP Event Collector, or anything that speaks its protocol."""

    # https://host:8088; http only to this machine itself.
    url: str
    # Holds the token alone.
    token_file: str
    # The only authorities trusted; empty for the system's own.
    ca_file: str = ""
    index: Annotated[str, Meta(max_length=80)] = ""
    source_type: Annotated[str, Meta(max_length=80)] = "vedette"
    gzip: bool = True
    # Ask the indexers whether events were written. Off on Splunk Cloud, which has no such service.
    acknowledge: bool = False
    ack_poll_s: Seconds = 5
    # Sent again when not acknowledged for this long; Splunk may hold small batches for minutes.
    ack_wait_s_max: Seconds = 300
    in_flight_max: Annotated[int, Meta(ge=1, le=32)] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_url(self.url)

    @property
    def top(self) -> State:
        """Confirmed where the indexers are asked, else accepted."""
        return State.CONFIRMED if self.acknowledge else State.ACCEPTED


class SyslogDestination(Destination, frozen=True, kw_only=True, tag="syslog"):
    """RFC 5424 messages over TLS."""

    # host:port; the port of RFC 5425 is 6514.
    address: str
    ca_file: str = ""
    # For mutual TLS: our certificate chain and its key.
    cert_file: str = ""
    key_file: str = ""
    # The name the receiver's certificate must carry, where it is not the host above.
    server_name: Annotated[str, Meta(max_length=253)] = ""
    format: Literal["json", "pairs"] = "json"
    # 4: security and authorisation messages; 16 to 23: local use.
    facility: Annotated[int, Meta(ge=0, le=23)] = 4
    # Name of the structured data; the number is a private enterprise number (IANA).
    structured_data_id: str = "vedette@32473"
    # Receivers must take 2,048 bytes and should take 8,192 (RFC 5425). Longer ones are cut.
    message_bytes_max: Annotated[int, Meta(ge=2048, le=1_000_000)] = 8192
    # What was written this recently, or within these last bytes, is sent again after a break.
    tail_s: Seconds = 2
    tail_bytes_max: Annotated[int, Meta(ge=65_536, le=100_000_000)] = 8_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        split_address(self.address)
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("`cert_file` and `key_file` go together")
        if _SD_NAME.fullmatch(self.structured_data_id) is None:
            raise ValueError('`structured_data_id` needs 1 to 32 printable characters but = ] "')

    @property
    def top(self) -> State:
        """Syslog has no answer: no event is ever confirmed."""
        return State.UNCONFIRMABLE


class JsonlDestination(Destination, frozen=True, kw_only=True, tag="jsonl"):
    """A local file of one JSON object a line, synced after every payload."""

    path: str

    @property
    def top(self) -> State:
        """On disk is all that a file can promise."""
        return State.CONFIRMED


AnyDestination = HecDestination | SyslogDestination | JsonlDestination


def check_distinct(destinations: Iterable[AnyDestination], source: str) -> None:
    """Refuse two destinations of one name: they would share a cursor.

    Args:
        destinations: as decoded.
        source: the settings file, for the message.

    Raises:
        BadSettings: a name stands twice.
    """
    seen = set()
    for number, one in enumerate(destinations):
        if one.name in seen:
            raise BadSettings(
                source, "names a second destination", key=f"forward.[{number}].name", value=one.name
            )
        seen.add(one.name)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[ip6]:port``.

    Raises:
        ValueError: another form.
    """
    host, _, port = address.rpartition(":")
    found = _HOST.fullmatch(host)
    if found is None or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"expected `host:port`, got `{address}`")
    return found["ip6"] or found["host"], int(port)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("`url` needs the form `https://host:port`")
    if parts.username is not None or parts.password is not None:
        raise ValueError("`url` must hold no secret; name a `token_file`")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("`url` may be `http` only on loopback; use `https`")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
