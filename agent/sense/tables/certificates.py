"""Certificates in files, and how long they hold.

Only PEM certificates are read, never keys. Links into the system's own collection of authorities
are passed over: they are looked after with their package.

Source: RFC 7468 section 5; RFC 5280.
"""

import stat
from collections.abc import Iterator
from typing import Final

from agent.hostroot import HostFileError, HostFileMissing
from agent.sense.tables.table import PATH_CHARS_MAX, Looking, Row, Table, as_text
from runtime.clock import NS_PER_S

FILE_BYTES_MAX: Final = 4 << 20
FILES_MAX: Final = 5000
DEPTH_MAX: Final = 6
SOON_DAYS: Final = 30

_DAY_NS: Final = 86_400 * NS_PER_S
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_SUFFIXES: Final = (".pem", ".crt", ".cer", ".cert", ".chain")
# What the packages of authorities bring and make.
_AUTHORITIES: Final = ("/usr/share/ca-certificates/", "/etc/pki/ca-trust/", "/usr/share/pki/")
_BUNDLES: Final = frozenset({"ca-certificates.crt", "ca-bundle.crt", "ca-bundle.trust.crt"})


def rows(looking: Looking) -> Iterator[Row]:
    """Yield a row a certificate, the one that ends first in front."""
    found: list[Row] = []
    now = looking.clock.wall_ns()
    for path in _files(looking):
        data = looking.maybe(path, FILE_BYTES_MAX)
        if data is not None and _BEGIN in data:
            found += _certificates(looking, path, data, now)
    yield from sorted(found, key=lambda row: (str(row["not_after"]), str(row["path"])))


def _certificates(looking: Looking, path: str, data: bytes, now: int) -> Iterator[Row]:
    # A library that only this table needs; the process that senses never loads it.
    from certs.reading import read_certificates  # noqa: PLC0415

    certificates, refused = read_certificates(data)
    if refused:
        looking.missed(f"{path}: {refused} certificates in it cannot be read")
    for one in certificates:
        days = (one.not_after_ns - now) // _DAY_NS
        state = "expired" if now >= one.not_after_ns else "soon" if days < SOON_DAYS else "holds"
        yield {
            "path": as_text(path, PATH_CHARS_MAX),
            "subject": as_text(one.subject),
            "names": [as_text(name) for name in one.names],
            "issuer": as_text(one.issuer),
            "state": state if now >= one.not_before_ns else "not yet",
            "days_left": days,
            "not_before": one.not_before_ns,
            "not_after": one.not_after_ns,
            "is_authority": one.is_authority,
            "serial": f"{one.serial:x}",
            "sha256": one.sha256.hex(),
        }


def _files(looking: Looking) -> Iterator[str]:
    """Yield the files to look into, each once."""
    stack = [(path, 0) for path in reversed(looking.settings.certificate_paths)]
    seen: set[tuple[int, int]] = set()
    while stack:
        path, depth = stack.pop()
        try:
            here = looking.host.stat(path)
        except HostFileMissing:
            continue
        except HostFileError as error:
            looking.missed(error.message)
            continue
        if (here.st_dev, here.st_ino) in seen:
            continue
        seen.add((here.st_dev, here.st_ino))
        if len(seen) > FILES_MAX:
            looking.missed(f"certificates: more than {FILES_MAX} files")
            return
        if not stat.S_ISDIR(here.st_mode):
            yield path
        elif depth < DEPTH_MAX:
            stack += [(f"{path}/{name}", depth + 1) for name in reversed(_names(looking, path))]


def _names(looking: Looking, folder: str) -> list[str]:
    """Return the entries of a directory that may be, or lead to, certificates."""
    names = []
    for entry in looking.listed(folder):
        if entry.name in _BUNDLES:
            continue
        if entry.is_symlink():
            try:
                target = looking.host.readlink(f"{folder}/{entry.name}")
            except HostFileError:
                continue
            if target.startswith(_AUTHORITIES) or "/" not in target:
                continue  # an authority of the system, or another name of a file beside it
        if entry.is_dir() or entry.is_symlink() or entry.name.endswith(_SUFFIXES):
            names.append(entry.name)
    return names


TABLE: Final = Table(
    text="certificates in files, those that end first in front",
    columns={
        "path": "file it stands in",
        "subject": "whom it names",
        "names": "host names, addresses and URIs it is for",
        "issuer": "who signed it",
        "state": f"expired, soon (within {SOON_DAYS} days), not yet, or holds",
        "days_left": "whole days until it ends; negative afterwards",
        "not_before": "when it begins, nanoseconds UTC",
        "not_after": "when it ends, nanoseconds UTC",
        "is_authority": "whether it may sign others",
        "serial": "serial number, hexadecimal",
        "sha256": "digest of the certificate",
    },
    rows=rows,
    shown=("state", "days_left", "subject", "names", "path"),
)
