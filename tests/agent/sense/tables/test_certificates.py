"""Certificates are shown with how long they hold; keys and authorities of the system are not."""

from pathlib import Path

import pytest

from agent.sense.tables import certificates
from agent.sense.tables.table import TableSettings
from certs.identity import TenantId
from runtime.clock import NS_PER_S
from tests.agent.sense.tables.views import looking_at, shown, write
from tests.certs.builders import a_pki
from tests.fakes.clock import FakeClock

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture(scope="module")
def pem() -> bytes:
    return a_pki(FakeClock().wall_ns(), TenantId(bytes(range(16)))).root.certificate_pem


def settings(*paths: str) -> TableSettings:
    return TableSettings(certificate_paths=paths)


def test_a_certificate_is_a_row(tmp_path: Path, pem: bytes) -> None:
    write(tmp_path, {"etc/x/a.pem": b"junk before\n" + pem + b"and after"})
    looking = looking_at(tmp_path, settings("/etc/x"))

    (row,) = shown(certificates.TABLE, looking)

    assert (row["path"], row["state"], row["is_authority"]) == ("/etc/x/a.pem", "holds", True)
    assert isinstance(row["days_left"], int)
    assert row["days_left"] > 300


@pytest.mark.parametrize(("days", "state"), [(-400, "not yet"), (0, "holds"), (36_000, "expired")])
def test_a_certificate_holds_for_its_time(
    tmp_path: Path, pem: bytes, days: int, state: str
) -> None:
    write(tmp_path, {"etc/x/a.pem": pem})
    looking = looking_at(tmp_path, settings("/etc/x"))
    assert isinstance(looking.clock, FakeClock)
    looking.clock.wall += days * DAY_NS

    (row,) = shown(certificates.TABLE, looking)

    assert row["state"] == state


def test_one_that_ends_soon_says_so(tmp_path: Path, pem: bytes) -> None:
    write(tmp_path, {"etc/x/a.pem": pem})
    looking = looking_at(tmp_path, settings("/etc/x"))
    (row,) = shown(certificates.TABLE, looking)
    assert isinstance(looking.clock, FakeClock)
    assert isinstance(row["not_after"], int)
    looking.clock.wall = row["not_after"] - 3 * DAY_NS

    (soon,) = shown(certificates.TABLE, looking)

    assert (soon["state"], soon["days_left"]) == ("soon", 3)


def test_a_file_is_looked_into_once_and_authorities_of_the_system_are_not(
    tmp_path: Path, pem: bytes
) -> None:
    write(
        tmp_path,
        {
            "etc/x/live/cert.pem": "->../../archive/cert1.pem",
            "etc/archive/cert1.pem": pem,
            "etc/y": "->/etc/x",
            "etc/x/ca-certificates.crt": pem,
            "etc/x/root.pem": "->/usr/share/ca-certificates/root.crt",
            "usr/share/ca-certificates/root.crt": pem,
            "etc/x/hash.0": "->root.pem",
            "etc/x/notes.txt": pem,
        },
    )

    (row,) = shown(certificates.TABLE, looking_at(tmp_path, settings("/etc/x", "/etc/y")))

    assert row["path"] == "/etc/x/live/cert.pem"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    write(tmp_path, {"etc/x/sub/loop": "->../../x"})
    looking = looking_at(tmp_path, settings("/etc/x"))

    assert shown(certificates.TABLE, looking) == []


def test_a_damaged_certificate_is_said(tmp_path: Path, pem: bytes) -> None:
    damaged = pem.replace(b"MII", b"AAA", 1)
    looking = looking_at(write(tmp_path, {"etc/a.crt": damaged + pem}), settings("/etc/a.crt"))

    assert len(shown(certificates.TABLE, looking)) == 1
    assert "/etc/a.crt" in looking.problems[0]


def test_places_that_are_not_there_are_nothing_amiss(tmp_path: Path) -> None:
    looking = looking_at(tmp_path)

    assert shown(certificates.TABLE, looking) == []
    assert looking.problems == []
