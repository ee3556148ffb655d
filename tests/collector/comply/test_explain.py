from math import fsum

import pytest
from hypothesis import given

from collector.comply.explain import Loss, explain
from collector.comply.score import readiness, weigh
from collector.comply.standing import Statement
from tests.collector.builders import NOW
from tests.collector.comply.builders import (
    CHECKS,
    DAY,
    EXEMPT,
    FAIL,
    HOST,
    OTHER,
    PASS,
    UNKNOWN,
    a_catalogue,
    a_population,
    a_statement,
    all_of,
)
from tests.collector.comply.test_score import HOSTS, distinct, worlds

SCHEME = a_catalogue().schemes[2]


def explained(statements: list[Statement], *hosts: bytes, as_of: int = NOW) -> tuple[Loss, ...]:
    return explain(SCHEME, weigh(a_catalogue(), a_population(*hosts), statements, as_of))


@given(worlds)
def test_the_points_lost_add_up_to_what_is_missing(world: list[Statement]) -> None:
    weighed = weigh(a_catalogue(), a_population(*HOSTS), distinct(world), NOW)

    for scheme in a_catalogue().schemes:
        lost = fsum(loss.points for loss in explain(scheme, weighed))
        assert lost == pytest.approx(100 - 100 * readiness(scheme, weighed).score, abs=1e-9)


def test_a_whole_score_lost_nothing() -> None:
    assert explained(all_of(PASS)) == ()


def test_each_line_says_where_and_why() -> None:
    statements = [
        *all_of(PASS),
        a_statement(FAIL, CHECKS[0].id, order=2, reason="mode is 0666"),
        a_statement(UNKNOWN, CHECKS[1].id, order=2, reason="denied"),
        a_statement(EXEMPT, CHECKS[2].id, order=2),
    ]

    losses = {loss.check: loss for loss in explained(statements)}

    assert set(losses) == {CHECKS[0].id, CHECKS[1].id}
    assert (losses[CHECKS[0].id].state, losses[CHECKS[0].id].reason) == (FAIL, "mode is 0666")
    assert (losses[CHECKS[1].id].state, losses[CHECKS[1].id].reason) == (UNKNOWN, "denied")
    assert losses[CHECKS[0].id].references == ("CC6.1",)
    assert losses[CHECKS[0].id].host == HOST


def test_age_is_a_loss_of_its_own() -> None:
    losses = explained(all_of(PASS), as_of=NOW + 3 * DAY)

    assert losses
    assert {(loss.state, loss.reason) for loss in losses} <= {(PASS, "ageing"), (UNKNOWN, "stale")}


def test_a_silent_host_is_listed() -> None:
    losses = explained(all_of(PASS), HOST, OTHER)

    assert {(loss.host, loss.reason) for loss in losses} == {(OTHER, "unreported")}


def test_the_dearest_comes_first() -> None:
    points = [loss.points for loss in explained(all_of(FAIL))]

    assert points == sorted(points, reverse=True)


def test_where_nothing_can_be_scored_there_is_one_line_of_100() -> None:
    weighed = weigh(a_catalogue(), {}, [], NOW)

    (loss,) = explain(SCHEME, weighed)

    assert (loss.points, loss.host, loss.check) == (100.0, b"", "")
