"""The TLS key and certificate of `ship`, and the trust it verifies the collector with."""

from pathlib import Path

import msgspec
from msgspec import Struct

from agent.errors import NotEnrolled
from certs.channel import PrivateKey, StoredKey, TlsIdentity
from certs.keyring import read_key_file, write_key_file
from certs.trust import TRUST_BYTES_MAX, Trust
from runtime.errors import VedetteError
from runtime.files import write_atomic

_KEY = "tls.json"
_TRUST = "trust.json"


class StoredIdentity(Struct, frozen=True, forbid_unknown_fields=True):
    """A TLS key with its chain, in one file so that the two cannot disagree after a crash.

    Times in nanoseconds UTC: when it was received, and when the leaf ends.
    """

    key: str
    chain: str
    received_at: int
    not_after: int


class Credentials(Struct, frozen=True):
    """What a channel to the collector is made with."""

    identity: TlsIdentity
    received_at: int
    not_after: int

    def renew_at(self, jitter: float) -> int:
        """Return when to renew: half of the life, moved by up to a tenth of it.

        Args:
            jitter: uniform in [0, 1), so that a fleet enrolled at once does not renew at once.
        """
        life = self.not_after - self.received_at
        return self.received_at + int(life * (0.4 + 0.2 * jitter))


def save_trust(directory: Path, trust: bytes) -> None:
    """Keep trust.json.

    Raises:
        OSError: it cannot be made durable.
    """
    write_atomic(directory / _TRUST, trust, mode=0o644)


def load_trust(directory: Path) -> Trust:
    """Return the trust kept in a directory.

    Raises:
        NotEnrolled: there is none, or it is not one.
    """
    try:
        with (directory / _TRUST).open("rb") as file:
            return Trust.parse(file.read(TRUST_BYTES_MAX + 1))
    except (OSError, VedetteError) as error:
        raise NotEnrolled(
            f"no usable trust.json in {directory}", hint="enrol the agent again"
        ) from error


def save_identity(directory: Path, key: PrivateKey, stored: tuple[bytes, int, int]) -> None:
    """Keep a key; ``stored`` is its chain, when it was received and when it ends.

    Raises:
        KeyUnusable: it cannot be made durable.
    """
    chain, received_at, not_after = stored
    identity = StoredIdentity(
        key=key.to_pem().decode(),
        chain=chain.decode(),
        received_at=received_at,
        not_after=not_after,
    )
    write_key_file(directory / _KEY, msgspec.json.encode(identity))


def load_credentials(directory: Path) -> Credentials:
    """Return what a channel needs.

    Raises:
        NotEnrolled: something is missing or unreadable.
    """
    try:
        raw = read_key_file(directory / _KEY)
        stored = msgspec.json.decode(raw, type=StoredIdentity)
        key = StoredKey(stored.key.encode())
    except (VedetteError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotEnrolled(
            f"no usable certificate in {directory}", hint="enrol the agent again"
        ) from error
    identity = TlsIdentity(stored.chain.encode(), key)
    return Credentials(identity, stored.received_at, stored.not_after)
