"""Kernel modules: those that are loaded, those that are to be, and commands run in their place.

Source: proc(5) ``/proc/modules``, modules-load.d(5), modprobe.d(5).
"""

from collections.abc import Iterator
from typing import Final

from agent.sense.mechanisms import KERNEL_MODULE, MODULE_COMMAND, MODULE_LOAD
from agent.sense.sensors.persist.items import Entry, Found, line, plain
from agent.sense.sensors.persist.look import Content, Look

LOADED: Final = "/proc/modules"
LOAD_FILE: Final = "/etc/modules"
LOAD_DIRECTORIES: Final = tuple(
    f"{top}/modules-load.d" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
COMMAND_DIRECTORIES: Final = tuple(
    f"{top}/modprobe.d" for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
LINE_BYTES_MAX: Final = 4096

_COMMANDS: Final = frozenset({b"install", b"remove"})


def read(look: Look) -> Iterator[Found | None]:
    """Yield modules and what is said about loading them."""
    content = look.file(LOADED)
    if content is not None:
        yield from loaded(content)
    yield None
    content = look.file(LOAD_FILE)
    if content is not None:
        yield from to_load(content)
    for directory, entries in (
        *((one, to_load) for one in LOAD_DIRECTORIES),
        *((one, commands) for one in COMMAND_DIRECTORIES),
    ):
        if directory.startswith("/lib/") and look.link("/lib") is not None:
            continue  # but another name of /usr/lib
        for name in look.names(directory):
            yield None
            content = look.file(f"{directory}/{name}") if name.endswith(".conf") else None
            if content is not None:
                yield from entries(content)


def loaded(content: Content) -> Iterator[Found]:
    """Yield each loaded module with its taints: ``O`` built elsewhere, ``E`` not signed."""
    for raw in content.lines():
        words = raw.split()
        if len(words) < 6:
            continue
        taints = words[6].strip(b"()") if len(words) > 6 else b""
        value = b"taints=" + taints if taints else None
        yield plain(LOADED, 0, Entry(KERNEL_MODULE, words[0], value))


def to_load(content: Content) -> Iterator[Found]:
    """Yield each module that a file names to be loaded at boot."""
    for text in _lines(content):
        yield line(content, Entry(MODULE_LOAD, text.split()[0], text))


def commands(content: Content) -> Iterator[Found]:
    """Yield each command that is run instead of loading or unloading a module."""
    for text in _lines(content):
        words = text.split(None, 2)
        if words[0] in _COMMANDS and len(words) == 3:
            yield line(content, Entry(MODULE_COMMAND, words[1], words[0] + b" " + words[2]))


def _lines(content: Content) -> Iterator[bytes]:
    waiting = b""
    for raw in content.lines():
        text = waiting + raw[:LINE_BYTES_MAX].strip()
        if text.endswith(b"\\") and len(text) < LINE_BYTES_MAX:
            waiting = text[:-1] + b" "
            continue
        waiting = b""
        if text and text[:1] not in b"#;":
            yield text
    if waiting.strip() and waiting[:1] not in b"#;":
        yield waiting.strip()
