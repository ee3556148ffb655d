from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.content.errors import RuleRefused, RulesUnreadable
from collector.content.sigmayaml import (
    FILE_BYTES_MAX,
    SourceFile,
    documents,
    source_files,
)


def test_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.yml", "b/a.yaml", "a.yml", "notes.txt"):
        (tmp_path / name).write_text("title: x")

    assert [one.name for one in source_files(tmp_path)] == ["a.yml", "b/a.yaml", "z.yml"]
    assert [one.name for one in source_files(tmp_path / "z.yml")] == ["z.yml"]


def test_a_place_without_rules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RulesUnreadable):
        list(source_files(tmp_path))
    with pytest.raises(RulesUnreadable):
        list(source_files(tmp_path / "absent"))


def test_a_file_may_have_several_documents() -> None:
    assert documents(SourceFile("x", b"title: a\n---\ntitle: b\n---\n")) == [
        {"title": "a"},
        {"title": "b"},
    ]


BOMB = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (at + 1, at + 1, b",".join([b"*%c" % at] * 9)) for at in range(97, 107)
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"- a\n- b",
        b"just text",
        b"a: [",
        b"a: 1\na: 2",
        b"\xff\xfe\x00",
        b"x: !!python/object/apply:os.system [id]",
        b"[" * 5000,
        b"- " * 5000,
        b"a: " + b"{a: " * 100,
        b"\n".join(b"k%d: 1" % at for at in range(60_000)),
        b"---\na: 1\n" * 100,
        b"x" * (FILE_BYTES_MAX + 1),
        BOMB,
    ],
    ids=range(14),
)
def test_what_is_no_rule_or_too_much_of_one_is_refused(data: bytes) -> None:
    with pytest.raises(RuleRefused):
        documents(SourceFile("x", data))


@given(st.binary(max_size=200))
def test_any_bytes_are_documents_or_refused(data: bytes) -> None:
    try:
        found = documents(SourceFile("x", data))
    except RuleRefused:
        return
    assert all(isinstance(document, dict) for document in found)
