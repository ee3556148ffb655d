"""The laws of one spelling for each value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import BadValue
from proto.content.kinds import KINDS, IndicatorKind, Shape
from proto.content.normalise import (
    address_kind,
    digest_bytes,
    email,
    file_name,
    file_path,
    ja4,
    likely_kind,
    mutex,
    network,
    network_kind,
    normalise,
    process_name,
)
from tests.proto.content.builders import EICAR

HOSTILE = (
    st.text()
    | st.text(alphabet="0123456789abcdefABCDEF:./\\[]% \n")
    | st.text(alphabet="htxp:/.@[]()%25aé\uff21ß\uff0e。?#-_1")
)


def sha256_digest(text: str) -> bytes:
    return digest_bytes(KINDS[IndicatorKind.SHA256], text)


@given(raw=st.binary(min_size=32, max_size=32))
def test_a_digest_is_the_same_in_either_case(raw: bytes) -> None:
    assert sha256_digest(raw.hex()) == sha256_digest(raw.hex().upper()) == raw


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
        sha256_digest(text)


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


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/tmp/.X11/a", "/tmp/.X11/a"),
        ("//tmp/./b/../a/", "/tmp/a"),
        ("C:\\Temp\\a.exe", "C:\\Temp\\a.exe"),
    ],
)
def test_a_path_is_absolute_and_has_no_detours(text: str, path: str) -> None:
    assert file_path(text) == path


@pytest.mark.parametrize("text", ["", "a", "./a", "/", "/..", "/a\0b", "/" + "a" * 4096])
def test_what_is_no_absolute_path_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        file_path(text)


@pytest.mark.parametrize(
    "text", ["Bob@Evil.Example.", " mailto:bob@evil.example", "bob[@]evil[.]example"]
)
def test_a_mail_address_is_one_in_any_of_its_spellings(text: str) -> None:
    assert email(text) == "bob@evil.example"


@pytest.mark.parametrize("text", ["", "bob", "@evil.example", "a b@evil.example", "a@b@c.example"])
def test_what_is_no_mail_address_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        email(text)


def test_a_ja4_is_three_parts_in_lower_case() -> None:
    assert ja4("T13D1516H2_8DAAF6152771_E5627EFA2AB1") == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    with pytest.raises(BadValue):
        ja4("t13d1516h2_8daaf6152771")


def test_a_mutex_is_kept_as_it_stands() -> None:
    assert mutex("Global\\x y") == "Global\\x y"
    for text in ("", "a\0", "a" * 256):
        with pytest.raises(BadValue):
            mutex(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hxxp://a[.]example/x", IndicatorKind.URL),
        ("a.example/x", IndicatorKind.URL),
        ("a[.]example", IndicatorKind.DOMAIN),
        ("a.example:8080", IndicatorKind.DOMAIN),
        ("bob@a.example", IndicatorKind.EMAIL),
        ("a" * 32, IndicatorKind.MD5),
        ("a" * 40, IndicatorKind.SHA1),
        (EICAR, IndicatorKind.SHA256),
        ("192[.]0[.]2[.]1", IndicatorKind.IPV4),
        ("192.0.2.1:80", IndicatorKind.IP_PORT),
        ("192.0.2.0/24", IndicatorKind.CIDR),
        ("2001:db8::/32", IndicatorKind.CIDR),
        ("[2001:db8::1]:80", IndicatorKind.IP_PORT),
    ],
)
def test_a_value_of_an_unsaid_kind_is_told_by_its_shape(text: str, kind: IndicatorKind) -> None:
    assert likely_kind(text) is kind
    assert normalise(kind, text)
