"""The laws of reading Spamhaus DROP."""

from collector.feeds import spamhaus
from tests.collector.feeds.feedkit import read_as, reasons_of, values_of

ROWS = '{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"x"}\n{"cidr":"2001:db8::/32","sblid":"SBL2"}\n'


def test_networks_of_both_versions_are_read_and_the_last_line_is_none() -> None:
    text = ROWS + '{"type":"metadata","timestamp":1,"size":2,"records":2,"copyright":"c"}\n'

    found = read_as(spamhaus.read, text)

    assert values_of(found) == [("cidr", "192.0.2.0/24"), ("cidr", "2001:db8::/32")]
    assert reasons_of(found) == []


def test_a_list_that_lost_rows_says_so() -> None:
    found = read_as(spamhaus.read, ROWS + '{"type":"metadata","records":3}\n')

    assert reasons_of(found) == [(3, "the list says 3 rows and has 2")]


def test_a_bad_row_is_named_and_the_next_one_is_read() -> None:
    found = read_as(spamhaus.read, '[1]\n{"cidr":7}\n{}\n{"cidr":\n' + "[" * 9000 + "\n" + ROWS)

    assert len(values_of(found)) == 2
    assert [line for line, _ in reasons_of(found)] == [1, 2, 3, 4, 5]
