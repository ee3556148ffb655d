import re
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from proto.content.checks import (
    PACK_BYTES_MAX,
    CheckPack,
    CheckSpec,
    Fallback,
    Request,
    Strength,
    builtin_pack,
    canonical,
    decode_pack,
    evidence_digest,
)
from proto.errors import Malformed, TooLarge

CHECKS = builtin_pack().checks
by_id = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
MANDATED = {"audit_recorder", "host_firewall", "time_sync"}


def a_raw_check(**changes: object) -> dict[str, object]:
    raw: dict[str, object] = json.decode(json.encode(CHECKS[2]))
    return raw | changes


def a_raw_pack(*checks: object, **changes: object) -> bytes:
    pack = {"form": 1, "name": "test", "version": "1", "checks": checks or (a_raw_check(),)}
    return json.encode(pack | changes)


def test_a_pack_survives_being_written_and_read() -> None:
    assert decode_pack(json.encode(builtin_pack())) == builtin_pack()
    assert isinstance(decode_pack(a_raw_pack()), CheckPack)


@pytest.mark.parametrize("field", [name for name in a_raw_check() if name != "applies_if"])
def test_a_check_that_lacks_any_field_refuses_the_pack(field: str) -> None:
    raw = a_raw_check()
    del raw[field]

    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(raw))


def test_even_a_check_that_always_applies_has_to_say_so() -> None:
    raw = json.decode(json.encode(CHECKS[0]))
    assert raw.pop("applies_if") is None

    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(raw))


@pytest.mark.parametrize("name", ["pass", "fail", "missing", "unreadable", "exempt"])
def test_a_check_that_lacks_a_fixture_refuses_the_pack(name: str) -> None:
    raw = a_raw_check()
    fixtures = raw["fixtures"]
    assert isinstance(fixtures, dict)
    del fixtures[name]

    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(raw))


@pytest.mark.parametrize(
    "changes",
    [
        {"on_missing": "pass"},
        {"on_error": "pass"},
        {"on_missing": "not_applicable"},
        {"severity": "informational"},
        {"severity": "unspecified"},
        {"interval_s": 86_400, "max_age_s": 172_800},
        {"max_age_s": 8 * 86_400},
        {"interval_s": 1},
        {"id": "Linux.Upper"},
        {"id": "nodot"},
        {"version": 0},
        {"mappings": []},
        {"command": "rm -rf /"},
        {"expect": {"op": "regex", "of": "mode", "value": "(a+)+$"}},
        {"expect": {"op": "all", "args": []}},
        {"expect": {"op": "eq", "of": "mode"}},
        {"expect": {"op": "eq", "of": "mode", "value": ["x"]}},
        {"expect": {"op": "present", "of": "mode", "value": 1}},
        {"expect": {"op": "in", "of": "mode", "value": []}},
        {"expect": {"op": "superset", "of": "mode", "value": []}},
        {"expect": {"op": "mode_at_most", "of": "mode", "value": "0999"}},
        {"expect": {"op": "ge", "of": "mode", "value": True}},
        {"expect": {"op": "not", "args": [{"op": "absent", "of": "a"}] * 2}},
        {"expect": {"op": "all", "of": "mode", "args": [{"op": "absent", "of": "a"}]}},
        {"expect": {"op": "absent", "of": "../a"}},
        {"parameters": {"path": "x" * 300}},
        {"parameters": {f"p{number}": ["x" * 200] * 30 for number in range(4)}},
        {"parameters": {"a": {"b": 1}}},
    ],
    ids=str,
)
def test_what_breaks_the_form_refuses_the_pack(changes: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(a_raw_check(**changes)))


def test_a_reference_is_mapped_once() -> None:
    raw = a_raw_check()
    mappings = raw["mappings"]
    assert isinstance(mappings, list)
    mappings.append(mappings[0] | {"facet": "other"})

    with pytest.raises(Malformed, match="mapped once"):
        decode_pack(a_raw_pack(raw))


def test_two_checks_cannot_share_an_id() -> None:
    with pytest.raises(Malformed, match="one id"):
        decode_pack(a_raw_pack(a_raw_check(), a_raw_check()))


@pytest.mark.parametrize("depth", [9, 200, 100_000])
def test_an_expectation_cannot_be_nested_without_end(depth: int) -> None:
    expect = b'{"op":"not","args":[' * depth + b'{"op":"absent","of":"a"}' + b"]}" * depth
    pack = a_raw_pack(a_raw_check(expect="HERE")).replace(b'"HERE"', expect)

    with pytest.raises(Malformed):
        decode_pack(pack)


def test_a_pack_has_a_form_we_know_and_a_size_we_allow() -> None:
    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(form=2))
    with pytest.raises(TooLarge):
        decode_pack(b" " * (PACK_BYTES_MAX + 1))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_pack_or_our_error(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_pack(data)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists))
def test_any_value_in_the_place_of_a_field_gives_a_pack_or_our_error(value: object) -> None:
    for field in a_raw_check():
        try:
            pack = decode_pack(a_raw_pack(a_raw_check(**{field: value})))
        except Malformed:
            continue
        assert isinstance(pack, CheckPack)


def test_nothing_falls_back_to_a_pass() -> None:
    assert {fallback.value for fallback in Fallback} == {"fail", "unknown"}


@by_id
def test_every_check_says_what_to_do_and_why_it_counts(check: CheckSpec) -> None:
    assert len(check.remediation) > 40
    assert all(len(mapping.rationale) > 25 for mapping in check.mappings)
    assert len(check.mappings) <= 12


@by_id
def test_the_catch_all_of_configuration_is_never_what_a_check_speaks_for_alone(
    check: CheckSpec,
) -> None:
    direct = {one.reference for one in check.mappings if one.strength is Strength.DIRECT}

    assert direct != {"cm-6"}


def test_a_check_has_few_references_and_speaks_for_every_framework() -> None:
    counts = [len(check.mappings) for check in CHECKS]

    assert median(counts) <= 6
    for check in CHECKS:
        assert {one.framework for one in check.mappings} == {"nist80053", "iso27001", "soc2"}


def test_a_mandated_component_that_is_missing_fails_and_is_never_exempt() -> None:
    mandated = [check for check in CHECKS if check.id.rpartition(".")[2] in MANDATED]

    assert len(mandated) == len(MANDATED)
    assert all(check.applies_if is None for check in mandated)
    assert all(check.on_missing is Fallback.FAIL for check in mandated)


def test_what_a_firewall_of_a_host_shows_is_partial_everywhere() -> None:
    (firewall,) = (check for check in CHECKS if check.id.endswith("host_firewall"))

    assert {one.strength for one in firewall.mappings} == {Strength.PARTIAL}


def test_no_text_promises_what_only_people_can_judge() -> None:
    banned = re.compile(r"\b(compliant|certified|audited|assured|guarantee\w*)\b", re.IGNORECASE)

    assert not banned.search(json.encode(CHECKS).decode())


def test_a_question_is_its_probe_and_its_parameters_in_one_spelling() -> None:
    assert canonical({"b": 1, "a": ["x"]}) == b'{"a":["x"],"b":1}'
    assert CHECKS[0].request == Request("file", '{"path":"/etc/shadow"}')
    assert CHECKS[0].predicate is None
    assert CHECKS[2].predicate is not None


@given(st.lists(st.text(max_size=4), min_size=4, max_size=4), st.binary(max_size=4))
def test_a_digest_cannot_be_met_by_moving_bytes_between_its_parts(
    parts: list[str], facts: bytes
) -> None:
    probe, parameters, version, unknown = parts

    digest = evidence_digest(Request(probe, parameters), version, unknown, facts)
    moved = evidence_digest(Request(probe + "x", parameters), version, unknown, facts)
    shifted = evidence_digest(Request(probe, "x" + parameters), version, unknown, facts)

    assert len({digest, moved, shifted}) == 3


@pytest.mark.parametrize(
    ("name", "fixture"),
    [
        ("pass", {"facts": {}, "unknown": "denied"}),
        ("fail", {}),
        ("unreadable", {"facts": {}}),
        ("unreadable", {"unknown": "because"}),
    ],
)
def test_a_fixture_is_facts_or_the_reason_for_none(name: str, fixture: object) -> None:
    raw = a_raw_check()
    fixtures = raw["fixtures"]
    assert isinstance(fixtures, dict)
    fixtures[name] = fixture

    with pytest.raises(Malformed):
        decode_pack(a_raw_pack(raw))
