"""Joining in two steps: an image knows where its collector is, each machine made of it who it is.

No key and no token is in an image: a key in it would be one key on every machine, and a token is
for one machine and ten minutes. What `prepare` leaves are addresses; `joining` reads them back when
the machine has started and somebody has given it a token.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.errors import NotEnrolled
from agent.identity import SIGNING_KEY
from agent.settings import PathSettings
from runtime.files import write_atomic

FILE: Final = "first-boot.json"
_BYTES_MAX: Final = 4096


class FirstBoot(Struct, frozen=True, forbid_unknown_fields=True):
    """The collector's addresses, host:port."""

    enrollment: Annotated[str, Meta(max_length=300)]
    intake: Annotated[str, Meta(max_length=300)]


def prepare(paths: PathSettings, plan: FirstBoot) -> Path:
    """Write what the first boot needs, and make sure that there is no key to be copied.

    Returns:
        The file written.

    Raises:
        NotEnrolled: this machine has an identity or a key already.
        OSError: the state directory cannot be written.
    """
    for name in (SIGNING_KEY, "identity.json"):
        if (Path(paths.sense) / name).exists():
            raise NotEnrolled(
                f"there is an identity in {paths.sense}: every machine made of this image would"
                " be the same one",
                hint="take it away first: stop the agent and remove its state directory",
            )
    state = Path(paths.state)
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomic(state / FILE, msgspec.json.encode(plan), mode=0o644)
    return state / FILE


def joining(paths: PathSettings) -> FirstBoot:
    """Return what the image was prepared with.

    Raises:
        NotEnrolled: it was not.
    """
    path = Path(paths.state) / FILE
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_BYTES_MAX), type=FirstBoot)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotEnrolled(
            f"nothing was prepared in {path}",
            hint="name the collector: vedette-agent enroll HOST:PORT",
        ) from error


def done(paths: PathSettings) -> None:
    """Forget what was prepared: the machine has joined.

    Raises:
        OSError: the file system refuses.
    """
    (Path(paths.state) / FILE).unlink(missing_ok=True)
