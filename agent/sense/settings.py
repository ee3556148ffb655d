"""What the privileged half is told; the sections under ``[sense]``."""

from msgspec import Struct

from agent.sense.batch import SealingSettings
from agent.sense.budget import BudgetSettings
from agent.sense.content import ContentSettings
from agent.sense.floods import FloodSettings
from agent.sense.outbox import OutboxSettings
from agent.sense.posture.engine import PostureSettings
from agent.sense.profiles import ProfileName
from agent.sense.recorder import RecorderSettings
from agent.sense.redact import RedactionSettings
from agent.sense.sensors.authlog import AuthLogSettings
from agent.sense.sensors.dnssettings import DnsSettings
from agent.sense.sensors.filetrees import FileSettings
from agent.sense.sensors.host import HostSettings
from agent.sense.sensors.journal import JournalSettings
from agent.sense.sensors.logs import LogsSettings
from agent.sense.sensors.packages import PackageSettings
from agent.sense.sensors.persist.settings import PersistenceSettings
from agent.sense.sensors.processes import ProcessSettings
from agent.sense.sensors.sockets import SocketSettings
from agent.sense.tables.table import TableSettings


class SensorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Each sensor's own section, and which of them run."""

    # An unknown name is a start-up error that lists the known ones.
    enabled: tuple[str, ...] = (
        "processes",
        "sockets",
        "files",
        "authlog",
        "logs",
        "journal",
        "packages",
        "host",
        "persistence",
        "posture",
        "dns",
    )
    processes: ProcessSettings = ProcessSettings()
    sockets: SocketSettings = SocketSettings()
    files: FileSettings = FileSettings()
    authlog: AuthLogSettings = AuthLogSettings()
    logs: LogsSettings = LogsSettings()
    journal: JournalSettings = JournalSettings()
    packages: PackageSettings = PackageSettings()
    host: HostSettings = HostSettings()
    persistence: PersistenceSettings = PersistenceSettings()
    posture: PostureSettings = PostureSettings()
    dns: DnsSettings = DnsSettings()

    def __post_init__(self) -> None:
        known = [name for name in self.__struct_fields__ if name != "enabled"]
        for name in self.enabled:
            if name not in known:
                raise ValueError(f"`enabled` names `{name}`; the sensors are: {', '.join(known)}")


class SenseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Sealing, storing, hiding and looking."""

    # What it may do on the host, as capabilities; the unit or container has to grant them.
    profile: ProfileName = "standard"
    sealing: SealingSettings = SealingSettings()
    outbox: OutboxSettings = OutboxSettings()
    recorder: RecorderSettings = RecorderSettings()
    redaction: RedactionSettings = RedactionSettings()
    sensors: SensorSettings = SensorSettings()
    content: ContentSettings = ContentSettings()
    tables: TableSettings = TableSettings()
    floods: FloodSettings = FloodSettings()
    budget: BudgetSettings = BudgetSettings()
