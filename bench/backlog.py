"""Fills the outbox of a stopped agent with batches that no collector has taken."""

import os
import shutil
from pathlib import Path

from agent.identity import SIGNING_KEY, load_identity
from agent.sense.batch import OpenBatch
from agent.sense.outbox import Outbox, OutboxSettings
from agent.sense.seal import HostFacts, SealedBatch, Sealer, Surroundings
from certs.keyring import signing_key_from_pem
from proto import codec, model
from runtime.clock import SystemClock, boot_id

# As much as 256 findings weigh once they are compressed.
BATCH_BYTES = 44 * 1024
BATCHES_A_COMMIT = 64


def fill(state: Path, size_bytes: int) -> int:
    """Seal batches under the agent's key until the outbox holds so much.

    Args:
        state: the agent's state directory; none of its daemons runs.
        size_bytes: how much the outbox shall hold, below its limit.

    Returns:
        How many batches were added.
    """
    sense = state / "sense"
    key = signing_key_from_pem((sense / SIGNING_KEY).read_bytes())
    peer = load_identity(sense).peer
    facts = HostFacts(
        tenant=peer.tenant.bytes,
        agent=peer.agent.bytes,
        key_id=key.public.key_id,
        boot_id=boot_id(),
        host_name="bench",
        agent_version="0",
        split=model.Split.USERS,
    )
    clock = SystemClock()
    group = (state / "outbox").stat().st_gid
    outbox = Outbox(sense / "headers.log", state / "outbox", OutboxSettings(), group)
    head = outbox.open(key.public).head
    opens = model.EpochStart(reason=model.EpochReason.FIRST)
    if head is not None:
        opens = model.EpochStart(
            reason=model.EpochReason.CLEAN_START,
            parent_epoch=head.epoch,
            parent_seq=head.seq,
            parent_hash=head.hash,
        )
    sealer = Sealer(key, facts, opens, clock, os.urandom)
    outbox.begin(sealer.epoch, facts.boot_id, clock.boot_ns())
    count = 0
    while outbox.size_bytes < size_bytes:
        sealed = [_sealed(sealer, clock) for _ in range(BATCHES_A_COMMIT)]
        outbox.commit(sealed, {}, clock.boot_ns())
        count += len(sealed)
    outbox.stop({})
    outbox.close()
    owner = sense.stat()
    for path in (sense / "headers.log", *(state / "outbox").iterdir()):
        shutil.chown(path, owner.st_uid)
    return count


def _sealed(sealer: Sealer, clock: SystemClock) -> SealedBatch:
    batch = OpenBatch(model.Priority.HIGH)
    # Nothing compresses hexadecimal digits of chance below half.
    values = tuple(
        model.Argument("noise", os.urandom(1024).hex()) for _ in range(BATCH_BYTES // 1024)
    )
    now = clock.wall_ns()
    for value in values:
        record = model.Audit("bench", "filled", "outbox", "ok", now, (value,))
        batch.add(codec.encode_record(record), now, 0)
    return sealer.seal(batch, Surroundings())
