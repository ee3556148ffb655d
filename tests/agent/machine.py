"""A host with an agent's directories, and its commands as a person runs them."""

import os
import time
import zlib
from pathlib import Path

from agent.cli import main
from agent.config import AgentSettings, read_settings
from agent.identity import SIGNING_KEY, AgentIdentity, save_identity
from agent.layout import Owners, make_directories
from agent.sense.headers import Committed, Sealed, decode_notes
from agent.sense.outbox import Outbox
from agent.sense.seal import SealedBatch
from agent.sense.segstore import SegmentStore
from agent.settings import PathSettings
from agent.ship import credentials
from certs.identity import AgentId, TenantId
from certs.keyring import save_signing_key
from certs.trust import Trust, TrustedKey
from proto import codec
from proto.model import Record
from tests.agent.sense.builders import SMALL, TENANT, Host, a_batch, a_receipt, give
from tests.agent.sense.sensors.hosts import a_golden_host
from tests.certs.builders import DOMAIN, Pki, a_leaf, a_pki

ME = Owners(os.geteuid(), os.geteuid(), os.getegid())
NOWHERE = "localhost:1"


def a_trust(pki: Pki, host: Host) -> Trust:
    trusted = TrustedKey(name="receipts", key=host.key.public.raw)
    return Trust(
        domain=DOMAIN,
        tenant=str(pki.tenant.tenant),
        x509_root=pki.root.certificate_pem.decode(),
        tuf_root=b'{"signed": {}}',
        receipt_keys=(trusted,),
        log_keys=(trusted,),
    )


def an_identity(host: Host, **changes: str) -> AgentIdentity:
    values = {
        "tenant": str(TenantId(TENANT)),
        "agent": str(AgentId(host.agent)),
        "domain": DOMAIN,
        "intake": NOWHERE,
        "enrollment": NOWHERE,
    }
    return AgentIdentity(**(values | changes))


class Machine:
    """A configuration and a state directory, and nothing enrolled yet.

    Args:
        folder: an empty directory.
        extra: more of the configuration file.
    """

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.folder = folder
        self.config = folder / "agent.toml"
        self.paths = PathSettings(
            state=str(folder / "state"), run=str(folder / "run"), host_root=str(folder / "none")
        )
        self.host = Host()
        self.configure(extra)

    def configure(self, extra: str = "") -> None:
        """Write the configuration; both halves stay this user."""
        me = os.geteuid()
        self.config.write_text(
            f'[paths]\nstate = "{self.paths.state}"\nrun = "{self.paths.run}"\n'
            f'host_root = "{self.paths.host_root}"\n'
            f'[privileges]\nsense_user = "{me}"\nship_user = "{me}"\n'
            f'ship_group = "{os.getegid()}"\n'
            f"{extra}",
            "utf-8",
        )

    @property
    def settings(self) -> AgentSettings:
        return read_settings(self.config, {}, missing_ok=False)

    @property
    def sense(self) -> Path:
        return Path(self.paths.sense)

    @property
    def ship(self) -> Path:
        return Path(self.paths.ship)

    def run(self, command: str, *argv: str) -> int:
        """Run a command as a person would, with this host's configuration."""
        return main([command, *argv, "--config", str(self.config)])

    def with_golden_host(self) -> "Machine":
        """Look at a Debian 12 that never changes."""
        root = a_golden_host("debian12", self.folder)
        (root / "proc/1/net/dev").unlink()
        (root / "proc/1/net/dev").touch()  # so that the network is not ours
        self.paths = PathSettings(self.paths.state, self.paths.run, str(root))
        self.configure()
        return self

    def enrolled(self) -> "Machine":
        """Write what enrolment writes."""
        make_directories(self.paths, ME)
        now = time.time_ns()
        pki = a_pki(now, TenantId(TENANT))
        save_signing_key(self.sense / SIGNING_KEY, self.host.key)
        key, leaf = a_leaf(pki.tenant, now, an_identity(self.host).peer)
        credentials.save_identity(self.ship, key, (leaf.chain_pem, now, leaf.not_after_ns))
        for directory in (self.sense, self.ship):
            credentials.save_trust(directory, a_trust(pki, self.host).encode())
            save_identity(directory, an_identity(self.host))
        return self

    def outbox(self) -> Outbox:
        make_directories(self.paths, ME)
        return Outbox(self.sense / "headers.log", Path(self.paths.outbox), SMALL)

    def seals(self, count: int, receipted: int = 0, *, crashes: bool = False) -> list[SealedBatch]:
        """Seal batches of one to ``count`` records; so many of the first are receipted."""
        outbox, sealer = self.outbox(), self.host.sealer()
        outbox.open(self.host.key.public)
        outbox.begin(sealer.epoch, bytes(16), 1)
        batches = [a_batch(sealer, records=number) for number in range(1, count + 1)]
        for batch in batches:
            outbox.commit([batch], {}, 1)
        if receipted:
            give(outbox, a_receipt(self.host, batches[receipted - 1]), self.host.key)
        if not crashes:
            outbox.stop({})
        outbox.close()
        return batches

    def wait_for_a_batch(self, wait_s: float = 30) -> None:
        """Wait until a daemon has sealed something."""
        end = time.monotonic() + wait_s
        while not ((self.sense / "headers.log").exists() and self.sealed()):
            assert time.monotonic() < end
            time.sleep(0.05)

    def sealed(self) -> list[Sealed]:
        """What the header log lists, in the order it was sealed."""
        data = (self.sense / "headers.log").read_bytes()
        notes = [note for *_, note in decode_notes(data)]
        return [one for note in notes if isinstance(note, Committed) for one in note.batches]

    def records(self) -> list[Record]:
        """What the outbox holds, in the order it was sealed."""
        found: list[Record] = []
        for one in self.sealed():
            with SegmentStore(Path(self.paths.outbox), None).reader(one.segment) as reader:
                _, _, body = codec.decode_envelope(reader.payload_at(one.offset))
            decoded = (codec.decode_record(r)[0] for r in codec.decode_body(inflated(body)).records)
            found += [record for record in decoded if record is not None]
        return found


def inflated(body: bytes) -> bytes:
    return zlib.decompress(body)
