"""The child that runs the TUF client workflow: ``python -m agent.sense.tufclient``.

It lives for one run, so that python-tuf costs `sense` no memory and an error in a parser no key.
Standard input is its socket to `sense`; it reaches nothing else. Files come through `sense` and
`ship`, and nothing is believed of them that the chain from the pinned root does not sign.

Online, python-tuf's own client does the workflow and what it left in its folder is verified once
more by `verify_chain`, whose answer is the one that counts. Offline, `verify_chain` alone runs.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # it has no __all__
    Metadata,
    Root,
    Targets,
)
from tuf.ngclient import (  # type: ignore[attr-defined]  # its __all__ is computed
    FetcherInterface,
    TargetFile,
    Updater,
    UpdaterConfig,
)

from agent.doorframes import Chunk, Fetch
from agent.landlock import cage
from agent.sense.confine import Confinement, confine
from agent.sense.tufchain import BUNDLE, load, refused, signing_role, verify_chain
from agent.sense.tufframes import (
    CACHE,
    CANDIDATE,
    CHAIN_BYTES_MAX,
    INCOMING,
    MESSAGE_BYTES_MAX,
    ROOTS_MAX,
    Chain,
    FromChild,
    Job,
    Refusal,
    Report,
    ToChild,
    decode_to_child,
    encode,
    refusal_of,
)
from proto.content.errors import BadName, ContentRefused, RefuseReason
from proto.content.names import METADATA, MISSING, TARGETS, check_name
from runtime.files import fsync_dir, write_atomic
from runtime.frames import BadFrame, FrameDecoder, encode_frame

_READ_BYTES: Final = 256 * 1024
_MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024
_CPU_S_MAX: Final = 120
_SPARE_BYTES: Final = 1024 * 1024
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=ROOTS_MAX,
    max_delegations=4,
    root_max_length=64 * 1024,
    timestamp_max_length=16 * 1024,
    snapshot_max_length=64 * 1024,
    targets_max_length=64 * 1024,
)


class Line:
    """The socket to `sense`.

    Args:
        fd: a connected stream socket, blocking.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._decoder = FrameDecoder(MESSAGE_BYTES_MAX)
        self._waiting: list[bytes] = []

    def send(self, message: FromChild) -> None:
        """Say something.

        Raises:
            OSError: `sense` has gone.
        """
        data = memoryview(encode_frame(encode(message)))
        while data:
            data = data[os.write(self._fd, data) :]

    def receive(self) -> ToChild:
        """Wait for the next message; `sense` ends us when it has waited long enough.

        Raises:
            ContentRefused: not a message.
            ConnectionResetError: `sense` has gone.
        """
        while not self._waiting:
            data = os.read(self._fd, _READ_BYTES)
            if not data:
                raise ConnectionResetError("sense has gone")
            try:
                self._waiting += self._decoder.feed(data)
            except BadFrame as error:
                raise ContentRefused(RefuseReason.CRASHED, error.message) from error
        return decode_to_child(self._waiting.pop(0))


class RelayFetcher(FetcherInterface):
    """Gets files through `sense`, a piece at a time.

    Args:
        line: the socket.
        first_id: the number of the first request.
    """

    def __init__(self, line: Line, first_id: int) -> None:
        self._line = line
        self._next_id = first_id

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            name = check_name(url)
        except BadName as error:
            raise DownloadError(error.message) from error
        first = self._piece(name, 0)
        return self._pieces(name, first)

    def _pieces(self, name: str, piece: Chunk) -> Iterator[bytes]:
        total, offset = piece.total, len(piece.data)
        yield piece.data
        while offset < total:
            piece = self._piece(name, offset)
            if not piece.data or piece.total != total:
                raise DownloadError(f"{name} changed while it was read")
            offset += len(piece.data)
            yield piece.data

    def _piece(self, name: str, offset: int) -> Chunk:
        asked, self._next_id = self._next_id, self._next_id + 1
        self._line.send(Fetch(asked, name, offset))
        answer = self._line.receive()
        if not isinstance(answer, Chunk) or answer.id != asked:
            raise DownloadError("sense answered something else")
        if answer.error == MISSING:
            raise DownloadHTTPError(f"there is no {name}", 404)
        if answer.error:
            raise DownloadError(f"{name}: {answer.error}")
        return answer


def run(job: Job, line: Line) -> Report | Refusal:
    """Do a job and return the last word.

    Raises:
        ConnectionError: `sense` has gone.
    """
    try:
        if not job.online:
            return _offline(job)
        return _online(job, RelayFetcher(line, job.first_id))
    except ContentRefused as error:
        return refusal_of(error)
    except ExpiredMetadataError as error:
        return refusal_of(ContentRefused(RefuseReason.EXPIRED, str(error)))
    except DownloadLengthMismatchError as error:
        return refusal_of(ContentRefused(RefuseReason.SIZE, str(error)))
    except DownloadError as error:
        return refusal_of(ContentRefused(RefuseReason.UNAVAILABLE, str(error)))
    except (RepositoryError, ValueError, KeyError) as error:
        return refusal_of(refused(error))
    except ConnectionError:
        raise
    except OSError as error:
        reason = f"the disk refuses: {error.strerror}"
        return refusal_of(ContentRefused(RefuseReason.UNAVAILABLE, reason))


def _offline(job: Job) -> Report:
    if job.chain is None:
        raise ContentRefused(RefuseReason.UNAVAILABLE, "there is no chain to verify")
    return Report(job.chain, verify_chain(job.chain, job.bootstrap), fetched=False)


def _online(job: Job, fetcher: FetcherInterface) -> Report:
    base = Path(job.directory)
    cache, incoming = base / CACHE, base / INCOMING
    _seed(cache, job.chain)
    updater = Updater(
        metadata_dir=str(cache),
        metadata_base_url=METADATA,
        target_dir=str(incoming),
        target_base_url=TARGETS,
        fetcher=fetcher,
        config=_CONFIG,
        bootstrap=job.bootstrap,
    )
    updater.refresh()
    target = updater.get_targetinfo(BUNDLE)
    if target is None:
        raise ContentRefused(RefuseReason.UNAVAILABLE, "no indicators are published yet")
    _settle(cache)
    chain = _chain(cache, job.bootstrap)
    facts = verify_chain(chain, job.bootstrap)
    if (facts.length, facts.sha256.hex()) != (target.length, target.hashes.get("sha256")):
        raise ContentRefused(RefuseReason.ROLE, "two readings of the metadata disagree")
    if facts.expires <= job.now:
        raise ContentRefused(RefuseReason.EXPIRED, "the metadata expired by the time we trust")
    if facts.sha256 == job.have:
        return Report(chain, facts, fetched=False)
    _download(updater, target, incoming / CANDIDATE, job.length_max)
    return Report(chain, facts, fetched=True)


def _seed(cache: Path, chain: Chain | None) -> None:
    """Put back what a crash took from the cache: it holds the versions that must not go back."""
    if chain is None:
        return
    parts = {"timestamp": chain.timestamp, "snapshot": chain.snapshot, "targets": chain.targets}
    if chain.delegated:
        parts[chain.role] = chain.delegated
    for role, data in parts.items():
        path = cache / f"{role}.json"
        if not _is_metadata(path):
            write_atomic(path, data)


def _is_metadata(path: Path) -> bool:
    try:
        Metadata.from_bytes(path.read_bytes())
    except (OSError, RepositoryError):
        return False
    return True


def _settle(cache: Path) -> None:
    """Make durable what python-tuf wrote; it does not."""
    for folder in (cache / "root_history", cache):
        for path in folder.iterdir():
            if path.is_file():
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
        fsync_dir(folder)


def _chain(cache: Path, bootstrap: bytes) -> Chain:
    first = load(bootstrap, Root).signed.version
    newest = load((cache / "root.json").read_bytes(), Root).signed.version
    history = cache / "root_history"
    targets = (cache / "targets.json").read_bytes()
    role = signing_role(load(targets, Targets).signed)
    chain = Chain(
        roots=tuple(
            (history / f"{version}.root.json").read_bytes()
            for version in range(first + 1, newest + 1)
        ),
        timestamp=(cache / "timestamp.json").read_bytes(),
        snapshot=(cache / "snapshot.json").read_bytes(),
        targets=targets,
        role=role,
        delegated=b"" if role == "targets" else (cache / f"{role}.json").read_bytes(),
    )
    parts = (*chain.roots, chain.timestamp, chain.snapshot, chain.targets, chain.delegated)
    if sum(map(len, parts)) > CHAIN_BYTES_MAX:
        raise ContentRefused(
            RefuseReason.SIZE, f"the chain from the pinned root has over {CHAIN_BYTES_MAX} bytes"
        )
    return chain


def _download(updater: Updater, target: TargetFile, path: Path, length_max: int) -> None:
    if target.length > length_max:
        raise ContentRefused(
            RefuseReason.SIZE, f"a bundle of {target.length} bytes, allowed are {length_max}"
        )
    updater.download_target(target, str(path))
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    fsync_dir(path.parent)


def shut_in(job: Job) -> None:
    """Give up everything a job does not need, for good.

    The program itself is all that can be read after, and the folder of content all that can be
    changed: the key of `sense` belongs to the same user and lies out of reach.

    Raises:
        OSError: the kernel refuses.
    """
    directory = Path(job.directory)
    tempfile.tempdir = str(directory / INCOMING)
    confine(Confinement(_MEMORY_BYTES_MAX, _CPU_S_MAX, job.length_max + _SPARE_BYTES))
    cage(map(Path, {sys.prefix, sys.base_prefix, *sys.path} - {""}), [directory])


def main() -> int:
    """Take one job from standard input, do it and say the last word."""
    line = Line(sys.stdin.fileno())
    job = line.receive()
    if not isinstance(job, Job):
        return 2
    shut_in(job)
    try:
        line.send(run(job, line))
    except ConnectionError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
