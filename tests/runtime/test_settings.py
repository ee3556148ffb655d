import enum
import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from runtime.settings import FILE_SIZE_BYTES_MAX, BadSettings, load, show


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Outbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: Path = Path("/var/lib/x")
    size_bytes_max: Annotated[int, Meta(ge=1)] = 512
    ratio: float = 0.25
    mode: Literal["full", "none"] = "full"
    names: tuple[str, ...] = ()
    peer: str | None = None


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    interval_s: int = 1


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outbox: Outbox = Outbox()
    watches: dict[str, Watch] = {}
    peers: tuple[Watch, ...] = ()
    enabled: bool = True
    extra: Annotated[Watch, Meta(description="beside")] | None = None
    short: dict[Annotated[str, Meta(max_length=3)], int] = {}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: str


def a_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "agent.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_missing_file_means_defaults(tmp_path: Path) -> None:
    assert load(Shape, tmp_path / "none.toml", {}) == Shape()
    assert load(Shape, None, {}) == Shape()


def test_a_missing_file_is_an_error_where_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="no such file") as caught:
        load(Shape, tmp_path / "none.toml", {}, missing_ok=False)

    assert caught.value.exit_code == 4


def test_the_file_replaces_defaults_and_the_environment_replaces_the_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, "[outbox]\nsize_bytes_max = 7\nratio = 1\n")
    env = {"VEDETTE__OUTBOX__RATIO": "0.5", "VEDETTE_OTHER": "x", "PATH": "/bin"}

    found = load(Shape, path, env)

    assert found == Shape(outbox=Outbox(size_bytes_max=7, ratio=0.5))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("OUTBOX__SIZE_BYTES_MAX", "12", Shape(outbox=Outbox(size_bytes_max=12))),
        ("OUTBOX__PATH", "/tmp/o", Shape(outbox=Outbox(path=Path("/tmp/o")))),
        ("OUTBOX__MODE", "none", Shape(outbox=Outbox(mode="none"))),
        ("OUTBOX__NAMES", '["a", "b"]', Shape(outbox=Outbox(names=("a", "b")))),
        ("OUTBOX__PEER", "[::1]:6610", Shape(outbox=Outbox(peer="[::1]:6610"))),
        ("ENABLED", "false", Shape(enabled=False)),
        ("WATCHES__ETC__INTERVAL_S", "9", Shape(watches={"etc": Watch(9)})),
        ("EXTRA__INTERVAL_S", "4", Shape(extra=Watch(4))),
        ("PEERS", "[{interval_s = 3}]", Shape(peers=(Watch(3),))),
    ],
)
def test_an_override_is_read_as_the_type_of_its_setting(
    name: str, text: str, expected: Shape
) -> None:
    assert load(Shape, None, {f"VEDETTE__{name}": text}) == expected


@pytest.mark.parametrize(
    ("text", "key", "value", "rule", "hint"),
    [
        (
            "[outbox]\nsize_byte_max = 1",
            "outbox.size_byte_max",
            "1",
            "unknown key",
            "size_bytes_max",
        ),
        ("[outbx]\nratio = 1", "outbx", "{ratio = 1}", "unknown key", "outbox"),
        (
            "zzz = 1",
            "zzz",
            "1",
            "unknown key",
            "known keys: enabled, extra, outbox",
        ),
        ("[outbox]\nsize_bytes_max = 0", "outbox.size_bytes_max", "0", "Expected `int` >= 1", ""),
        ("[outbox]\nratio = 'x'", "outbox.ratio", '"x"', "Expected `float`, got `str`", ""),
        ("[outbox]\npath = 1", "outbox.path", "1", "Expected `str`, got `int`", ""),
        ("[outbox]\nmode = 'no'", "outbox.mode", '"no"', "Invalid enum value 'no'", ""),
        ("outbox = 3", "outbox", "3", "Expected `object`, got `int`", ""),
        ("[watches.a]\n[watches.b]\ninterval_s = ''", "watches.b.interval_s", '""', "`int`", ""),
        ("[[peers]]\n[[peers]]\ninterval = 1", "peers.[1].interval", "1", "unknown", "interval_s"),
        ("[extra]\ninterval = 1", "extra.interval", "1", "unknown key", "interval_s"),
        ("[short]\nlonger = 1", "short", "{longer = 1}", "length <= 3", ""),
        ("[outbox]\nnames = ['a', 3]", "outbox.names.[1]", "3", "Expected `str`", ""),
    ],
)
def test_a_bad_setting_names_file_key_value_and_rule(
    tmp_path: Path, text: str, key: str, value: str, rule: str, hint: str
) -> None:
    path = a_file(tmp_path, text)

    with pytest.raises(BadSettings) as caught:
        load(Shape, path, {})

    problem = caught.value
    assert (problem.source, problem.key, problem.value) == (str(path), key, value)
    assert rule in problem.rule
    assert hint in problem.hint
    assert str(problem).startswith(f"{path}: {key} = {value}: ")


def test_a_key_that_must_be_given_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as caught:
        load(Strict, a_file(tmp_path, ""), {})

    assert (caught.value.key, caught.value.rule) == ("address", "is required")


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("OUTBX__RATIO", "1", "unknown key"),
        ("OUTBOX__RATIO__DEEPER", "1", "unknown key"),
        ("OUTBOX__RATIO", "much", "Expected `float`"),
        ("OUTBOX__NAMES", "[1, 2", "Expected `array`"),
        ("OUTBOX__SIZE_BYTES_MAX", "-1", "Expected `int` >= 1"),
        ("", "1", "unknown key"),
    ],
)
def test_a_bad_override_names_its_variable(name: str, text: str, rule: str) -> None:
    with pytest.raises(BadSettings, match=rule) as caught:
        load(Shape, None, {f"VEDETTE__{name}": text})

    assert caught.value.source == f"VEDETTE__{name}"


def test_a_rule_that_only_the_whole_shape_can_check_blames_the_override(tmp_path: Path) -> None:
    class Pair(msgspec.Struct, frozen=True):
        low: int = 1
        high: int = 2

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    class Outer(msgspec.Struct, frozen=True):
        pair: Pair = Pair()

    with pytest.raises(BadSettings, match="low is above high") as caught:
        load(Outer, a_file(tmp_path, "[pair]\nhigh = 5"), {"VEDETTE__PAIR__LOW": "9"})

    assert caught.value.key == "pair"


def test_an_override_below_a_value_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="is not a section in the file"):
        load(Shape, a_file(tmp_path, "outbox = 3"), {"VEDETTE__OUTBOX__RATIO": "1"})


@pytest.mark.parametrize("data", [b"\xff", b"a = ", b"a=" + b"[" * 5000, b"a = 1\na = 2"])
def test_what_is_not_toml_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    path = a_file(tmp_path, data)

    with pytest.raises(BadSettings, match=r"agent\.toml"):
        load(Shape, path, {})


def test_a_file_above_the_cap_or_a_folder_is_refused(tmp_path: Path) -> None:
    large = a_file(tmp_path, b"#" * (FILE_SIZE_BYTES_MAX + 1))

    with pytest.raises(BadSettings, match="larger than"):
        load(Shape, large, {})
    with pytest.raises(BadSettings, match="cannot be read"):
        load(Shape, tmp_path, {})


@given(data=st.binary(max_size=200))
def test_any_bytes_are_settings_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = a_file(tmp_path_factory.getbasetemp(), data)

    try:
        found = load(Shape, path, {})
    except BadSettings:
        return

    assert isinstance(found, Shape)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(key=TEXT, value=TEXT)
def test_any_override_is_a_setting_or_our_error(key: str, value: str) -> None:
    try:
        found = load(Shape, None, {f"VEDETTE__{key}": value})
    except BadSettings:
        return

    assert isinstance(found, Shape)


def some_settings() -> st.SearchStrategy[Shape]:
    outbox = st.builds(
        Outbox,
        path=TEXT.map(lambda text: Path("/") / text.replace("\0", "")),
        size_bytes_max=st.integers(1, 1 << 62),
        ratio=st.floats(allow_nan=False),
        names=st.lists(TEXT, max_size=3).map(tuple),
        peer=st.none() | TEXT,
    )
    watch = st.builds(Watch, st.integers(0, 9))
    return st.builds(
        Shape,
        outbox=outbox,
        watches=st.dictionaries(TEXT, watch, max_size=3),
        peers=st.lists(watch, max_size=2).map(tuple),
        enabled=st.booleans(),
    )


@given(settings=some_settings())
def test_what_show_prints_load_reads(
    tmp_path_factory: pytest.TempPathFactory, settings: Shape
) -> None:
    path = a_file(tmp_path_factory.getbasetemp(), show(settings))

    assert load(Shape, path, {}) == settings


def test_show_puts_keys_before_sections() -> None:
    text = show(Shape(watches={"a b": Watch(2)}, outbox=Outbox(ratio=math.inf)))

    assert text.startswith("peers = []\nenabled = true\n# extra is not set\n\n[outbox]\n")
    assert 'path = "/var/lib/x"' in text
    assert "ratio = inf" in text
    assert "# peer is not set" in text
    assert '[watches."a b"]\ninterval_s = 2\n' in text


class Square(msgspec.Struct, frozen=True, tag_field="kind", tag="square"):
    side: int = 1


class Circle(msgspec.Struct, frozen=True, tag_field="kind", tag="circle"):
    colour: Colour = Colour.RED


class Shapes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shapes: tuple[Square | Circle, ...] = ()
    mode: Literal["full", "none"] = "full"


@pytest.mark.parametrize(
    ("text", "key", "choices"),
    [
        ('mode = "half"', "mode", "full, none"),
        ('[[shapes]]\nkind = "line"', "shapes.[0].kind", "square, circle"),
        ('[[shapes]]\nkind = "circle"\ncolour = "blue"', "shapes.[0].colour", "red, green"),
    ],
)
def test_a_value_out_of_a_closed_set_is_told_the_set(
    tmp_path: Path, text: str, key: str, choices: str
) -> None:
    with pytest.raises(BadSettings, match="Invalid") as caught:
        load(Shapes, a_file(tmp_path, text), {})

    assert caught.value.key == key
    assert caught.value.hint == f"one of: {choices}"
