"""The laws of warninglists."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.feeds.errors import WarningListUnusable
from collector.feeds.warninglists import WarningLists, read_warninglist, safe_pattern
from proto.content.kinds import IndicatorKind
from proto.content.normalise import network
from tests.collector.feeds.builders import a_list, public_intel
from tests.proto.content.builders import EICAR

NAMES = ("filename",)


def of_address(lists: WarningLists, text: str, kind: IndicatorKind = IndicatorKind.IPV4) -> str:
    return lists.of_network(kind, network(kind, text))


def of_name(lists: WarningLists, text: str) -> str:
    return lists.of_text(IndicatorKind.FILE_NAME, text)


def test_a_cidr_list_knows_what_lies_inside_its_networks() -> None:
    lists = WarningLists([a_list("10.0.0.0/8", "8.8.8.8", "2001:4860::/32", "224.0.0.0/4")])

    assert of_address(lists, "10.1.2.3") == "harmless"
    assert of_address(lists, "8.8.8.8") == "harmless"
    assert of_address(lists, "239.1.1.1") == "harmless"
    assert of_address(lists, "2001:4860::8888", IndicatorKind.IPV6) == "harmless"
    assert of_address(lists, "8.8.8.9") == ""


def test_a_network_is_harmless_only_when_all_of_it_is() -> None:
    lists = WarningLists([a_list("10.1.0.0/16")])

    assert of_address(lists, "10.1.2.0/24", IndicatorKind.CIDR) == "harmless"
    assert of_address(lists, "10.0.0.0/8", IndicatorKind.CIDR) == ""


def test_an_endpoint_is_as_harmless_as_its_address() -> None:
    lists = WarningLists([a_list("10.0.0.0/8")])

    assert of_address(lists, "10.1.2.3:443", IndicatorKind.IP_PORT) == "harmless"


def test_a_string_list_knows_whole_values_in_any_case() -> None:
    lists = WarningLists([a_list("Setup.EXE", type="string", matching_attributes=NAMES)])

    assert of_name(lists, "setup.exe") == "harmless"
    assert of_name(lists, "mysetup.exe") == ""


def test_a_hostname_list_knows_a_domain_and_all_below_it() -> None:
    lists = WarningLists([a_list("example.com", type="hostname", matching_attributes=NAMES)])

    assert of_name(lists, "www.Example.com.") == "harmless"
    assert of_name(lists, "notexample.com") == ""


def test_a_substring_list_knows_what_contains_its_entries() -> None:
    lists = WarningLists([a_list("akamai", type="substring", matching_attributes=NAMES)])

    assert of_name(lists, "x-AKAMAI-y") == "harmless"
    assert of_name(lists, "akam") == ""


def test_a_regex_list_knows_what_its_patterns_find() -> None:
    lists = WarningLists([a_list(r"/^setup-\d+\.exe$/i", type="regex", matching_attributes=NAMES)])

    assert of_name(lists, "Setup-12.EXE") == "harmless"
    assert of_name(lists, "setup.exe") == ""


def test_a_list_speaks_only_of_the_kinds_it_names() -> None:
    lists = WarningLists([a_list(EICAR, type="string", matching_attributes=["sha256"])])

    assert lists.of_text(IndicatorKind.SHA256, EICAR) == "harmless"
    assert of_name(lists, EICAR) == ""


def test_where_several_lists_know_a_value_the_first_is_named() -> None:
    first, second = a_list("10.0.0.0/8", name="first"), a_list("10.1.0.0/16", name="second")

    assert of_address(WarningLists([first, second]), "10.1.2.3") == "first"
    assert of_address(WarningLists([second, first]), "10.1.2.3") == "second"


@pytest.mark.parametrize(
    ("kind", "entry"), [("cidr", "10.0.0.0/99"), ("regex", "(a+)+$"), ("string", "")]
)
def test_an_entry_that_cannot_be_used_is_counted_and_named(kind: str, entry: str) -> None:
    found = a_list("10.0.0.1", entry, type=kind)

    assert found.bad == 1
    assert found.entries == ("10.0.0.1",)
    assert len(found.bad_entries) == 1


@pytest.mark.parametrize(
    "text",
    ["(a+)+$", "(a|b)*c", r"(a)\1", "a*b*c*", "(?P<x>a)(?P=x)", "a" * 600, "(", "(a){20}", "[z-a]"],
)
def test_a_pattern_that_may_take_long_is_not_used(text: str) -> None:
    assert safe_pattern(text) is None


@given(text=st.text(alphabet="ab.*+?()[]|\\^${},0123456789", max_size=20))
def test_a_pattern_that_is_used_ends_soon_on_the_longest_value(text: str) -> None:
    pattern = safe_pattern(text)
    if pattern is None:
        return

    began = time.process_time()
    pattern.search("ab" * 511 + "!")

    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"name": "x", "type": "magic", "list": []}',
        b'{"name": "x", "type": "cidr"}',
        b'{"name": "", "type": "cidr", "list": []}',
        b'{"name": "x", "type": "cidr", "list": [1]}',
        b"[" * 100_000,
        b'{"\x80": 1}',
    ],
)
def test_what_is_no_warninglist_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(WarningListUnusable):
        read_warninglist(data)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_warninglist_or_unusable(data: bytes) -> None:
    with pytest.raises(WarningListUnusable):
        read_warninglist(data)


@given(
    entries=st.lists(st.text(max_size=20), max_size=5),
    kind=st.sampled_from(["cidr", "string", "hostname", "substring", "regex"]),
    value=st.text(min_size=1, max_size=30),
)
def test_any_entries_make_a_list_that_can_be_asked(
    entries: list[str], kind: str, value: str
) -> None:
    lists = WarningLists([a_list(*entries, type=kind, matching_attributes=[])])

    assert of_name(lists, value) in {"", "harmless"}
    assert of_address(lists, "192.0.2.1") in {"", "harmless"}


def test_the_published_lists_are_read_whole() -> None:
    paths = sorted(public_intel().glob("warninglists/*/list.json"))

    found = [read_warninglist(path.read_bytes()) for path in paths]
    lists = WarningLists(found)

    assert sum(one.bad for one in found) == 0
    assert "RFC 1918" in of_address(lists, "10.0.0.1")
    assert "DNS" in of_address(lists, "8.8.8.8")
    assert "EICAR" in lists.of_text(IndicatorKind.SHA256, EICAR)


def test_the_same_lists_have_the_same_digest() -> None:
    one, other = a_list("10.0.0.0/8"), a_list("10.0.0.0/9")

    assert WarningLists([one]).digest == WarningLists([one]).digest
    assert WarningLists([one]).digest != WarningLists([other]).digest


def test_a_hostname_list_is_asked_for_the_host_of_a_url() -> None:
    lists = WarningLists([a_list("example.com", type="hostname", matching_attributes=["url"])])

    for kind, value in (
        (IndicatorKind.URL, "http://www.example.com:8080/x?y=notexample.org"),
        (IndicatorKind.URL_PREFIX, "http://example.com"),
    ):
        assert lists.of_text(kind, value) == "harmless"
    assert lists.of_text(IndicatorKind.URL, "http://evil.example/example.com") == ""
    assert lists.of_text(IndicatorKind.DOMAIN, "example.com") == ""


def test_many_substrings_cost_a_value_its_length_and_not_their_number() -> None:
    parts = [f"part{n}x" for n in range(20_000)]
    lists = WarningLists([a_list(*parts, type="substring", matching_attributes=["domain"])])
    names = [f"a{n}.qart{n}.example" for n in range(2_000)]

    began = time.process_time()
    found = [lists.of_text(IndicatorKind.DOMAIN, name) for name in names]

    assert time.process_time() - began < 2
    assert not any(found)
    assert lists.of_text(IndicatorKind.DOMAIN, "a.part19999x.example") == "harmless"
    assert lists.of_text(IndicatorKind.DOMAIN, "a.part20000x.example") == ""


@pytest.mark.parametrize("part", ["a", "ab", "abc", "abcd"])
def test_a_substring_of_any_length_is_found(part: str) -> None:
    lists = WarningLists([a_list(part, type="substring", matching_attributes=["domain"])])

    assert lists.of_text(IndicatorKind.DOMAIN, f"x-{part}.example") == "harmless"
    assert lists.of_text(IndicatorKind.DOMAIN, "zz.zz") == ""
