"""An entry is known again by what it is, whatever the host calls it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from agent.sense.mechanisms import MODIFIED, WRITABLE
from agent.sense.sensors.persist.items import (
    VALUE_CHARS_MAX,
    Entry,
    decoded,
    encoded,
    end_of,
    is_same,
    key_of,
    line,
    plain,
    prefix_of,
    whole,
    writable,
)
from agent.sense.sensors.persist.look import Writable
from agent.sense.sensors.told import StateLost
from proto import codec, model
from proto.model import Persistence, User
from tests.agent.sense.sensors.persist.looking import a_content


def test_a_line_is_known_by_what_it_says_and_for_whom() -> None:
    one = line(a_content(b""), Entry("cron_job", "@daily", "x", User(name="a")))
    other = line(a_content(b""), Entry("cron_job", "@daily", "y", User(name="a")))
    whose = line(a_content(b""), Entry("cron_job", "@daily", "x", User(name="b")))

    assert len({key_of("cron", found) for found in (one, other, whose)}) == 3


def test_a_file_is_known_by_its_path_and_changes_with_its_digest() -> None:
    one = whole(a_content(b"1"), Entry("shell_start", "x"))
    other = whole(a_content(b"2"), Entry("shell_start", "x"))

    assert key_of("startup", one) == key_of("startup", other)
    assert not is_same(one.item, other.item)


def test_a_file_that_was_not_read_to_its_end_has_no_digest_and_says_so() -> None:
    found = whole(a_content(b"1", is_whole=False), Entry("shell_start", "x"))

    assert (found.item.sha256, found.item.caveats) == (UNSET, ("longer than is read",))


def test_what_is_said_of_its_package_makes_no_other_entry() -> None:
    item = Persistence("cron_job", "n", "/p", caveats=("enabled",))
    packaged = structs.replace(item, package="cron", caveats=("enabled", MODIFIED))

    assert is_same(item, packaged)
    assert not is_same(item, structs.replace(packaged, caveats=(MODIFIED,)))


def test_keys_of_a_reader_lie_between_its_bounds() -> None:
    key = key_of("cron", plain("/p", 0, Entry("m", "n")))

    assert prefix_of("cron") < key < end_of("cron")
    assert not prefix_of("cro") < key < end_of("cro")


def test_what_everyone_may_write_to_is_an_entry() -> None:
    item = writable(Writable("/etc/cron.d/x", 0o666, 0, 5)).item

    assert (item.mechanism, item.name, item.value) == (WRITABLE, "x", "mode=0666 uid=0")


@pytest.mark.parametrize("row", [b"", b"\xc1", b"\x80", encoded(Persistence("m", "n", "p"))[:-1]])
def test_a_row_that_is_none_is_damage(row: bytes) -> None:
    with pytest.raises(StateLost):
        decoded(row)


@given(name=st.binary(max_size=600), value=st.binary(max_size=4000), path=st.binary(max_size=9000))
def test_any_host_text_fits_the_wire_and_the_store(name: bytes, value: bytes, path: bytes) -> None:
    content = a_content(b"", path.decode("utf-8", "surrogateescape"))

    item = line(content, Entry("cron_job", name, value, User(name="a"))).item

    assert decoded(encoded(item)) == item
    assert isinstance(item.value, str)
    assert len(item.value) <= VALUE_CHARS_MAX
    entity = model.Entity(model.Role.TARGET, item)
    source = model.Source("persistence", "stat", "")
    codec.encode_record(model.InventoryItem(model.Change.ADDED, entity, 1, source))


def test_a_line_that_differs_where_it_is_cut_is_another_one() -> None:
    one = line(a_content(b""), Entry("cron_job", "@daily", "x" * 5000))
    other = line(a_content(b""), Entry("cron_job", "@daily", "x" * 5000 + "y"))

    assert one.item == other.item
    assert key_of("cron", one) != key_of("cron", other)
