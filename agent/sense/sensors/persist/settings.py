"""How often persistence is looked at, and how much is kept of it."""

from typing import Annotated, Final

from msgspec import Meta, Struct

# Container images bring files of their own, which nobody runs outside of their container.
DEFAULT_WALK_EXCLUDE: Final = (
    "/run/containerd",
    "/run/docker",
    "/run/user",
    "/snap",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/machines",
)

Directory = Annotated[str, Meta(pattern=r"^/[^/\x00]", max_length=4096)]


class PersistenceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How often is looked, and how much is kept."""

    # Most changes wake us; homes are not watched, and some changes make no event.
    interval_s: Annotated[int, Meta(ge=5, le=86_400)] = 60
    # Every file is looked at for special rights: about 5 CPU-s a million.
    walk_interval_s: Annotated[int, Meta(ge=60, le=604_800)] = 86_400
    # All entries are stated again, so that whoever lost some has them back.
    inventory_interval_s: Annotated[int, Meta(ge=60, le=604_800)] = 86_400
    # A start has enough to do.
    walk_delay_s: Annotated[int, Meta(ge=0, le=86_400)] = 300
    # Directories that the walk leaves out.
    walk_exclude: Annotated[tuple[Directory, ...], Meta(max_length=256)] = DEFAULT_WALK_EXCLUDE
    # Directories that the walk visits at most.
    walk_entries_max: Annotated[int, Meta(ge=1, le=100_000_000)] = 5_000_000
    # Entries of one kind of source; what is beyond is counted and said.
    items_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    # Directories that wake us.
    watches_max: Annotated[int, Meta(ge=0, le=100_000)] = 512
    # Bounds our database before the disk does.
    state_bytes_max: Annotated[int, Meta(ge=1 << 20, le=1 << 33)] = 64 * 1024 * 1024
