"""The laws of accepted content on disk."""

from pathlib import Path

import pytest

from agent.sense.contentstore import (
    NO_INDICATORS,
    BundleCheck,
    ContentStore,
    Swap,
    accepted_bundle,
)
from agent.sense.tufchain import verify_chain
from agent.sense.tufframes import ChainFacts
from proto.content.errors import ContentRefused, RefuseReason
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from tests.agent.sense.tufkit import Repo
from tests.proto.content.builders import EICAR, a_file, a_provenance, a_release, some_rows


def a_bundle(version: int = 1, count: int = 20) -> bytes:
    rows = [(IndicatorKind.FILE_NAME, f"name{n}", a_provenance()) for n in range(count)]
    return a_file([*rows, *some_rows()], a_release(version))


def a_store(tmp_path: Path) -> ContentStore:
    store = ContentStore(tmp_path / "content")
    store.open()
    return store


def taken(store: ContentStore, repo: Repo, data: bytes | None = None) -> Swap:
    facts = verify_chain(repo.chain(), repo.root)
    store.candidate.write_bytes(repo.bundle if data is None else data)
    check = BundleCheck(store.candidate, facts)
    assert check.step(lambda: True)
    return store.take(check, facts, repo.chain())


def facts_of(repo: Repo) -> ChainFacts:
    return verify_chain(repo.chain(), repo.root)


def test_nothing_accepted_means_nothing_matches() -> None:
    assert NO_INDICATORS.count == 0
    assert NO_INDICATORS.lookup(IndicatorKind.SHA256, EICAR) == ()
    assert NO_INDICATORS.lookup_address("192.0.2.1", 1) == ()


def test_a_taken_bundle_is_in_use_and_still_there_after_a_restart(tmp_path: Path) -> None:
    repo = Repo(bundle=a_bundle())

    swap = taken(a_store(tmp_path), repo)

    assert swap.index.lookup(IndicatorKind.SHA256, EICAR)
    again = a_store(tmp_path)
    assert again.state.current == swap.accepted
    check = again.check(facts_of(repo))
    assert check.step(lambda: True)
    assert check.map().version == 1


def test_the_release_before_is_kept_and_older_ones_are_not(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    repos = [Repo(bundle=a_bundle(version)) for version in (1, 2, 3)]

    swaps = [taken(store, repo) for repo in repos]

    assert store.state.previous == swaps[1].accepted
    assert len(list(store.directory.glob("*.vdx"))) == 2
    assert swaps[0].index.lookup(IndicatorKind.SHA256, EICAR)  # an open mapping outlives its file


def test_a_damaged_release_can_be_left_for_the_one_before(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    first = taken(store, Repo(bundle=a_bundle(1)))
    taken(store, Repo(bundle=a_bundle(2)))

    store.fall_back()

    assert a_store(tmp_path).state.current == first.accepted


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_or_equal_release_is_refused(tmp_path: Path, version: int) -> None:
    store = a_store(tmp_path)
    taken(store, Repo(bundle=a_bundle(2)))

    with pytest.raises(ContentRefused) as refused:
        taken(store, Repo(bundle=a_bundle(version, count=21)))

    assert refused.value.reason is RefuseReason.ROLLBACK


def test_a_release_of_less_than_half_is_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    kept = taken(store, Repo(bundle=a_bundle(1, count=100)))

    with pytest.raises(ContentRefused) as refused:
        taken(store, Repo(bundle=a_bundle(2, count=20)))

    assert refused.value.reason is RefuseReason.SHRINK
    assert store.state.current == kept.accepted


def test_the_offline_key_may_shrink_and_go_back(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    taken(store, Repo(bundle=a_bundle(9, count=100)))

    swap = taken(store, Repo(bundle=a_bundle(2, count=1), targets_sign=True))

    assert swap.index.version == 2


def test_a_signed_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    for data in (b"junk", b"VDXINDEX" + bytes(200)):
        with pytest.raises(ContentRefused) as refused:
            taken(a_store(tmp_path), Repo(bundle=data))
        assert refused.value.reason is RefuseReason.MALFORMED


def test_another_bundle_than_signed_is_refused(tmp_path: Path) -> None:
    store, repo = a_store(tmp_path), Repo(bundle=a_bundle())
    flipped = bytearray(repo.bundle)
    flipped[-1] ^= 1

    for data in (repo.bundle[:-1], repo.bundle + b"x", bytes(flipped), b""):
        with pytest.raises(ContentRefused) as refused:
            taken(store, repo, data)
        assert refused.value.reason is RefuseReason.DIGEST


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    store, repo = a_store(tmp_path), Repo(bundle=a_bundle())
    (tmp_path / "elsewhere").write_bytes(repo.bundle)
    store.candidate.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        BundleCheck(store.candidate, facts_of(repo))


def test_a_bundle_is_compared_in_slices(tmp_path: Path) -> None:
    store, data = a_store(tmp_path), a_file([], a_release()) + bytes(5 * 1024 * 1024)
    repo = Repo(bundle=data)
    store.candidate.write_bytes(data)
    check = BundleCheck(store.candidate, facts_of(repo))

    steps = 1
    while not check.step(lambda: False):
        steps += 1

    assert steps == 6
    check.close()


def test_a_newer_chain_for_the_same_bundle_is_kept(tmp_path: Path) -> None:
    store, data = a_store(tmp_path), a_bundle()
    taken(store, Repo(bundle=data))
    newer = Repo(bundle=data, versions={"timestamp": 7})

    store.renew(facts_of(newer), newer.chain())

    current = a_store(tmp_path).state.current
    assert current is not None
    assert current.facts.timestamp == 7


def test_a_chain_for_another_bundle_cannot_slip_in(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    taken(store, Repo(bundle=a_bundle(1)))
    other = Repo(bundle=a_bundle(2))

    with pytest.raises(ContentRefused):
        store.renew(facts_of(other), other.chain())


@pytest.mark.parametrize("data", [b"", b"junk", b"\x93\x02\xc0\xc0"])
def test_a_damaged_state_is_none(tmp_path: Path, data: bytes) -> None:
    store = a_store(tmp_path)
    taken(store, Repo(bundle=a_bundle()))
    (store.directory / "accepted").write_bytes(data)

    assert a_store(tmp_path).state.current is None


def test_only_we_can_read_the_folder(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    taken(store, Repo(bundle=a_bundle()))

    assert store.directory.stat().st_mode & 0o077 == 0
    assert (store.directory / "accepted").stat().st_mode & 0o077 == 0


def test_leftovers_are_discarded(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.candidate.write_bytes(b"half")

    store.discard()

    assert not store.candidate.exists()


def test_the_mapped_file_costs_pages_and_no_memory_of_ours(tmp_path: Path) -> None:
    rows = [(IndicatorKind.IPV4, address(n), a_provenance(f"f{n % 7}")) for n in range(1, 20_000)]
    swap = taken(a_store(tmp_path), Repo(bundle=a_file(rows, a_release(1))))
    anonymous = _anonymous_kib()

    for n in range(1, 20_000, 7):
        assert swap.index.lookup_address(address(n), None)

    assert _anonymous_kib() - anonymous < 2048


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _anonymous_kib() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("Anonymous")).split()[1])


def test_a_reader_finds_the_bundle_in_use_and_changes_nothing(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    assert accepted_bundle(store.directory) is None
    assert accepted_bundle(tmp_path / "nowhere") is None
    swap = taken(store, Repo(bundle=a_bundle()))
    before = sorted(store.directory.rglob("*"))

    found = accepted_bundle(store.directory)

    assert found is not None
    assert MappedIndex(found.read_bytes()).version == swap.accepted.version
    assert sorted(store.directory.rglob("*")) == before
    found.unlink()
    assert accepted_bundle(store.directory) is None


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91" * 5000])
def test_a_damaged_state_names_no_bundle(tmp_path: Path, data: bytes) -> None:
    store = a_store(tmp_path)
    (store.directory / "accepted").write_bytes(data)

    assert accepted_bundle(store.directory) is None
