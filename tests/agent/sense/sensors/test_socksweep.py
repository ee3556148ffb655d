from agent.sense.sensors.sockrow import row_of
from agent.sense.sensors.socksweep import Sweep


def a_sweep(known: set[bytes], *, keys_max: int = 100, new_max: int = 100) -> Sweep:
    return Sweep(known, keys_max=keys_max, new_max=new_max)


def news(sweep: Sweep, *keys: bytes) -> list[bytes]:
    found = []
    for key in keys:
        if sweep.is_news(key):
            sweep.new.append(row_of("tcp", 1, (bytes(4), 1), (bytes(4), 2), (0, 1)))
            found.append(key)
    return found


def test_only_what_was_not_there_before_is_news() -> None:
    sweep = a_sweep({b"a", b"b"})

    assert news(sweep, b"a", b"c", b"c") == [b"c"]
    assert sweep.now == {b"a", b"c"}


def test_what_finds_no_room_is_new_again_at_the_next_sweep() -> None:
    first = a_sweep(set(), new_max=1)
    told = news(first, b"a", b"b")
    second = a_sweep(first.now, new_max=1)

    assert told == [b"a"]
    assert first.has_more
    assert news(second, b"a", b"b") == [b"b"]
    assert not second.has_more


def test_what_is_beyond_the_limit_of_all_is_counted() -> None:
    sweep = a_sweep(set(), keys_max=2)

    news(sweep, b"a", b"b", b"c", b"d")

    assert sweep.now == {b"a", b"b"}
    assert sweep.omitted == 2


def test_after_a_torn_table_nothing_known_is_forgotten() -> None:
    sweep = a_sweep({b"a", b"b"})
    news(sweep, b"b")

    sweep.keep_all_known()

    assert sweep.now == {b"a", b"b"}
