"""What the console is told."""

import ipaddress
from typing import Annotated

from msgspec import Meta, Struct


class ConsoleSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The console, API and metrics."""

    # Loopback alone: put a proxy that knows its users before it. Port 0: the kernel chooses.
    address: str = "127.0.0.1:6612"
    # More names that requests may come under, as a proxy passes them on: host or host:port.
    host_names: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    # How long one request may take.
    request_timeout_s: Annotated[float, Meta(gt=0, le=300)] = 20
    # Idle connections are closed after this long.
    keepalive_s: Annotated[float, Meta(gt=0, le=300)] = 30
    # Questions answered at once, and those that may wait; more are turned away.
    queries_at_once_max: Annotated[int, Meta(ge=1, le=64)] = 4
    queries_waiting_max: Annotated[int, Meta(ge=0, le=1024)] = 32

    def __post_init__(self) -> None:
        self.split()

    def split(self) -> tuple[str, int]:
        """Return host and port.

        Raises:
            ValueError: another form, or an address that is not loopback.
        """
        host, _, port = self.address.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"`address` needs the form `host:port`, got `{self.address}`")
        bare = host.removeprefix("[").removesuffix("]")
        try:
            is_loopback = bare == "localhost" or ipaddress.ip_address(bare).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError(f"`address` must be loopback, got `{host}`; put a proxy before it")
        return bare, int(port)
