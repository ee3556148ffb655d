"""``ship``: the networked half as a process."""

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent import DEFAULT_PATH, binding
from agent.identity import load_identity
from agent.layout import owners
from agent.lean import settle
from agent.privileges import become, seal_privileges
from agent.settings import SharedSettings
from agent.ship import wiring
from proto.model import Split
from runtime.clock import SystemClock
from runtime.logs import configure
from runtime.settings import load
from runtime.supervise import NOTIFY_FD, Notifier, die_with_parent

if TYPE_CHECKING:
    import argparse

_OTHER_HALF = "VEDETTE__SENSE__"


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """Describe the command; it has no options of its own."""
    del parser


def run(args: "argparse.Namespace") -> int:
    """Ship until a signal.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NotEnrolled: there is no identity yet (exit 6).
        IdentityMoved: the identity is of another machine (exit 6).
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(_OTHER_HALF)}
    path = args.config or Path(DEFAULT_PATH)
    settings = load(SharedSettings, path, env, missing_ok=args.config is None)
    configure(settings.log.level, settings.log.style)
    parent = os.getppid() if NOTIFY_FD in os.environ else 0
    notifier = Notifier.from_env(os.environ)
    owned, _ = owners(settings.privileges)
    if owned.split is Split.USERS and os.geteuid() == 0:
        become(str(owned.ship_uid), str(owned.ship_gid))
    else:
        seal_privileges()
    if parent:
        die_with_parent(parent)
    directory = Path(settings.paths.ship)
    binding.check(directory, load_identity(directory).agent, settings.paths.host_root)
    ship = wiring.build(settings, SystemClock(), secrets.SystemRandom().random)
    settle()
    asyncio.run(_until_signal(ship.run, notifier))
    return 0


async def _until_signal(work: Callable[[], Coroutine[Any, Any, None]], notifier: Notifier) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(work())  # noqa: TID251  (awaited below)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    notifier.ready()
    try:
        await running
    except asyncio.CancelledError:
        notifier.stopping()
