"""``run``: start and supervise the collector's processes, or be one of them."""

import argparse
import os
import secrets
import sys

from collector.commands.common import settings_of
from collector.roles import ROLES
from runtime.clock import SystemClock
from runtime.files import FileLock
from runtime.logs import configure
from runtime.supervise import NOTIFY_FD, Child, Notifier, Supervisor, die_with_parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("--role", choices=tuple(ROLES), help="run one process, unsupervised")


def run(args: argparse.Namespace) -> int:
    """Supervise until a signal; with ``--role``, be one process until a signal.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        AlreadyRunning: this collector is running already (exit 7).
        VedetteError: the role could not start.
    """
    settings = settings_of(args)
    configure(settings.log.level, settings.log.style)
    if args.role is not None:
        if NOTIFY_FD in os.environ:
            die_with_parent(os.getppid())
        return ROLES[args.role](settings, SystemClock(), Notifier.from_env(os.environ))
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
