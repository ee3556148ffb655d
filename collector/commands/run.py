"""``run``: start and supervise the collector's processes, or be one of them."""

import argparse
import os
import secrets
import sys
import time
from pathlib import Path
from typing import ClassVar

from collector.commands.common import settings_of
from collector.roles import ROLES
from collector.settings import DEFAULT_PATH, CollectorSettings
from runtime.clock import NS_PER_S, SystemClock
from runtime.errors import Fault, VedetteError
from runtime.files import AlreadyRunning, FileLock
from runtime.logs import configure
from runtime.supervise import NOTIFY_FD, Child, Notifier, Supervisor, die_with_parent

# A predecessor that was killed may still be on its way out.
LOCK_WAIT_S_MAX = 5
LOCK_LOOK_S = 0.1


class NotSetUp(VedetteError):
    """There is no collector in the state directory."""

    fault: ClassVar[Fault] = Fault.OPERATOR
    exit_code: ClassVar[int] = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("--role", choices=tuple(ROLES), help="run one process, unsupervised")


def run(args: argparse.Namespace) -> int:
    """Supervise until a signal; with ``--role``, be one process until a signal.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NotSetUp: nothing was set up here (exit 4).
        AlreadyRunning: this collector is running already (exit 7).
        VedetteError: the role could not start.
    """
    settings = settings_of(args)
    configure(settings.log.level, settings.log.style)
    if not settings.paths.issuer.is_dir():
        raise NotSetUp(
            f"there is no collector in {settings.paths.root}", hint="run: vedette-collector init"
        )
    if args.role is not None:
        return _be(args.role, settings, args.config or Path(DEFAULT_PATH))
    lock = FileLock(settings.paths.root / "collector.lock")
    lock.acquire()
    config = ("--config", str(args.config)) if args.config else ()
    # -P keeps the working directory out of the import path of a service.
    program = (sys.executable, "-P", "-m", "collector", "run", *config)
    children = [
        Child(name=role, argv=(*program, "--role", role), notifies=True, stop_wait_s=15)
        for role in ROLES
    ]
    supervisor = Supervisor(
        children, clock=SystemClock(), random=secrets.SystemRandom().random, env=os.environ
    )
    try:
        return supervisor.run(stop_order=("gate", "work", "web", "issuer"))
    finally:
        lock.release()


def _be(role: str, settings: CollectorSettings, path: Path) -> int:
    """Be one process: two of a kind would each take every batch in."""
    if NOTIFY_FD in os.environ:
        die_with_parent(os.getppid())
    lock = FileLock(settings.paths.root / f"{role}.lock")
    _acquire(lock)
    try:
        return ROLES[role](settings, SystemClock(), Notifier.from_env(os.environ), path)
    finally:
        lock.release()


def _acquire(lock: FileLock) -> None:
    clock = SystemClock()
    end = clock.monotonic_ns() + LOCK_WAIT_S_MAX * NS_PER_S
    while True:
        try:
            lock.acquire()
        except AlreadyRunning:
            if clock.monotonic_ns() >= end:
                raise
            time.sleep(LOCK_LOOK_S)
        else:
            return
