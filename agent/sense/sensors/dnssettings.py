"""Settings of the DNS sensor, apart from it: most hosts read them and never run it."""

from typing import Annotated

from msgspec import Meta, Struct


class DnsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the DNS sensor."""

    # The same message, asked by the same process, is told once in so long.
    repeat_s: Annotated[int, Meta(ge=0, le=3600)] = 60
    # How many messages are remembered for that; about 100 bytes each.
    names_max: Annotated[int, Meta(ge=16, le=65_536)] = 2048
    # Messages taken from the unit; beyond it they are counted as lost.
    messages_per_s_max: Annotated[int, Meta(ge=1, le=10_000)] = 500
    # Queries whose process is looked for; the others are told without.
    lookups_per_s_max: Annotated[int, Meta(ge=0, le=1000)] = 10
