"""The laws of one spelling for each value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import BadValue
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.normalise import (
    address_kind,
    file_name,
    network,
    network_kind,
    normalise,
    process_name,
    sha256_bytes,
)
from tests.proto.content.builders import EICAR

HOSTILE = st.text() | st.text(alphabet="0123456789abcdefABCDEF:./\\[]% \n")


@given(raw=st.binary(min_size=32, max_size=32))
def test_a_digest_is_the_same_in_either_case(raw: bytes) -> None:
    assert sha256_bytes(raw.hex()) == sha256_bytes(raw.hex().upper()) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        EICAR[:-1],
        EICAR + "0",
        f" {EICAR}",
        f"{EICAR[:-2]} 0",
        f"{EICAR[:31]} {EICAR[32:]}",
        f"0x{EICAR[2:]}",
        "g" * 64,
        "\u0661" * 64,
    ],
)
def test_what_is_not_64_hexadecimal_digits_is_no_sha256(text: str) -> None:
    with pytest.raises(BadValue):
        sha256_bytes(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("evil.elf", "evil.elf"),
        ("/tmp/.X11/Evil.ELF", "Evil.ELF"),
        ("C:\\Windows\\Temp\\evil.exe", "evil.exe"),
        ("\\\\server\\share\\evil.exe", "evil.exe"),
        ("/tmp/a\\b", "a\\b"),
        ("...", "..."),
    ],
)
def test_a_file_is_named_by_the_last_part_of_its_path_in_its_own_case(text: str, name: str) -> None:
    assert file_name(text) == name
    assert process_name(text) == name


@pytest.mark.parametrize("text", ["", "/", "/tmp/", "..", "/tmp/..", "a\0b", "a" * 256])
def test_what_cannot_name_a_file_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        file_name(text)


@given(kind=st.sampled_from(IndicatorKind), text=HOSTILE)
def test_any_text_has_one_stable_spelling_or_is_a_bad_value(kind: IndicatorKind, text: str) -> None:
    try:
        canonical = normalise(kind, text)
    except BadValue:
        return

    stable = kind
    if KINDS[kind].shape is Shape.ADDRESS:
        stable = network_kind(network(kind, text))
    assert normalise(stable, canonical) == canonical


def test_a_kind_of_address_takes_no_other_kind() -> None:
    values = {
        IndicatorKind.IPV4: "192.0.2.1",
        IndicatorKind.IPV6: "2001:db8::1",
        IndicatorKind.CIDR: "192.0.2.0/24",
        IndicatorKind.IP_PORT: "192.0.2.1:443",
    }

    for kind, value in values.items():
        assert normalise(kind, value) == value
        for other in values.keys() - {kind}:
            with pytest.raises(BadValue):
                normalise(other, value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("192.0.2.1", IndicatorKind.IPV4),
        ("192.0.2.1:443", IndicatorKind.IP_PORT),
        ("192.0.2.0/24", IndicatorKind.CIDR),
        ("2001:db8::1", IndicatorKind.IPV6),
        ("2001:db8::/32", IndicatorKind.CIDR),
        ("[2001:db8::1]:443", IndicatorKind.IP_PORT),
        ("2a02:cf40:1::5:40669", IndicatorKind.IP_PORT),
        ("2a02:cf40:1::5:443", IndicatorKind.IPV6),
    ],
)
def test_an_address_of_an_unsaid_kind_is_told_by_its_shape(text: str, kind: IndicatorKind) -> None:
    assert address_kind(text) is kind
    assert normalise(kind, text)
