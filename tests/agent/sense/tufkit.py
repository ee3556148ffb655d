"""Content repositories of every kind, also such as our publisher would never make."""

import datetime as dt
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, field
from tuf.api.metadata import (  # type: ignore[attr-defined]  # it has no __all__
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from agent.sense.tufchain import BUNDLE
from agent.sense.tufframes import Chain
from certs.signatures import SigningKey
from certs.tufkeys import TufSigner
from tests.proto.content.builders import a_file

ROLES = ("root", "targets", "snapshot", "timestamp", "delegated")
DAY_S = 86_400

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)


def some_keys(seed: int = 1) -> dict[str, TufSigner]:
    return {
        role: TufSigner(SigningKey.from_private_bytes(bytes([seed + place]) * 32))
        for place, role in enumerate(ROLES)
    }


KEYS = some_keys()
OTHER_KEYS = some_keys(100)


class RepoPlan(Struct, kw_only=True):
    """What a repository says; a test changes what it is about."""

    keys: Mapping[str, TufSigner] = field(default_factory=lambda: KEYS)
    signers: Mapping[str, TufSigner] = {}
    versions: Mapping[str, int] = {}
    days: Mapping[str, int] = {}
    bundle: bytes = b""
    role: str = "indicators"
    paths: tuple[str, ...] = ("indicators/*",)
    targets_sign: bool = False
    announced: Mapping[str, int] = {}
    hashes: tuple[str, ...] = ("sha256",)


class Repo:
    """The signed pieces of a plan."""

    def __init__(self, **plan: object) -> None:
        self.plan = RepoPlan(**plan)  # type: ignore[arg-type]
        self.bundle = self.plan.bundle or a_file()
        self.root = self._root()
        self.delegated = self._signed("delegated", Targets(targets=self._bundle()))
        self.targets = self._targets()
        meta = {
            "targets.json": self._meta("targets", self.targets),
            f"{self.plan.role}.json": self._meta("delegated", self.delegated),
        }
        self.snapshot = self._signed("snapshot", Snapshot(meta=meta))
        self.timestamp = self._signed(
            "timestamp", Timestamp(snapshot_meta=self._meta("snapshot", self.snapshot))
        )

    def chain(self, **changes: object) -> Chain:
        values: dict[str, object] = {
            "roots": (),
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
            "targets": self.targets,
            "role": "targets" if self.plan.targets_sign else self.plan.role,
            "delegated": b"" if self.plan.targets_sign else self.delegated,
        }
        return Chain(**(values | changes))  # type: ignore[arg-type]

    def write(self, directory: Path) -> Path:
        files = {
            f"metadata/{self.version('root')}.root.json": self.root,
            "metadata/timestamp.json": self.timestamp,
            f"metadata/{self.version('snapshot')}.snapshot.json": self.snapshot,
            f"metadata/{self.version('targets')}.targets.json": self.targets,
            f"metadata/{self.version('delegated')}.{self.plan.role}.json": self.delegated,
        }
        target = TargetFile.from_data(BUNDLE, self.bundle, ["sha256"])
        folder, _, name = BUNDLE.rpartition("/")
        files[f"targets/{folder}/{target.hashes['sha256']}.{name}"] = self.bundle
        for name, data in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return directory

    def version(self, role: str) -> int:
        return self.plan.versions.get(role, 1)

    def _bundle(self) -> dict[str, TargetFile]:
        return {BUNDLE: TargetFile.from_data(BUNDLE, self.bundle, list(self.plan.hashes))}

    def _meta(self, role: str, data: bytes) -> MetaFile:
        version = self.plan.announced.get(role, self.version(role))
        return MetaFile.from_data(version, data, ["sha256"])

    def _root(self) -> bytes:
        keys = {role: signer.public_key for role, signer in self.plan.keys.items()}
        roles = {role: Role([keys[role].keyid], 1) for role in ROLES if role != "delegated"}
        held: dict[str, Key] = {key.keyid: key for role, key in keys.items() if role != "delegated"}
        return self._signed("root", Root(keys=held, roles=roles, consistent_snapshot=True))

    def _targets(self) -> bytes:
        key = self.plan.keys["delegated"].public_key
        role = DelegatedRole(
            self.plan.role, [key.keyid], 1, terminating=True, paths=list(self.plan.paths)
        )
        delegations = Delegations({key.keyid: key}, {self.plan.role: role})
        own = self._bundle() if self.plan.targets_sign else {}
        return self._signed("targets", Targets(targets=own, delegations=delegations))

    def _signed(self, role: str, signed: T) -> bytes:
        signed.version = self.version(role)
        ends = int(time.time()) + self.plan.days.get(role, 30) * DAY_S
        signed.expires = dt.datetime.fromtimestamp(ends, tz=dt.UTC)
        metadata = Metadata(signed)
        metadata.sign(self.plan.signers.get(role, self.plan.keys[role]))
        return metadata.to_bytes()
