"""The laws of one spelling for URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import BadValue
from proto.content.urls import PREFIXES_MAX, URL_CHARS_MAX, parse_url, url, url_prefix


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("HTTP://Evil.Example", "http://evil.example/"),
        ("hxxps://evil[.]example/Path", "https://evil.example/Path"),
        ("hxxp[:]//evil[.]example/a", "http://evil.example/a"),
        ("h**p://evil(.)example", "http://evil.example/"),
        ("evil.example/a", "http://evil.example/a"),
        ("http://evil.example:80/a#top", "http://evil.example/a"),
        ("https://evil.example:443/", "https://evil.example/"),
        ("http://evil.example:8080/", "http://evil.example:8080/"),
        ("http://evil.example:/", "http://evil.example/"),
        ("http://user:pw@evil.example/", "http://evil.example/"),
        ("http://a@b@evil.example/", "http://evil.example/"),
        ("http://evil.example./a", "http://evil.example/a"),
        ("http://evil.example/%7euser/%2fx", "http://evil.example/~user/%2Fx"),
        ("http://evil.example/100%/%4", "http://evil.example/100%25/%254"),
        ("http://evil.example/ü?q=ß", "http://evil.example/%C3%BC?q=%C3%9F"),
        ("http://evil.example/a/./b/../c", "http://evil.example/a/c"),
        ("http://evil.example/a/..", "http://evil.example/"),
        ("http://evil.example/%2e%2e/x", "http://evil.example/x"),
        ("http://evil.example?q=1", "http://evil.example/?q=1"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://[2001:DB8:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://[::ffff:192.0.2.1]/", "http://192.0.2.1/"),
        ("http://3221225985/", "http://192.0.2.1/"),
        ("http://0xC0.0.0x2.01/", "http://192.0.2.1/"),
        ("http://192.0.513/", "http://192.0.2.1/"),
        ("tcp://evil.example:4444", "tcp://evil.example:4444/"),
        ("http://localhost/x", "http://localhost/x"),
    ],
)
def test_a_url_has_one_spelling(text: str, spelling: str) -> None:
    assert url(text) == spelling
    assert url(spelling) == spelling


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "http:///x",
        "://evil.example",
        "1a://evil.example",
        "http://evil.example:99999/",
        "http://evil.example:x/",
        "http://evil example/",
        "http://evil.example/a b",
        "http://evil.example/\n",
        "http://[192.0.2.1]/",
        "http://[::1/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://99999999999/",
        "http://%ff%fe/",
        "http://evil.example/" + "a" * URL_CHARS_MAX,
        "x" * 17 + "://evil.example",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        url(text.replace("\n", "\nx"))


def test_a_prefix_ends_at_a_segment_and_has_no_query() -> None:
    assert url_prefix("hxxp://evil[.]example/a/") == "http://evil.example/a"
    assert url_prefix("http://evil.example") == "http://evil.example"
    with pytest.raises(BadValue):
        url_prefix("http://evil.example/?q")


def test_every_prefix_of_a_seen_url_is_asked_for_the_shortest_first() -> None:
    found = parse_url("http://evil.example:8080/a/b/c.sh?x=1")

    assert list(found.prefixes()) == [
        "http://evil.example:8080",
        "http://evil.example:8080/a",
        "http://evil.example:8080/a/b",
        "http://evil.example:8080/a/b/c.sh",
    ]


def test_a_path_of_any_depth_has_a_bounded_number_of_prefixes() -> None:
    found = list(parse_url("http://evil.example" + "/a" * 1000).prefixes())

    assert len(found) <= PREFIXES_MAX + 2
    assert found[-1].endswith("/a" * 1000)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("http://192.0.2.1/", 80),
        ("https://192.0.2.1/", 443),
        ("http://192.0.2.1:8080/", 8080),
        ("gopher://192.0.2.1/", None),
    ],
)
def test_the_port_of_a_url_is_the_schemes_own_or_what_it_says(text: str, port: int | None) -> None:
    assert parse_url(text).service_port == port


@given(
    text=st.text()
    | st.text(alphabet="htps:/.@[]()%25aZé\uff0e?#-_1x\\")
    | st.builds("http://evil.example/{}".format, st.text(alphabet="%2eEfF4/.?#aé"))
    | st.builds("http://{}/".format, st.text(alphabet="0x19.:[]a%"))
)
def test_any_text_has_one_stable_spelling_or_is_a_bad_value(text: str) -> None:
    try:
        found = url(text)
    except BadValue:
        return

    assert url(found) == found
    assert found.isascii()
    prefix = found.partition("?")[0]
    assert url_prefix(url_prefix(prefix)) == url_prefix(prefix)
    assert url_prefix(prefix) in list(parse_url(found).prefixes())


PLAIN_LOOKING = st.from_regex(
    r"\A(https?|hxxp)://[a-z0-9-]{1,4}\.[a-z]{1,3}(/[a-z.]{0,3}){1,4}(\?[a-z/.]{0,4})?\Z"
)


@given(text=PLAIN_LOOKING)
def test_what_is_taken_as_it_stands_is_what_the_long_way_gives(text: str) -> None:
    assert url(text) == url(f" {text}")
    assert parse_url(text) == parse_url(f" {text}")
