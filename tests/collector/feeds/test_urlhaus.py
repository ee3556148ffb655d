"""The laws of reading URLhaus."""

from collector.feeds import urlhaus
from tests.collector.feeds.feedkit import only_row, read_as, reasons_of, values_of

HEADER = (
    "#" * 20 + "\n# id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter\n"
)
ROW = (
    '"7","2026-05-27 10:00:00","http://pay.example/a,b.sh","online","None","malware_download",'
    '"elf,Mozi","https://link.example/7","someone"\n'
)


def test_a_row_is_a_url_with_its_tags_and_day() -> None:
    row = only_row(read_as(urlhaus.read, HEADER + ROW))

    assert (row.kind.value, row.value, row.family) == (
        "url",
        "http://pay.example/a,b.sh",
        "elf,Mozi",
    )
    assert row.first_seen == 1_779_876_000 * 10**9


def test_none_in_a_cell_is_nothing() -> None:
    row = only_row(read_as(urlhaus.read, HEADER + ROW.replace("elf,Mozi", "None")))

    assert row.family == "malware_download"


def test_a_bad_row_is_named_and_the_next_one_is_read() -> None:
    bad = [
        '"8","someday","http://a.example/",,,,,,\n',
        '"9","2026-05-27 10:00:00","None"\n',
        '"unquoted\n',
        "x," * 1_000_000 + "\n",
        "x," * 100 + "\n",
    ]

    found = read_as(urlhaus.read, HEADER + "".join(bad) + ROW)

    assert values_of(found) == [("url", "http://pay.example/a,b.sh")]
    assert [line for line, _ in reasons_of(found)] == [3, 4, 5, 6, 7]
