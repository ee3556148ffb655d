import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import NotEnrolled
from agent.ship.credentials import (
    Credentials,
    load_credentials,
    load_trust,
    save_identity,
    save_trust,
)
from certs.channel import TlsIdentity
from certs.keyring import write_key_file
from certs.p256 import P256Key
from certs.trust import TRUST_BYTES_MAX
from tests.fakes.enrollment import FakeFront

CHAIN = b"-----BEGIN CERTIFICATE-----\n"
KEY = P256Key.generate()
HOUR_NS = 3600 * 10**9


def test_a_key_and_its_chain_are_read_back_as_they_were_kept(tmp_path: Path) -> None:
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))

    found = load_credentials(tmp_path)

    assert found.identity.key.to_pem() == KEY.to_pem()
    assert found.identity.chain_pem == CHAIN
    assert (found.received_at, found.not_after) == (5, 9)


def test_the_two_are_one_file_that_only_ship_can_read(tmp_path: Path) -> None:
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))

    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_renewal_replaces_both_at_once(tmp_path: Path) -> None:
    other = P256Key.generate()
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))

    save_identity(tmp_path, other, (CHAIN + CHAIN, 6, 10))

    found = load_credentials(tmp_path)
    assert found.identity.key.to_pem() == other.to_pem()
    assert found.identity.chain_pem == CHAIN + CHAIN
    assert len(list(tmp_path.iterdir())) == 1


def test_the_private_key_is_never_printed(tmp_path: Path) -> None:
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))

    assert "PRIVATE" not in repr(load_credentials(tmp_path))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, mode: int) -> None:
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))
    (tmp_path / "tls.json").chmod(mode)

    with pytest.raises(NotEnrolled):
        load_credentials(tmp_path)


def test_a_link_is_not_followed_to_a_key(tmp_path: Path) -> None:
    save_identity(tmp_path, KEY, (CHAIN, 5, 9))
    (tmp_path / "tls.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "tls.json").symlink_to(tmp_path / "elsewhere.json")

    with pytest.raises(NotEnrolled):
        load_credentials(tmp_path)


def test_what_is_missing_is_not_enrolled_and_says_where(tmp_path: Path) -> None:
    for load in (load_credentials, load_trust):
        with pytest.raises(NotEnrolled, match=str(tmp_path)) as caught:
            load(tmp_path)
        assert caught.value.exit_code == 6


@given(st.integers(0, 2**62), st.integers(1, 400 * 24), st.floats(0, 1, exclude_max=True))
def test_renewal_comes_between_two_fifths_and_three_fifths_of_the_life(
    received_at: int, hours: int, jitter: float
) -> None:
    life = hours * HOUR_NS
    credentials = Credentials(TlsIdentity(CHAIN, KEY), received_at, received_at + life)

    at = credentials.renew_at(jitter) - received_at

    assert 0.4 * life <= at + 1
    assert at <= 0.6 * life + 1


def test_a_fleet_enrolled_at_once_does_not_renew_at_once() -> None:
    now = time.time_ns()
    credentials = Credentials(TlsIdentity(CHAIN, KEY), now, now + 24 * HOUR_NS)

    first, last = credentials.renew_at(0), credentials.renew_at(0.999)

    assert last - first > 4 * HOUR_NS


def test_trust_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    trust = FakeFront().trust

    save_trust(tmp_path, trust.encode())

    assert load_trust(tmp_path) == trust
    assert stat.S_IMODE((tmp_path / "trust.json").stat().st_mode) == 0o644


def test_a_trust_file_that_somebody_reformatted_or_padded_is_none(tmp_path: Path) -> None:
    data = FakeFront().trust.encode()

    for other in (data + b"\n", data.replace(b"  ", b" "), data + b" " * TRUST_BYTES_MAX):
        save_trust(tmp_path, other)
        with pytest.raises(NotEnrolled):
            load_trust(tmp_path)


@given(st.binary(max_size=300) | st.just(b"[" * 4000))
def test_any_bytes_are_not_enrolled(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.getbasetemp()
    write_key_file(directory / "tls.json", data)
    save_trust(directory, data)

    for load in (load_credentials, load_trust):
        with pytest.raises(NotEnrolled):
            load(directory)
