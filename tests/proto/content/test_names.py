"""The laws of content names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.content.errors import BadName
from proto.content.names import check_name

DIGEST = "0" * 64


@pytest.mark.parametrize(
    "name",
    [
        "metadata/timestamp.json",
        "metadata/1.root.json",
        "metadata/1790000000.indicators.json",
        f"targets/indicators/{DIGEST}.indicators.vdx",
    ],
)
def test_the_names_that_are_published_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "metadata",
        "metadata/",
        "/metadata/timestamp.json",
        "metadata//timestamp.json",
        "metadata/../keys/online.pem",
        "metadata/..",
        "metadata/a..b",
        "metadata/.timestamp.json.0123",
        "keys/online.pem",
        "METADATA/timestamp.json",
        "metadata/%2e%2e/x",
        "metadata\\timestamp.json",
        "metadata/time stamp",
        "metadata/timestamp.json\n",
        "metadata/timestamp.json\0",
        "targets/a/b/c/d",
        "metadata/" + "a" * 300,
        "metadata/\u0661",
    ],
)
def test_a_name_cannot_leave_its_folder_or_name_a_hidden_file(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


@given(name=st.text() | st.text(alphabet="metadatrgs/.-_0"))
def test_any_text_is_a_safe_name_or_a_bad_one(name: str) -> None:
    try:
        check_name(name)
    except BadName:
        return

    parts = name.split("/")
    assert parts[0] in {"metadata", "targets"}
    assert all(part and not part.startswith(".") and ".." not in part for part in parts)
