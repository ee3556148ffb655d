"""Everything an operation needs: the database, the files, the clock and the nonces."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from collector.issuer import agents, audit, tokens
from collector.issuer.errors import IssuerUnready
from collector.issuer.nonces import RANDOM_BYTES, Nonces
from collector.issuer.settings import IssuerSettings
from collector.issuer.store import Store
from collector.issuer.vault import Vault
from runtime.clock import NS_PER_S, Clock

DATABASE = "issuer.db"
NONCE_KEY_BYTES = 32
# A certificate is forgotten a little after its end: clocks of two processes are never quite equal.
_EXPIRED_KEPT_NS = 3600 * NS_PER_S


class Desk:
    """The issuer's open state; used by one thread at a time.

    Args:
        settings: what the issuer is told.
        clock: the source of time.
        random: returns that many secret random bytes.

    Raises:
        IssuerUnready: nothing is set up, or it cannot be opened.
    """

    def __init__(
        self, settings: IssuerSettings, clock: Clock, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.random = random
        self.nonces = Nonces(
            random(NONCE_KEY_BYTES), settings.nonce_life_s * NS_PER_S, settings.nonces_used_max
        )
        check_home(settings.home)
        self.vault = Vault(settings.home, settings.domain)
        self.store = Store(settings.home / DATABASE)

    def make_nonce(self) -> bytes:
        """Return a new nonce."""
        return self.nonces.make(self.clock.boot_ns(), self.random(RANDOM_BYTES))

    def take_nonce(self, nonce: bytes) -> None:
        """Use a nonce up.

        Raises:
            IssuerRefused: not ours, expired, or used before.
            IssuerBusy: too many are remembered already.
        """
        self.nonces.take(nonce, self.clock.boot_ns())

    def tidy(self) -> None:
        """Drop what is of no more use; to be called every minute or so.

        Raises:
            IssuerUnready: the database cannot be written.
        """
        now_ns = self.clock.wall_ns()
        with self.store.transaction() as db:
            tokens.forget_old(db, now_ns)
            agents.forget_expired(db, now_ns - _EXPIRED_KEPT_NS)
            audit.prune(
                db,
                granted_max=self.settings.audit_granted_max,
                refused_max=self.settings.audit_refused_max,
            )

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_home(home: Path) -> None:
    """Return if only this user can enter the issuer's directory.

    Raises:
        IssuerUnready: it is missing, another user's, or open to others.
    """
    try:
        found = home.stat()
    except OSError as error:
        raise IssuerUnready(
            f"no issuer is set up in {home}", hint="run: vedette-collector init"
        ) from error
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise IssuerUnready(
            f"{home} holds private keys and is not this user's alone",
            hint=f"chown it to the issuer's user and: chmod 700 {home}",
        )
