"""The laws of records about content."""

from agent.sense.contentrecords import (
    health_record,
    refusal_record,
    swap_record,
    unverified_record,
)
from agent.sense.contentstore import NO_INDICATORS, Accepted, Swap
from agent.sense.tufframes import Chain, ChainFacts
from proto.content.errors import ContentRefused, RefuseReason
from proto.model import Audit, Freshness, HealthState

FACTS = ChainFacts(1, 1, 1, 1, "indicators", 1, 1, 1, b"\xab" * 32)
OLD = Accepted(1, 10, FACTS, Chain((), b"", b"", b"", "indicators"))
NEW = Accepted(2, 20, FACTS, OLD.chain)


def told(record: Audit) -> dict[str, str]:
    return {argument.name: argument.value for argument in record.detail}


def test_a_swap_names_both_releases_and_who_signed() -> None:
    record = swap_record(Swap(NO_INDICATORS, NEW, OLD), at=5)

    assert (record.action, record.outcome, record.at) == ("content.swap", "accepted", 5)
    assert told(record) == {
        "old_version": "1",
        "new_version": "2",
        "old_count": "10",
        "new_count": "20",
        "sha256": "ab" * 32,
        "role": "indicators",
    }


def test_a_first_release_has_none_before_it() -> None:
    assert told(swap_record(Swap(NO_INDICATORS, NEW, None), at=5))["old_version"] == ""


def test_a_refusal_names_its_reason_and_what_stays() -> None:
    refusal = ContentRefused(RefuseReason.SIGNATURE, "not signed")

    assert told(refusal_record(refusal, OLD, at=5)) == {
        "reason": "signature",
        "detail": "not signed",
        "kept_version": "1",
    }
    assert unverified_record(refusal, OLD, at=5).outcome == "unverified"


def test_every_tier_has_a_state_and_a_reason() -> None:
    states = {
        tier: health_record(tier, 1, None).state
        for tier in (None, Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED)
    }

    assert states == {
        None: HealthState.BLIND,
        Freshness.FRESH: HealthState.OK,
        Freshness.STALE: HealthState.DEGRADED,
        Freshness.EXPIRED: HealthState.DEGRADED,
    }
