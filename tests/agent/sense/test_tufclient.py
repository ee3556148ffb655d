"""The laws of the TUF child, driven through its socket as `sense` does."""

import hashlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.doorframes import Chunk, Fetch
from agent.landlock import ABI_LEAST, landlock_abi
from agent.sense import tufclient
from agent.sense.contentupdate import spawn_child
from agent.sense.tufclient import Line
from agent.sense.tufframes import (
    CACHE,
    CANDIDATE,
    INCOMING,
    Chain,
    Job,
    Refusal,
    Report,
    decode_from_child,
    encode,
)
from proto.content.errors import RefuseReason
from runtime.frames import FrameDecoder, encode_frame
from tests.agent.sense.tufkit import KEYS, OTHER_KEYS, Repo
from tests.fakes.content import FakeMirror, Meddle, honest
from tests.proto.content.builders import a_file, a_release, some_rows

ROOT = Repo().root


def a_job(directory: Path, **changes: object) -> Job:
    for name in (CACHE, INCOMING):
        (directory / name).mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {
        "directory": str(directory),
        "bootstrap": ROOT,
        "online": True,
        "now": time.time_ns(),
        "chain": None,
        "have": b"",
        "length_max": 1 << 20,
        "first_id": 100,
    }
    return Job(**(values | changes))  # type: ignore[arg-type]


@contextmanager
def a_line(answer: Callable[[Fetch], Chunk]) -> Iterator[Line]:
    """The child's end of a socket whose other end answers."""
    theirs, ours = socket.socketpair()

    def serve() -> None:
        decoder = FrameDecoder(1 << 20)
        with theirs:
            while data := theirs.recv(1 << 16):
                for frame in decoder.feed(data):
                    asked = decode_from_child(frame)
                    assert isinstance(asked, Fetch)
                    theirs.sendall(encode_frame(encode(answer(asked))))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with ours:
        yield Line(ours.fileno())
    thread.join(5)


def done(
    tmp_path: Path, repo: Repo, meddle: Meddle = honest, **job: object
) -> tuple[Report | Refusal, FakeMirror]:
    mirror = FakeMirror(repo.write(tmp_path / f"mirror{time.monotonic_ns()}"), meddle)
    mirror.piece_bytes = 700

    def answer(fetch: Fetch) -> Chunk:
        mirror.send(fetch)
        return mirror.answers()[0]

    with a_line(answer) as line:
        return tufclient.run(a_job(tmp_path / "sense", **job), line), mirror


def reason(outcome: tuple[Report | Refusal, FakeMirror]) -> RefuseReason:
    assert isinstance(outcome[0], Refusal)
    return outcome[0].reason


def spoil(word: str, change: Callable[[bytes], bytes | None]) -> Meddle:
    return lambda name, data: change(data) if word in name else data


def flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def test_a_bundle_is_fetched_piece_by_piece_and_left_whole(tmp_path: Path) -> None:
    repo = Repo()

    said, mirror = done(tmp_path, repo)

    assert isinstance(said, Report)
    assert said.fetched
    assert (tmp_path / "sense" / INCOMING / CANDIDATE).read_bytes() == repo.bundle
    assert said.facts.sha256 == hashlib.sha256(repo.bundle).digest()
    assert len({fetch.id for fetch in mirror.asked}) == len(mirror.asked)
    assert min(fetch.id for fetch in mirror.asked) == 100


def test_a_bundle_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    repo = Repo()

    said, mirror = done(tmp_path, repo, have=hashlib.sha256(repo.bundle).digest())

    assert isinstance(said, Report)
    assert not said.fetched
    assert not any(fetch.name.startswith("targets/") for fetch in mirror.asked)


def test_a_second_run_asks_only_for_what_changes(tmp_path: Path) -> None:
    repo = Repo()
    done(tmp_path, repo)

    _, mirror = done(tmp_path, repo, have=hashlib.sha256(repo.bundle).digest())

    assert [fetch.name for fetch in mirror.asked] == [
        "metadata/2.root.json",
        "metadata/timestamp.json",
    ]


@pytest.mark.parametrize(
    "word", ["timestamp.json", "snapshot.json", "targets.json", "indicators.json", ".vdx"]
)
def test_a_changed_file_is_refused_wherever_it_is_changed(tmp_path: Path, word: str) -> None:
    for change in (flipped, lambda data: data[: len(data) // 2], lambda data: data + b" " * 99_999):
        outcome = done(tmp_path, Repo(), spoil(word, change))

        assert reason(outcome) in {
            RefuseReason.DIGEST,
            RefuseReason.SIGNATURE,
            RefuseReason.MALFORMED,
            RefuseReason.SIZE,
        }


def test_a_missing_file_means_that_the_mirror_cannot_help(tmp_path: Path) -> None:
    for word in ("timestamp.json", "snapshot.json", ".vdx"):
        assert reason(done(tmp_path, Repo(), spoil(word, lambda _: None))) is (
            RefuseReason.UNAVAILABLE
        )


def test_a_disk_that_refuses_is_no_crash(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    (tmp_path / CACHE).rmdir()
    (tmp_path / CACHE).write_bytes(b"in the way")

    with a_line(lambda fetch: Chunk(fetch.id, b"", 0, "")) as line:
        told = tufclient.run(job, line)

    assert isinstance(told, Refusal)
    assert told.reason is RefuseReason.UNAVAILABLE
    assert told.message.startswith("the disk refuses:")


def test_an_endless_file_is_cut_at_its_bound(tmp_path: Path) -> None:
    endless = spoil("timestamp.json", lambda _: bytes(1 << 20))

    outcome = done(tmp_path, Repo(), endless)

    assert reason(outcome) is RefuseReason.SIZE
    assert sum(fetch.name.endswith("timestamp.json") for fetch in outcome[1].asked) < 40


def test_an_older_repository_is_refused_once_a_newer_was_seen(tmp_path: Path) -> None:
    done(tmp_path, Repo(versions={"timestamp": 5, "snapshot": 5, "delegated": 5}))

    for versions in (
        {"timestamp": 4, "snapshot": 5, "delegated": 5},
        {"timestamp": 6, "snapshot": 4, "delegated": 5},
        {"timestamp": 6, "snapshot": 6, "delegated": 4},
    ):
        assert reason(done(tmp_path, Repo(versions=versions))) is RefuseReason.ROLLBACK


def test_a_lost_cache_does_not_make_an_older_repository_acceptable(tmp_path: Path) -> None:
    newer = Repo(versions={"timestamp": 5, "snapshot": 5, "delegated": 5})
    said, _ = done(tmp_path, newer)
    assert isinstance(said, Report)
    for damage in ("lost", "emptied"):
        for path in (tmp_path / "sense" / CACHE).glob("*.json"):
            path.unlink()
            if damage == "emptied":
                path.write_bytes(b"")

        assert reason(done(tmp_path, Repo(), chain=said.chain)) is RefuseReason.ROLLBACK


def test_the_pinned_root_counts_and_not_the_cached_one(tmp_path: Path) -> None:
    done(tmp_path, Repo(keys=OTHER_KEYS), bootstrap=Repo(keys=OTHER_KEYS).root)

    assert reason(done(tmp_path, Repo(keys=OTHER_KEYS))) is RefuseReason.SIGNATURE
    assert isinstance(done(tmp_path, Repo())[0], Report)


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "delegated"])
def test_nothing_new_is_taken_on_an_expired_signature(tmp_path: Path, role: str) -> None:
    repo = Repo(days={role: -1})

    assert reason(done(tmp_path, repo, bootstrap=repo.root)) is RefuseReason.EXPIRED


def test_the_time_we_trust_expires_signatures_where_the_clock_was_set_back(tmp_path: Path) -> None:
    later = time.time_ns() + 40 * 86_400 * 10**9

    assert reason(done(tmp_path, Repo(), now=later)) is RefuseReason.EXPIRED


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "delegated"])
def test_a_role_signed_by_a_stranger_is_refused(tmp_path: Path, role: str) -> None:
    assert reason(done(tmp_path, Repo(signers={role: OTHER_KEYS[role]}))) is RefuseReason.SIGNATURE


def test_a_role_for_other_content_may_not_sign_indicators(tmp_path: Path) -> None:
    assert reason(done(tmp_path, Repo(role="rules", paths=("*/*",)))) is RefuseReason.ROLE


def test_an_empty_repository_has_nothing_to_offer(tmp_path: Path) -> None:
    repo = Repo(role="indicators", paths=("rules/*",))

    assert reason(done(tmp_path, repo)) is RefuseReason.UNAVAILABLE


def test_a_new_root_is_followed_and_kept_in_the_chain(tmp_path: Path) -> None:
    mirror = tmp_path / "both"
    Repo().write(mirror)
    Repo(versions={"root": 2}).write(mirror)
    fake = FakeMirror(mirror)

    def answer(fetch: Fetch) -> Chunk:
        fake.send(fetch)
        return fake.answers()[0]

    with a_line(answer) as line:
        said = tufclient.run(a_job(tmp_path / "sense"), line)

    assert isinstance(said, Report)
    assert said.facts.root == 2
    assert len(said.chain.roots) == 1


def test_a_chain_above_its_bound_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tufclient, "CHAIN_BYTES_MAX", 1000)

    assert reason(done(tmp_path, Repo())) is RefuseReason.SIZE


def test_a_bundle_above_the_bound_is_not_even_asked_for(tmp_path: Path) -> None:
    said, mirror = done(tmp_path, Repo(), length_max=100)

    assert reason((said, mirror)) is RefuseReason.SIZE
    assert not any(fetch.name.startswith("targets/") for fetch in mirror.asked)


def test_offline_only_the_chain_at_hand_is_verified(tmp_path: Path) -> None:
    good, stranger = Repo(days={"timestamp": -9}), Repo(keys=OTHER_KEYS)

    def offline(chain: Chain | None) -> Report | Refusal:
        return tufclient.run(a_job(tmp_path, online=False, chain=chain), Line(-1))

    said = offline(good.chain())
    assert isinstance(said, Report)
    assert said.facts.sha256 == hashlib.sha256(good.bundle).digest()
    for chain, why in (
        (stranger.chain(), RefuseReason.SIGNATURE),
        (None, RefuseReason.UNAVAILABLE),
    ):
        refused = offline(chain)
        assert isinstance(refused, Refusal)
        assert refused.reason is why


def test_an_answer_to_another_question_ends_the_run(tmp_path: Path) -> None:
    for wrong in (Chunk(7, b"x", 1), Chunk(100, b"", 0, "the line is down")):

        def answer(_fetch: Fetch, wrong: Chunk = wrong) -> Chunk:
            return wrong

        with a_line(answer) as line:
            said = tufclient.run(a_job(tmp_path), line)

        assert isinstance(said, Refusal)
        assert said.reason is RefuseReason.UNAVAILABLE


def test_bytes_that_are_no_frame_end_the_run(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(struct.pack(">I", 2**31) + b"junk")
    with ours, theirs:
        said = tufclient.run(a_job(tmp_path), Line(ours.fileno()))

    assert isinstance(said, Refusal)
    assert said.reason is RefuseReason.UNAVAILABLE


def test_the_real_child_does_a_job_over_its_standard_input(tmp_path: Path) -> None:
    repo = Repo(bundle=a_file(some_rows(), a_release(9)))
    mirror = FakeMirror(repo.write(tmp_path / "mirror"))
    ours, theirs = socket.socketpair()
    child = spawn_child(theirs.fileno())
    theirs.close()
    ours.sendall(encode_frame(encode(a_job(tmp_path / "sense"))))
    decoder = FrameDecoder(1 << 20)
    said: Report | Refusal | None = None

    while said is None and (data := ours.recv(1 << 16)):
        for frame in decoder.feed(data):
            message = decode_from_child(frame)
            if isinstance(message, Fetch):
                mirror.send(message)
                ours.sendall(encode_frame(encode(mirror.answers()[0])))
            else:
                said = message
    ours.close()

    assert isinstance(said, Report)
    assert (tmp_path / "sense" / INCOMING / CANDIDATE).read_bytes() == repo.bundle
    assert child.wait() == 0


SHUT_IN = """
import sys
from pathlib import Path
from agent.sense import tufclient
from agent.sense.tufframes import Job
job = Job(directory=sys.argv[1], bootstrap=b"", online=True, now=0, chain=None, have=b"",
          length_max=1000, first_id=0)
tufclient.shut_in(job)
(Path(sys.argv[1]) / "ours").write_text("x")
try:
    print(Path(sys.argv[2]).read_text())
except OSError as error:
    print(error.strerror)
"""


def test_the_key_of_sense_lies_out_of_the_childs_reach(tmp_path: Path) -> None:
    if landlock_abi() < ABI_LEAST:
        pytest.skip("the kernel has no Landlock, or an old one")
    (tmp_path / "content").mkdir()
    (tmp_path / "signing.key").write_text("secret")

    told = subprocess.run(
        [sys.executable, "-c", SHUT_IN, str(tmp_path / "content"), str(tmp_path / "signing.key")],
        capture_output=True,
        check=True,
        timeout=30,
        text=True,
        env={"PYTHONPATH": str(Path.cwd())},
    ).stdout

    assert told == "Permission denied\n"


def test_the_real_child_ends_when_sense_does(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    child = spawn_child(theirs.fileno())
    theirs.close()
    ours.sendall(encode_frame(encode(a_job(tmp_path))))
    ours.recv(10)

    ours.close()

    assert child.wait() != 0


def test_the_cache_is_durable_files_of_our_own(tmp_path: Path) -> None:
    done(tmp_path, Repo())

    names = {path.name for path in (tmp_path / "sense" / CACHE).iterdir()}

    assert names >= {"root.json", "timestamp.json", "snapshot.json", "targets.json"}
    assert KEYS["root"].public_key.keyid in (tmp_path / "sense" / CACHE / "root.json").read_text()
    assert [path.name for path in (tmp_path / "sense" / INCOMING).iterdir()] == [CANDIDATE]
