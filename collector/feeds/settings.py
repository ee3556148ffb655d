"""Which feeds there are, how each is read, and how long signatures last."""

import enum
from typing import Annotated

from msgspec import Meta, Struct

from proto.model import Tlp

Days = Annotated[int, Meta(ge=1, le=3650)]


class FeedKind(enum.StrEnum):
    """What a feed's values are.

    ``address`` tells address, network and endpoint by their shape, ``host`` a domain from those,
    and ``any`` each of these, digests and URLs too.
    """

    SHA256 = "sha256"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    CIDR = "cidr"
    IP_PORT = "ip_port"
    FILE_NAME = "file_name"
    PROCESS_NAME = "process_name"
    MD5 = "md5"
    SHA1 = "sha1"
    DOMAIN = "domain"
    HOSTNAME = "hostname"
    URL = "url"
    URL_PREFIX = "url_prefix"
    FILE_PATH = "file_path"
    EMAIL = "email"
    JA3 = "ja3"
    JA4 = "ja4"
    MUTEX = "mutex"
    ADDRESS = "address"
    HOST = "host"
    ANY = "any"


class FeedFormat(enum.Enum):
    """How a feed's rows are written.

    ``plain``: a value a line. ``csv``: a header, then rows. ``counted``: a value and how many lists
    name it. Lines that begin with # are comments in all three. The others are what their publishers
    give away, as it is: abuse.ch's ``urlhaus``, ``threatfox`` (JSON), ``threatfox_csv``,
    ``malwarebazaar``, ``feodo``, ``sslbl`` and ``sslbl_ja3``; ``spamhaus`` DROP; ``misp`` events
    and ``misp_csv``; ``otx`` pulses; ``stix`` 2.1 bundles.
    """

    PLAIN = "plain"
    CSV = "csv"
    COUNTED = "counted"
    URLHAUS = "urlhaus"
    THREATFOX = "threatfox"
    THREATFOX_CSV = "threatfox_csv"
    MALWAREBAZAAR = "malwarebazaar"
    FEODO = "feodo"
    SSLBL = "sslbl"
    SSLBL_JA3 = "sslbl_ja3"
    SPAMHAUS = "spamhaus"
    MISP = "misp"
    MISP_CSV = "misp_csv"
    OTX = "otx"
    STIX = "stix"


class WarningPolicy(enum.Enum):
    """What happens to a value that a warninglist calls harmless."""

    DROP = "drop"
    ANNOTATE = "annotate"
    IGNORE = "ignore"


class FeedSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feed; what a row does not say, these do."""

    # Stands in findings; lower case, so that it can be a label.
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
    # A glob below the directory of lists; .gz is unpacked.
    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    format: FeedFormat = FeedFormat.PLAIN
    # A CSV may have a column of that name instead.
    kind: FeedKind | None = None
    family: Annotated[str, Meta(max_length=256)] = ""
    confidence: Annotated[int, Meta(ge=0, le=100)] = 50
    tlp: Tlp = Tlp.CLEAR
    # ATT&CK technique ids, separated by spaces.
    attack: Annotated[str, Meta(max_length=256)] = ""
    # Counted from the time of the list's file; 0 means that its indicators never expire.
    ttl_days: Annotated[int, Meta(ge=0, le=3650)] = 30
    warninglists: WarningPolicy = WarningPolicy.DROP
    # Whether a listed domain stands for all names below it too; otherwise only for itself.
    subdomains: bool = True
    # Counted lists: rows below this are left out; each list that names a value adds so much
    # confidence.
    count_min: Annotated[int, Meta(ge=1, le=1000)] = 1
    count_confidence: Annotated[int, Meta(ge=0, le=100)] = 10

    def __post_init__(self) -> None:
        if self.path.startswith("/") or ".." in self.path.split("/"):
            raise ValueError("path lies below the directory of lists")
        if self.kind is None and self.format in {FeedFormat.PLAIN, FeedFormat.COUNTED}:
            raise ValueError("kind is needed for this format")


class SigningSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long the signature of each role lasts."""

    root_days: Days = 365
    targets_days: Days = 30
    snapshot_days: Days = 7
    indicators_days: Days = 7
    timestamp_hours: Annotated[int, Meta(ge=1, le=24 * 365)] = 24


class FeedsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The section ``feeds``."""

    # Where list files lie.
    lists: str = "/var/lib/vedette-collector/feeds/lists"
    # MISP warninglists: <name>/list.json below this; empty for none.
    warninglists: str = ""
    # keys/ (online keys, 0700), content/ (what is published) and a lock.
    state: str = "/var/lib/vedette-collector/feeds"
    # After unpacking; a larger file makes its feed unusable.
    file_size_bytes_max: Annotated[int, Meta(ge=1024, le=4 * 1024**3)] = 512 * 1024**2
    signing: SigningSettings = SigningSettings()
    sources: Annotated[tuple[FeedSettings, ...], Meta(max_length=256)] = ()

    def __post_init__(self) -> None:
        names = [feed.name for feed in self.sources]
        if len(set(names)) != len(names):
            raise ValueError("two feeds have the same name")
