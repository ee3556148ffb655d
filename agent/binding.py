"""Which machine an identity was made on: a key that wakes up on another one is not used.

Two machines with one key would fork its chain, and the collector would have to distrust both. So
the key is bound to the machine id, and to the hardware's own numbers where they may be read. Only
digests are kept, salted with the agent's id, in ``binding.json`` beside the identity.

A machine id that changed means another machine, or an image that was started twice: the key is not
used, by neither half. Other hardware under the same machine id is what a virtual machine looks like
that was moved: it is said in a signed record, and no more.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct, structs

from agent.errors import IdentityMoved
from agent.hostroot import HostFileError, HostRoot
from runtime.files import write_atomic

SUBJECT: Final = "binding"
FILE: Final = "binding.json"
BINDING_BYTES_MAX: Final = 4096
_VALUE_BYTES_MAX: Final = 256
_LABEL: Final = b"vedette/binding/1"
# The first of each that holds something.
_MACHINE_ID: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_BOARD: Final = ("/sys/class/dmi/id/product_uuid", "/sys/firmware/devicetree/base/serial-number")
_SERIAL: Final = ("/sys/class/dmi/id/product_serial",)
# What stands there before anything does.
_NOTHING: Final = {b"", b"uninitialized", b"none", b"not specified", b"to be filled by o.e.m."}
_RESET: Final = (
    "a clone joins anew with: vedette-agent enroll HOST:PORT --reset --token-file FILE;"
    " the same machine under a new machine id keeps its key with: vedette-agent enroll --rebind"
)

Digest = Annotated[str, Meta(max_length=64)]


class Binding(Struct, frozen=True, forbid_unknown_fields=True):
    """Salted digests of what names a machine; empty where it could not be read."""

    machine_id: Digest = ""
    board: Digest = ""
    serial: Digest = ""


def binding_of(agent: str, host_root: str) -> Binding:
    """Return what this machine looks like to an agent.

    Args:
        agent: its id, so that two agents' files cannot be compared.
        host_root: where the host lies.
    """
    try:
        with HostRoot(host_root) as host:
            found = {
                name: _first(host, paths)
                for name, paths in (
                    ("machine_id", _MACHINE_ID),
                    ("board", _BOARD),
                    ("serial", _SERIAL),
                )
            }
    except HostFileError:
        return Binding()
    return Binding(**{name: _digest(agent, name, value) for name, value in found.items() if value})


def bind(directory: Path, binding: Binding) -> None:
    """Keep a binding beside the identity in a directory.

    Raises:
        OSError: it cannot be made durable.
    """
    write_atomic(directory / FILE, msgspec.json.encode(binding), mode=0o600)


def check(directory: Path, agent: str, host_root: str, *, learns: bool = True) -> str:
    """Compare this machine with the one an identity was made on.

    Args:
        directory: of one half of the agent.
        agent: its id.
        host_root: where the host lies.
        learns: whether what was not known yet, or is other hardware, is kept from now on.

    Returns:
        What is worth a record; empty where all is as it was.

    Raises:
        IdentityMoved: the machine id is another; the key must not be used here.
    """
    now = binding_of(agent, host_root)
    kept = _kept(directory)
    if kept.machine_id and now.machine_id and kept.machine_id != now.machine_id:
        others = [name for name in _differing(kept, now) if name != "machine_id"]
        also = ", and so is the hardware" if others else ""
        raise IdentityMoved(
            f"this identity was made on another machine: the machine id is another{also}",
            hint=_RESET,
        )
    told = ""
    if _differing(kept, now):
        told = (
            "the hardware is another and the machine id is the same: a virtual machine that was"
            " moved, or a copy that kept its machine id"
        )
    elif kept.machine_id and not now.machine_id:
        told = "the machine id cannot be read, so nobody knows whether this is the same machine"
    known = {name: value for name, value in structs.asdict(now).items() if value}
    fresh = structs.replace(kept, **known)
    if learns and fresh != kept:
        # A disk that refuses is no reason not to start: it is learned the next time.
        with contextlib.suppress(OSError):
            bind(directory, fresh)
    return told


def _kept(directory: Path) -> Binding:
    """Return the binding kept in a directory; an empty one where there is none."""
    try:
        with (directory / FILE).open("rb") as file:
            return msgspec.json.decode(file.read(BINDING_BYTES_MAX), type=Binding)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Binding()


def _differing(one: Binding, other: Binding) -> list[str]:
    return [
        name
        for name in one.__struct_fields__
        if getattr(one, name)
        and getattr(other, name)
        and getattr(one, name) != getattr(other, name)
    ]


def _first(host: HostRoot, paths: tuple[str, ...]) -> bytes:
    for path in paths:
        with contextlib.suppress(HostFileError):
            value = host.read_bytes(path, _VALUE_BYTES_MAX).strip(b" \t\r\n\0")
            if value.lower() not in _NOTHING:
                return value
    return b""


def _digest(agent: str, name: str, value: bytes) -> str:
    parts = b"\0".join((_LABEL, agent.encode(), name.encode(), value))
    return hashlib.sha256(parts).hexdigest()
