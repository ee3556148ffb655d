"""The five pieces of TUF metadata we publish, as signed bytes; pure.

root and targets are signed offline; targets delegates ``indicators/*`` to the role ``indicators``,
whose key is online, and to nobody else. Versions of the online roles are the time of signing, so a
repository restored from a backup never offers less than hosts have seen.

Source: TUF specification 1.0.33, sections 4.3 to 4.6.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, TypeVar

from msgspec import Struct
from tuf.api.metadata import (  # type: ignore[attr-defined]  # it has no __all__
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from certs.tufkeys import TufSigner
from collector.feeds.keys import INDICATORS, OfflineKeys, OnlineKeys

NS_PER_S: Final = 10**9
TARGET_NAME: Final = "indicators/indicators.vdx"
_HASH: Final = "sha256"
_PATHS: Final = "indicators/*"

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


class Term(Struct, frozen=True):
    """Version and end of a signature; ``expires`` in seconds since 1970."""

    version: int
    expires: int


def sign_root(term: Term, offline: OfflineKeys, online: OnlineKeys) -> bytes:
    """Return root metadata: which key each role has."""
    signers = {
        "root": offline.root,
        "targets": offline.targets,
        "snapshot": online.snapshot,
        "timestamp": online.timestamp,
    }
    root = Root(
        version=term.version,
        expires=_time(term.expires),
        keys={signer.public_key.keyid: signer.public_key for signer in signers.values()},
        roles={name: Role([signer.public_key.keyid], 1) for name, signer in signers.items()},
        consistent_snapshot=True,
    )
    return _signed(root, offline.root)


def sign_targets(term: Term, offline: OfflineKeys, online: OnlineKeys) -> bytes:
    """Return top-level targets metadata: no file, one delegation."""
    key = online.indicators.public_key
    role = DelegatedRole(
        INDICATORS, keyids=[key.keyid], threshold=1, terminating=True, paths=[_PATHS]
    )
    targets = Targets(
        version=term.version,
        expires=_time(term.expires),
        delegations=Delegations(keys={key.keyid: key}, roles={INDICATORS: role}),
    )
    return _signed(targets, offline.targets)


def sign_indicators(term: Term, target: TargetFile | None, online: OnlineKeys) -> bytes:
    """Return the metadata of the online role: the bundle, once there is one."""
    targets = Targets(
        version=term.version,
        expires=_time(term.expires),
        targets={} if target is None else {target.path: target},
    )
    return _signed(targets, online.indicators)


def sign_snapshot(term: Term, parts: Mapping[str, tuple[int, bytes]], online: OnlineKeys) -> bytes:
    """Return snapshot metadata: version and digest of everything that holds together.

    Args:
        term: version and end.
        parts: role name to (version, bytes).
        online: the keys.
    """
    meta = {
        f"{name}.json": MetaFile.from_data(version, data, [_HASH])
        for name, (version, data) in parts.items()
    }
    snapshot = Snapshot(version=term.version, expires=_time(term.expires), meta=meta)
    return _signed(snapshot, online.snapshot)


def sign_timestamp(term: Term, snapshot: tuple[int, bytes], online: OnlineKeys) -> bytes:
    """Return timestamp metadata: which snapshot is the newest, said again every day."""
    version, data = snapshot
    timestamp = Timestamp(
        version=term.version,
        expires=_time(term.expires),
        snapshot_meta=MetaFile.from_data(version, data, [_HASH]),
    )
    return _signed(timestamp, online.timestamp)


def describe_target(data: bytes) -> TargetFile:
    """Return length and digest of a bundle under the one name bundles have."""
    return TargetFile.from_data(TARGET_NAME, data, [_HASH])


def target_digest(target: TargetFile) -> str:
    """Return the digest of a target in hexadecimal."""
    return target.hashes[_HASH]


def _signed(value: T, signer: TufSigner) -> bytes:
    metadata = Metadata(value)
    metadata.sign(signer)
    return metadata.to_bytes()


def _time(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
