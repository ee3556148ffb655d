"""A gate and a worker in one process, for being killed at any moment.

Run as ``python -m tests.collector.working ROOT COUNT``: appends batches of one agent, admits them,
runs a projection that derives, seals what it derived, signs checkpoints. Prints each checkpoint
after it was signed; it was shown to the world then.
"""

import base64
import os
import sys
from pathlib import Path

from collector.ledger.admitted import AdmittedCache, AdmittedReader
from collector.ledger.admitter import AdmitSettings, Admitter, Rooms
from collector.ledger.derived import OwnFacts, Sealer
from collector.ledger.files import TenantFiles
from collector.ledger.log import TenantLog
from collector.ledger.sqlite import SqliteLedger
from collector.projection import Place, ProjectionRunner, ProjectionSettings
from proto.tlog import log_origin
from runtime.clock import SystemClock
from tests.collector.ledger.world import LOG_KEY, OWN_KEY, a_record
from tests.collector.sealing import TENANT, AnAgent
from tests.collector.test_projection import Counting


def main(root: str, count: int) -> None:
    clock, files = SystemClock(), TenantFiles(Path(root))
    ledger = SqliteLedger(files, clock, os.urandom)
    reader = ledger.reader(TENANT)
    log = TenantLog(
        files.log(TENANT), log_origin("example.org", TENANT, reader.generation()), LOG_KEY
    )
    cache = AdmittedCache()
    settings = AdmitSettings(chunk_batches_max=5, checkpoint_wait_ms_min=0)
    rooms = Rooms(reader, ledger, log, cache)
    admitter = Admitter(TENANT, rooms, LOG_KEY, clock, settings)
    source = AdmittedReader(TENANT, reader, log.reader, cache)
    place = Place(TENANT, files.projection(TENANT, "counting"), source, ledger.mark)
    runner = ProjectionRunner(Counting(), place, clock, ProjectionSettings(chunk_batches_max=3))
    facts = OwnFacts(host_name="collector", version="0", boot_id=bytes(16))
    sealer = Sealer(OWN_KEY, ledger, facts, clock, os.urandom)
    agent = AnAgent()
    batches = [agent.seal([a_record(str(number))]) for number in range(1, count + 1)]
    heads = ledger.heads(TENANT, agent.id, 1)
    waiting = batches[heads[0].seq if heads else 0 :]
    moved = True
    while waiting or moved:
        now, waiting = waiting[:4], waiting[4:]
        ledger.append(TENANT, now)
        moved = bool(admitter.step() + runner.step() + sealer.seal_pending(TENANT, runner))
        note = admitter.sign()
        if note is not None:
            sys.stdout.write(f"{base64.b64encode(note).decode()}\n")
            sys.stdout.flush()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
