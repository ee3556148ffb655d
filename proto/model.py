"""The records, the batch header and the replies, as frozen values.

Each struct mirrors the message of the same name in ``proto/vedette/v1``; `proto.codec` refuses to
start when the two disagree. Three kinds of field:

* ``T``: always there;
* ``T | None``: there or not;
* ``T | UnsetType | None``: ``None`` means *looked, and there is none*; ``UNSET`` means *not
  collected*. The two are never folded into one (design, part 4).

Times are nanoseconds since 1970 UTC unless the name says ``boot``. Sizes are bytes. Host text is
untrusted: it is bounded here and stands in arguments and entities, never in titles.
"""

import enum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

TEXT_BYTES_MAX = 64 * 1024
RECORDS_MAX = 256
RAW_BYTES_MAX = 1024 * 1024
HEADER_BYTES_MAX = 64 * 1024
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
RECORD_BYTES_MAX = 256 * 1024
# Of the batch header; a reader takes this and every older one.
HEADER_VERSION = 1

Label = Annotated[str, Meta(max_length=256)]
Text = Annotated[str, Meta(max_length=8192)]
LongText = Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Blob = Annotated[bytes, Meta(max_length=TEXT_BYTES_MAX)]


class FindingKind(enum.Enum):
    """What sort of thing was found; aligned with the OCSF findings classes."""

    UNSPECIFIED = "unspecified"
    DETECTION = "detection"
    VULNERABILITY = "vulnerability"
    COMPLIANCE = "compliance"
    INTEGRITY = "integrity"
    HEALTH = "health"


class Activity(enum.Enum):
    """Where a finding stands in its life."""

    UNSPECIFIED = "unspecified"
    CREATE = "create"
    UPDATE = "update"
    CLOSE = "close"


class Disposition(enum.Enum):
    """How far a finding travels: forwarded, correlated, or only kept."""

    UNSPECIFIED = "unspecified"
    ALERT = "alert"
    SIGNAL = "signal"
    SHADOW = "shadow"


class Severity(enum.Enum):
    """How bad it would be if true; confidence says how likely it is true."""

    UNSPECIFIED = "unspecified"
    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Order of severity, 0 for unspecified to 5 for critical."""
        return _SEVERITY_RANK[self]


_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Precision(enum.Enum):
    """How exact an event time is: the kernel's, a log's second, or the interval of a poll."""

    UNSPECIFIED = "unspecified"
    EXACT = "exact"
    SECOND = "second"
    POLL = "poll"
    UNKNOWN = "unknown"


class Freshness(enum.Enum):
    """Whether content is as new as its metadata promises."""

    UNSPECIFIED = "unspecified"
    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class Tlp(enum.Enum):
    """Traffic Light Protocol 2.0 label of an indicator."""

    UNSPECIFIED = "unspecified"
    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    AMBER_STRICT = "amber_strict"
    RED = "red"


class Role(enum.Enum):
    """What part an entity plays in a finding."""

    UNSPECIFIED = "unspecified"
    ACTOR = "actor"
    TARGET = "target"
    RELATED = "related"


class CheckState(enum.Enum):
    """Verdict of a posture check; unknown is never pass."""

    UNSPECIFIED = "unspecified"
    PASS = "pass"  # noqa: S105  (a verdict)
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class ObservationKind(enum.Enum):
    """What a sensor saw happen, or saw standing."""

    UNSPECIFIED = "unspecified"
    PROCESS_EXEC = "process_exec"
    PROCESS_EXIT = "process_exit"
    PROCESS_SEEN = "process_seen"
    SOCKET_OPEN = "socket_open"
    SOCKET_LISTEN = "socket_listen"
    SOCKET_CLOSE = "socket_close"
    FILE_SEEN = "file_seen"
    FILE_CREATED = "file_created"
    FILE_CHANGED = "file_changed"
    FILE_REMOVED = "file_removed"
    LOGIN = "login"
    LOG_LINE = "log_line"
    PACKAGE_SEEN = "package_seen"
    PACKAGE_INSTALLED = "package_installed"
    PACKAGE_REMOVED = "package_removed"
    PROCESS_EXEC_FAILED = "process_exec_failed"
    DNS_QUERY = "dns_query"
    DNS_ANSWER = "dns_answer"
    LOGIN_BURST = "login_burst"
    LOGIN_NEW_KEY = "login_new_key"
    LOGIN_NEW_SUDOER = "login_new_sudoer"
    ACCOUNT_SEEN = "account_seen"
    ACCOUNT_ADDED = "account_added"
    ACCOUNT_CHANGED = "account_changed"
    ACCOUNT_REMOVED = "account_removed"
    PERSISTENCE_SEEN = "persistence_seen"
    PERSISTENCE_ADDED = "persistence_added"
    PERSISTENCE_CHANGED = "persistence_changed"
    PERSISTENCE_REMOVED = "persistence_removed"


class Change(enum.Enum):
    """What happened to an inventory item since it was last stated."""

    UNSPECIFIED = "unspecified"
    PRESENT = "present"
    ADDED = "added"
    REMOVED = "removed"


class HealthState(enum.Enum):
    """Whether a sensor sees all, part or nothing of what it should."""

    UNSPECIFIED = "unspecified"
    OK = "ok"
    DEGRADED = "degraded"
    BLIND = "blind"


class DropReason(enum.Enum):
    """Why records are missing."""

    UNSPECIFIED = "unspecified"
    SOURCE_GAP = "source_gap"
    UNCLEAN_START = "unclean_start"
    EVICTED = "evicted"
    SUPPRESSED = "suppressed"
    QUARANTINED = "quarantined"
    OVERFLOW = "overflow"
    LOST_IN_RESTORE = "lost_in_restore"


class IncidentStatus(enum.Enum):
    """Where an incident stands."""

    UNSPECIFIED = "unspecified"
    OPEN = "open"
    UPDATED = "updated"
    CLOSED = "closed"


class Compression(enum.Enum):
    """How a body is packed."""

    UNSPECIFIED = "unspecified"
    NONE = "none"
    ZLIB = "zlib"


class Priority(enum.Enum):
    """How soon a batch is sealed and sent, and how late it is evicted."""

    UNSPECIFIED = "unspecified"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class EpochReason(enum.Enum):
    """Why a new chain of batches begins."""

    UNSPECIFIED = "unspecified"
    FIRST = "first"
    CLEAN_START = "clean_start"
    UNCLEAN_START = "unclean_start"
    STATE_LOSS = "state_loss"
    SUCCESSION = "succession"
    RESTORE = "restore"


class Split(enum.Enum):
    """Whether the privileged and the networked process are apart."""

    UNSPECIFIED = "unspecified"
    USERS = "users"
    NONE = "none"


class Durability(enum.Enum):
    """What a receipt vouches for."""

    UNSPECIFIED = "unspecified"
    RECEIVED = "received"
    DURABLE = "durable"


class RefusedReason(enum.Enum):
    """Why the collector did not take a batch."""

    UNSPECIFIED = "unspecified"
    IDENTITY = "identity"
    SIZE = "size"
    SIGNATURE = "signature"
    DIGEST = "digest"
    MALFORMED = "malformed"
    OVERLOADED = "overloaded"
    STORAGE = "storage"
    UNKNOWN_KEY = "unknown_key"


class HintKind(enum.Enum):
    """What the collector would like to see; an agent may ignore it."""

    UNSPECIFIED = "unspecified"
    CONTENT_CHANGED = "content_changed"
    RENEW = "renew"
    REPORT_HEAD = "report_head"
    RESEND_INVENTORY = "resend_inventory"


class StatementKind(enum.Enum):
    """The closed set of statements an agent's signing key makes outside batches."""

    UNSPECIFIED = "unspecified"
    ENROL = "enrol"
    RENEW = "renew"
    REATTEST = "reattest"
    SUCCEED = "succeed"


class Rule(Struct, frozen=True):
    """What judged."""

    id: Label
    name: Label = ""
    version: Label = ""


class Indicator(Struct, frozen=True):
    """The indicator that matched, with where it came from."""

    kind: Label
    value: Text
    feed: Label
    confidence: int = 0
    tlp: Tlp = Tlp.UNSPECIFIED
    first_seen: int | None = None
    expires: int | None = None
    content_version: Label = ""
    family: Label = ""
    warning: Label = ""


class Attack(Struct, frozen=True):
    """A technique of MITRE ATT&CK, with the version its ids belong to."""

    version: Label
    technique: Label
    tactic: Label = ""


class User(Struct, frozen=True, tag_field="type", tag="user"):
    """An account as the host names it."""

    uid: int | UnsetType | None = UNSET
    name: Label | UnsetType | None = UNSET


class Login(Struct, frozen=True, tag_field="type", tag="login"):
    """A login session or an attempt at one, or many: ``attempts`` over so many ``accounts``.

    ``fingerprint`` is of the key that was shown, as the service writes it (``SHA256:...``).
    """

    session: int | UnsetType | None = UNSET
    tty: Label | UnsetType | None = UNSET
    remote_address: Label | UnsetType | None = UNSET
    method: Label | UnsetType | None = UNSET
    outcome: Label | UnsetType | None = UNSET
    user: User | UnsetType | None = UNSET
    remote_port: int | UnsetType | None = UNSET
    service: Label | UnsetType | None = UNSET
    fingerprint: Label | UnsetType | None = UNSET
    attempts: int | UnsetType | None = UNSET
    accounts: int | UnsetType | None = UNSET


class Process(Struct, frozen=True, tag_field="type", tag="process"):
    """A process, named by (boot id, pid, start in nanoseconds since boot)."""

    boot_id: Id16
    pid: int
    start: int
    ppid: int | UnsetType | None = UNSET
    name: Label | UnsetType | None = UNSET
    exe: Text | UnsetType | None = UNSET
    cwd: Text | UnsetType | None = UNSET
    argv: Annotated[tuple[LongText, ...], Meta(max_length=512)] = ()
    sha256: Hash32 | UnsetType | None = UNSET
    package: Label | UnsetType | None = UNSET
    user: User | UnsetType | None = UNSET
    effective_user: User | UnsetType | None = UNSET
    session: int | UnsetType | None = UNSET
    tty: Label | UnsetType | None = UNSET
    container: Label | UnsetType | None = UNSET
    unit: Label | UnsetType | None = UNSET
    caveats: Annotated[tuple[Label, ...], Meta(max_length=16)] = ()
    script: Text | UnsetType | None = UNSET
    script_sha256: Hash32 | UnsetType | None = UNSET
    login_user: User | UnsetType | None = UNSET


class File(Struct, frozen=True, tag_field="type", tag="file"):
    """A file at a path, as it was when read; ``changed`` is its ctime."""

    path: Text
    sha256: Hash32 | UnsetType | None = UNSET
    size: int | UnsetType | None = UNSET
    mode: int | UnsetType | None = UNSET
    owner: User | UnsetType | None = UNSET
    changed: int | UnsetType | None = UNSET
    inode: int | UnsetType | None = UNSET
    package: Label | UnsetType | None = UNSET
    caveats: Annotated[tuple[Label, ...], Meta(max_length=16)] = ()


class Endpoint(Struct, frozen=True, tag_field="type", tag="endpoint"):
    """A socket's two ends; ``protocol`` is tcp, tcp6, udp or udp6."""

    protocol: Label
    local_address: Label
    local_port: int
    remote_address: Label | UnsetType | None = UNSET
    remote_port: int | UnsetType | None = UNSET
    state: Label | UnsetType | None = UNSET
    inode: int | UnsetType | None = UNSET


class Package(Struct, frozen=True, tag_field="type", tag="package"):
    """An installed package; ``manager`` is deb, rpm, python or npm.

    ``path`` is the directory it is installed in, where a host may have several of one name.
    """

    manager: Label
    name: Label
    version: Label
    architecture: Label = ""
    state: Label = ""
    path: Text | None = None


class LogLine(Struct, frozen=True, tag_field="type", tag="log"):
    """One line of a log and the byte offset where it begins."""

    path: Text
    program: Label
    message: LongText
    offset: int


class Setting(Struct, frozen=True, tag_field="type", tag="setting"):
    """One configured value of a host and where it was read."""

    name: Label
    value: Text | UnsetType | None = UNSET
    origin: Label = ""


class DnsMessage(Struct, frozen=True, tag_field="type", tag="dns"):
    """A name that was asked for, and in an answer what came back, as text.

    ``qtype`` and ``code`` are mnemonics (``AAAA``, ``NXDOMAIN``); ``code`` is ``None`` for a query.
    ``endpoint`` is the resolver's side as this host saw it.
    """

    name: Text
    qtype: Label
    code: Label | UnsetType | None = UNSET
    answers: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    endpoint: Endpoint | UnsetType | None = UNSET


class Persistence(Struct, frozen=True, tag_field="type", tag="persistence"):
    """One entry by which something is run, trusted or privileged without being asked again.

    ``mechanism`` says how (``cron``, ``systemd_unit``, ``authorized_key``, ``suid_file``, ...),
    ``name`` which one within ``path``, and ``value`` what it runs or grants.
    """

    mechanism: Label
    name: Label
    path: Text
    value: Text | UnsetType | None = UNSET
    user: User | UnsetType | None = UNSET
    sha256: Hash32 | UnsetType | None = UNSET
    package: Label | UnsetType | None = UNSET
    caveats: Annotated[tuple[Label, ...], Meta(max_length=16)] = ()


class Container(Struct, frozen=True, tag_field="type", tag="container"):
    """A container as the host's control groups show it; a runtime is asked only where allowed."""

    id: Label
    runtime: Label
    name: Label | UnsetType | None = UNSET
    image: Label | UnsetType | None = UNSET
    unit: Label | UnsetType | None = UNSET
    processes: int = 0


Thing = (
    Process
    | File
    | Endpoint
    | User
    | Package
    | Login
    | LogLine
    | Setting
    | DnsMessage
    | Persistence
    | Container
)


class Entity(Struct, frozen=True):
    """A thing on a host and the part it plays."""

    role: Role
    value: Thing


class Argument(Struct, frozen=True):
    """A named value; where host text goes."""

    name: Label
    value: LongText


class Source(Struct, frozen=True):
    """Which sensor saw it, on which rung of its ladder, and what that rung can miss."""

    sensor: Label
    rung: Label
    coverage: Label


class ContentStamp(Struct, frozen=True):
    """The content a statement was made with; ``age`` in nanoseconds."""

    name: Label
    version: Label
    age: int
    freshness: Freshness


class Check(Struct, frozen=True):
    """A posture verdict and the digests of the evidence behind it; times in nanoseconds."""

    id: Label
    version: Label
    state: CheckState
    reason: Text
    evidence: Annotated[tuple[Hash32, ...], Meta(max_length=32)]
    max_age: int
    interval: int
    references: Annotated[tuple[Label, ...], Meta(max_length=32)] = ()


class Finding(Struct, frozen=True, kw_only=True, tag_field="record", tag="finding"):
    """A match or a verdict worth telling, with the evidence around it.

    ``key`` names the thing found (`proto.uids.finding_key`); the record uid, which readers derive
    from where the record lies in the chain, names this one statement of it.
    """

    kind: FindingKind
    activity: Activity
    disposition: Disposition
    severity: Severity
    confidence: int
    title: Label
    key: Id16
    rule: Rule
    source: Source
    event_time: int
    event_precision: Precision
    observed_at: int
    indicator: Indicator | None = None
    attack: Annotated[tuple[Attack, ...], Meta(max_length=16)] = ()
    entities: Annotated[tuple[Entity, ...], Meta(max_length=16)] = ()
    process: Process | None = None
    ancestry: Annotated[tuple[Process, ...], Meta(max_length=8)] = ()
    login: Login | None = None
    arguments: Annotated[tuple[Argument, ...], Meta(max_length=32)] = ()
    content: Annotated[tuple[ContentStamp, ...], Meta(max_length=8)] = ()
    check: Check | None = None
    count: int = 1


class Observation(Struct, frozen=True, kw_only=True, tag_field="record", tag="observation"):
    """One fact from one sensor; sealed only as the surroundings of a finding."""

    kind: ObservationKind
    source: Source
    event_time: int
    event_precision: Precision
    observed_at: int
    subject: Entity
    process: Process | None = None
    ancestry: Annotated[tuple[Process, ...], Meta(max_length=8)] = ()
    finding_key: Id16 | None = None


class InventoryItem(Struct, frozen=True, tag_field="record", tag="inventory"):
    """Something that is on the host, came, or went."""

    change: Change
    item: Entity
    observed_at: int
    source: Source


class Observable(Struct, frozen=True, tag_field="record", tag="observable"):
    """A value seen on the host, counted by the hour."""

    kind: Label
    value: Text
    first: int
    last: int
    count: int
    process: Process | None = None


class Evidence(Struct, frozen=True, tag_field="record", tag="evidence"):
    """What one probe read, typed, so that a verdict can be recomputed without the host.

    ``unknown`` is empty when the probe answered, else says why not; ``facts`` is canonical JSON.
    """

    probe: Label
    version: Label
    parameters: Text
    collected_at: int
    duration: int
    unknown: Label
    facts: Blob
    digest: Hash32


class Health(Struct, frozen=True, tag_field="record", tag="health"):
    """A change in what a sensor can see."""

    subject: Label
    state: HealthState
    reason: Text
    rung: Label
    at: int
    last_success: int | None = None


class CorrelatedValues(Struct, frozen=True):
    """The distinct values, at most 64, that suppressed repeats had in one field."""

    field: Label
    values: Annotated[tuple[Text, ...], Meta(max_length=64)]
    overflow: bool = False


class Drop(Struct, frozen=True, kw_only=True, tag_field="record", tag="drop"):
    """What is missing and why. ``count`` is None where it cannot be known."""

    reason: DropReason
    sensor: Label = ""
    count: int | None = None
    first: int | None = None
    last: int | None = None
    first_boot: int | None = None
    last_boot: int | None = None
    epoch: Id16 | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    last_header_hash: Hash32 | None = None
    rule: Label = ""
    values: Annotated[tuple[CorrelatedValues, ...], Meta(max_length=16)] = ()
    detail: Text = ""


class RecordRef(Struct, frozen=True, order=True):
    """Where a record lies: its agent, epoch, batch and place in the batch."""

    agent: Id16
    epoch: Id16
    seq: int
    index: int


class Incident(Struct, frozen=True, kw_only=True, tag_field="record", tag="incident"):
    """Findings that belong together, by a rule; recomputable from ``sources``."""

    uid: Id16
    revision: int
    status: IncidentStatus
    severity: Severity
    title: Label
    rule: Rule
    rule_digest: Hash32
    key: Annotated[tuple[Argument, ...], Meta(max_length=16)]
    first: int
    last: int
    count: int
    hosts: Annotated[tuple[Id16, ...], Meta(max_length=256)]
    sources: Annotated[tuple[RecordRef, ...], Meta(max_length=256)]
    attack: Annotated[tuple[Attack, ...], Meta(max_length=64)] = ()
    sources_omitted: int = 0


class ScoreItem(Struct, frozen=True):
    """One requirement of a framework: its state, how assured and how covered it is (0 to 1)."""

    reference: Label
    state: CheckState
    assured: float
    coverage: float
    checks: int


class Score(Struct, frozen=True, kw_only=True, tag_field="record", tag="score"):
    """Readiness for one framework and edition: evidence and its reach, never "compliant".

    ``evidenced`` of ``items`` requirements have evidence; ``assured``, ``coverage`` and ``upper``
    are fractions of the weight of applicable checks.
    """

    framework: Label
    edition: Label
    as_of: int
    items: int
    evidenced: int
    assured: float
    coverage: float
    upper: float
    hosts: int
    hosts_reporting: int
    mapping_digest: Hash32
    detail: Annotated[tuple[ScoreItem, ...], Meta(max_length=1024)] = ()
    sources: Annotated[tuple[RecordRef, ...], Meta(max_length=256)] = ()


class Audit(Struct, frozen=True, tag_field="record", tag="audit"):
    """Something done to the product itself: content swapped, a statement signed, a host revoked."""

    actor: Label
    action: Label
    subject: Label
    outcome: Label
    at: int
    detail: Annotated[tuple[Argument, ...], Meta(max_length=32)] = ()


Record = (
    Finding
    | Observation
    | InventoryItem
    | Observable
    | Evidence
    | Health
    | Drop
    | Incident
    | Score
    | Audit
)


class Body(Struct, frozen=True):
    """A batch's content: the salt seed and the exact bytes of each record."""

    seed: Hash32
    records: Annotated[tuple[bytes, ...], Meta(max_length=RECORDS_MAX)]


class EpochStart(Struct, frozen=True):
    """Why an epoch begins and what it follows; ``blind_from`` and ``blind_to`` are boot-clock."""

    reason: EpochReason
    parent_epoch: Id16 | None = None
    parent_seq: int | None = None
    parent_hash: Hash32 | None = None
    blind_from: int | None = None
    blind_to: int | None = None


class ReceiptRef(Struct, frozen=True):
    """The newest receipt the agent has verified."""

    epoch: Id16
    seq: int
    ledger_generation: Id16


class CheckpointRef(Struct, frozen=True):
    """The newest log checkpoint the agent has verified."""

    origin: Label
    size: int
    root: Hash32


class DroppedRange(Struct, frozen=True):
    """Sealed batches, contiguous in one epoch, that will never arrive."""

    reason: DropReason
    epoch: Id16
    first_seq: int
    last_seq: int
    last_header_hash: Hash32
    batches: int
    records: int


class SensorStatus(Struct, frozen=True):
    """A sensor's coverage at the time of sealing; ``dropped`` counts since the epoch began."""

    sensor: Label
    rung: Label
    state: HealthState
    last_success: int
    dropped: int


class Header(Struct, frozen=True, kw_only=True):
    """What is signed of a batch; its hash (`proto.envelope.header_hash`) links the next to it."""

    version: int
    tenant: Id16
    agent: Id16
    key_id: Hash32
    epoch: Id16
    seq: int
    previous: Annotated[bytes, Meta(max_length=32)]
    body_sha256: Hash32
    compression: Compression
    body_bytes: int
    raw_bytes: int
    records: int
    root: Hash32
    priority: Priority
    first_time: int
    last_time: int
    wall: int
    boot_clock: int
    boot_id: Id16
    split: Split
    agent_version: Label
    host_name: Label
    opens: EpochStart | None = None
    content: Annotated[tuple[ContentStamp, ...], Meta(max_length=16)] = ()
    last_receipt: ReceiptRef | None = None
    checkpoint: CheckpointRef | None = None
    dropped: Annotated[tuple[DroppedRange, ...], Meta(max_length=64)] = ()
    sensors: Annotated[tuple[SensorStatus, ...], Meta(max_length=32)] = ()


class SeqHash(Struct, frozen=True):
    """A batch kept beyond a hole."""

    seq: int
    header_hash: Hash32


class Receipt(Struct, frozen=True, kw_only=True):
    """The collector's signed word that it keeps an epoch up to ``seq``, and batches ``ahead``."""

    version: int
    tenant: Id16
    agent: Id16
    epoch: Id16
    seq: int
    header_hash: Annotated[bytes, Meta(max_length=32)]
    ledger_generation: Id16
    log_size: int
    durability: Durability
    at: int
    ahead: Annotated[tuple[SeqHash, ...], Meta(max_length=1024)] = ()
    archived_seq: int = 0


class Statement(Struct, frozen=True, kw_only=True):
    """What the key says outside batches; only ``spki_sha256`` and ``nonce`` come from others."""

    version: int
    kind: StatementKind
    tenant: Id16
    agent: Id16
    public_key: Hash32
    spki_sha256: Hash32
    nonce: Annotated[bytes, Meta(max_length=64)]
    wall: int
    boot_id: Id16
    host_name: Label
    new_public_key: Hash32 | None = None
    generation: int = 0
