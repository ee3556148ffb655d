"""``sense``: the privileged half as a process."""

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from agent import binding
from agent.commands.common import settings_of
from agent.identity import load_identity
from agent.layout import make_directories, owners
from agent.lean import settle
from agent.privileges import become, held, keep_only, seal_privileges
from agent.sense import wiring
from agent.sense.profiles import PROFILES, stated
from agent.settings import PathSettings
from proto.model import Health, HealthState, Split
from runtime.clock import Clock, SystemClock
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
        IdentityMoved: the identity is of another machine (exit 6).
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
    bound = _binding(settings.paths, clock)
    site = wiring.Site(settings.paths, owned, clock, opening=(said, bound))
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


def _binding(paths: PathSettings, clock: Clock) -> Health:
    """Return what is sealed of the machine this key is used on; refuse a machine it is not of."""
    directory = Path(paths.sense)
    told = binding.check(directory, load_identity(directory).agent, paths.host_root)
    if told:
        log.warning("binding", reason=told)
    return Health(
        subject=binding.SUBJECT,
        state=HealthState.DEGRADED if told else HealthState.OK,
        reason=told,
        rung="machine",
        at=clock.wall_ns(),
    )
