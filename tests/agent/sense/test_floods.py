"""The laws of floods: what is held back is counted, once, and told in time."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.sense.floods import VALUE_CHARS_MAX, VALUES_MAX, Floods, FloodSettings
from proto import codec, model
from proto.model import Drop, DropReason, FindingKind, Role, Severity
from runtime.clock import NS_PER_S
from tests.proto.builders import a_finding, a_process, values_of

FEW = FloodSettings(burst=3, per_minute=6, window_s=30, entities_max=16)
RULE = model.Rule("login.failed")


def a_login(address: str = "192.0.2.1", user: str = "root", **changes: object) -> model.Finding:
    login = model.Login(remote_address=address, user=model.User(name=user), service="sshd")
    entity = model.Entity(Role.ACTOR, login)
    values: dict[str, object] = {"rule": RULE, "entities": (entity,), "login": login}
    return a_finding(**(values | changes))


def of(drop: Drop, field: str) -> Sequence[str]:
    return next((item.values for item in drop.values if item.field == field), ())


def test_the_burst_passes_and_then_so_many_a_minute() -> None:
    floods = Floods(FEW)

    at_once = [floods.admits(a_login(), 0) for _ in range(10)]
    later = [floods.admits(a_login(), second * NS_PER_S) for second in range(1, 61)]

    assert at_once == [True] * 3 + [False] * 7
    assert sum(later) == 6


def test_what_is_held_back_is_one_record_with_count_bounds_and_values() -> None:
    floods = Floods(FEW)
    for n in range(10):
        floods.admits(a_login(user=f"user{n}", event_time=100 + n), 0)

    (drop,) = floods.take()

    assert (drop.reason, drop.rule, drop.sensor) == (DropReason.SUPPRESSED, "login.failed", "files")
    assert (drop.count, drop.first, drop.last) == (7, 103, 109)
    assert of(drop, "user") == tuple(f"user{n}" for n in range(3, 10))
    assert of(drop, "address") == ("192.0.2.1",)
    assert of(drop, "severity") == ("high",)
    assert floods.take() == []
    assert floods.due() is None


def test_no_field_keeps_more_than_64_values_and_one_that_would_says_so() -> None:
    floods = Floods(FEW)
    for n in range(3 + VALUES_MAX + 1):
        floods.admits(a_login(user=f"user{n}"), 0)

    (drop,) = floods.take()

    found = {item.field: item for item in drop.values}
    assert len(found["user"].values) == VALUES_MAX
    assert found["user"].overflow
    assert not found["address"].overflow


def test_culprits_have_a_bucket_each_and_so_have_rules_and_indicators() -> None:
    floods = Floods(FEW)
    indicator = model.Indicator(kind="ipv4", value="192.0.2.1", feed="f", confidence=1)
    apart = [
        a_login(),
        a_login(address="192.0.2.2"),
        a_login(rule=model.Rule("login.accepted.remote")),
        a_login(indicator=indicator),
    ]
    for _ in range(5):
        for finding in apart:
            floods.admits(finding, 0)

    assert [drop.count for drop in floods.take()] == [2] * 4


@pytest.mark.parametrize(
    ("thing", "other"),
    [
        (a_process(exe="/a", pid=1), a_process(exe="/b", pid=1)),
        (model.File("/a"), model.File("/b")),
        (model.User(name="a"), model.User(uid=0)),
        (model.Login(service="su"), model.Login(service="sshd")),
        (
            model.Endpoint(
                protocol="tcp", local_address="::", local_port=1, remote_address="192.0.2.1"
            ),
            model.Endpoint(
                protocol="tcp", local_address="::", local_port=1, remote_address="192.0.2.2"
            ),
        ),
    ],
)
def test_one_thing_does_not_use_up_what_another_may(thing: model.Thing, other: model.Thing) -> None:
    floods = Floods(FEW)
    for _ in range(9):
        floods.admits(a_finding(entities=(model.Entity(Role.TARGET, thing),)), 0)

    assert floods.admits(a_finding(entities=(model.Entity(Role.TARGET, other),)), 0)
    assert not floods.admits(a_finding(entities=(model.Entity(Role.TARGET, thing),)), 0)


def test_the_first_grave_finding_passes_in_the_worst_flood() -> None:
    floods = Floods(FEW)
    for n in range(1000):
        floods.admits(a_login(address=f"host{n}"), 0)

    assert floods.admits(a_login(address="new", severity=Severity.CRITICAL), 0)


def test_repeats_of_something_slight_do_not_hide_something_grave_of_the_same_rule() -> None:
    floods = Floods(FEW)
    slight = [floods.admits(a_login(severity=Severity.MEDIUM), 0) for _ in range(50)]

    assert sum(slight) == 3
    assert floods.admits(a_login(severity=Severity.HIGH), 0)


@pytest.mark.parametrize("change", [{"user": model.User(uid=0)}, {"container": "c1"}])
def test_repeats_of_one_user_do_not_hide_what_another_does_with_the_same_program(
    change: dict[str, object],
) -> None:
    floods = Floods(FEW)
    mine = a_process(user=model.User(uid=1000))
    others = structs.replace(mine, **change)
    for _ in range(50):
        floods.admits(a_finding(entities=(model.Entity(Role.ACTOR, mine),)), 0)

    assert floods.admits(a_finding(entities=(model.Entity(Role.ACTOR, others),)), 0)


def test_states_are_never_held_back() -> None:
    floods = Floods(FEW)

    for kind in (FindingKind.COMPLIANCE, FindingKind.VULNERABILITY, FindingKind.HEALTH):
        assert all(floods.admits(a_finding(kind=kind), 0) for _ in range(100))


def test_a_burst_of_none_lets_all_pass() -> None:
    floods = Floods(FloodSettings(burst=0))

    assert all(floods.admits(a_finding(), 0) for _ in range(1000))


def test_a_window_that_ends_tells_what_it_held_and_another_stays_open() -> None:
    floods = Floods(FEW)
    for second, address in ((0, "a"), (20, "b")):
        for _ in range(5):
            floods.admits(a_login(address=address), second * NS_PER_S)

    assert floods.due() == 30 * NS_PER_S
    assert floods.ended(29 * NS_PER_S) == []
    (drop,) = floods.ended(30 * NS_PER_S)
    assert of(drop, "address") == ("a",)
    assert floods.due() == 50 * NS_PER_S


def test_the_one_that_is_forgotten_for_want_of_room_leaves_its_count() -> None:
    floods = Floods(FEW)
    for _ in range(5):
        floods.admits(a_login(), 0)
    for n in range(FEW.entities_max):
        floods.admits(a_login(address=f"host{n}"), 0)

    assert floods.due() == 0
    (drop,) = floods.ended(0)
    assert (drop.count, of(drop, "address")) == (2, ("192.0.2.1",))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["see", "see", "see", "end", "take"]),
            st.integers(0, 40),
            st.integers(0, 20),
        ),
        max_size=200,
    )
)
def test_whatever_happens_each_finding_is_sealed_or_counted_once(
    steps: list[tuple[str, int, int]],
) -> None:
    floods = Floods(FEW)
    now = 0
    seen: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for action, who, seconds in steps:
        now += seconds * NS_PER_S
        drops: list[Drop] = []
        if action == "see":
            seen[str(who)] += 1
            told[str(who)] += floods.admits(a_login(address=str(who)), now)
        else:
            drops = floods.ended(now) if action == "end" else floods.take()
        for drop in drops:
            told[of(drop, "address")[0]] += drop.count or 0
        assert floods.due() is None or action != "end" or (floods.due() or 0) > now
    for drop in floods.take():
        told[of(drop, "address")[0]] += drop.count or 0

    assert +told == +seen


@given(st.lists(values_of(model.Finding), max_size=5))
def test_any_findings_leave_a_record_that_can_be_sealed(findings: list[object]) -> None:
    floods = Floods(FloodSettings(burst=1))
    passed = 0
    for finding in [*findings, *findings]:
        assert isinstance(finding, model.Finding)
        passed += floods.admits(finding, 0)

    drops = floods.take()

    assert passed + sum(drop.count or 0 for drop in drops) == 2 * len(findings)
    for drop in drops:
        assert codec.decode_record(codec.encode_record(drop))[0] == drop


def test_the_worst_record_of_repeats_fits_the_wire() -> None:
    floods = Floods(FloodSettings(burst=1))
    for n in range(VALUES_MAX + 2):
        wide = "\U0001f40e" * VALUE_CHARS_MAX
        name = f"{n}{wide}\ud800"
        login = model.Login(remote_address="a", user=model.User(name=name))
        process = a_process(exe=name, name=name, user=model.User(name=name[:99]))
        floods.admits(a_login(login=login, process=process), 0)

    (drop,) = floods.take()

    assert drop.count == VALUES_MAX + 1
    assert len(codec.encode_record(drop)) < model.RECORD_BYTES_MAX
