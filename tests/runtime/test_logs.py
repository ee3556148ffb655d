import enum
import io
import json
import logging
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.logs import VALUE_CHARS_MAX, Redacted, Style, configure, logger


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture(autouse=True)
def untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(style: Style = "json", **fields: object) -> list[str]:
    stream = io.StringIO()
    configure("debug", style, stream)
    logger("room").info("batch accepted", **fields)
    return stream.getvalue().split("\n")


def event_of(**fields: object) -> dict[str, Any]:
    line, end = lines_of("json", **fields)
    assert end == ""
    event: dict[str, Any] = json.loads(line)
    return event


def test_a_line_has_time_level_source_message_and_fields() -> None:
    event = event_of(batch=7)

    assert event.pop("time")[-5:].endswith("Z")
    assert event == {"level": "info", "logger": "room", "message": "batch accepted", "batch": 7}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (math.inf, "inf"),
        (1 << 70, hex(1 << 70)),
        (b"\x00\xff", "00ff"),
        (memoryview(b"ab"), "6162"),
        (Colour.RED, "red"),
        (Path("/a"), "/a"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (ValueError("bad"), "ValueError: bad"),
        ([1, (2, {3})], [1, [2, [3]]]),
        ({"a": {1: b"\x01"}}, {"a": {"1": "01"}}),
        ([[[["deep"]]]], [[["..."]]]),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_field_of_any_type_becomes_json(value: object, shown: object) -> None:
    assert event_of(x=value)["x"] == shown


def test_a_long_field_is_cut() -> None:
    event = event_of(text="a" * 5000, many=list(range(1000)), number=10**5000)

    assert len(event["text"]) == VALUE_CHARS_MAX
    assert len(event["many"]) < 1000
    assert len(event["number"]) == VALUE_CHARS_MAX


def test_a_field_that_contains_itself_ends() -> None:
    loop: list[object] = []
    loop.append(loop)

    assert event_of(x=loop)["x"] == [[["..."]]]


def test_a_field_cannot_take_the_place_of_a_part_of_the_line() -> None:
    event = event_of(level="error", time="never", logger="other")

    assert (event["level"], event["logger"]) == ("info", "room")
    assert (event["level_"], event["time_"]) == ("error", "never")


@given(text=st.text(), style=st.sampled_from(["json", "plain"]))
def test_no_text_ends_the_line_or_leaves_ascii(text: str, style: Style) -> None:
    line, end = lines_of(style, text=text)

    assert end == ""
    assert line.isascii()
    assert line.isprintable()


@given(text=st.text())
def test_hostile_text_in_a_library_message_stays_in_its_line(text: str) -> None:
    stream = io.StringIO()
    configure("debug", "plain", stream)

    logging.getLogger("library").warning("got %s", text)

    line, end = stream.getvalue().split("\n")
    assert end == ""
    assert line.isascii()
    assert line.isprintable()


def test_a_plain_line_is_readable() -> None:
    (line, _) = lines_of("plain", name="a", text='say "hi" x=y', number=3, empty="", items=[1])

    assert line[24:] == (
        ' INFO    room: batch accepted name=a text="say \\"hi\\" x=y" number=3 empty="" items=[1]'
    )


@pytest.mark.parametrize("style", ["json", "plain"])
def test_a_secret_prints_as_stars(style: Style) -> None:
    secret = Redacted("hunter2")

    text = "".join(lines_of(style, token=secret, nested=[{"k": secret}]))

    assert "hunter2" not in f"{text}{secret}{secret!r}{secret:}"
    assert secret.reveal() == "hunter2"
    assert text.count("***") == 2


def test_bound_fields_stand_on_every_line() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)
    log = logger("room").bind(name="sense")

    log.warning("late", wait_s=1)
    log.bind(name="ship").error("gone")
    log.debug("unseen")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["name"], first["wait_s"], first["level"]) == ("sense", 1, "warning")
    assert (second["name"], second["level"]) == ("ship", "error")


def test_a_library_error_carries_its_trace_in_one_line() -> None:
    stream = io.StringIO()
    configure("info", "json", stream)

    try:
        int("inner\nline")
    except ValueError:
        logging.getLogger("library").exception("failed")

    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["trace"]


def test_configuring_again_replaces_the_stream() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("info", "json", first)
    configure("info", "json", second)

    logger("room").info("once")

    assert not first.getvalue()
    assert second.getvalue().count("\n") == 1
