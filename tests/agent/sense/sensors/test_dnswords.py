import pytest

from agent.sense.sensors.dnswords import code_word, type_word


@pytest.mark.parametrize(
    ("number", "word"), [(1, "A"), (28, "AAAA"), (65, "HTTPS"), (0, "TYPE0"), (65_535, "TYPE65535")]
)
def test_a_type_has_a_word_or_its_number(number: int, word: str) -> None:
    assert type_word(number) == word


@pytest.mark.parametrize(
    ("number", "word"), [(0, "NOERROR"), (3, "NXDOMAIN"), (10, "NOTZONE"), (15, "RCODE15")]
)
def test_a_code_has_a_word_or_its_number(number: int, word: str) -> None:
    assert code_word(number) == word
