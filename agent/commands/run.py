"""``run``: start and supervise both halves, and the unit that sees DNS where that is wanted."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from agent import binding
from agent.commands.common import say, settings_of
from agent.config import AgentSettings
from agent.identity import load_identity
from agent.layout import Owners, make_directories, owners
from agent.privileges import held
from agent.sense.profiles import runs
from runtime.clock import SystemClock
from runtime.logs import configure
from runtime.supervise import Child, Supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command; it has no options of its own."""
    del parser


def run(args: argparse.Namespace) -> int:
    """Supervise until a signal.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NotEnrolled: there is no identity yet (exit 6).
        IdentityMoved: the identity is of another machine (exit 6).
        CannotStart: a half cannot be started.
    """
    settings = settings_of(args)
    configure(settings.log.level, settings.log.style)
    identity = load_identity(Path(settings.paths.sense))
    # Said once and plainly, before either half starts to say it.
    sense = Path(settings.paths.sense)
    binding.check(sense, identity.agent, settings.paths.host_root, learns=False)
    owned, why = owners(settings.privileges)
    make_directories(settings.paths, owned)
    if why:
        say(f"split=none: {why}")
    config = ("--config", str(args.config)) if args.config else ()
    # -P keeps the working directory out of the import path of a privileged process.
    program = (sys.executable, "-P", "-m", "agent")
    children = [
        Child(name="sense", argv=(*program, "sense", *config), notifies=True, stop_wait_s=15),
        Child(name="ship", argv=(*program, "ship", *config), notifies=True),
    ]
    if sees_dns(settings, owned):
        children.append(Child(name="dns", argv=(*program, "inspect", "dns", *config)))
    supervisor = Supervisor(
        children, clock=SystemClock(), random=secrets.SystemRandom().random, env=os.environ
    )
    return supervisor.run(stop_order=("sense", "ship"))


def sees_dns(settings: AgentSettings, owned: Owners) -> bool:
    """Tell whether the unit that sees DNS packets is wanted here, and can do its work."""
    own = settings.sense
    is_wanted = "dns" in own.sensors.enabled and runs(own.profile, "dns")
    return is_wanted and owned.dns_uid is not None and "net_raw" in held()
