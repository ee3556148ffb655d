"""One tenant's ledger and log, wired as the worker wires them."""

from pathlib import Path
from random import Random

from collector.ledger.admitted import AdmittedCache, AdmittedReader
from collector.ledger.admitter import AdmitSettings, Admitter, Rooms
from collector.ledger.derived import OwnFacts, Sealer
from collector.ledger.files import TenantFiles
from collector.ledger.log import TenantLog
from collector.ledger.proofs import Proofs
from collector.ledger.sqlite import SqliteLedger
from collector.ledger.watch import Watch, WatchSettings
from proto import codec
from proto.model import Audit
from proto.tlog import log_origin
from tests.collector.sealing import TENANT, a_key
from tests.fakes.clock import FakeClock

LOG_KEY = a_key("log")
OWN_KEY = a_key("own")


def an_audit(action: str = "test") -> Audit:
    return Audit(actor="us", action=action, subject="it", outcome="done", at=1)


def a_record(action: str = "test") -> bytes:
    return codec.encode_record(an_audit(action))


class World:
    """Everything the worker has for one tenant; made again on the same files, it restarts.

    Args:
        root: the collector's directory.
        chunk: batches admitted at once.
    """

    def __init__(self, root: Path, chunk: int = 64) -> None:
        self.clock = FakeClock()
        self.files = TenantFiles(root)
        self.ledger = SqliteLedger(self.files, self.clock, Random(str(root)).randbytes)
        self.reader = self.ledger.reader(TENANT)
        self.origin = log_origin("example.org", TENANT, self.reader.generation())
        self.log = TenantLog(self.files.log(TENANT), self.origin, LOG_KEY)
        self.cache = AdmittedCache()
        self.rooms = Rooms(self.reader, self.ledger, self.log, self.cache)
        self.admitter = Admitter(
            TENANT, self.rooms, LOG_KEY, self.clock, AdmitSettings(chunk_batches_max=chunk)
        )
        self.admitted = AdmittedReader(TENANT, self.reader, self.log.reader, self.cache)
        self.proofs = Proofs(TENANT, self.reader, self.log.reader)
        self.watch = Watch(TENANT, self.rooms, self.clock, WatchSettings())
        facts = OwnFacts(host_name="collector", version="0.1.0", boot_id=bytes(16))
        self.sealer = Sealer(OWN_KEY, self.ledger, facts, self.clock, Random(3).randbytes)

    def append(self, *batches: object) -> None:
        self.ledger.append(TENANT, batches)  # type: ignore[arg-type]

    def admit_all(self) -> None:
        while self.admitter.step():
            pass

    def close(self) -> None:
        self.log.close()
        self.ledger.close()
