"""``inspect dns``: open the packet socket, give up every right, become the process that reads it.

The reader is a program of its own that imports next to nothing: it stays resident, and this one,
which has read the settings, does not.
"""

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import DEFAULT_PATH
from agent.inspect.dnscapture import open_capture
from agent.layout import owners
from agent.privileges import become, keep_only, seal_privileges
from agent.settings import SharedSettings
from runtime.logs import configure
from runtime.settings import load
from runtime.supervise import NOTIFY_FD, Notifier, die_with_parent

if TYPE_CHECKING:
    import argparse

READER: Final = "agent.inspect.dns"
_OTHER_HALF: Final = "VEDETTE__SENSE__"


def run(args: "argparse.Namespace") -> int:
    """Become the reader; returns only where that fails.

    Raises:
        BadSettings: the configuration is not allowed (exit 4).
        NoCapture: packets cannot be seen here.
        OSError: rights cannot be given up.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(_OTHER_HALF)}
    path = args.config or Path(DEFAULT_PATH)
    settings = load(SharedSettings, path, env, missing_ok=args.config is None)
    configure(settings.log.level, settings.log.style)
    parent = os.getppid() if NOTIFY_FD in os.environ else 0
    notifier = Notifier.from_env(os.environ)
    owned, _ = owners(settings.privileges)
    capture = open_capture()
    if os.geteuid() == 0 and owned.dns_uid is not None:
        become(str(owned.dns_uid), str(owned.dns_gid))
    else:
        seal_privileges()
        keep_only(())
    if parent:
        die_with_parent(parent)
    notifier.ready()
    notifier.close()
    _become_reader(capture, settings.paths.dns_door)
    return 1


def _become_reader(capture: socket.socket, door: str) -> None:
    capture.set_inheritable(True)
    # -P keeps the working directory out of the import path.
    argv = [sys.executable, "-P", "-m", READER, str(capture.fileno()), door]
    os.execv(sys.executable, argv)  # noqa: S606  (a constant argument vector, no shell)
