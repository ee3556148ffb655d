"""Floods: how often one rule may speak of one entity before its repeats are counted instead. Pure.

A token bucket for each (rule, entity), before sealing. The entity is who or what the finding is
about in the coarsest sense that still tells two culprits apart: the address of a login, the image,
user and container of a process, the path of a file, image and remote address of a connection.

What is held back is one `Drop` for each (rule, entity): how many, from when to when, and the
distinct values its repeats had, so that nothing is merely gone. It leaves when its window ends,
when anything is sealed (the cursors stored then are past the repeats), and when the table is full.
"""

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta, Struct

from proto.model import (
    CorrelatedValues,
    Drop,
    DropReason,
    Endpoint,
    File,
    Finding,
    FindingKind,
    Login,
    Process,
    Severity,
    Thing,
    User,
)
from runtime.clock import NS_PER_S

VALUES_MAX: Final = 64
# Five fields of 64 such values, four bytes a character, stay below what a record may hold.
VALUE_CHARS_MAX: Final = 160
# Of all values of all entries: a flood must not become a second one, of memory.
VALUES_BYTES_MAX: Final = 1024 * 1024
DETAIL: Final = "repeats beyond what one rule may say of one entity"

# States that their sensors compare with the last ones, and tell when they change.
_STATES: Final = frozenset({FindingKind.COMPLIANCE, FindingKind.VULNERABILITY, FindingKind.HEALTH})
# Tokens are counted in whole numbers: one is so many, and so many nanoseconds at one a minute.
_TOKEN: Final = 60 * NS_PER_S


class FloodSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much one rule may say of one entity."""

    # At once; 0 lets everything pass.
    burst: Annotated[int, Meta(ge=0, le=100_000)] = 32
    # And so many a minute from then on.
    per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 10
    # Repeats are counted for so long before the count is told, if nothing is sealed earlier.
    window_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    # Remembered at a time, about 400 bytes each; the one longest silent is forgotten first.
    entities_max: Annotated[int, Meta(ge=16, le=100_000)] = 2_048


class _Repeats(Struct):
    """What has been held back of one (rule, entity) since it was last told."""

    opened_at: int
    sensor: str
    count: int = 0
    first: int = 0
    last: int = 0
    # An ordered set a field.
    values: dict[str, dict[str, None]] = {}
    overflowed: set[str] = set()


class _Bucket(Struct):
    """The tokens of one (rule, entity), as of ``at``."""

    tokens: int
    at: int
    repeats: _Repeats | None = None


_Key = tuple[str, str, Severity, str]


class Floods:
    """The buckets of one host; every time is a boot-clock time given by the caller."""

    def __init__(self, settings: FloodSettings) -> None:
        self._settings = settings
        # The one longest silent first.
        self._buckets: dict[_Key, _Bucket] = {}
        # Those of them that hold repeats, in the order in which their windows end.
        self._holding: dict[_Key, int] = {}
        self._leaving: list[Drop] = []
        self._values_bytes = 0

    def admits(self, finding: Finding, now: int) -> bool:
        """Return whether a finding is sealed; one that is not has been counted.

        The first of a (rule, entity) always passes, whatever else is going on.
        """
        if not self._settings.burst or finding.kind in _STATES or finding.check is not None:
            return True
        key = _key(finding)
        bucket = self._touch(key, now)
        if bucket.tokens >= _TOKEN:
            bucket.tokens -= _TOKEN
            return True
        if bucket.repeats is None:
            bucket.repeats = _Repeats(now, finding.source.sensor)
            self._holding[key] = now
        self._count(bucket.repeats, finding)
        return False

    def due(self) -> int | None:
        """Return when the first window ends; None while nothing is held back."""
        if self._leaving:
            return 0
        opened_at = next(iter(self._holding.values()), None)
        return None if opened_at is None else opened_at + self._settings.window_s * NS_PER_S

    def ended(self, now: int) -> list[Drop]:
        """Return what was held back in windows that have ended."""
        by = now - self._settings.window_s * NS_PER_S
        over = [key for key, opened_at in self._holding.items() if opened_at <= by]
        return self._told(over)

    def take(self) -> list[Drop]:
        """Return everything that is held back."""
        return self._told(list(self._holding))

    def _told(self, keys: list[_Key]) -> list[Drop]:
        told, self._leaving = self._leaving, []
        return [*told, *(self._tell(key) for key in keys)]

    def _tell(self, key: _Key) -> Drop:
        del self._holding[key]
        bucket = self._buckets[key]
        repeats, bucket.repeats = bucket.repeats, None
        assert repeats is not None  # noqa: S101  (it is in `_holding`)
        self._values_bytes -= sum(len(v) for found in repeats.values.values() for v in found)
        return Drop(
            reason=DropReason.SUPPRESSED,
            sensor=repeats.sensor,
            count=repeats.count,
            first=repeats.first,
            last=repeats.last,
            rule=key[0],
            values=tuple(
                CorrelatedValues(field, tuple(found), field in repeats.overflowed)
                for field, found in repeats.values.items()
            ),
            detail=DETAIL,
        )

    def _touch(self, key: _Key, now: int) -> _Bucket:
        """Return a bucket, filled up to now and moved to the end of the line."""
        settings = self._settings
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            if len(self._buckets) >= settings.entities_max:
                self._forget_one()
            bucket = _Bucket(settings.burst * _TOKEN, now)
        passed = max(0, now - bucket.at)
        filled = bucket.tokens + passed * settings.per_minute
        bucket.tokens = min(settings.burst * _TOKEN, filled)
        bucket.at = max(now, bucket.at)
        self._buckets[key] = bucket
        return bucket

    def _forget_one(self) -> None:
        key = next(iter(self._buckets))
        if self._buckets[key].repeats is not None:
            self._leaving.append(self._tell(key))
        del self._buckets[key]

    def _count(self, repeats: _Repeats, finding: Finding) -> None:
        at = finding.event_time
        repeats.first = at if not repeats.count else min(repeats.first, at)
        repeats.last = at if not repeats.count else max(repeats.last, at)
        repeats.count += 1
        for field, value in _values(finding):
            found = repeats.values.setdefault(field, {})
            # What no record can carry must not cost the count of all the others.
            shown = value[:VALUE_CHARS_MAX].encode("utf-8", "replace").decode()
            if shown in found:
                continue
            if len(found) >= VALUES_MAX or self._values_bytes + len(shown) > VALUES_BYTES_MAX:
                repeats.overflowed.add(field)
                continue
            found[shown] = None
            self._values_bytes += len(shown)


def _key(finding: Finding) -> _Key:
    """Return rule, indicator, severity and entity: what one bucket is for.

    Repeats of something slight must not use up what something grave of the same rule may.
    """
    indicator = "" if finding.indicator is None else finding.indicator.value
    return finding.rule.id, indicator, finding.severity, _entity(finding)


def _entity(finding: Finding) -> str:
    thing = finding.entities[0].value if finding.entities else finding.login or finding.process
    process = _image(finding.process)
    match thing:
        case Login():
            return _text(thing.remote_address) or f"{_text(thing.service)}\0{_user(thing.user)}"
        case Process():
            # What one user starts again and again does not hide what another, or a container, does.
            return "\0".join((_image(thing), _user(thing.user), _text(thing.container)))
        case File():
            return thing.path
        case Endpoint():
            return f"{process}\0{_text(thing.remote_address) or thing.local_port}"
        case User():
            return _user(thing)
        case None:
            return process
        case _:
            # One thing found again, whatever it is: the key says when two are the same.
            return finding.key.hex()


def _values(finding: Finding) -> Iterator[tuple[str, str]]:
    """Yield the fields that a rule on many findings correlates by, where they are known."""
    things: list[Thing] = [entity.value for entity in finding.entities]
    things += [thing for thing in (finding.login, finding.process) if thing is not None]
    for thing in things:
        match thing:
            case Login():
                yield from _known(("user", _user(thing.user)), ("address", thing.remote_address))
            case Process():
                yield from _known(
                    ("user", _user(thing.user)), ("process", thing.name), ("path", thing.exe)
                )
            case File():
                yield "path", thing.path
            case Endpoint():
                yield from _known(("address", thing.remote_address))
            case User():
                yield from _known(("user", _user(thing)))
            case _:
                continue
    if finding.severity is not Severity.UNSPECIFIED:
        yield "severity", finding.severity.value


def _known(*pairs: tuple[str, object]) -> Iterator[tuple[str, str]]:
    return ((field, value) for field, value in pairs if isinstance(value, str) and value)


def _image(process: Process | None) -> str:
    return "" if process is None else _text(process.exe) or _text(process.name)


def _user(user: object) -> str:
    if not isinstance(user, User):
        return ""
    if isinstance(user.name, str) and user.name:
        return user.name
    return str(user.uid) if isinstance(user.uid, int) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
