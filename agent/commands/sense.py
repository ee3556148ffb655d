"""``sense``: the privileged half as a process."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from agent.commands.common import settings_of
from agent.layout import make_directories, owners
from agent.lean import settle
from agent.privileges import become, held, keep_only, seal_privileges
from agent.sense import wiring
from agent.sense.profiles import PROFILES, stated
from proto.model import Split
from runtime.clock import SystemClock
from runtime.files import FileLock
from runtime.logs import configure, logger
from runtime.supervise import NOTIFY_FD, Notifier, die_with_parent

if TYPE_CHECKING:
    import argparse

log = logger(__name__)


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """Describe the command; it has no options of its own."""
    del parser


def run(args: "argparse.Namespace") -> int:
    """Sense until a signal.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NotEnrolled: there is no identity yet (exit 6).
        AlreadyRunning: another `sense` holds the lock (exit 7).
        OSError: the state directory cannot be used at all.
    """
    settings = settings_of(args)
    configure(settings.log.level, settings.log.style)
    parent = os.getppid() if NOTIFY_FD in os.environ else 0
    notifier = Notifier.from_env(os.environ)
    owned, _ = owners(settings.privileges)
    make_directories(settings.paths, owned)
    profile = PROFILES[settings.sense.profile]
    if owned.split is Split.USERS and os.geteuid() == 0:
        become(str(owned.sense_uid), str(owned.ship_gid), profile.needs)
    else:
        seal_privileges()
    clock = SystemClock()
    said = stated(profile, held(), clock.wall_ns())
    keep_only(profile.needs)
    if said.reason:
        log.info("profile", profile=profile.name, state=said.state.value, reason=said.reason)
    if parent:
        die_with_parent(parent)
    lock = FileLock(Path(settings.paths.sense) / "lock")
    lock.acquire()
    site = wiring.Site(settings.paths, owned, clock, opening=(said,))
    sense = wiring.build(settings.sense, site)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def stop(_number: int, _frame: object) -> None:
        sense.is_stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sense.start()
    keep_only(profile.keeps)
    settle()
    notifier.ready()
    sense.run(wake=reading)
    notifier.stopping()
    lock.release()
    return 0
