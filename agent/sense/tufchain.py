"""Verifies a chain of TUF metadata that is at hand, without a network and without a clock.

It is what python-tuf's client does not offer: the signatures, versions and digests of the chain in
use are checked again at every start, and an expired signature makes content stale instead of
useless. Order and rules follow the client workflow; only the expiry checks (5.3.10, 5.4.4, 5.5.6,
5.6.6) become the date in `ChainFacts.expires`. Runs in the child alone: it loads python-tuf.

Source: TUF specification 1.0.33, section 5.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from tuf.api.exceptions import (
    BadVersionNumberError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # it has no __all__
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from agent.sense.tufframes import Chain, ChainFacts
from proto.content.errors import ContentRefused, RefuseReason

BUNDLE: Final = "indicators/indicators.vdx"
_NS_PER_S: Final = 10**9

# The least role that may sign each kind of content, and those above it.
SIGNERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {BUNDLE: frozenset({"targets", "indicators"})}
)

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


def verify_chain(chain: Chain, bootstrap: bytes) -> ChainFacts:
    """Return what a chain says of the bundle, once every link of it holds.

    Args:
        chain: untrusted.
        bootstrap: the pinned root metadata, trusted.

    Raises:
        ContentRefused: a link does not hold; ``reason`` says which rule it breaks.
    """
    try:
        return _verify(chain, bootstrap)
    except (RepositoryError, ValueError, KeyError) as error:
        problem = refused(error)
        raise problem from error


def refused(error: Exception) -> ContentRefused:
    """Return a failure of python-tuf as a refusal of ours."""
    reasons = {
        UnsignedMetadataError: RefuseReason.SIGNATURE,
        BadVersionNumberError: RefuseReason.ROLLBACK,
        LengthOrHashMismatchError: RefuseReason.DIGEST,
    }
    for kind, reason in reasons.items():
        if isinstance(error, kind):
            return ContentRefused(reason, str(error))
    return ContentRefused(RefuseReason.MALFORMED, str(error))


def signing_role(targets: Targets) -> str:
    """Return the role whose word counts for the bundle, as the client workflow would find it.

    Raises:
        ContentRefused: nobody, or a role that may not sign this kind of content.
    """
    if BUNDLE in targets.targets:
        return "targets"
    delegations = targets.delegations
    names = [] if delegations is None else delegations.get_roles_for_target(BUNDLE)
    for name, _ in names:
        if name not in SIGNERS[BUNDLE]:
            break
        return str(name)
    raise ContentRefused(RefuseReason.ROLE, "no role that may sign indicators is trusted with them")


def load(data: bytes, kind: type[T]) -> Metadata[T]:
    """Return metadata of one role, not yet verified.

    Raises:
        RepositoryError: not metadata, or of another role.
    """
    metadata: Metadata[T] = Metadata.from_bytes(data)
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"expected metadata of {kind.type}")
    return metadata


def _verify(chain: Chain, bootstrap: bytes) -> ChainFacts:
    root = _newest_root(chain, bootstrap)
    timestamp = load(chain.timestamp, Timestamp)
    _check_signed(root.signed, "timestamp", timestamp)
    snapshot = load(chain.snapshot, Snapshot)
    _check_signed(root.signed, "snapshot", snapshot)
    _check_part(timestamp.signed.snapshot_meta, chain.snapshot, snapshot.signed.version)
    targets = load(chain.targets, Targets)
    _check_signed(root.signed, "targets", targets)
    parts = snapshot.signed.meta
    _check_part(parts["targets.json"], chain.targets, targets.signed.version)
    signer = targets
    role = signing_role(targets.signed)
    if role != "targets":
        signer = load(chain.delegated, Targets)
        _check_signed(targets.signed, role, signer)
        _check_part(parts[f"{role}.json"], chain.delegated, signer.signed.version)
    if role != chain.role:
        raise ContentRefused(RefuseReason.ROLE, f"{role} signs for the bundle, not {chain.role}")
    target = _bundle_of(signer.signed)
    links = (root, timestamp, snapshot, targets, signer)
    return ChainFacts(
        root=root.signed.version,
        timestamp=timestamp.signed.version,
        snapshot=snapshot.signed.version,
        targets=targets.signed.version,
        role=role,
        role_version=signer.signed.version,
        expires=min(int(link.signed.expires.timestamp()) for link in links) * _NS_PER_S,
        length=target.length,
        sha256=bytes.fromhex(target.hashes["sha256"]),
    )


def _newest_root(chain: Chain, bootstrap: bytes) -> Metadata[Root]:
    root = load(bootstrap, Root)
    _check_signed(root.signed, "root", root)
    for data in chain.roots:
        after = load(data, Root)
        if after.signed.version <= root.signed.version:
            continue  # the pinned root has moved on since the chain was kept
        if after.signed.version != root.signed.version + 1:
            raise BadVersionNumberError("a root metadata version is missing")
        _check_signed(root.signed, "root", after)
        _check_signed(after.signed, "root", after)
        root = after
    return root


def _check_signed(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> None:
    delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)


def _check_part(meta: MetaFile, data: bytes, version: int) -> None:
    meta.verify_length_and_hashes(data)
    if meta.version != version:
        raise BadVersionNumberError(f"version {version}, announced was {meta.version}")


def _bundle_of(targets: Targets) -> TargetFile:
    target = targets.targets.get(BUNDLE)
    if target is None:
        raise ContentRefused(RefuseReason.UNAVAILABLE, "no indicators are published yet")
    if len(target.hashes.get("sha256", "")) != 64:
        raise ContentRefused(RefuseReason.MALFORMED, "the bundle is named without its SHA-256")
    return target
