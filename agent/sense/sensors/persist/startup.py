"""What starts with the system, a login, a shell or a program: preloads, start files, hooks.

One table of files and directories, each file an entry by its digest; the lines of the loader's
files are entries by themselves. Source: ld.so(8), ldconfig(8), bash(1), zsh(1).
"""

import fnmatch
from collections.abc import Iterator
from typing import Final

from agent.sense.mechanisms import (
    BOOT_SCRIPT,
    DESKTOP_START,
    EVENT_SCRIPT,
    LD_PATH,
    LD_PRELOAD,
    SHELL_START,
)
from agent.sense.sensors.persist.homes import Home, homes
from agent.sense.sensors.persist.items import Entry, Found, line, whole
from agent.sense.sensors.persist.look import Content, Look

PRELOAD: Final = "/etc/ld.so.preload"
LOADER: Final = "/etc/ld.so.conf"
INCLUDES_MAX: Final = 256
LINE_BYTES_MAX: Final = 4096

FILES: Final = (
    (SHELL_START, "/etc/profile"),
    (SHELL_START, "/etc/bash.bashrc"),
    (SHELL_START, "/etc/bashrc"),
    (SHELL_START, "/etc/bash.bash_logout"),
    (SHELL_START, "/etc/environment"),
    (SHELL_START, "/etc/security/pam_env.conf"),
    (SHELL_START, "/etc/csh.cshrc"),
    (SHELL_START, "/etc/csh.login"),
    (SHELL_START, "/etc/zshenv"),
    (SHELL_START, "/etc/zprofile"),
    (SHELL_START, "/etc/zshrc"),
    (SHELL_START, "/etc/zlogin"),
    (SHELL_START, "/etc/ssh/sshrc"),
    (SHELL_START, "/etc/fish/config.fish"),
    (BOOT_SCRIPT, "/etc/rc.local"),
    (BOOT_SCRIPT, "/etc/rc.d/rc.local"),
    (BOOT_SCRIPT, "/etc/inittab"),
)
DIRECTORIES: Final = (
    (SHELL_START, "/etc/profile.d"),
    (SHELL_START, "/etc/zsh"),
    (SHELL_START, "/etc/fish/conf.d"),
    (DESKTOP_START, "/etc/xdg/autostart"),
    (BOOT_SCRIPT, "/etc/init.d"),
    (BOOT_SCRIPT, "/etc/systemd/system-generators"),
    (BOOT_SCRIPT, "/usr/local/lib/systemd/system-generators"),
    (BOOT_SCRIPT, "/usr/lib/systemd/system-generators"),
    (EVENT_SCRIPT, "/etc/update-motd.d"),
    (EVENT_SCRIPT, "/etc/udev/rules.d"),
    (EVENT_SCRIPT, "/etc/apt/apt.conf.d"),
    (EVENT_SCRIPT, "/etc/NetworkManager/dispatcher.d"),
    (EVENT_SCRIPT, "/etc/networkd-dispatcher/routable.d"),
    (EVENT_SCRIPT, "/etc/network/if-up.d"),
    (EVENT_SCRIPT, "/etc/network/if-pre-up.d"),
    (EVENT_SCRIPT, "/etc/dhcp/dhclient-exit-hooks.d"),
)
OF_HOMES: Final = (
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".cshrc",
    ".xprofile",
    ".xsessionrc",
    ".pam_environment",
    ".ssh/rc",
    ".config/fish/config.fish",
)
DESKTOP_OF_HOMES: Final = ".config/autostart"


def read(look: Look) -> Iterator[Found | None]:
    """Yield what is preloaded, searched and started."""
    preload = look.file(PRELOAD)
    if preload is not None:
        yield from preloads(preload)
    yield from _loader(look)
    for mechanism, path in FILES:
        yield _file(look, mechanism, path)
    for mechanism, directory in DIRECTORIES:
        for name in look.names(directory):
            yield _file(look, mechanism, f"{directory}/{name}")
    for home in homes(look):
        yield from _of_home(look, home)


def preloads(content: Content) -> Iterator[Found]:
    """Yield each library that the loader puts into every program; white space and ``:`` divide."""
    for raw in content.lines():
        text = raw.partition(b"#")[0].replace(b":", b" ")
        for word in text.split():
            yield line(content, Entry(LD_PRELOAD, word.rpartition(b"/")[2] or word, word))


def _loader(look: Look) -> Iterator[Found | None]:
    waiting, seen = [LOADER], {LOADER}
    while waiting:
        yield None
        content = look.file(waiting.pop(0))
        for raw in content.lines() if content is not None else ():
            text = raw[:LINE_BYTES_MAX].partition(b"#")[0].strip()
            words = text.decode("utf-8", "surrogateescape").split()
            if words[:1] == ["include"]:
                more = [path for word in words[1:] for path in _matching(look, word)]
                more = [path for path in dict.fromkeys(more) if path not in seen]
                waiting += more[: INCLUDES_MAX - len(seen)]
                seen.update(more[: INCLUDES_MAX - len(seen)])
            elif text and content is not None and words[0] != "hwcap":
                yield line(content, Entry(LD_PATH, content.path.rpartition("/")[2], text))


def _matching(look: Look, pattern: str) -> Iterator[str]:
    path = pattern if pattern.startswith("/") else f"/etc/{pattern}"
    directory, _, name = path.rpartition("/")
    for found in look.names(directory):
        if fnmatch.fnmatchcase(found, name):
            yield f"{directory}/{found}"


def _of_home(look: Look, home: Home) -> Iterator[Found | None]:
    for name in OF_HOMES:
        path = f"{home.path}/{name}"
        if look.resolved(path) is not None:
            yield _file(look, SHELL_START, path, home)
    directory = f"{home.path}/{DESKTOP_OF_HOMES}"
    if look.resolved(directory) is None:
        return
    for name in look.names(directory):
        if look.resolved(f"{directory}/{name}") is not None:
            yield _file(look, DESKTOP_START, f"{directory}/{name}", home)


def _file(look: Look, mechanism: str, path: str, home: Home | None = None) -> Found | None:
    content = look.file(path)
    if content is None:
        return None
    name = path.removeprefix(home.path).lstrip("/") if home else path.rpartition("/")[2]
    return whole(content, Entry(mechanism, name, None, home.account.user if home else None))
