import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.hosttext import CUT, host_text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"\xff\xfe.sh", "\\xff\\xfe.sh"),
        ("na\u00efve", "na\u00efve"),
        (b"two\nlines\0", "two\nlines\0"),
        (b"", ""),
        ("\udcff", "\\xff"),
    ],
)
def test_bytes_that_are_not_text_stay_visible(raw: bytes | str, text: str) -> None:
    assert host_text(raw, 64) == text


def test_what_is_too_long_says_so() -> None:
    cut = host_text(b"x" * (2 << 20), 64)

    assert len(cut) == 64
    assert cut.endswith(CUT)
    assert host_text(b"x" * 64, 64) == "x" * 64


@given(raw=st.binary(max_size=600), chars_max=st.integers(len(CUT), 300))
def test_any_bytes_become_bounded_text_that_can_be_sent(raw: bytes, chars_max: int) -> None:
    text = host_text(raw, chars_max)

    assert len(text) <= chars_max
    assert text.encode().decode() == text
