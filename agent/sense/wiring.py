"""Puts `sense` together: the one place that names its parts."""

import hashlib
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from agent import __version__
from agent.doorframes import FromSense, FromShip
from agent.hostroot import HostRoot
from agent.identity import SIGNING_KEY, load_identity
from agent.layout import Owners
from agent.sense.app import Judge, Parts, Sense
from agent.sense.budget import Budget, OwnMeter
from agent.sense.content import Content, ContentPorts
from agent.sense.door import Door
from agent.sense.floods import Floods
from agent.sense.guarded import Guarded
from agent.sense.match.context import MatchContext
from agent.sense.match.judge import judge
from agent.sense.outbox import Outbox
from agent.sense.ports import Sensor
from agent.sense.posture.engine import PostureSensor
from agent.sense.posture.statements import Subject
from agent.sense.profiles import runs
from agent.sense.receipts import ReceiptBook
from agent.sense.recorder import Recorder
from agent.sense.redact import Redactor
from agent.sense.seal import HostFacts
from agent.sense.sensors.table import SENSORS, SensorPlace
from agent.sense.settings import SenseSettings
from agent.sense.statements import StatementDesk
from agent.settings import PathSettings
from certs.errors import TrustRefused
from certs.identity import PeerIdentity
from certs.keyring import load_signing_key
from certs.signatures import SigningKey
from certs.trust import TRUST_BYTES_MAX, Trust
from proto.content.checks import builtin_pack
from proto.model import Finding, Observation, Record, Split
from proto.note import NoteKey
from runtime.clock import Clock, boot_id

POSTURE = "posture"


class Site(Struct, frozen=True):
    """Where and as whom `sense` runs."""

    paths: PathSettings
    owned: Owners
    clock: Clock
    # What there is to say of the start itself; sealed first.
    opening: tuple[Record, ...] = ()


def build(settings: SenseSettings, site: Site) -> Sense:
    """Return `sense`, not started.

    Args:
        settings: its sections.
        site: directories, owners and time.

    Raises:
        NotEnrolled: there is no identity yet.
        KeyUnusable: the signing key is missing or exposed.
        TrustRefused: trust.json cannot be read.
    """
    directory = Path(site.paths.sense)
    identity = load_identity(directory).peer
    key = load_signing_key(directory / SIGNING_KEY)
    trust = read_trust(directory)
    facts = _facts(identity, key, site.owned.split)
    readers = site.owned.ship_gid if site.owned.split is Split.USERS else None
    # The door needs the loop behind it and content needs the door: the lane joins them last.
    lane = _Lane()
    content = Content(
        settings.content,
        ContentPorts(
            directory=directory / "content",
            bootstrap=trust.tuf_root,
            send=lane.send,
            clock=site.clock,
            trusted_now=site.clock.wall_ns,
            random=secrets.SystemRandom().random,
        ),
    )
    sense = Sense(
        Parts(
            facts=facts,
            key=key,
            verify_key=key.public,
            clock=site.clock,
            random=os.urandom,
            outbox=Outbox(
                directory / "headers.log", Path(site.paths.outbox), settings.outbox, readers
            ),
            door=lane.door(Path(site.paths.door), site.owned.ship_uid, site.clock),
            door_group=readers,
            sensors={
                name: Guarded(name, sensor, site.clock)
                for name, sensor in build_sensors(settings, site, identity).items()
            },
            judges=judges(identity, content, site.clock),
            content=content,
            redactor=Redactor(_redaction_key(key), settings.redaction),
            recorder=Recorder(settings.recorder),
            receipts=_receipts(identity, trust),
            statements=StatementDesk(key, key.public.raw, facts, site.clock),
            sealing=settings.sealing,
            floods=Floods(settings.floods),
            budget=Budget(settings.budget, OwnMeter()),
            opening=site.opening,
        )
    )
    lane.behind = sense.take_frame
    return sense


class _Lane:
    """Frames to and from a door whose loop is made later."""

    def __init__(self) -> None:
        self.behind: Callable[[FromShip], None] | None = None
        self._door: Door | None = None

    def door(self, path: Path, peer_uid: int, clock: Clock) -> Door:
        self._door = Door(path, peer_uid, clock, self._take)
        return self._door

    def send(self, frame: FromSense) -> None:
        if self._door is not None:
            self._door.send(frame)

    def _take(self, frame: FromShip) -> None:
        if self.behind is not None:
            self.behind(frame)


def build_sensors(
    settings: SenseSettings, site: Site, identity: PeerIdentity
) -> Mapping[str, Sensor]:
    """Return the enabled sensors by name, not started."""
    place = SensorPlace(
        host=HostRoot(site.paths.host_root),
        clock=site.clock,
        state=Path(site.paths.sense),
        dns_door=Path(site.paths.dns_door),
        dns_uid=site.owned.dns_uid,
    )
    own = settings.sensors
    subject = Subject(identity.tenant.bytes, identity.agent.bytes)
    return {
        name: SENSORS[name](getattr(own, name), place)
        if name in SENSORS
        else PostureSensor(place.host, place.clock, subject, builtin_pack(), own.posture)
        for name in own.enabled
        if runs(settings.profile, name)
    }


def judges(identity: PeerIdentity, content: Content, clock: Clock) -> tuple[Judge, ...]:
    """Return what turns observations into findings."""
    tenant, host = identity.tenant.bytes, identity.agent.bytes

    def by_all(observation: Observation) -> tuple[Finding, ...]:
        context = MatchContext(tenant, host, content.index, content.stamp(), clock.wall_ns())
        return judge(observation, context)

    return (by_all,)


def read_trust(directory: Path) -> Trust:
    """Return the trust kept in a directory.

    Raises:
        TrustRefused: there is none, or it is not one.
    """
    try:
        with (directory / "trust.json").open("rb") as file:
            return Trust.parse(file.read(TRUST_BYTES_MAX + 1))
    except OSError as error:
        raise TrustRefused("there is no trust.json here", hint="enrol the agent again") from error


def _receipts(identity: PeerIdentity, trust: Trust) -> ReceiptBook:
    receipt_keys = [trusted.verify_key for trusted in trust.receipt_keys]
    return ReceiptBook(
        identity.tenant.bytes,
        identity.agent.bytes,
        {key.key_id: key for key in receipt_keys},
        [NoteKey(trusted.name, trusted.verify_key) for trusted in trust.log_keys],
    )


def _facts(identity: PeerIdentity, key: SigningKey, split: Split) -> HostFacts:
    return HostFacts(
        tenant=identity.tenant.bytes,
        agent=identity.agent.bytes,
        key_id=key.public.key_id,
        boot_id=boot_id(),
        host_name=socket.gethostname()[:255] or "unnamed",
        agent_version=__version__,
        split=split,
    )


def _redaction_key(key: SigningKey) -> bytes:
    """Return a key of this host that outlives restarts and tells nothing of the one it is from."""
    return hashlib.sha256(b"vedette/redaction/1" + key.private_bytes()).digest()
