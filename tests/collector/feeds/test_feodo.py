"""The laws of reading Feodo Tracker."""

from collector.feeds import feodo
from tests.collector.feeds.feedkit import only_row, read_as, reasons_of, values_of

HEADER = '# comment\n"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\n'
ROW = '"2026-05-27 10:00:00","192.0.2.1","447","online","2026-05-28","Emotet"\n'


def test_a_row_is_an_endpoint() -> None:
    row = only_row(read_as(feodo.read, HEADER + ROW))

    assert (row.kind.value, row.value, row.family) == ("ip_port", "192.0.2.1:447", "Emotet")


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    found = read_as(feodo.read, HEADER + ROW.replace("192.0.2.1", "2001:db8::1"))

    assert values_of(found) == [("ip_port", "[2001:db8::1]:447")]


def test_a_bad_row_is_named_and_the_next_one_is_read() -> None:
    bad = [ROW.replace("447", ""), ROW.replace("2026-05-27", "x"), '"a"b\n']

    found = read_as(feodo.read, HEADER + "".join(bad) + ROW)

    assert len(values_of(found)) == 1
    assert [line for line, _ in reasons_of(found)] == [3, 4, 5]
