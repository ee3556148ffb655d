"""Certificates of others are shown as they are; any bytes do no harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.identity import TenantId
from certs.reading import read_certificates
from tests.certs.builders import Pki, a_pki
from tests.fakes.clock import FakeClock

NOW = FakeClock().wall_ns()


@pytest.fixture(scope="module")
def pki() -> Pki:
    return a_pki(NOW, TenantId(bytes(range(16))))


def test_a_certificate_says_whom_it_names_and_how_long_it_holds(pki: Pki) -> None:
    (one,), refused = read_certificates(pki.root.certificate_pem)

    assert refused == 0
    assert one.subject == one.issuer != ""
    assert one.not_before_ns <= NOW < one.not_after_ns
    assert one.is_authority
    assert len(one.sha256) == 32


def test_several_are_read_and_what_lies_between_is_not(pki: Pki) -> None:
    text = b"x\n" + pki.root.certificate_pem + b"-----BEGIN OTHER-----\n" + pki.root.certificate_pem

    assert len(read_certificates(text)[0]) == 2


def test_a_damaged_one_is_counted_and_the_next_is_read(pki: Pki) -> None:
    pem = pki.root.certificate_pem

    found, refused = read_certificates(pem.replace(b"MII", b"AAA", 1) + pem)

    assert (len(found), refused) == (1, 1)


@given(st.binary(max_size=200))
def test_any_bytes_are_certificates_or_counted(data: bytes) -> None:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----"

    found, _ = read_certificates(data + begin + data + end)

    assert found == []


@given(st.data())
def test_damage_anywhere_is_read_or_counted(pki: Pki, data: st.DataObject) -> None:
    pem = bytearray(pki.root.certificate_pem)
    place = data.draw(st.integers(28, len(pem) - 28))
    pem[place] = data.draw(st.sampled_from(b"ABCxyz019+/"))

    found, refused = read_certificates(bytes(pem))

    assert len(found) + refused <= 1
