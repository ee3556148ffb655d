"""The laws of content in `sense`: the real workflow, our publisher, and a mirror gone bad."""

import shutil
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from agent.sense.content import Content, ContentPorts, ContentSettings
from agent.sense.contentupdate import Spawn, spawn_child
from agent.sense.tufframes import Report
from collector.feeds.publish import Publisher, content_dir
from proto.content.kinds import IndicatorKind
from proto.model import Audit, Freshness, Health, HealthState, Record
from runtime.clock import NS_PER_S
from tests.agent.sense.test_contentstore import a_bundle
from tests.agent.sense.tufkit import OTHER_KEYS, Repo
from tests.collector.feeds.builders import a_publisher, some_settings
from tests.fakes.clock import FakeClock
from tests.fakes.content import FakeMirror, honest_child, scripted_child
from tests.proto.content.builders import EICAR

SETTINGS = ContentSettings()
DAY_NS = 86_400 * NS_PER_S


class Host:
    """A desk, the half that fetches for it, and their clock."""

    def __init__(
        self,
        tmp_path: Path,
        bootstrap: bytes,
        mirror: FakeMirror,
        *,
        clock: FakeClock | None = None,
        spawn: Spawn = honest_child,
    ) -> None:
        self.clock = clock or real_time()
        self.mirror = mirror
        self.trusted_ahead = 0
        self.spawn = spawn
        self.desk = Content(
            SETTINGS,
            ContentPorts(
                directory=tmp_path / "sense" / "content",
                bootstrap=bootstrap,
                send=mirror.send,
                clock=self.clock,
                trusted_now=lambda: self.clock.wall_ns() + self.trusted_ahead,
                random=lambda: 0.5,
                spawn=lambda stdin: self.spawn(stdin),  # noqa: PLW0108  (a test may change it)
            ),
        )

    def start(self) -> Sequence[Record]:
        return self.desk.start()

    def refresh(self) -> list[Record]:
        """Come online, let one refresh run to its end, and go offline again."""
        self.desk.online(is_online=True)
        due = self.desk.due()
        assert due is not None
        self.clock.forward(max(0, due - self.clock.boot_ns()) / NS_PER_S + 1)
        records = list(self.desk.poll())
        until = time.monotonic() + 20
        while self.is_busy() and time.monotonic() < until:
            for chunk in self.mirror.answers():
                self.desk.chunk(chunk)
            if self.desk.descriptors():
                wait(self.desk.descriptors(), 0.2)
            records += self.desk.poll()
        assert not self.is_busy()
        self.desk.online(is_online=False)
        return records

    def is_busy(self) -> bool:
        due = self.desk.due()
        return bool(self.desk.descriptors()) or (due is not None and due <= self.clock.boot_ns())

    @property
    def version(self) -> int:
        return self.desk.index.version


def real_time() -> FakeClock:
    """The TUF client reads the machine's clock; boot time stays ours."""
    clock = FakeClock()
    clock.wall = time.time_ns()
    return clock


def published(tmp_path: Path, *versions: int) -> tuple[Publisher, FakeMirror]:
    publisher = a_publisher(tmp_path, real_time())
    for version in versions:
        publisher.stage(a_bundle(version))
    return publisher, FakeMirror(content_dir(some_settings(tmp_path)))


def a_host(tmp_path: Path, *versions: int) -> tuple[Host, Publisher]:
    publisher, mirror = published(tmp_path, *versions)
    host = Host(tmp_path, publisher.root(), mirror)
    host.start()
    return host, publisher


def audits(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Outcome and reason (or new version) of each swap told of."""
    found = []
    for record in records:
        if isinstance(record, Audit):
            told = {argument.name: argument.value for argument in record.detail}
            found.append((record.outcome, told.get("reason", told.get("new_version", ""))))
    return found


def states(records: Sequence[Record]) -> list[HealthState]:
    return [record.state for record in records if isinstance(record, Health)]


# -- the good days ---------------------------------------------------------------------------------


def test_a_new_host_says_that_it_has_no_indicators(tmp_path: Path) -> None:
    publisher, mirror = published(tmp_path)
    host = Host(tmp_path, publisher.root(), mirror)

    records = host.start()

    assert states(records) == [HealthState.BLIND]
    assert host.desk.stamps() == ()
    assert host.desk.index.count == 0


def test_a_first_release_is_taken_and_told_of(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)

    records = host.refresh()

    assert audits(records) == [("accepted", "7")]
    assert states(records) == [HealthState.OK]
    assert host.desk.index.lookup(IndicatorKind.SHA256, EICAR)
    (stamp,) = host.desk.stamps()
    assert (stamp.name, stamp.version, stamp.freshness) == ("indicators", "7", Freshness.FRESH)


def test_a_newer_release_is_swapped_in_under_a_reader_of_the_older(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    reader = host.desk.index
    publisher.stage(a_bundle(8))

    records = host.refresh()

    assert audits(records) == [("accepted", "8")]
    assert (reader.version, host.version) == (7, 8)
    assert reader.lookup(IndicatorKind.SHA256, EICAR)


def test_nothing_new_is_no_record(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()

    assert host.refresh() == []
    assert not any("targets/" in fetch.name for fetch in host.mirror.asked[-2:])


def test_after_a_restart_without_a_network_matching_goes_on(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    again = Host(tmp_path, publisher.root(), FakeMirror(tmp_path / "nowhere"))

    records = again.start()

    assert again.desk.index.lookup(IndicatorKind.SHA256, EICAR)
    assert states(records) == [HealthState.OK]
    assert audits(records) == []


def test_a_hint_is_followed_at_once_but_not_more_often_than_allowed(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    host.desk.online(is_online=True)
    publisher.stage(a_bundle(8))

    host.desk.changed()

    due = host.desk.due()
    assert due is not None
    assert due - host.clock.boot_ns() <= SETTINGS.refresh_interval_s_min * NS_PER_S
    assert audits(host.refresh()) == [("accepted", "8")]


def test_without_a_hint_the_next_look_is_about_an_interval_away(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    waited = host.desk._next_at  # noqa: SLF001  (due is capped by the look at freshness)

    assert waited is not None
    assert 0.7 < (waited - host.clock.boot_ns()) / NS_PER_S / SETTINGS.refresh_interval_s < 1.3


def test_a_host_that_is_offline_asks_for_nothing(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.desk.changed()
    host.clock.forward(7200)

    assert not host.desk.poll()
    assert host.mirror.asked == []


def test_content_that_grows_old_on_a_silent_host_is_told_of_once(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    host.trusted_ahead = 400 * 86_400 * NS_PER_S
    told: list[Record] = []

    # As the loop does: nothing but the time it asked for is a reason to look.
    for _ in range(5):
        due = host.desk.due()
        assert due is not None
        host.clock.boot = max(due, host.clock.boot)
        assert host.is_busy()
        told += host.desk.poll()

    assert states(told) == [HealthState.DEGRADED]


def test_the_same_bundle_under_newer_signatures_only_moves_the_expiry(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    before = host.desk._store.state.current  # noqa: SLF001
    later = real_time()
    later.forward(13 * 3600)
    Publisher(some_settings(tmp_path), later).refresh()

    records = host.refresh()

    after = host.desk._store.state.current  # noqa: SLF001
    assert records == []
    assert before is not None
    assert after is not None
    assert after.facts.expires > before.facts.expires
    assert after.facts.sha256 == before.facts.sha256


def test_the_real_child_does_all_of_it(tmp_path: Path) -> None:
    publisher, mirror = published(tmp_path, 7)
    host = Host(tmp_path, publisher.root(), mirror, spawn=spawn_child)
    host.start()

    assert audits(host.refresh()) == [("accepted", "7")]
    again = Host(tmp_path, publisher.root(), mirror, spawn=spawn_child)
    assert states(again.start()) == [HealthState.OK]
    assert again.version == 7


# -- a mirror, or a collector, gone bad ------------------------------------------------------------


@pytest.mark.parametrize("word", ["timestamp", "snapshot", "indicators.json", ".vdx"])
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "missing", "endless"])
def test_a_spoilt_file_leaves_the_old_release_in_use(tmp_path: Path, word: str, how: str) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    publisher.stage(a_bundle(8))

    def meddle(name: str, data: bytes) -> bytes | None:
        if word not in name:
            return data
        return {
            "flipped": data[:-20] + bytes([data[-20] ^ 4]) + data[-19:],
            "cut": data[: len(data) // 2],
            "empty": b"",
            "missing": None,
            "endless": data + bytes(1 << 20),
        }[how]

    host.mirror.meddle = meddle

    records = host.refresh()

    assert host.version == 7
    assert host.desk.index.lookup(IndicatorKind.SHA256, EICAR)
    assert all(outcome == "refused" for outcome, _ in audits(records))
    host.mirror.meddle = lambda _, data: data
    assert audits(host.refresh()) == [("accepted", "8")]


def test_a_tampered_release_is_told_of_once(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    publisher.stage(a_bundle(8))
    host.mirror.meddle = lambda name, data: data[::-1] if ".vdx" in name else data

    first, second = host.refresh(), host.refresh()

    assert audits(first) == [("refused", "digest")]
    assert audits(second) == []


def test_a_mirror_that_goes_back_in_time_is_refused(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    shutil.copytree(host.mirror.directory, tmp_path / "older")
    publisher.stage(a_bundle(8))
    host.refresh()
    host.mirror.directory = tmp_path / "older"

    records = host.refresh()

    assert audits(records) == [("refused", "rollback")]
    assert host.version == 8


def test_files_of_two_releases_do_not_mix(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    old = {
        path.name.partition(".")[2]: path.read_bytes()
        for path in (host.mirror.directory / "metadata").iterdir()
        if "timestamp" not in path.name
    }
    publisher.stage(a_bundle(8))
    host.mirror.meddle = lambda name, data: old.get(name.partition(".")[2], data)

    records = host.refresh()

    assert [outcome for outcome, _ in audits(records)] == ["refused"]
    assert host.desk.index.count == 0


def test_another_repository_is_refused(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    host.mirror.directory = Repo(
        keys=OTHER_KEYS, bundle=a_bundle(8), versions={"timestamp": 2**40}
    ).write(tmp_path / "other")

    records = host.refresh()

    assert audits(records) == [("refused", "signature")]
    assert host.version == 7


def test_a_role_for_other_content_is_refused(tmp_path: Path) -> None:
    repo = Repo(role="rules", paths=("*/*",), bundle=a_bundle(8))
    host = Host(tmp_path, repo.root, FakeMirror(repo.write(tmp_path / "mirror")))
    host.start()

    assert audits(host.refresh()) == [("refused", "role")]
    assert host.desk.index.count == 0


def test_a_thief_of_the_online_key_cannot_go_back_or_empty_the_index(tmp_path: Path) -> None:
    good = Repo(bundle=a_bundle(8, count=100))
    host = Host(tmp_path, good.root, FakeMirror(good.write(tmp_path / "good")))
    host.start()
    host.refresh()
    later = {"timestamp": 2, "snapshot": 2, "delegated": 2}
    for bundle, reason in ((a_bundle(7, count=100), "rollback"), (a_bundle(9, count=1), "shrink")):
        thief = Repo(bundle=bundle, versions=later)
        host.mirror.directory = thief.write(tmp_path / reason)
        later = {role: version + 1 for role, version in later.items()}

        assert audits(host.refresh()) == [("refused", reason)]
        assert host.version == 8


def test_the_offline_key_can_do_both(tmp_path: Path) -> None:
    good = Repo(bundle=a_bundle(8, count=100))
    host = Host(tmp_path, good.root, FakeMirror(good.write(tmp_path / "good")))
    host.start()
    host.refresh()
    later = dict.fromkeys(("timestamp", "snapshot", "targets", "delegated"), 2)
    offline = Repo(bundle=a_bundle(3, count=1), versions=later, targets_sign=True)
    host.mirror.directory = offline.write(tmp_path / "offline")

    assert audits(host.refresh()) == [("accepted", "3")]


def test_an_expired_release_is_not_taken(tmp_path: Path) -> None:
    repo = Repo(bundle=a_bundle(8), days={"timestamp": -1})
    host = Host(tmp_path, repo.root, FakeMirror(repo.write(tmp_path / "mirror")))
    host.start()

    assert audits(host.refresh()) == [("refused", "expired")]


def test_a_collector_that_cannot_be_reached_is_no_security_event(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    host.mirror.directory = tmp_path / "nowhere"

    assert host.refresh() == []
    assert host.version == 7


def test_going_offline_ends_a_refresh_and_coming_back_begins_another(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.desk.online(is_online=True)
    host.clock.forward(20)
    host.desk.poll()
    assert host.desk.descriptors()

    host.desk.online(is_online=False)
    host.desk.poll()

    assert not host.desk.descriptors()
    assert audits(host.refresh()) == [("accepted", "7")]


def test_a_child_that_crashes_is_told_of_and_tried_again(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    broken = Host(tmp_path, publisher.root(), host.mirror, spawn=scripted_child(lambda _: None))
    broken.start()

    assert audits(broken.refresh()) == [("refused", "crashed")]
    assert audits(host.refresh()) == [("accepted", "7")]


def lying_child(lie: Report) -> Spawn:
    return scripted_child(lambda line: line.send(lie))


def test_a_child_that_claims_what_is_not_there_is_not_believed(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    current = host.desk._store.state.current  # noqa: SLF001
    assert current is not None
    facts = current.facts
    lies = [
        Report(current.chain, facts, fetched=True),
        Report(
            current.chain, type(facts)(1, 1, 1, 1, "targets", 1, 2**60, 9, bytes(32)), fetched=False
        ),
    ]
    for lie in lies:
        liar = Host(tmp_path, publisher.root(), host.mirror)
        liar.start()
        liar.spawn = lying_child(lie)

        assert [outcome for outcome, _ in audits(liar.refresh())] == ["refused"]
        assert liar.version == 7


# -- time and disk ---------------------------------------------------------------------------------


def test_content_ages_in_tiers_and_says_so_once_each(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    told = []
    for days in (0, 2, 2, 40, 40):
        host.trusted_ahead = days * DAY_NS
        told.append((states(host.desk.poll()), host.desk.stamps()[0].freshness))

    assert told == [
        ([], Freshness.FRESH),
        ([HealthState.DEGRADED], Freshness.STALE),
        ([], Freshness.STALE),
        ([HealthState.DEGRADED], Freshness.EXPIRED),
        ([], Freshness.EXPIRED),
    ]
    assert host.desk.index.lookup(IndicatorKind.SHA256, EICAR)


def test_stale_content_is_used_after_a_restart_and_stamped(tmp_path: Path) -> None:
    repo = Repo(bundle=a_bundle(8), days={"timestamp": 1})
    host = Host(tmp_path, repo.root, FakeMirror(repo.write(tmp_path / "mirror")))
    host.start()
    host.refresh()
    again = Host(tmp_path, repo.root, host.mirror)
    again.trusted_ahead = 3 * DAY_NS

    again.start()

    assert again.desk.stamps()[0].freshness is Freshness.STALE
    assert again.desk.index.lookup(IndicatorKind.SHA256, EICAR)


def test_a_bundle_changed_on_disk_is_left_for_the_one_before(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    publisher.stage(a_bundle(8))
    host.refresh()
    state = host.desk._store.state  # noqa: SLF001
    assert state.current is not None
    path = tmp_path / "sense" / "content" / f"{state.current.facts.sha256.hex()}.vdx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    again = Host(tmp_path, publisher.root(), host.mirror)

    records = again.start()

    assert audits(records) == [("refused", "digest")]
    assert again.version == 7
    assert audits(again.refresh()) == [("accepted", "8")]


def test_content_of_another_root_is_dropped_at_the_start(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.refresh()
    other = Repo(bundle=a_bundle(3))
    again = Host(tmp_path, other.root, FakeMirror(other.write(tmp_path / "other")))

    records = again.start()

    assert audits(records) == [("refused", "signature")]
    assert again.desk.index.count == 0
    assert audits(again.refresh()) == [("accepted", "3")]


def test_where_the_child_cannot_run_kept_content_is_used_and_it_is_said(tmp_path: Path) -> None:
    host, publisher = a_host(tmp_path, 7)
    host.refresh()
    again = Host(tmp_path, publisher.root(), host.mirror, spawn=scripted_child(lambda _: None))

    records = again.start()

    assert audits(records) == [("unverified", "crashed")]
    assert again.desk.index.lookup(IndicatorKind.SHA256, EICAR)


def test_a_folder_that_cannot_be_used_leaves_the_host_blind_and_running(tmp_path: Path) -> None:
    (tmp_path / "sense").mkdir()
    (tmp_path / "sense" / "content").write_text("in the way")
    publisher, mirror = published(tmp_path, 7)
    host = Host(tmp_path, publisher.root(), mirror)

    records = host.start()

    assert audits(records) == [("refused", "unavailable")]
    assert states(records) == [HealthState.BLIND]
    assert all(outcome == "refused" for outcome, _ in audits(host.refresh()))


def test_stopping_in_the_middle_leaves_nothing_open(tmp_path: Path) -> None:
    host, _ = a_host(tmp_path, 7)
    host.desk.online(is_online=True)
    host.clock.forward(20)
    host.desk.poll()

    host.desk.stop()
    host.desk.stop()

    assert host.desk.descriptors() == ()
