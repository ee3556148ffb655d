"""The laws of explaining: what is told is what the judges did, for anything they may be given."""

import pytest
from hypothesis import given
from msgspec import UNSET, structs

from agent.sense.match import packaged
from agent.sense.match.context import MatchContext
from agent.sense.match.explain import Reason, explain, explain_value
from agent.sense.match.judge import judge
from proto import model
from proto.content.index import MappedIndex
from proto.content.kinds import IndicatorKind
from proto.model import DnsMessage, Entity, ObservationKind, Role
from tests.proto.builders import a_process, an_observation, values_of
from tests.proto.content.builders import EICAR, a_file

NOW = 1_790_000_000_000_000_000
CONTEXT = MatchContext(bytes(16), bytes(16), MappedIndex(a_file()), None, NOW)


def told(observation: model.Observation) -> dict[str, list[Reason]]:
    found: dict[str, list[Reason]] = {}
    for reason in explain(observation, CONTEXT):
        found.setdefault(reason.outcome, []).append(reason)
    return found


def test_a_listed_digest_is_a_match_with_feed_and_severity_and_then_a_finding() -> None:
    found = told(an_observation(a_process(sha256=bytes.fromhex(EICAR))))

    (match,) = found["match"]
    assert (match.judge, match.form) == ("indicators", EICAR)
    assert "feed testfeed" in match.why
    assert "severity" in match.why
    assert [reason.judge for reason in found["finding"]] == ["indicator.sha256"]


def test_what_is_not_listed_names_the_release_that_was_asked() -> None:
    found = told(an_observation(a_process(exe="/usr/bin/true", name="true")))

    assert {reason.form for reason in found["not listed"]} >= {"true"}
    assert all(f"release {CONTEXT.index.version}" in reason.why for reason in found["not listed"])
    assert "finding" not in found


def test_a_digest_that_was_not_collected_is_said_with_the_sensors_reason() -> None:
    process = a_process(sha256=UNSET, caveats=("image not hashed: too many at once",))

    (gap,) = told(an_observation(process))["no value"]

    assert (gap.value, gap.why) == ("sha256", "image not hashed: too many at once")


def test_an_indicator_that_expired_says_so_and_is_no_match() -> None:
    late = structs.replace(CONTEXT, now=1 << 62)
    assert {r.outcome for r in explain_value(IndicatorKind.SHA256, EICAR, late)} == {"expired"}


@pytest.mark.parametrize(("port", "is_hit"), [(4444, True), (80, False)])
def test_the_port_rule_is_told_for_every_connection(port: int, *, is_hit: bool) -> None:
    endpoint = model.Endpoint(
        protocol="tcp",
        local_address="10.0.0.1",
        local_port=1,
        remote_address="192.0.2.1",
        remote_port=port,
    )
    observation = structs.replace(
        an_observation(endpoint, kind=ObservationKind.SOCKET_OPEN),
        subject=model.Entity(model.Role.TARGET, endpoint),
    )

    found = told(observation)

    assert f"where it is {port}" in found["port rule"][0].why
    assert any("ip_port" in reason.why for reason in found["match"]) == is_hit


def test_a_login_names_its_row_of_the_table() -> None:
    login = model.Login(service="sshd", outcome="failed", remote_address="198.51.100.9")

    found = told(an_observation(login, kind=ObservationKind.LOGIN))

    (row,) = found["login.failed"]
    assert row.value == "failed"
    assert "accepted remote: login.accepted.remote" in row.why
    assert "no port of a service" in found["port rule"][0].why


def test_a_value_that_is_not_of_its_kind_has_no_form() -> None:
    (reason,) = explain_value(IndicatorKind.IPV4, "1.2.3", CONTEXT)

    assert (reason.outcome, reason.form) == ("no form", "")


def test_a_file_unlike_its_package_says_whether_it_is_a_program() -> None:
    text = model.File("/etc/issue", mode=0o100644, caveats=(packaged.UNLIKE,))
    program = model.File("/bin/ls", mode=0o100755, caveats=(packaged.UNLIKE,))

    found = told(an_observation(text, kind=ObservationKind.FILE_CHANGED))
    assert any("no program" in reason.why for reason in found["no rule"])
    found = told(an_observation(program, kind=ObservationKind.FILE_CHANGED))
    assert [reason.judge for reason in found["finding"]] == [packaged.MODIFIED.id]


@given(values_of(model.Observation))
def test_the_findings_told_are_those_the_judges_make(observation: object) -> None:
    assert isinstance(observation, model.Observation)
    made = judge(observation, CONTEXT)

    reasons = explain(observation, CONTEXT)

    keys = [reason.value for reason in reasons if reason.outcome == "finding"]
    assert keys == [finding.key.hex() for finding in made]
    assert all(reason.why for reason in reasons)


@pytest.mark.parametrize(
    ("kind", "value", "outcome"),
    [
        (IndicatorKind.DOMAIN, "x.evil.example", "match"),
        (IndicatorKind.HOSTNAME, "x.evil.example", "match"),
        (IndicatorKind.URL, "https://x.evil.example/y", "match"),
        (IndicatorKind.URL_PREFIX, "http://pay.example/gate/x", "match"),
        (IndicatorKind.URL, "http://good.example/", "not listed"),
        (IndicatorKind.DOMAIN, "localhost", "no form"),
        (IndicatorKind.MD5, "x", "no form"),
    ],
)
def test_a_name_or_url_is_explained_with_all_that_it_lies_in(
    kind: IndicatorKind, value: str, outcome: str
) -> None:
    found = explain_value(kind, value, CONTEXT)

    assert {reason.outcome for reason in found} == {outcome}


def test_a_name_that_was_asked_for_and_urls_in_arguments_are_explained() -> None:
    query = structs.replace(
        an_observation(None, kind=ObservationKind.DNS_QUERY),
        subject=Entity(Role.TARGET, DnsMessage(name="x.evil.example", qtype="A")),
    )
    process = structs.replace(a_process(), argv=("curl", "http://pay.example/gate/x"))
    run = structs.replace(
        an_observation(None, kind=ObservationKind.PROCESS_EXEC),
        subject=Entity(Role.ACTOR, process),
    )

    for observed, form in ((query, "x.evil.example"), (run, "http://pay.example/gate/x")):
        found = explain(observed, CONTEXT)
        assert any(one.outcome == "match" and one.form == form for one in found)
        assert found[-1].outcome == "finding"
