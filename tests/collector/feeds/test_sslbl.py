"""The laws of reading SSLBL."""

from collector.feeds import sslbl
from tests.collector.feeds.feedkit import only_row, read_as, reasons_of, values_of

SHA1 = "d" * 40
CERTIFICATES = "# Listingdate,SHA1,Listingreason\n"
CLIENTS = "# ja3_md5,Firstseen,Lastseen,Listingreason\n"


def test_a_certificate_is_its_digest() -> None:
    row = only_row(read_as(sslbl.read, f"{CERTIFICATES}2026-05-27 10:00:00,{SHA1},Vidar C&C\n"))

    assert (row.kind.value, row.value, row.family) == ("sha1", SHA1, "Vidar C&C")


def test_a_client_is_its_ja3() -> None:
    text = f"{CLIENTS}{'e' * 32},2017-07-14 18:08:15,2019-07-27 20:42:54,Adware\n"

    row = only_row(read_as(sslbl.read_ja3, text))

    assert (row.kind.value, row.value, row.family) == ("ja3", "e" * 32, "Adware")


def test_a_bad_row_is_named_and_the_next_one_is_read() -> None:
    bad = f'2026-05-27\nsoon,{SHA1},x\n"\n'

    found = read_as(sslbl.read, f"{CERTIFICATES}{bad}2026-05-27,{SHA1},x\n")

    assert values_of(found) == [("sha1", SHA1)]
    assert [line for line, _ in reasons_of(found)] == [2, 3, 4]
