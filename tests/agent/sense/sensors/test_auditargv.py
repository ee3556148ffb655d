import random

from hypothesis import given
from hypothesis import strategies as st

from agent.hosttext import CUT, host_text
from agent.sense.sensors.auditargv import Arguments, of_title
from agent.sense.sensors.procfs import ARGUMENTS_MAX
from tests.agent.sense.sensors.auditwire import a_value, execve_texts

BYTES_MAX = 32_768
AN_ARGUMENT = st.binary(max_size=300).map(lambda data: data.replace(b"\0", b""))


def read(texts: list[bytes], bytes_max: int = BYTES_MAX) -> tuple[str, ...]:
    arguments = Arguments(bytes_max)
    for text in texts:
        arguments.add(text)
    return arguments.whole()


@given(st.lists(AN_ARGUMENT, max_size=20), st.integers(40, 400), st.randoms(use_true_random=False))
def test_arguments_come_back_whole_however_they_are_spread_and_mixed(
    argv: list[bytes], longest: int, order: random.Random
) -> None:
    texts = execve_texts(argv, longest)
    order.shuffle(texts)

    assert read(texts) == tuple(host_text(argument, BYTES_MAX) for argument in argv)


@given(st.lists(AN_ARGUMENT, min_size=1, max_size=20), st.integers(40, 400), st.data())
def test_a_lost_record_is_said_and_nothing_is_guessed(
    argv: list[bytes], longest: int, data: st.DataObject
) -> None:
    texts = execve_texts(argv, longest)
    del texts[data.draw(st.integers(0, len(texts) - 1))]

    found = read(texts)

    assert found[-1] == CUT
    for at, argument in enumerate(found[:-1]):
        whole = host_text(argv[at], BYTES_MAX)
        assert argument == whole or whole.startswith(argument.rsplit("\\", 1)[0])


@given(st.lists(st.binary(max_size=120), max_size=5))
def test_any_bytes_are_arguments_or_said_to_be_cut(texts: list[bytes]) -> None:
    found = read(texts, 256)

    assert len(found) <= ARGUMENTS_MAX
    assert sum(map(len, found)) <= 256 + len(CUT)


def test_no_argument_at_all_is_none_and_not_cut() -> None:
    assert read([b"argc=0"]) == ()


def test_an_empty_argument_is_an_argument() -> None:
    assert read([b'argc=3 a0="x" a1="" a2="y"']) == ("x", "", "y")


def test_a_long_argument_is_kept_up_to_the_limit_and_cut() -> None:
    found = read(execve_texts([b"run", b"z" * 100_000]), 4096)

    assert found[0] == "run"
    assert found[-1].endswith(CUT)
    assert sum(map(len, found)) <= 4096 + len(CUT)


def test_more_arguments_than_are_kept_are_cut() -> None:
    found = read(execve_texts([b"x"] * 2000))

    assert len(found) == ARGUMENTS_MAX
    assert found[-1] == CUT


def test_a_plain_argument_that_goes_on_in_the_next_record_is_one() -> None:
    first, second = b'argc=2 a0="echo" a1_len=10 a1[0]="hello"', b' a1[1]="world"'

    assert read([first, second]) == ("echo", "helloworld")
    assert read([first]) == ("echo", "hello", CUT)
    assert read([second]) == (CUT,)


def test_a_title_is_never_whole() -> None:
    assert of_title(a_value(b"ls\0-l\0/tmp"), BYTES_MAX) == ("ls", "-l", "/tmp", CUT)
    assert of_title(b'"ls"', BYTES_MAX) == ("ls", CUT)
    assert of_title(None, BYTES_MAX) == (CUT,)
    assert of_title(b"oops", BYTES_MAX) == (CUT,)
