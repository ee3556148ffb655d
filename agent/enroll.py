"""Enrolment: a join token becomes an identity, once, before the daemons start.

The token pins the collector's root and its trust.json, so the first connection is already verified.
The signing key is made here and goes to `sense` alone, the TLS key to `ship` alone.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from agent import __version__, binding
from agent.errors import NotEnrolled
from agent.identity import SIGNING_KEY, AgentIdentity, load_identity, save_identity
from agent.layout import Owners, give, make_directories
from agent.sense.seal import HostFacts
from agent.sense.statements import make_statement
from agent.settings import PathSettings
from agent.ship import collector, credentials
from certs.identity import agent_id_of
from certs.keyring import ensure_signing_key
from certs.p256 import P256Key
from certs.request import create_request, spki_hash
from certs.signatures import SigningKey
from certs.tokens import TOKEN_CHARS_MAX, JoinToken
from certs.trust import Trust
from proto.model import Split, StatementKind
from runtime.clock import NS_PER_S, Clock, boot_id
from runtime.files import FileLock

TOKEN_READ_CHARS_MAX = 2 * TOKEN_CHARS_MAX
"""A token with the white space around it that an editor may leave; more is not read."""


class Ask(Struct, frozen=True):
    """Where to enrol; addresses are host:port."""

    enrollment: str
    intake: str


async def enroll(
    token: JoinToken, ask: Ask, paths: PathSettings, owned: Owners, clock: Clock
) -> AgentIdentity:
    """Enrol this host and write down who it is.

    Args:
        token: single use; never logged.
        ask: the collector's addresses.
        paths: where the two halves keep their files.
        owned: who they belong to.
        clock: for the statement's stamp.

    Returns:
        The new identity.

    Raises:
        NotEnrolled: this host has an identity already.
        Unreachable: the collector does not answer.
        CallRefused: it does not take the token (exit 6).
        TrustRefused: it sent another trust.json than the token pins.
        IdentityRefused: it certified another id than the key's.
    """
    _refuse_second(Path(paths.sense))
    make_directories(paths, owned)
    key = _signing_key(Path(paths.sense) / SIGNING_KEY, owned.sense_uid)
    tls = P256Key.generate()
    csr = create_request(tls)
    facts = HostFacts(
        tenant=token.tenant.bytes,
        agent=agent_id_of(key.public.raw).bytes,
        key_id=key.public.key_id,
        boot_id=boot_id(),
        host_name=host_name(),
        agent_version=__version__,
        split=Split.NONE,
    )
    channel = collector.open_channel(ask.enrollment, token.root_pem, None)
    try:
        nonce, trust_raw = await collector.begin(channel, token.tenant.bytes)
        trust = Trust.parse(trust_raw)
        trust.check_token(token)
        asked = (StatementKind.ENROL, spki_hash(csr), nonce)
        made = make_statement(key, key.public.raw, facts, clock, asked)
        issued = await collector.enroll(channel, token.secret, csr, (made.payload, made.signature))
    finally:
        await channel.close()
    if issued.agent != facts.agent:
        raise NotEnrolled("the collector certified another id than this key's")
    identity = AgentIdentity(
        tenant=str(token.tenant),
        agent=str(agent_id_of(key.public.raw)),
        domain=trust.domain,
        intake=ask.intake,
        enrollment=ask.enrollment,
    )
    ship = Path(paths.ship)
    credentials.save_identity(ship, tls, (issued.chain, clock.wall_ns(), issued.not_after))
    give(ship / "tls.json", owned.ship_uid)
    for directory, uid in ((ship, owned.ship_uid), (Path(paths.sense), owned.sense_uid)):
        credentials.save_trust(directory, trust_raw)
        save_identity(directory, identity)
        # As root, which may read the hardware's numbers; the halves may not.
        binding.bind(directory, binding.binding_of(identity.agent, paths.host_root))
        _give_all(directory, uid)
    return identity


def set_aside(paths: PathSettings, clock: Clock) -> Path | None:
    """Move the state of an identity away, for another one to be made; its keys are removed.

    What was sealed and not delivered stays readable there, as evidence of the identity it is of.

    Returns:
        Where it lies now; None where there was nothing.

    Raises:
        AlreadyRunning: `sense` is running (exit 7).
        OSError: the file system refuses.
    """
    sense = Path(paths.sense)
    if not sense.is_dir():
        return None
    lock = FileLock(sense / "lock")
    lock.acquire()
    try:
        for key in (sense / SIGNING_KEY, Path(paths.ship) / "tls.json"):
            key.unlink(missing_ok=True)
        aside = Path(paths.state) / f"replaced-{clock.wall_ns() // NS_PER_S}"
        aside.mkdir(mode=0o700)
        for part in (sense, Path(paths.outbox), Path(paths.ship)):
            if part.is_dir():
                part.rename(aside / part.name)
    finally:
        lock.release()
    return aside


def rebind(paths: PathSettings, owned: Owners) -> AgentIdentity:
    """Let an identity be of this machine from now on, on the operator's word.

    Raises:
        NotEnrolled: there is no identity here.
        AlreadyRunning: `sense` is running (exit 7).
        OSError: the file system refuses.
    """
    identity = load_identity(Path(paths.sense))
    lock = FileLock(Path(paths.sense) / "lock")
    lock.acquire()
    try:
        found = binding.binding_of(identity.agent, paths.host_root)
        for directory, uid in (
            (Path(paths.ship), owned.ship_uid),
            (Path(paths.sense), owned.sense_uid),
        ):
            binding.bind(directory, found)
            give(directory / binding.FILE, uid)
    finally:
        lock.release()
    return identity


def host_name() -> str:
    """Return this host's name as headers carry it."""
    return socket.gethostname()[:255] or "unnamed"


def _signing_key(path: Path, uid: int) -> SigningKey:
    """Return the key made now, or by an attempt that failed after it was given to `sense`."""
    if os.path.lexists(path):
        give(path, os.geteuid())
    key = ensure_signing_key(path)
    give(path, uid)
    return key


def _give_all(directory: Path, uid: int) -> None:
    for name in ("trust.json", "identity.json", binding.FILE):
        give(directory / name, uid)


def _refuse_second(directory: Path) -> None:
    try:
        present = load_identity(directory)
    except NotEnrolled:
        return
    raise NotEnrolled(
        f"this host is enrolled already, as {present.agent}",
        hint="to begin anew, stop the agent and add --reset, or remove its state directory",
    )


def read_token(source: Sequence[str], stdin: str) -> JoinToken:
    """Return the token in the file named, or on standard input; never from an argument.

    Args:
        source: no or one path.
        stdin: what standard input holds, used when no path is given.

    Raises:
        TokenRefused: not a token.
        OSError: the file cannot be read.
    """
    if not source:
        return JoinToken.parse(stdin)
    with Path(source[0]).open(encoding="ascii", errors="replace") as file:
        return JoinToken.parse(file.read(TOKEN_READ_CHARS_MAX))
