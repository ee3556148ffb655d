"""Looks for what is wrong with agents' histories, and tells of each thing once.

Forks, rollbacks and lost memory are told at once. A hole, and an epoch whose parent has not come,
may only be the disorder of an outage: they are told when they have stood for a while, and then the
epoch that nobody can place puts its agent into quarantine.
"""

from typing import Annotated

from msgspec import Meta, Struct, structs

from certs.identity import TenantId
from collector.ledger.admitter import Rooms
from collector.ledger.flags import FlagKind
from collector.ledger.notices import notice_of_flag, notice_of_hole
from runtime.clock import NS_PER_S, Clock

PAGE = 256


class WatchSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How long disorder may last before it is told."""

    hole_wait_s: Annotated[int, Meta(ge=0)] = 300
    orphan_wait_s: Annotated[int, Meta(ge=0)] = 300


class Watch:
    """Watches one tenant's ledger; one thread at a time.

    Args:
        tenant: whose.
        rooms: what it looks at; notices wait in the log for their seal.
        clock: for ages.
        settings: how long disorder may last.
    """

    def __init__(
        self, tenant: TenantId, rooms: Rooms, clock: Clock, settings: WatchSettings
    ) -> None:
        self._tenant = tenant
        self._ledger = rooms.ledger
        self._flags = rooms.flags
        self._log = rooms.log
        self._clock = clock
        self._settings = settings
        self._seen = 0

    def look(self) -> int:
        """Look once; return how many notices were stored.

        Raises:
            LedgerUnavailable: it will be seen again at the next look.
            LedgerCorrupt: a file is damaged.
            LedgerForeign: a file is not this tenant's, or of a newer version.
        """
        now = self._clock.wall_ns()
        self._condemn_orphans(now)
        return self._tell_flags(now) + self._tell_holes(now)

    def _condemn_orphans(self, now: int) -> None:
        before = now - self._settings.orphan_wait_s * NS_PER_S
        for flag in self._ledger.orphans(before, PAGE):
            position = self._ledger.last_position() + 1
            orphan = structs.replace(
                flag, kind=FlagKind.ORPHAN, quarantines=True, position=position, at=now
            )
            self._flags.flag(self._tenant, orphan)

    def _tell_flags(self, now: int) -> int:
        told = 0
        while flags := self._ledger.flags(self._seen, PAGE):
            for flag in flags:
                name = f"flag/{flag.id}"
                if flag.quarantines and not self._log.reader.is_told(name):
                    told += self._log.tell(name, now, [notice_of_flag(self._tenant, flag, now)])
                self._seen = flag.id
        return told

    def _tell_holes(self, now: int) -> int:
        told = 0
        for hole in self._ledger.holes(now - self._settings.hole_wait_s * NS_PER_S, PAGE):
            name = f"hole/{hole.agent.hex()}/{hole.epoch.hex()}/{hole.since}"
            if not self._log.reader.is_told(name):
                told += self._log.tell(name, now, [notice_of_hole(self._tenant, hole, now)])
        return told
