"""Values of an event that indicators may name. Pure."""

from collections.abc import Iterator
from typing import Final

from agent.sense.match.sigmaevent import SigmaEvent
from agent.sense.match.sigmanames import number
from agent.sense.match.sigmaprefilter import texts_of
from proto.content.kinds import IndicatorKind

VALUES_MAX: Final = 64

_FIELDS: Final = (
    ("sha256", IndicatorKind.SHA256),
    ("sha1", IndicatorKind.SHA1),
    ("md5", IndicatorKind.MD5),
    ("QueryName", IndicatorKind.DOMAIN),
    ("DestinationHostname", IndicatorKind.DOMAIN),
    ("url.original", IndicatorKind.URL),
    ("Image", IndicatorKind.FILE_PATH),
    ("TargetFilename", IndicatorKind.FILE_PATH),
)
_ADDRESSES: Final = (("DestinationIp", "DestinationPort"), ("SourceIp", "SourcePort"))
_DIGESTS: Final = {
    "SHA256": IndicatorKind.SHA256,
    "SHA1": IndicatorKind.SHA1,
    "MD5": IndicatorKind.MD5,
}

# A field, the kind of indicator (None for an address), the value, and the port of an address.
Asked = tuple[str, IndicatorKind | None, str, int | None]


def values_of(event: SigmaEvent) -> Iterator[Asked]:
    """Yield what to look up of an event, each value of a field once."""
    fields = event.fields
    for field, kind in _FIELDS:
        for text in texts_of(fields.get(field))[:VALUES_MAX]:
            yield field, kind, text, None
    for name in ("Image", "TargetFilename"):
        for text in texts_of(fields.get(name))[:VALUES_MAX]:
            base = text.replace("\\", "/").rpartition("/")[2]
            if base:
                yield name, IndicatorKind.FILE_NAME, base, None
    for field, port in _ADDRESSES:
        for text in texts_of(fields.get(field))[:VALUES_MAX]:
            yield field, None, text, number(fields.get(port)) or None
    yield from _digests(event)


def _digests(event: SigmaEvent) -> Iterator[Asked]:
    """Yield the digests of ``Hashes``, which holds several: ``MD5=...,SHA256=...``."""
    for text in texts_of(event.fields.get("Hashes"))[:VALUES_MAX]:
        for part in text.split(",")[:VALUES_MAX]:
            name, _, value = part.strip().partition("=")
            kind = _DIGESTS.get(name.upper())
            if kind is not None and not event.fields.get(kind.value):
                yield "Hashes", kind, value, None
