"""The laws of the metadata we sign."""

from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Targets  # type: ignore[attr-defined]

from collector.feeds.keys import INDICATORS, create_offline, create_online
from collector.feeds.metadata import (
    TARGET_NAME,
    Term,
    describe_target,
    sign_indicators,
    sign_root,
    sign_snapshot,
    sign_targets,
    sign_timestamp,
    target_digest,
)

TERM = Term(version=3, expires=1_900_000_000)


def test_each_role_is_signed_by_its_key_and_by_no_other(tmp_path: Path) -> None:
    online, offline = create_online(tmp_path / "on"), create_offline(tmp_path / "off")
    root = Metadata.from_bytes(sign_root(TERM, offline, online))
    targets = Metadata.from_bytes(sign_targets(TERM, offline, online))
    snapshot = Metadata.from_bytes(sign_snapshot(TERM, {"targets": (3, b"x")}, online))
    timestamp = Metadata.from_bytes(sign_timestamp(TERM, (3, b"x"), online))
    indicators = Metadata.from_bytes(sign_indicators(TERM, describe_target(b"y"), online))

    signed = {"root": root, "targets": targets, "snapshot": snapshot, "timestamp": timestamp}
    for role, metadata in signed.items():
        root.signed.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        with pytest.raises(UnsignedMetadataError):
            root.signed.verify_delegate(role, indicators.signed_bytes, indicators.signatures)
    targets.signed.verify_delegate(INDICATORS, indicators.signed_bytes, indicators.signatures)
    with pytest.raises(UnsignedMetadataError):
        targets.signed.verify_delegate(INDICATORS, snapshot.signed_bytes, snapshot.signatures)


def test_the_online_role_may_sign_indicators_and_nothing_else(tmp_path: Path) -> None:
    online, offline = create_online(tmp_path / "on"), create_offline(tmp_path / "off")

    targets = Metadata[Targets].from_bytes(sign_targets(TERM, offline, online)).signed
    assert targets.delegations is not None

    may_sign = {
        path: [name for name, _ in targets.delegations.get_roles_for_target(path)]
        for path in (TARGET_NAME, "rules/rules.vdx", "indicators", "checks/indicators/x")
    }
    assert may_sign.pop(TARGET_NAME) == [INDICATORS]
    assert not any(may_sign.values())


def test_terms_are_what_was_asked_for(tmp_path: Path) -> None:
    online = create_online(tmp_path / "on")

    signed = Metadata[Targets].from_bytes(sign_indicators(TERM, None, online)).signed

    assert (signed.version, int(signed.expires.timestamp())) == (3, 1_900_000_000)
    assert signed.targets == {}


def test_a_target_is_described_by_length_and_digest() -> None:
    target = describe_target(b"bundle")

    assert (target.path, target.length) == (TARGET_NAME, 6)
    assert len(target_digest(target)) == 64
